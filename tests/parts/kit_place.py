"""A namespace of a cluster with the kit: a Redis from the examples in it, and pools of the tests' workers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import redis

import kit_images
from pools import pool as pool_manifest
from probe import background
from waiting import eventually_sync

if TYPE_CHECKING:
    from typing import Self

    from corral import Job, Queue
    from kit import Kit
    from kubectl import Kubectl, Manifest


class Place:
    """One namespace, with `kubectl` in it; also a context manager. It is gone afterwards."""

    def __init__(self, kit: Kit, name: str) -> None:
        self.kit, self.name = kit, name
        self._ends = ExitStack()

    # --- Redis, once it is there ---

    @property
    def inner_url(self) -> str:
        """How the pods find Redis, as the example's Secret says it."""
        secret = next(row for row in self.kit.manifest("redis.yaml") if row["kind"] == "Secret")
        return str(secret["stringData"]["url"])

    def url_for(self, inner_url: str) -> str:
        """The same for this machine: over the Service, or, where the cluster is a user's, forwarded."""
        inner = urlsplit(inner_url)
        login, at, _ = inner.netloc.rpartition("@")
        return urlunsplit(inner._replace(netloc=f"{login}{at}{self._address}"))

    @property
    def url(self) -> str:
        return self.url_for(self.inner_url)

    def client(self) -> redis.Redis:
        """A blocking client; the caller closes it."""
        return redis.Redis.from_url(self.url, protocol=2, socket_timeout=10, decode_responses=True)

    def starts(self, queue: str, *jobs: str) -> list[list[str]]:
        """For each job the pods that began it, in their order: what the tests' worker noted."""
        with self.client() as client:
            return [client.lrange(f"starts:{queue}:{job}", 0, -1) for job in jobs]

    # --- pools ---

    def pool(self, name: str, *, worker: str = "worker", container: Manifest | None = None, **spec: Any) -> None:
        """A pool on the queue of its name, soon at zero, whose pods run `worker` of jobs.py; `spec`: other fields.

        `container`: more of its container.
        """
        of_worker = {
            "name": "worker",
            "image": kit_images.reference(kit_images.JOBS),
            "args": ["work", f"jobs:{worker}"],
        }
        # A pod for each job: how many there are is known then, whatever was learned.
        defaults = {
            "queues": [{"name": name}],
            "maxReplicas": 4,
            "target": {"jobsPerReplica": 1},
            "idleAfter": "2s",
            "template": {"spec": {"containers": [of_worker | (container or {})]}},
        }
        self.kubectl("apply", "-f", "-", manifest=pool_manifest(name, **(defaults | spec)))

    def status(self, pool: str) -> Manifest:
        """A pool's status; empty when it has none."""
        found = self.kit.get(f"apis/corral.dev/v1alpha1/namespaces/{self.name}/workerpools/{pool}")
        assert found is not None, f"there is no pool {pool}"
        return dict(found.get("status") or {})

    def deployment(self, name: str) -> Manifest:
        found = self.kit.get(f"apis/apps/v1/namespaces/{self.name}/deployments/{name}")
        assert found is not None, f"there is no Deployment {name}"
        return found

    def replicas(self, pool: str) -> int:
        """What its Deployment asks for; an AssertionError while there is none."""
        return int(self.deployment(pool)["spec"]["replicas"])

    def pods(self, pool: str) -> list[Manifest]:
        """Its pods, without those that are ending."""
        rows = self.kit.listed(f"api/v1/namespaces/{self.name}/pods?labelSelector=corral.dev/pool={pool}")
        return [row for row in rows if "deletionTimestamp" not in row["metadata"]]

    def gone(self, pool: str) -> bool:
        """It is at zero, and its last pod has ended; an AssertionError with what there is when it is not."""
        rows = self.kit.listed(f"api/v1/namespaces/{self.name}/pods?labelSelector=corral.dev/pool={pool}")
        names = [row["metadata"]["name"] for row in rows]
        assert (self.replicas(pool), names) == (0, []), self.status(pool).get("decision", {}).get("text")
        return True

    # --- life ---

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self.kubectl: Kubectl = ends.enter_context(self.kit.namespace(self.name))
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start_redis(self) -> Self:
        """Make the Redis of the examples, and wait until it answers."""
        self.kit.run("kubectl apply -f manifests/examples/redis.yaml", namespace=self.name)
        self.await_redis()
        return self

    def await_redis(self) -> None:
        """Wait until Redis is Ready, and answers from this machine."""
        self.kubectl("rollout", "status", "deployment/redis", "--timeout=60s", within=65)
        if self.kit.node is not None:
            address = self.kubectl("get", "service", "redis", "-o", "jsonpath={.spec.clusterIP}")
            self._address = f"{address}:6379"
        else:
            forwarding = self._ends.enter_context(background(self.kubectl, "port-forward", "service/redis", ":6379"))
            assert forwarding.stdout is not None
            # Forwarding from 127.0.0.1:43210 -> 6379
            self._address = forwarding.stdout.readline().split()[2]
        eventually_sync(self.answers)

    def answers(self) -> bool:
        """Whether Redis can be reached."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


async def ended(queue: Queue, number: int) -> bool:
    """So many jobs are completed, and nothing else is there; an AssertionError with the counts when not."""
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.failed, counts.unfinished) == (number, 0, 0), counts
    return True


async def found(queue: Queue, job_id: str) -> Job:
    """A job that must be there."""
    job = await queue.get_job(job_id)
    assert job is not None, f"there is no job {job_id}"
    return job
