"""How much a queue holds: plain reads in one round trip."""

from collections.abc import Iterable
from dataclasses import dataclass

from corral.connection import Lines
from corral.keys import Keys


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs per state. `waiting` includes the list where BullMQ 5 keeps waiting jobs of a paused queue."""

    waiting: int
    prioritized: int
    delayed: int
    active: int
    waiting_children: int
    completed: int
    failed: int

    @property
    def unfinished(self) -> int:
        """Jobs that are neither completed nor failed."""
        return self.waiting + self.prioritized + self.delayed + self.active + self.waiting_children


async def read_counts(lines: Lines, keys: Keys) -> Counts:
    """Count the jobs of a queue by state. Raises RedisUnavailable."""
    waiting, paused, *rest = await lines.call_many(
        [
            ("LLEN", keys.wait),
            ("LLEN", keys.paused),
            ("ZCARD", keys.prioritized),
            ("ZCARD", keys.delayed),
            ("LLEN", keys.active),
            ("ZCARD", keys.waiting_children),
            ("ZCARD", keys.completed),
            ("ZCARD", keys.failed),
        ]
    )
    return Counts(waiting + paused, *rest)


async def read_counts_per_priority(lines: Lines, keys: Keys, priorities: Iterable[int]) -> dict[int, int]:
    """Count the jobs that wait by their priority, 0 = those without one. Raises RedisUnavailable."""
    wanted = list(dict.fromkeys(priorities))
    # Scores of a class: its priority * 2^32 and a counter below 2^32.
    commands: list[tuple[str | int, ...]] = [
        ("ZCOUNT", keys.prioritized, priority << 32, (priority + 1 << 32) - 1) for priority in wanted
    ]
    if 0 not in wanted:
        return dict(zip(wanted, await lines.call_many(commands), strict=True)) if wanted else {}
    waiting, paused, *counts = await lines.call_many([("LLEN", keys.wait), ("LLEN", keys.paused), *commands])
    return {**dict(zip(wanted, counts, strict=True)), 0: waiting + paused}
