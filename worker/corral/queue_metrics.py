"""How many jobs of a queue ended, minute by minute: what workers with metrics have counted."""

from dataclasses import dataclass
from typing import Literal

from corral.connection import Lines
from corral.errors import ConfigurationError
from corral.keys import Keys

Ended = Literal["completed", "failed"]
"""Which ends are counted."""


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """Ends of one kind. A minute's number appears with the first end of a later minute.

    count: all that were ever counted; points: ends a minute, the newest first, of the page that was asked for;
    length: how many points there are; prev_ts: epoch ms when the newest point was written (0 = never), and
    prev_count: what had been counted until then.
    """

    count: int
    points: tuple[int, ...]
    length: int
    prev_ts: int
    prev_count: int


async def read_metrics(lines: Lines, keys: Keys, kind: Ended, start: int, end: int) -> QueueMetrics:
    """The numbers of one kind, with the points from `start` to `end` (inclusive). Raises ConfigurationError."""
    if kind not in ("completed", "failed"):
        raise ConfigurationError(f"metrics are kept of 'completed' and 'failed', got {kind!r}")
    key = f"{keys.base}metrics:{kind}"
    meta, points, length = await lines.call_many(
        [
            ("HMGET", key, "count", "prevTS", "prevCount"),
            ("LRANGE", f"{key}:data", start, end),
            ("LLEN", f"{key}:data"),
        ]
    )
    count, prev_ts, prev_count = (int(value or 0) for value in meta)
    return QueueMetrics(count, tuple(int(point) for point in points), length, prev_ts, prev_count)
