"""What the workers of a queue told of their work from one reading to the next. Pure.

A worker counts from its own start. One that is in both readings has done the difference; one that began in between has
done all that it tells, and any other new one (it was cut off for long, say) nothing that is known. One that is gone
tells no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from corral.beat_record import Beat
from corral_operator.observed import QueueReading, WorkerReading

_ALLOWANCE_S = 1.0
"""Two clocks measure the time between two readings: Redis' and ours."""


class Work(NamedTuple):
    """`seconds` are slot-seconds."""

    taken: int = 0
    ended: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What all workers at one queue had told by a reading. `untold`: active jobs that none of them has told of yet."""

    workers: Mapping[str, Work]
    untold: int

    @classmethod
    def of(cls, reading: QueueReading) -> Self | None:
        """None when nobody asked for them."""
        if reading.workers is None:
            return None
        held = sum(row.beat.busy for row in reading.workers)
        return cls({row.beat.worker: _work(row.beat) for row in reading.workers}, max(0, reading.active - held))


def work_since(before: Tally | None, reading: QueueReading, passed_s: float) -> Work | None:
    """What was done since a reading that is `passed_s` old; None when no workers tell."""
    if before is None or reading.workers is None or not (before.workers or reading.workers):
        return None
    steps = [_step(before.workers.get(row.beat.worker), row, passed_s) for row in reading.workers]
    return Work(sum(row.taken for row in steps), sum(row.ended for row in steps), sum(row.seconds for row in steps))


def _work(beat: Beat) -> Work:
    return Work(beat.taken, beat.ended, beat.seconds)


def _step(before: Work | None, row: WorkerReading, passed_s: float) -> Work:
    now, since = _work(row.beat), row.beat.since
    if before is None:
        new = since is not None and row.beat_ms - since <= (passed_s + _ALLOWANCE_S) * 1000
        return now if new else Work()
    return Work(
        max(0, now.taken - before.taken), max(0, now.ended - before.ended), max(0.0, now.seconds - before.seconds)
    )
