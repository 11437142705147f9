"""Queues that nobody takes from: ready jobs, ready pods, no worker present and nothing taken for two minutes.

Such a queue is in the list and not in the code. It must not drive the pool to its maximum. Workers of whatever pool
that beat at the queue are present there; those that do not beat are known by the jobs that they take and run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corral_operator.learning import Learned
from corral_operator.observed import Observed, QueueReading

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Untaken:
    """A queue from which nothing was taken since, and how many had been by then."""

    queue: str
    since_s: float
    taken: float


def watch(observed: Observed, learned: Mapping[str, Learned], before: tuple[Untaken, ...]) -> tuple[Untaken, ...]:
    """The queues that ready pods could serve and did not, as of now."""
    known = {row.queue: row for row in before}
    now_s, pods = observed.now_s, observed.pods
    rows: list[Untaken] = []
    for reading in observed.known:
        # A rate limit may rightly let nobody take for longer than that.
        if not reading.ready or reading.paused or reading.rate_max or not pods.staffed or _is_served(reading, observed):
            continue
        taken, row = learned[reading.name].taken, known.get(reading.name)
        rows.append(row if row and taken <= row.taken else Untaken(reading.name, now_s, taken))
    return tuple(rows)


def without_consumer(untaken: Iterable[Untaken], now_s: float) -> tuple[str, ...]:
    """Those of them that have gone on for too long."""
    return tuple(row.queue for row in untaken if now_s - row.since_s >= PATIENCE_S)


def _is_served(reading: QueueReading, observed: Observed) -> bool:
    """Somebody is there. A worker whose age nobody can tell counts as present."""
    # Where the pool's own workers beat, an active job without a worker is one that was left behind.
    if reading.active and not observed.staff.beats:
        return True
    redis_ms = observed.staff.redis_ms
    return any(
        redis_ms is None or redis_ms - row.beat_ms <= row.beat.silent_after_s * 1000 for row in reading.workers or ()
    )
