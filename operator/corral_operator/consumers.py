"""Queues that nobody takes from: ready jobs, ready pods, none active and nothing taken for two minutes.

Such a queue is in the list and not in the code (or its workers are stuck). It must not drive the pool to its maximum.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corral_operator.learning import Learned
from corral_operator.observed import Pods, QueueReading

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Untaken:
    """A queue from which nothing was taken since, and how many had been by then."""

    queue: str
    since_s: float
    taken: float


def watch(
    readings: Iterable[QueueReading],
    learned: Mapping[str, Learned],
    pods: Pods,
    before: tuple[Untaken, ...],
    now_s: float,
) -> tuple[Untaken, ...]:
    """The queues that ready pods could serve and did not, as of now."""
    known = {row.queue: row for row in before}
    rows: list[Untaken] = []
    for reading in readings:
        # A rate limit may rightly let nobody take for longer than that.
        if not reading.ready or reading.active or reading.paused or reading.rate_max or not pods.staffed:
            continue
        taken, row = learned[reading.name].taken, known.get(reading.name)
        rows.append(row if row and taken <= row.taken else Untaken(reading.name, now_s, taken))
    return tuple(rows)


def without_consumer(untaken: Iterable[Untaken], now_s: float) -> tuple[str, ...]:
    """Those of them that have gone on for too long."""
    return tuple(row.queue for row in untaken if now_s - row.since_s >= PATIENCE_S)
