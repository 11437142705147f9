"""The door onto this machine: replicas are local processes, and the same loop decides how many (`corral up`).

Pools come from a file and their Secret is one address; a Deployment is a number and a list of processes.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corral.errors import ConfigurationError
from corral_operator.autoscaler import Autoscaler
from corral_operator.deployment import Deployment, Key
from corral_operator.local_environment import container_environment, elsewhere, expanded, inherited
from corral_operator.obituary import obituaries
from corral_operator.pool_file import command_of, worker_of
from corral_operator.refusal import ApiError
from corral_operator.render import POOL, RENDERED, deployment
from corral_operator.replica import Replica, ReplicaState
from corral_operator.secret import SecretProblem, read_secret
from corral_operator.spec import PoolSpec, Runtime, read_spec
from corral_operator.table import Pool

LOOK_S = 0.1
"""Seconds between two looks at the processes: they have no event to wait for."""

REPLICA_DIED = "ReplicaDied"

Told = Callable[[Pool, str, str, bool], None]
"""An event: the pool, its reason, its text, and whether it is a warning."""


@dataclass(slots=True)
class _Workload:
    """One Deployment: what was asked for, and what runs."""

    pool: Pool
    manifest: Mapping[str, Any]
    replicas: int = 0
    version: int = 1
    generation: int = 1
    made: int = 0
    running: list[Replica] = field(default_factory=list)


class Processes:
    """`pools` as read from a file; `url` is the address of Redis that every Secret holds.

    `folder` takes the logs; `told` hears of every event. With `writes` False no process is ever started.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        url: str,
        folder: Path,
        environ: Mapping[str, str],
        *,
        told: Told,
        writes: bool = True,
    ) -> None:
        self.writes = writes
        self.in_cluster = False
        self._pools = {pool.key: pool for pool in pools}
        self._url = url
        self._folder = folder
        self._environ = dict(environ)
        self._told = told
        self._workloads: dict[Key, _Workload] = {}

    # --- the door ---

    async def pools(self) -> tuple[list[Pool], int]:
        """As Door says; so are the next ones."""
        return list(self._pools.values()), 0

    async def deployments(self) -> tuple[list[Deployment], int]:
        return [_deployment(workload) for workload in self._workloads.values()], 0

    async def deployment(self, key: Key) -> Deployment | None:
        workload = self._workloads.get(key)
        return _deployment(workload) if workload is not None else None

    async def secret(self, key: Key) -> Mapping[str, str]:
        return self._content()

    async def pods(self, namespace: str, selector: str) -> list[Mapping[str, Any]]:
        name = selector.partition("=")[2]
        workload = self._workloads.get(Key(namespace, name))
        return [replica.pod() for replica in workload.running] if workload is not None else []

    async def autoscalers(self, namespace: str) -> list[Autoscaler]:
        return []

    async def create(self, manifest: Mapping[str, Any]) -> Deployment:
        key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if key in self._workloads:
            raise ApiError(409, "AlreadyExists", f"{key} is there already")
        workload = self._workloads[key] = _Workload(self._pools[key], manifest)
        return _deployment(workload)

    async def update(self, manifest: Mapping[str, Any], known: Deployment) -> Deployment:
        workload = self._workloads[known.key]
        workload.manifest = manifest
        workload.version += 1
        return _deployment(workload)

    async def scale(self, key: Key, replicas: int, uid: str) -> int:
        workload = self._workloads[key]
        if not self.writes:
            return workload.version  # what decided so did not know yet that all are ending
        workload.replicas = replicas
        workload.generation += 1
        workload.version += 1
        living = [replica for replica in workload.running if replica.state is not ReplicaState.ENDING]
        # As Kubernetes chooses: those that are not ready first, then the lowest deletion cost, then the youngest.
        victims = sorted(living, key=lambda row: (row.state is ReplicaState.READY, int(row.cost or 0), -row.created_at))
        for replica in victims[: max(0, len(living) - replicas)]:
            replica.stop()
        for _ in range(replicas - len(living)):
            self._start(workload)
        return workload.version

    async def mark(self, namespace: str, pod: str, uid: str, cost: str | None) -> None:
        for replica in self._all():
            if replica.name == pod and replica.uid == uid:
                replica.cost = cost

    async def write_status(self, pool: Pool, status: Mapping[str, Any]) -> Pool:
        known = self._pools[pool.key]
        self._pools[pool.key] = replace(known, status=status, version=known.version + 1)
        return self._pools[pool.key]

    async def tell(self, pool: Pool, reason: str, text: str, *, warning: bool = False) -> None:
        self._told(pool, reason, text, warning)

    # --- the processes ---

    def check(self, pool: Pool) -> list[str]:
        """What a replica of this pool will miss here, though it can be run. Raises ConfigurationError when it cannot."""
        spec = read_spec(pool.key.name, pool.key.namespace, pool.spec)
        try:
            secret = read_secret(spec.redis_secret, self._content())
        except SecretProblem as error:
            raise ConfigurationError(f"the address of Redis: {error.text}") from None
        manifest = deployment(spec, secret, pool_uid=pool.uid)
        self._environment(spec, manifest, f"{pool.key.name}-1")
        return [
            f"{name} (envFrom) is not here; set what the worker needs of it in the environment of corral up"
            for name in elsewhere(worker_of(manifest["spec"]["template"]))
        ]

    def replicas(self, key: Key) -> Sequence[Replica]:
        """Those of a pool."""
        workload = self._workloads.get(key)
        return tuple(workload.running) if workload is not None else ()

    def make_automatic(self, key: Key) -> Pool | None:
        """Take a number away that was set by hand; gives the pool as it is then, None when there is nothing to take."""
        known = self._pools.get(key)
        if known is None or known.spec.get("replicas") is None:
            return None
        spec = {name: value for name, value in known.spec.items() if name != "replicas"}
        self._pools[key] = replace(known, spec=spec, generation=known.generation + 1, version=known.version + 1)
        return self._pools[key]

    async def run(self, changed: Callable[[Deployment], None]) -> None:
        """Watch over the processes until cancelled; `changed` hears of every Deployment that did."""
        while True:
            for workload in await self._look():
                changed(_deployment(workload))
            await asyncio.sleep(LOOK_S)

    async def drain(self) -> None:
        """SIGTERM to all, and back when they are gone. From now on none is started, whatever is decided."""
        self.writes = False
        for replica in self._all():
            replica.stop()
        while self._all():
            await self._look()
            await asyncio.sleep(LOOK_S)

    def hurry(self) -> None:
        """Those that are ending hand their jobs back now."""
        for replica in self._all():
            replica.hurry()

    def kill(self) -> None:
        """Nothing is left behind."""
        for replica in self._all():
            replica.kill()

    def _content(self) -> Mapping[str, str]:
        return {"url": base64.b64encode(self._url.encode()).decode()}

    def _all(self) -> list[Replica]:
        return [replica for workload in self._workloads.values() for replica in workload.running]

    async def _look(self) -> list[_Workload]:
        """What became of each process; gives the workloads that changed."""
        changed = []
        # A copy: a Deployment may be made meanwhile.
        for workload in tuple(self._workloads.values()):
            news = await asyncio.gather(*(replica.look() for replica in workload.running))
            for text in obituaries(workload.running):
                self._told(workload.pool, REPLICA_DIED, text, True)
            workload.running = [row for row in workload.running if row.state is not ReplicaState.GONE]
            if any(news):
                workload.version += 1
                changed.append(workload)
        return changed

    def _start(self, workload: _Workload) -> None:
        pool = workload.pool
        spec = read_spec(pool.key.name, pool.key.namespace, pool.spec)
        workload.made += 1
        name = f"{pool.key.name}-{workload.made}"
        environment = self._environment(spec, workload.manifest, name)
        replica = Replica(
            name=name,
            command=[expanded(word, environment) for word in command_of(pool)],
            environment=environment,
            log=self._folder / f"{name}.log",
            probed=spec.runtime is Runtime.CORRAL,
            grace_s=spec.grace_s,
        )
        workload.running.append(replica)
        replica.start()

    def _environment(self, spec: PoolSpec, manifest: Mapping[str, Any], name: str) -> dict[str, str]:
        values = container_environment(
            worker_of(manifest["spec"]["template"]),
            pool=spec.name,
            secret_name=spec.redis_secret,
            secret={"url": self._url},
            fields={"metadata.name": name, "metadata.namespace": spec.namespace},
            environ=self._environ,
        )
        return {**inherited(self._environ), **values}


def _deployment(workload: _Workload) -> Deployment:
    living = [row for row in workload.running if row.state is not ReplicaState.ENDING]
    return Deployment(
        key=workload.pool.key,
        uid=f"local-{workload.pool.key}",
        version=workload.version,
        generation=workload.generation,
        observed_generation=workload.generation,
        owner_uid=workload.pool.uid,
        selector=f"{POOL}={workload.pool.key.name}",
        replicas=workload.replicas,
        total=len(living),
        ready=sum(row.state is ReplicaState.READY for row in living),
        updated=len(living),
        terminating=len(workload.running) - len(living),
        rendered=workload.manifest["metadata"]["annotations"][RENDERED],
        replicas_claimed=True,
        quota_text=None,
        stuck=False,
    )
