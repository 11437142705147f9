"""Who works for a pool, from what its workers say with their beats, or else from the jobs in their hands. Pure.

A beat is up to 3 s old, an idle worker's up to 10 s: a job that was taken since is not in it. So these numbers say who
held jobs a moment ago, and whether that accounts for all that is active. Whether a pod is safe to end, only its own word
says: `quiet`, with nothing in its hands. Silence is `hearing.py`'s matter.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from corral.beat_record import BeatState
from corral_operator.hearing import Hearing, Record, hear, records
from corral_operator.observed import Member, QueueReading, Reading, Staff, WorkerReading

_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]"
"""What Kubernetes makes the last two parts of a pod's name of."""

_OF_A_POD = re.compile(rf"{_GENERATED}{{1,10}}-{_GENERATED}{{5}}|\d+")
"""What follows the name of the Deployment. One pattern for all pools: one for each would be compiled at every look."""


class Rest(NamedTuple):
    """A pod without a job: how many it had taken by then, and since when."""

    taken: int
    since_s: float


@dataclass(frozen=True, slots=True)
class StaffMemory:
    """What is remembered from one look to the next; `rests` by pod."""

    hearing: Hearing = field(default_factory=Hearing)
    rests: Mapping[str, Rest] = field(default_factory=dict)
    beats: bool = False
    """Workers did beat when their records were read last."""


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker at all its queues."""

    id: str
    records: tuple[tuple[str, WorkerReading], ...]
    silent: bool

    @property
    def busy(self) -> int:
        return sum(row.beat.busy for _, row in self.records)

    @property
    def taken(self) -> int:
        return sum(row.beat.taken for _, row in self.records)

    @property
    def ordered_until_ms(self) -> int | None:
        """It obeys an order at any of its queues."""
        return max((row.quiet_until_ms for _, row in self.records if row.quiet_until_ms is not None), default=None)

    def outlived_by(self, others: Iterable["_Worker"]) -> bool:
        """It is silent, and all who are present have begun since: its container was started anew."""
        present = [other for other in others if not other.silent]
        last_ms = max(row.beat_ms for _, row in self.records)
        return self.silent and bool(present) and all(other.began_after(last_ms) for other in present)

    def began_after(self, moment_ms: int) -> bool:
        return any(row.beat.since is not None and row.beat.since > moment_ms for _, row in self.records)


def staff_of(
    readings: Iterable[Reading], memory: StaffMemory | None, now_s: float, *, workload: str
) -> tuple[Staff, StaffMemory]:
    """Who works at the pool's queues as of now; the pods of other pools at the same queues are among them.

    `readings` are those of all its queues, also the unknown; `now_s` is monotonic; `workload` is the pool's Deployment.
    Staff is complete when every queue is known and, at each of them, nothing is active; or workers that name their pod
    and are not silent told of as many jobs as are active, and no others hold any; or every active job names a worker
    that beats, or a pod of the workload.
    """
    readings, memory = tuple(readings), memory or StaffMemory()
    known = [row for row in readings if isinstance(row, QueueReading)]
    told = [row for row in known if row.workers is not None]
    whole = bool(readings) and len(told) == len(readings)
    hearing = hear(told, memory.hearing, now_s, whole=whole)
    crews = _crews(told, hearing, now_s)
    nameless = crews.pop("", [])
    rests = {pod: _rest(crew, memory.rests.get(pod), now_s) for pod, crew in crews.items() if _idle(crew)}
    blind = len(known) < len(readings)
    members = {pod: _member(pod, crew, rests.get(pod), blind=blind) for pod, crew in crews.items()}
    for pod, jobs in _holders(known).items():
        member = members.get(pod, Member(pod, jobs))
        members[pod] = member if member.busy is None else replace(member, busy=max(member.busy, jobs))
    complete = bool(readings) and not blind and all(_accounted(row, crews, nameless, workload) for row in known)
    beats = any(not worker.silent for crew in crews.values() for worker in crew)
    if not whole:
        beats = beats or memory.beats
    return Staff(members, beats, complete, hearing.redis_ms(now_s)), StaffMemory(hearing, rests, beats)


def _crews(told: Iterable[QueueReading], hearing: Hearing, now_s: float) -> dict[str, list[_Worker]]:
    """The workers by pod, those that name none under ""; without those that another has replaced."""
    rows_of: dict[str, list[tuple[str, WorkerReading]]] = defaultdict(list)
    for record, row in records(told):
        rows_of[record.worker].append((record.queue, row))
    crews: dict[str, list[_Worker]] = defaultdict(list)
    for name, rows in rows_of.items():
        pod = next((row.beat.pod for _, row in rows if row.beat.pod is not None), "")
        spans = ((hearing.silent_s(Record(queue, name), now_s), row.beat.silent_after_s) for queue, row in rows)
        crews[pod].append(_Worker(name, tuple(rows), silent=all(silent_s > most_s for silent_s, most_s in spans)))
    return {pod: [row for row in crew if not (pod and row.outlived_by(crew))] for pod, crew in crews.items()}


def _idle(crew: Sequence[_Worker]) -> bool:
    return not any(worker.busy or worker.silent for worker in crew)


def _rest(crew: Iterable[_Worker], before: Rest | None, now_s: float) -> Rest:
    """Anew when a job came and went since: it has not rested for as long as it looks."""
    taken = sum(worker.taken for worker in crew)
    return before if before is not None and before.taken == taken else Rest(taken, now_s)


def _member(pod: str, crew: Sequence[_Worker], rest: Rest | None, *, blind: bool) -> Member:
    busy = sum(worker.busy for worker in crew)
    silent = any(worker.silent for worker in crew)
    orders = [worker.ordered_until_ms for worker in crew]
    return Member(
        pod=pod,
        # None in its hands a while ago is nobody's word for now; a job may be one of a queue that cannot be read.
        busy=None if not busy and (silent or blind) else busy,
        quiet=not silent and all(row.beat.state is BeatState.QUIET for worker in crew for _, row in worker.records),
        silent=silent,
        idle_since_s=None if rest is None or blind else rest.since_s,
        workers=tuple((queue, worker.id) for worker in crew for queue, _ in worker.records),
        ordered_until_ms=None if None in orders else min(until for until in orders if until is not None),
    )


def _holders(known: Iterable[QueueReading]) -> dict[str, int]:
    """Jobs by the name of who runs them, over all queues where they were read; without those that name nobody."""
    jobs: dict[str, int] = defaultdict(int)
    for row in known:
        for name, number in (row.holders or {}).items():
            jobs[name] += number
    return {name: number for name, number in jobs.items() if name}


def _accounted(
    reading: QueueReading, crews: Mapping[str, Sequence[_Worker]], nameless: Sequence[_Worker], workload: str
) -> bool:
    """Whether it is known who holds the active jobs of this queue."""
    if not reading.active:
        return True
    if reading.holders is not None:
        return all(name in crews or is_pod_of(workload, name) for name in reading.holders)
    held = sum(_held(crew, reading.name) for crew in crews.values())
    return held >= reading.active and not _held(nameless, reading.name)


def _held(crew: Iterable[_Worker], name: str) -> int:
    """Jobs of a queue in the hands of the present ones; those of a silent one may be another's by now."""
    rows = (pair for worker in crew if not worker.silent for pair in worker.records)
    return sum(row.beat.busy for queue, row in rows if queue == name)


def is_pod_of(workload: str, name: str) -> bool:
    """Whether Kubernetes, or `corral up`, may have named a replica so: a name that all workers share is none of a pod."""
    start = f"{workload}-"
    return name.startswith(start) and _OF_A_POD.fullmatch(name, len(start)) is not None
