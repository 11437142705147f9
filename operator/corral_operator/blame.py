"""Which jobs harm their workers: judged by lost workers and dead containers, never by how often a job was started. Pure.

A hand-back, a rate limit and a delay start a job anew without any harm, and none of them raises `stc`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from corral_operator.deaths import Death, PodSeen
from corral_operator.inspection import JobSeen, Place

Row = TypeVar("Row")

TWICE = 2
"""So many lost workers are no accident any more, whatever they died of."""

FAILED_FOR_MS = 3_600_000
"""A job that was given up longer ago is nobody's news."""

REMEMBERED = 100
"""Jobs of a pool that are remembered at most."""


class JobKey(NamedTuple):
    """A job of a pool."""

    queue: str
    job_id: str


class Hold(NamedTuple):
    """In which pod a job was, and when it was taken there."""

    pod: str
    taken_ms: int


@dataclass(frozen=True, slots=True)
class Cases:
    """What is remembered of jobs between two looks."""

    holds: Mapping[JobKey, Hold] = field(default_factory=dict)
    """Where the active jobs were at the look before: who takes a job anew overwrites it."""
    stalls: Mapping[JobKey, int] = field(default_factory=dict)
    """How often those had lost their worker by then that had."""
    deaths: Mapping[JobKey, Death] = field(default_factory=dict)
    """The container that died with a job in its hands, the latest of a job."""

    def of(self, queue: str) -> tuple[str, ...]:
        """The jobs of a queue that a death is remembered of."""
        return tuple(key.job_id for key in self.deaths if key.queue == queue)


def with_jobs(cases: Cases, jobs: Iterable[JobSeen], pods: Mapping[str, PodSeen] | None) -> Cases:
    """As of this look. `pods`: None when nobody looked at them. What has ended well, or is gone, is forgotten."""
    holds: dict[JobKey, Hold] = {}
    stalls: dict[JobKey, int] = {}
    deaths: dict[JobKey, Death] = {}
    for job in jobs:
        key = JobKey(job.queue, job.job_id)
        if job.place is Place.ACTIVE and (hold := _hold(job)) is not None:
            holds[key] = hold
        if job.stalls:
            stalls[key] = job.stalls
        death = _death(job, cases, pods or {})
        if death is not None and (job.stalls or job.place is Place.ACTIVE) and (job.ended_ms is None or job.given_up):
            deaths[key] = death
    return Cases(_latest(holds), _latest(stalls), _latest(deaths))


def _death(job: JobSeen, cases: Cases, pods: Mapping[str, PodSeen]) -> Death | None:
    """The container that died with this job in its hands; the one that is remembered, if no other.

    Who waits may have been handed back in time: only with one more lost worker did the job go down with the container.
    """
    key, now = JobKey(job.queue, job.job_id), _hold(job)
    lost = job.stalls > cases.stalls.get(key, 0)
    holds = [now if lost or job.place is Place.ACTIVE else None, cases.holds.get(key) if lost else None]
    found = [
        death
        for hold in holds
        if hold is not None and hold.pod in pods
        for death in pods[hold.pod].deaths
        if death.struck(hold.taken_ms)
    ]
    return max(found, key=lambda row: row.ended_ms, default=cases.deaths.get(key))


def _hold(job: JobSeen) -> Hold | None:
    return None if job.worker is None or job.taken_ms is None else Hold(job.worker, job.taken_ms)


def _latest(rows: dict[JobKey, Row]) -> dict[JobKey, Row]:
    return dict([*rows.items()][-REMEMBERED:])


def poisonous(job: JobSeen, cases: Cases, wall_ms: int) -> bool:
    """Whether a job is to be told of as one that harms its workers."""
    if job.place is Place.FAILED:
        return job.given_up and job.ended_ms is not None and wall_ms - job.ended_ms < FAILED_FOR_MS
    if job.ended_ms is not None:
        return False
    return job.stalls >= TWICE or (job.stalls > 0 and JobKey(job.queue, job.job_id) in cases.deaths)
