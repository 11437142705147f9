"""Scaling down under load, on a real cluster: no job is interrupted, whichever pods are chosen."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue
from kit_place import ended
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kit_place import Place

PODS, ROUNDS = 6, 10
"""Each round takes all pods but one: fifty scale-downs of a pod."""

# A pod that is told to end hands back what runs after two seconds: no job that it holds then would run once.
JOB_MS, GRACE = 3000, "4s"


def _sized(place: Place, name: str, replicas: int) -> None:
    place.kubectl("scale", "workerpool", name, f"--replicas={replicas}")


def _ready(place: Place, name: str) -> int:
    rows = [row["status"].get("conditions", ()) for row in place.pods(name)]
    return sum(any((row["type"], row["status"]) == ("Ready", "True") for row in conditions) for conditions in rows)


@asynccontextmanager
async def _load(queue: Queue, jobs: list[str]) -> AsyncIterator[None]:
    """There is always more to do than is done; `jobs` takes the ids of all."""
    over = asyncio.Event()

    async def feed() -> None:
        while not over.is_set():
            if (await queue.get_job_counts()).waiting < 2 * PODS:
                added = await queue.add_bulk([JobSpec("work", {"sleep": JOB_MS}) for _ in range(2 * PODS)])
                jobs.extend(job.id for job in added)
            await asyncio.sleep(0.2)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        over.set()
        await feeding


@pytest.mark.timeout(400, func_only=True)
async def test_no_job_is_interrupted_in_fifty_scale_downs_under_load(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    name, gone = "shrinking", 0
    jobs: list[str] = []
    place.pool(name, maxReplicas=PODS, gracePeriod=GRACE, replicas=PODS)
    async with Queue(name, redis=place.url) as queue:
        async with _load(queue, jobs):
            for _ in range(ROUNDS):
                _sized(place, name, PODS)
                await eventually(lambda: _ready(place, name) == PODS, 60)

                async def all_busy() -> bool:
                    return (await queue.get_job_counts()).active == PODS

                await eventually(all_busy, 30)
                before = {row["metadata"]["uid"] for row in place.pods(name)}
                _sized(place, name, 1)
                await eventually(lambda: place.replicas(name) == 1 and len(place.pods(name)) == 1, 40)
                gone += len(before - {row["metadata"]["uid"] for row in place.pods(name)})
            _sized(place, name, PODS)
        assert gone == ROUNDS * (PODS - 1)
        await eventually(lambda: ended(queue, len(jobs)), 60)
        twice = [pods for pods in place.starts(name, *jobs) if len(pods) != 1]
        assert twice == [], f"{len(twice)} of {len(jobs)} jobs were interrupted"
        for job_id in jobs:
            job = await queue.get_job(job_id)
            assert job is not None
            assert (job.attempts_made, job.stalled_counter) == (1, 0)
        record_property("jobs that ran exactly once through fifty scale-downs of a pod", len(jobs))
    annotated = [row["metadata"].get("annotations", {}) for row in place.pods(name)]
    assert not any("controller.kubernetes.io/pod-deletion-cost" in row for row in annotated)
    place.kubectl("delete", "workerpool", name)
