"""What goes wrong with a pool's jobs and pods, found by looking closer now and then. Pure.

The kinds are part of the API: reasons of conditions and of events, and labels of a metric.

    kind             condition    what was found
    --------------   ----------   ---------------------------------------------------------------------------------
    OutOfMemory      PoisonJobs   jobs that were lost when their worker's container was killed for want of memory
    ContainerDied    PoisonJobs   jobs that were lost when their worker's container died of something else
    StalledTwice     PoisonJobs   jobs that lost their worker twice or more often, whatever became of it
    SilentWorkers    Stuck        workers that are not heard of, though their pod runs
    OrphanedJobs     Stuck        active jobs whose worker is gone
    WaitingParents   Stuck        parents that wait for children of which none will end
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from corral_operator.blame import Cases, JobKey, poisonous
from corral_operator.deaths import OOM_KILLED, Death
from corral_operator.inspection import JobSeen, ParentSeen, Place
from corral_operator.sentences import count

OUT_OF_MEMORY = "OutOfMemory"
CONTAINER_DIED = "ContainerDied"
STALLED_TWICE = "StalledTwice"
SILENT_WORKERS = "SilentWorkers"
ORPHANED_JOBS = "OrphanedJobs"
WAITING_PARENTS = "WaitingParents"

POISON = (OUT_OF_MEMORY, CONTAINER_DIED, STALLED_TWICE)
STUCK = (SILENT_WORKERS, ORPHANED_JOBS, WAITING_PARENTS)
KINDS = (*POISON, *STUCK)

NAMED = 5
"""So many jobs, parents or pods are named; the others are counted."""

ID_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is a constant of the API: the reason of a condition and of an event; `text` names jobs and the cure;
    `number` is how many of them there are."""

    kind: str
    text: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class Findings:
    """`looked`: somebody looked at all; without it, nothing is known."""

    rows: tuple[Finding, ...] = ()
    looked: bool = False

    def of(self, kinds: Sequence[str]) -> tuple[Finding, ...]:
        """Those of some kinds, in the order of these."""
        return tuple(row for kind in kinds for row in self.rows if row.kind == kind)


