"""Pods that end in the middle of jobs: told to, rolled over, killed, out of memory. No job is lost, and told ones run once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import Queue
from kit_place import ended, found
from waiting import eventually

if TYPE_CHECKING:
    from kit import Kit
    from kit_place import Place
    from kubectl import Manifest


@pytest.mark.timeout(90, func_only=True)
async def test_a_rollout_restart_in_the_middle_of_long_jobs_starts_none_of_them_twice(place: Place) -> None:
    place.pool("rolled", minReplicas=2, concurrency=2, gracePeriod="30s")
    async with Queue("rolled", redis=place.url) as queue:
        await eventually(lambda: len(_ready(place, "rolled")) == 2, 40)
        before = _names(place.pods("rolled"))
        jobs = [(await queue.add("long", {"sleep": 4000})).id for _ in range(12)]
        await eventually(lambda: sum(map(bool, place.starts("rolled", *jobs))) == 4)
        place.kubectl("rollout", "restart", "deployment/rolled")
        restarted = _restarted_at(place.deployment("rolled"))
        place.kubectl("rollout", "status", "deployment/rolled", "--timeout=60s", within=65)
        await eventually(lambda: ended(queue, len(jobs)), 40)
        starts = place.starts("rolled", *jobs)
        assert [len(pods) for pods in starts] == [1] * len(jobs)
        used = {pod for (pod,) in starts}
        assert used & before
        assert used - before, "none was left for the new pods"
        assert _restarted_at(place.deployment("rolled")) == restarted, "the operator took it away"
    place.kubectl("delete", "workerpool", "rolled")


@pytest.mark.timeout(90, func_only=True)
async def test_a_deleted_pod_finishes_short_jobs_and_hands_back_long_ones_which_costs_no_attempt(place: Place) -> None:
    place.pool("deleted", maxReplicas=1, concurrency=2, gracePeriod="7s")
    async with Queue("deleted", redis=place.url) as queue:
        # Its last 2 s are for handing back: one job is shorter than what is left, the other one longer.
        short = (await queue.add("short", {"sleep": 3000})).id
        long = (await queue.add("long", {"sleep": 8000})).id
        await eventually(lambda: all(place.starts("deleted", short, long)), 30)
        (pod,) = _names(place.pods("deleted"))
        place.kubectl("delete", "pod", pod, "--wait=false")
        await eventually(lambda: ended(queue, 2), 50)
        (in_place,), (first, second) = place.starts("deleted", short, long)
        assert (in_place, first) == (pod, pod)
        assert second != pod
        for job in (await found(queue, short), await found(queue, long)):
            assert (job.attempts_made, job.stalled_counter) == (1, 0)
        assert (await found(queue, short)).processed_by == pod
        assert (await found(queue, long)).processed_by == second


@pytest.mark.timeout(90, func_only=True)
async def test_the_jobs_of_a_killed_pod_are_recovered(kit: Kit, place: Place) -> None:
    if kit.node is None:
        pytest.skip("the processes of a cluster of the user's are not ours to kill")
    place.pool("killed", worker="quick", maxReplicas=2, concurrency=2)
    async with Queue("killed", redis=place.url) as queue:
        jobs = [(await queue.add("long", {"sleep": 6000})).id for _ in range(3)]
        # The victim holds a job, and the other one may look after it.
        await eventually(lambda: all(place.starts("killed", *jobs)), 40)
        victim = place.starts("killed", jobs[0])[0][0]
        kit.kill(victim, place.name)
        await eventually(lambda: ended(queue, 3), 60)
        assert len(place.starts("killed", jobs[0])[0]) == 2
        await _every_start_is_explained(place, queue, jobs)


@pytest.mark.timeout(90, func_only=True)
async def test_a_worker_over_its_memory_limit_is_told_as_such_and_its_jobs_are_recovered(place: Place) -> None:
    # Two pods, so that one stays: a job each, and `eat` at the first start alone.
    limits = {"resources": {"limits": {"memory": "128Mi"}}}
    place.pool("fat", worker="quick", maxReplicas=2, concurrency=2, container=limits)
    async with Queue("fat", redis=place.url) as queue:
        eater = (await queue.add("eater", {"sleep": 1000, "eat": 256})).id
        beside = [(await queue.add("beside", {"sleep": 6000})).id for _ in range(3)]
        (told,) = await eventually(lambda: [row for pod in place.pods("fat") if (row := _last_end(pod))], 40)
        assert (told["reason"], told["exitCode"]) == ("OOMKilled", 137)
        await eventually(lambda: ended(queue, 4), 60)
        assert len(place.starts("fat", eater)[0]) == 2
        await _every_start_is_explained(place, queue, [eater, *beside])


@pytest.mark.timeout(150, func_only=True)
async def test_a_job_that_kills_every_worker_by_its_memory_is_told_with_its_id_and_the_limit(place: Place) -> None:
    limits = {"resources": {"limits": {"memory": "128Mi"}}}
    place.pool("greedy", worker="quick", maxReplicas=2, minReplicas=2, container=limits)
    async with Queue("greedy", redis=place.url) as queue:
        eater = (await queue.add("eater", {"sleep": 2000, "eat": 256, "eats": 9})).id
        told = await eventually(lambda: _poison(place.status("greedy")), 120)
        assert told["reason"] == "OutOfMemory"
        assert eater in told["message"]
        assert "128Mi" in told["message"]


def _poison(status: Manifest) -> Manifest | None:
    """The condition PoisonJobs while it is true."""
    rows = [row for row in status.get("conditions", ()) if (row["type"], row["status"]) == ("PoisonJobs", "True")]
    return rows[0] if rows else None


async def _every_start_is_explained(place: Place, queue: Queue, jobs: list[str]) -> None:
    """The first one, and one for each time that its worker was lost."""
    for job_id, pods in zip(jobs, place.starts(queue.name, *jobs), strict=True):
        assert len(pods) == 1 + (await found(queue, job_id)).stalled_counter


def _names(pods: list[Manifest]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def _ready(place: Place, pool: str) -> list[Manifest]:
    return [
        pod
        for pod in place.pods(pool)
        if all(row["ready"] for row in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]


def _last_end(pod: Manifest) -> Manifest | None:
    """How the pod's container ended before it was started again; None when it never was."""
    (status,) = pod["status"].get("containerStatuses") or [{"lastState": {}}]
    ended: Manifest | None = status["lastState"].get("terminated")
    return ended


def _restarted_at(deployment: Manifest) -> str:
    return str(deployment["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"])
