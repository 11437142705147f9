"""When a pool is to be looked at more closely, and what of it is suspicious. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from corral_operator.deaths import PodSeen
from corral_operator.findings import ORPHANED_JOBS, Inspected
from corral_operator.inspection import MOST_PARENTS, JobSeen, ParentSeen
from corral_operator.observed import Observed, QueueReading

EVERY_S = 30.0
ALERT_EVERY_S = 4.0
ALERT_S = 20.0
"""For so long after a sign of trouble it is looked at more often: a dead worker's jobs are put back within 15 s, and who
takes one anew writes over whose it was."""


def alerted_by(before: Inspected, observed: Observed, now_s: float) -> Inspected:
    """With the signs of this moment."""
    quiet = frozenset(name for name, member in observed.staff.members.items() if member.silent)
    pods = observed.pods
    lost = pods.ready < before.ready and pods.present >= before.present
    until_s = now_s + ALERT_S if lost or quiet - before.silent else before.alert_until_s
    if (quiet, pods.ready, pods.present, until_s) == (
        before.silent,
        before.ready,
        before.present,
        before.alert_until_s,
    ):
        return before
    return replace(before, silent=quiet, ready=pods.ready, present=pods.present, alert_until_s=until_s)


def is_due(before: Inspected, alerted: Inspected, now_s: float) -> bool:
    """Whether to look now: `before` as of the last moment, `alerted` as of this one."""
    if alerted.alert_until_s > before.alert_until_s:
        return True
    urgent = now_s < alerted.alert_until_s or bool(before.findings.of((ORPHANED_JOBS,)))
    return now_s - before.at_s >= (ALERT_EVERY_S if urgent else EVERY_S)


def nothing_to_see(before: Inspected, observed: Observed) -> bool:
    """Nobody works, waits or is silent, and no job has failed since somebody looked."""
    if (
        before.silent
        or observed.unknown
        or any(row.active or row.ready or row.waiting_children for row in observed.known)
    ):
        return False
    failed = failed_of(observed)
    told = before.findings
    return not failed or (told.looked and not told.rows and failed == before.failed)


def failed_of(observed: Observed) -> int:
    """Failed jobs of all queues."""
    return sum(row.failed for row in observed.known)


def gone_workers(observed: Observed) -> frozenset[str]:
    """Workers that left a record, and are not heard of any more."""
    now_ms, members = observed.staff.redis_ms, observed.staff.members.values()
    if now_ms is None:
        return frozenset()
    living = {worker for member in members if not member.silent for _, worker in member.workers}
    old = {
        row.beat.worker
        for reading in observed.known
        for row in reading.workers or ()
        if now_ms - row.beat_ms > row.beat.silent_after_s * 1000
    }
    return frozenset(old - living)


def suspects_of(jobs: Sequence[JobSeen], silent_pods: frozenset[str]) -> frozenset[tuple[str, str, int]]:
    """What the pods may explain."""
    told = {(job.queue, job.job_id, job.stalls) for job in jobs if job.alone or (job.stalls and job.ended_ms is None)}
    return frozenset(told | {("", pod, 0) for pod in silent_pods})


def is_stuck(name: str, pods: Mapping[str, PodSeen], observed: Observed, gone: frozenset[str]) -> bool:
    """Its container has been running since before the silent workers of this pod beat last: it is theirs."""
    pod = pods.get(name)
    if pod is None or pod.since_ms is None:
        return False
    beats = [
        row.beat_ms
        for reading in observed.known
        for row in reading.workers or ()
        if row.beat.pod == name and row.beat.worker in gone
    ]
    return max(beats, default=0) > pod.since_ms


def by_queue(parents: Sequence[ParentSeen]) -> dict[str, tuple[str, ...]]:
    """The ids of these parents, by queue."""
    queues: dict[str, list[str]] = {}
    for row in parents:
        queues.setdefault(row.queue, []).append(row.job_id)
    return {name: tuple(ids) for name, ids in queues.items()}


def next_place(reading: QueueReading, place: int) -> int:
    """Where the next look at its parents begins; round and round."""
    return place + MOST_PARENTS if place + MOST_PARENTS < reading.waiting_children else 0