NOTHING_LOOKED_AT = Findings()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is remembered of a pool between two looks. Times are of the loop's clock, in seconds."""

    at_s: float
    """When the last look was."""
    alert_until_s: float = float("-inf")
    """Something has just happened: look more often until then."""
    silent: frozenset[str] = frozenset()
    """Pods whose workers were silent."""
    ready: int = 0
    present: int = 0
    failed: int = 0
    suspects: frozenset[tuple[str, str, int]] = frozenset()
    """Why pods were listed last: jobs with how often each had lost its worker, and silent pods."""
    cases: Cases = field(default_factory=Cases)
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parents that wait for ever, by queue."""
    places: Mapping[str, int] = field(default_factory=dict)
    """How far in the line of its parents each queue was looked at."""
    findings: Findings = NOTHING_LOOKED_AT


def poison(jobs: Iterable[JobSeen], cases: Cases, wall_ms: int) -> list[Finding]:
    """Jobs that harm their workers: a finding for each container that died with them, and one for all the others."""
    by_death: dict[Death | None, list[JobSeen]] = {}
    for job in jobs:
        if poisonous(job, cases, wall_ms):
            by_death.setdefault(cases.deaths.get(JobKey(job.queue, job.job_id)), []).append(job)
    return [_stalled(rows) if death is None else _dead(death, rows) for death, rows in by_death.items()]


def _dead(death: Death, jobs: Sequence[JobSeen]) -> Finding:
    names, those = _names(jobs), "it was" if len(jobs) == 1 else "they were"
    when = f"{names} ran in pod {death.pod} when its worker"
    also = "" if len(jobs) == 1 else " Which of them did it is not to be seen: give it a pool of its own to find out."
    if death.reason == OOM_KILLED:
        limit = "" if death.memory is None else f", its memory limit is {death.memory}"
        text = (
            f"{when} was killed for want of memory ({OOM_KILLED}{limit}); {those} put back and will be run again. "
            "Raise the memory limit of the container, lower spec.concurrency, or let the job need less."
        )
        return Finding(OUT_OF_MEMORY, text + also, len(jobs))
    text = (
        f"{when} died ({_shown(death.reason)}, exit code {death.exit_code}); {those} put back and will be run again. "
        f"See why with `kubectl logs {death.pod} --previous`, and remove the job if it is at fault."
    )
    return Finding(CONTAINER_DIED, text + also, len(jobs))


def _stalled(jobs: Sequence[JobSeen]) -> Finding:
    most = max(job.stalls for job in jobs)
    given_up = sum(job.place is Place.FAILED for job in jobs)
    ended = f"; {given_up:,} of them failed for it" if given_up else ""
    text = (
        f"{_names(jobs)} lost the worker up to {count(most, 'time')}{ended}. A job that blocks or ends its process does "
        "so: look at the logs of the pods that had it, then correct it or remove it. A lost Redis does it to all jobs alike."
    )
    return Finding(STALLED_TWICE, text, len(jobs))


def orphans(jobs: Iterable[JobSeen], *, beats: bool, ready: int) -> list[Finding]:
    """Active jobs whose worker is gone. `beats`: the pool's workers beat; `ready`: its pods that could recover them."""
    alone = [job for job in jobs if job.alone]
    if not alone:
        return []
    within = "15 s" if beats else "60 s, two of the looks for stalled jobs"
    then = (
        f"the other workers put them back within {within}"
        if ready
        else f"no pod is ready; the first that is puts them back within {within}"
    )
    text = (
        f"{_names(alone)} {'is' if len(alone) == 1 else 'are'} active, but the worker is gone; {then}. If this lasts, see "
        "whether the pods become ready and reach Redis."
    )
    return [Finding(ORPHANED_JOBS, text, len(alone))]


def silent(pods: Iterable[str]) -> list[Finding]:
    """Workers that are not heard of though their container runs, by their pods."""
    names = [_shown(pod) for pod in sorted(pods)]
    if not names:
        return []
    text = (
        f"Nothing is heard of workers in {_list(names)}, though the containers run. Does a processor block the whole "
        "process, is the CPU limit too low, or is Redis out of reach from there? Their jobs are put back for others. "
        "Ending them is left to the liveness probe; to help now, delete the pods."
    )
    return [Finding(SILENT_WORKERS, text, len(names))]


_CURES = {
    "gone": "is no more: add a job with that id under this parent, or remove the parent and add the flow anew",
    "failed": "has failed: retry it, or let the parent go on with its remove_child_dependency",
    "completed": "has completed all the same: let the parent go on with its remove_child_dependency",
}


def waiting(parents: Iterable[ParentSeen]) -> list[Finding]:
    """Parents that nothing will release."""
    rows = sorted(parents)
    if not rows:
        return []
    told = [
        f"{_job(row.queue, row.job_id)} has no open child: remove it and add the flow anew"
        if row.child is None
        else f"{_job(row.queue, row.job_id)} waits for {_shown(row.child)}, which {_CURES[row.fate]}"
        for row in rows
    ]
    return [Finding(WAITING_PARENTS, f"A parent that nothing releases: {_list(told, '; ')}.", len(rows))]


def _names(jobs: Sequence[JobSeen]) -> str:
    rows = sorted(_job(job.queue, job.job_id) for job in jobs)
    return _list(rows)


def _job(queue: str, job_id: str) -> str:
    return f"job {_shown(job_id)} of {queue}"


def _list(rows: Sequence[str], sign: str = ", ") -> str:
    """The first few, and how many more."""
    more = len(rows) - NAMED
    return sign.join(rows[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _shown(text: str) -> str:
    """A name that somebody else chose, in a line of ours."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return plain if len(plain) <= ID_LENGTH else plain[: ID_LENGTH - 1] + "…"
