"""The jobs that run: how old they are, and in whose hands. What to read of them in a second round trip. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral_operator.counting import LISTED_ACTIVE, Ask, Command, QueueKey, is_whole
from corral_operator.observed import QueueReading

SAMPLE = 20
"""Running jobs of a queue whose age is read, unless all are read for the names of their workers."""


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What to ask of these active jobs of a queue. `whole`: they are all there are, and say who runs them."""

    queue: QueueKey
    ids: Sequence[bytes]
    whole: bool

    def commands(self) -> list[Command]:
        """One read for each of the jobs; the second word of each is its key."""
        base = Keys(self.queue.name, self.queue.prefix).base.encode()
        return [("HMGET", base + job_id, "processedOn", "pb") for job_id in self.ids]

    def seen(self, reading: QueueReading, replies: Sequence[Any], wall_ms: int) -> QueueReading:
        """The reading with what these replies to `commands` tell. `wall_ms`: now."""
        rows = [[None, None] if isinstance(reply, RedisUnavailable) else reply for reply in replies]
        age_s = running_age_s(reading.active, [row[0] for row in rows], wall_ms)
        return replace(reading, running_age_s=age_s, holders=_holders(replies) if self.whole else None)


def closer_look(ask: Ask, reading: QueueReading, ids: Sequence[bytes]) -> CloserLook | None:
    """What the running jobs are to be asked, if anything. `ids`: the first LISTED_ACTIVE of them."""
    if not reading.active or not ids:
        return None
    if ask.holders and reading.active <= LISTED_ACTIVE:
        return CloserLook(ask.queue, ids, whole=True)
    return CloserLook(ask.queue, sample(ids), whole=False) if ask.ages else None


def sample(ids: Sequence[bytes]) -> list[bytes]:
    """At most SAMPLE of the ids, evenly spread: the list is in the order of age, and its ends are no average."""
    if len(ids) <= SAMPLE:
        return list(ids)
    return [ids[(2 * place + 1) * len(ids) // (2 * SAMPLE)] for place in range(SAMPLE)]


def running_age_s(active: int, stamps: Sequence[Any], wall_ms: int) -> float | None:
    """The summed ages of `active` running jobs, from the times at which some of them were taken; None without any."""
    ages = [max(0.0, (wall_ms - int(stamp)) / 1000) for stamp in stamps if is_whole(stamp)]
    return sum(ages) / len(ages) * active if ages else None


def _holders(replies: Sequence[Any]) -> dict[str, int]:
    """Jobs by the name of their worker. One that is gone by now, or was damaged before, is in nobody's hands."""
    held: Counter[str] = Counter()
    for reply in replies:
        if isinstance(reply, RedisUnavailable):
            held[""] += 1
        elif reply[0] is not None or reply[1] is not None:
            held[(reply[1] or b"").decode(errors="replace")] += 1
    return dict(held)
