"""What is read of a queue, and what the replies say: plain reads for one pipelined round trip. Pure.

An ACL user with `+@read +@connection` on the queue's keys may send all of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from corral.errors import RedisRefused
from corral.keys import Keys
from corral_operator.causes import not_a_number, unknown
from corral_operator.observed import QueueReading, Reading

Command = tuple[str | int, ...]

SCORES_PER_MS = 4096
"""A delayed job's score is its due time in ms times this, plus its place among those of the same ms."""
LISTED_ACTIVE = 500
"""Ids of active jobs, newest first, that the sample of ages is drawn from."""
SAMPLE = 20
"""Running jobs of a queue whose age is read."""
OLD_MARKER = b"0:"
"""What an id begins with that is none: versions before BullMQ 5 put a marker at the tail of an idle queue's list."""


class QueueKey(NamedTuple):
    """A queue of one Redis."""

    prefix: str
    name: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What to read of a queue. `horizon_s`: delayed jobs due within it are soon due; `ages`: the running jobs' ages
    as well; `seen_before`: it existed at some earlier time."""

    queue: QueueKey
    horizon_s: float
    ages: bool
    seen_before: bool


def commands(ask: Ask, wall_ms: int) -> list[Command]:
    """The reads of one queue; the second word of each is its key. `wall_ms`: now."""
    keys = Keys(ask.queue.name, ask.queue.prefix)
    after_now = (wall_ms + 1) * SCORES_PER_MS
    after_horizon = (wall_ms + round(ask.horizon_s * 1000) + 1) * SCORES_PER_MS
    asked: list[Command] = [
        ("LLEN", keys.wait),
        ("LINDEX", keys.wait, -1),
        ("LLEN", keys.paused),
        ("LINDEX", keys.paused, -1),
        ("ZCARD", keys.prioritized),
        ("ZCOUNT", keys.delayed, "-inf", f"({after_now}"),
        ("ZCOUNT", keys.delayed, after_now, f"({after_horizon}"),
        ("ZCARD", keys.delayed),
        ("ZRANGE", keys.delayed, 0, 0, "WITHSCORES"),
        ("LLEN", keys.active),
        ("HGETALL", keys.meta),
        ("GET", keys.base + "id"),
        ("ZCARD", keys.waiting_children),
        ("ZCARD", keys.completed),
        ("ZCARD", keys.failed),
    ]
    return [*asked, ("LRANGE", keys.active, 0, LISTED_ACTIVE - 1)] if ask.ages else asked


def count(ask: Ask, asked: Sequence[Command], replies: Sequence[Any]) -> Reading:
    """The replies to `asked`, which is `commands(ask, ...)`: bytes, ints and lists, or RedisRefused for a command."""
    queue = ask.queue
    for command, reply in zip(asked, replies, strict=True):
        if isinstance(reply, RedisRefused):
            return unknown(queue.name, queue.prefix, reply, str(command[1]))
    wait, wait_tail, paused, paused_tail, prioritized, due, soon_due, delayed, first, active, flat, counter = replies[
        :12
    ]
    waiting_children, completed, failed = replies[12:15]
    if counter is not None and not _is_whole(counter):
        return not_a_number(queue.name, f"{queue.prefix}:{queue.name}:id")
    meta = dict(zip(flat[::2], flat[1::2], strict=True))
    jobs = (wait, paused, prioritized, delayed, active, waiting_children, completed, failed)
    return QueueReading(
        name=queue.name,
        waiting=wait + paused - _markers(wait_tail) - _markers(paused_tail),
        prioritized=prioritized,
        due=due,
        soon_due=soon_due,
        delayed=delayed,
        next_due_ms=_due_ms(first),
        active=active,
        paused=b"paused" in meta,
        concurrency_limit=_limit(meta, b"concurrency"),
        rate_max=_limit(meta, b"max"),
        rate_duration_ms=_limit(meta, b"duration"),
        exists=bool(meta) or counter is not None or any(jobs),
        seen_before=ask.seen_before,
        id_counter=int(counter or 0),
        waiting_children=waiting_children,
        completed=completed,
        failed=failed,
    )


def sample(ids: Sequence[bytes]) -> list[bytes]:
    """At most SAMPLE of the ids, evenly spread: the list is in the order of age, and its ends are no average."""
    if len(ids) <= SAMPLE:
        return list(ids)
    return [ids[(2 * place + 1) * len(ids) // (2 * SAMPLE)] for place in range(SAMPLE)]


def age_commands(queue: QueueKey, ids: Sequence[bytes]) -> list[tuple[str | bytes, ...]]:
    """When each of these jobs was taken."""
    base = Keys(queue.name, queue.prefix).base.encode()
    return [("HGET", base + job_id, "processedOn") for job_id in ids]


def running_age_s(active: int, stamps: Sequence[Any], wall_ms: int) -> float | None:
    """The summed ages of `active` running jobs, from the replies to `age_commands`; None when none could be read."""
    ages = [max(0.0, (wall_ms - int(stamp)) / 1000) for stamp in stamps if _is_whole(stamp)]
    return sum(ages) / len(ages) * active if ages else None


def _markers(tail: bytes | None) -> int:
    return int(tail is not None and tail.startswith(OLD_MARKER))


def _due_ms(first: Sequence[bytes]) -> int | None:
    """From the earliest delayed job and its score."""
    score = float(first[1]) if first else math.inf
    return int(score) // SCORES_PER_MS if math.isfinite(score) else None


def _limit(meta: Mapping[bytes, bytes], field: bytes) -> int | None:
    """As the takes read it: rounded down; what is no number limits nothing."""
    try:
        number = float(meta[field])
    except (KeyError, ValueError):
        return None
    return math.floor(number) if math.isfinite(number) else None


def _is_whole(text: Any) -> bool:
    return isinstance(text, bytes) and text.removeprefix(b"-").isdigit()
