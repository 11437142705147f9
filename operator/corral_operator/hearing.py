"""When each worker was heard of last, by our own clock, and what time it is for Redis. Pure.

A host's clock may be anything: beats carry Redis' time, silence is measured by our monotonic clock, and Redis' time of
now is estimated from the newest beat.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corral_operator.history import UNSEEN_S
from corral_operator.observed import QueueReading, WorkerReading

FORGOTTEN_S = 300.0
"""A worker is remembered for so long while its queue cannot be read. Redis forgets the silent ones then, too."""


class Record(NamedTuple):
    """Where a worker's record lies."""

    queue: str
    worker: str


class Heard(NamedTuple):
    """The beat of a record; when it came, and when it was read last, by our monotonic clock."""

    beat_ms: int
    at_s: float
    read_s: float


class Clock(NamedTuple):
    """A moment of Redis' time, and when it had come at the latest, by our monotonic clock."""

    ms: int
    at_s: float

    def now_ms(self, now_s: float) -> int:
        return self.ms + round((now_s - self.at_s) * 1000)


@dataclass(frozen=True, slots=True)
class Hearing:
    """The records that were read, and those that could not be read lately."""

    heard: Mapping[Record, Heard] = field(default_factory=dict)
    clock: Clock | None = None

    def silent_s(self, record: Record, now_s: float) -> float:
        """Seconds since the worker of a record was heard of."""
        return now_s - self.heard[record].at_s

    def redis_ms(self, now_s: float) -> int | None:
        """Redis' time now; it may be later by the time between a beat and our look at it."""
        return None if self.clock is None else self.clock.now_ms(now_s)


def hear(told: Iterable[QueueReading], before: Hearing, now_s: float, *, whole: bool) -> Hearing:
    """Take in the readings of queues that tell of their workers; `whole`: there are no other queues."""
    rows = tuple(records(told))
    clock = _clock(rows, before, now_s)
    heard = _heard(rows, before, clock, now_s)
    lost = {} if whole else {record: row for record, row in before.heard.items() if now_s - row.read_s < FORGOTTEN_S}
    return Hearing({**lost, **heard}, clock)


def records(told: Iterable[QueueReading]) -> Iterable[tuple[Record, WorkerReading]]:
    """Every record, with what it says."""
    return ((Record(row.name, worker.beat.worker), worker) for row in told for worker in row.workers or ())


def _clock(rows: Iterable[tuple[Record, WorkerReading]], before: Hearing, now_s: float) -> Clock | None:
    """Redis' time as late as any new beat makes it; earlier only when it was set back (by a failover, say)."""
    fresh: list[int] = []
    fallen: list[int] = []
    for record, row in rows:
        last = before.heard.get(record)
        if last is None or row.beat_ms > last.beat_ms:
            fresh.append(row.beat_ms)
        elif row.beat_ms < last.beat_ms:
            fallen.append(row.beat_ms)
    if fallen:
        return Clock(max(fallen), now_s)
    newest = max(fresh, default=None)
    if newest is None or (before.clock is not None and before.clock.now_ms(now_s) >= newest):
        return before.clock
    return Clock(newest, now_s)


def _heard(
    rows: Iterable[tuple[Record, WorkerReading]], before: Hearing, clock: Clock | None, now_s: float
) -> dict[Record, Heard]:
    heard: dict[Record, Heard] = {}
    redis_ms = None if clock is None else clock.now_ms(now_s)
    for record, row in rows:
        last = before.heard.get(record)
        old_s = 0.0 if redis_ms is None else max(0.0, (redis_ms - row.beat_ms) / 1000)
        if last is None:
            at_s = now_s - old_s
        elif last.beat_ms != row.beat_ms:
            at_s = max(last.read_s, now_s - old_s)
        else:
            # While nobody could look it may have beaten unseen; nor could it, if Redis was away.
            unseen_s = now_s - last.read_s
            at_s = last.at_s + (unseen_s if unseen_s > UNSEEN_S else 0.0)
        heard[record] = Heard(row.beat_ms, at_s, now_s)
    return heard
