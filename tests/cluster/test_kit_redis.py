"""Redis under the kit: it crashes and comes back, and its password changes."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from corral import Queue
from kit_place import ended, found
from operating import patch
from waiting import eventually

if TYPE_CHECKING:
    from kit import Kit
    from kit_place import Place
    from kubectl import Manifest


@pytest.mark.timeout(150, func_only=True)
async def test_a_redis_that_crashes_and_comes_back_loses_no_job(kit: Kit, own_place: Place) -> None:
    if kit.node is None:
        pytest.skip("the processes of a cluster of the user's are not ours to kill")
    own_place.pool("crashed", maxReplicas=2, concurrency=2)
    async with Queue("crashed", redis=own_place.url) as queue:
        jobs = [(await queue.add("job", {"sleep": 4000})).id for _ in range(10)]
        await eventually(lambda: sum(map(bool, own_place.starts("crashed", *jobs))) >= 4, 40)
        written = own_place.deployment("crashed")["metadata"]["generation"]
        # After its second crash the kubelet lets it lie for ten seconds.
        pod = _redis_pod(own_place)["metadata"]["name"]
        kit.kill(pod, own_place.name)
        await eventually(lambda: _restarts(own_place) == 1, 20)
        kit.kill(pod, own_place.name)
        await eventually(lambda: _told(own_place, "crashed", "RedisReachable") == "False", 10)
        assert own_place.deployment("crashed")["metadata"]["generation"] == written
        await eventually(own_place.answers, 30)
        more = (await queue.add("more", {})).id
        await eventually(lambda: ended(queue, len(jobs) + 1), 90)
        assert all(own_place.starts("crashed", *jobs, more))
        await eventually(lambda: _told(own_place, "crashed", "RedisReachable") == "True", 20)
        await eventually(lambda: own_place.gone("crashed"), 40)


@pytest.mark.timeout(150, func_only=True)
async def test_a_new_password_in_the_secret_rolls_the_pool_and_no_job_starts_twice(own_place: Place) -> None:
    own_place.pool("rotated", minReplicas=1, maxReplicas=1, concurrency=2, gracePeriod="30s")
    async with Queue("rotated", redis=own_place.url) as queue:
        (before,) = await eventually(lambda: _names(own_place))
        # The new login is there before anybody uses it, and the old one goes when nobody does any more.
        fresh = own_place.inner_url.replace("redis://:change-me@", "redis://workers:fresh@")
        with own_place.client() as client:
            client.acl_setuser(
                "workers", enabled=True, passwords=["+fresh"], categories=["+@all"], keys=["*"], channels=["*"]
            )
        patch(own_place.kubectl, "secret", "redis", {"data": {"url": b64encode(fresh.encode()).decode()}})
        # The operator believes a Secret for a minute.
        jobs: list[str] = []

        async def rolled() -> bool:
            # There is always one that runs.
            if not jobs or own_place.starts("rotated", jobs[-1])[0]:
                jobs.append((await queue.add("job", {"sleep": 2000})).id)
            return before not in _names(own_place)

        await eventually(rolled, 100)
        await eventually(lambda: ended(queue, len(jobs)), 30)
        assert [len(pods) for pods in own_place.starts("rotated", *jobs)] == [1] * len(jobs)
    async with Queue("rotated", redis=own_place.url_for(fresh)) as queue:
        with own_place.client() as client:
            client.config_set("requirepass", "nobody-knows")
            client.client_kill_filter(_type="normal", skipme=True)
        job = await queue.add("job", {})
        await eventually(lambda: ended(queue, len(jobs) + 1), 30)
        assert (await found(queue, job.id)).processed_by in _names(own_place)
        await eventually(lambda: _told(own_place, "rotated", "RedisReachable") == "True", 20)


def _names(place: Place) -> list[str]:
    return [pod["metadata"]["name"] for pod in place.pods("rotated")]


def _redis_pod(place: Place) -> Manifest:
    (pod,) = place.kit.listed(f"api/v1/namespaces/{place.name}/pods?labelSelector=app=redis")
    return pod


def _restarts(place: Place) -> int | None:
    """How often its Redis was started again; None while it does not run."""
    (status,) = _redis_pod(place)["status"]["containerStatuses"]
    return int(status["restartCount"]) if "running" in status["state"] else None


def _told(place: Place, pool: str, kind: str) -> str | None:
    rows = place.status(pool).get("conditions", ())
    return next((row["status"] for row in rows if row["type"] == kind), None)
