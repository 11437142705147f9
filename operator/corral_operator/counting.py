"""What is read of a queue, and what the replies say: plain reads for one pipelined round trip. Pure.

An ACL user with `+@read +@connection` on the queue's keys may send all of it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from corral.beat_record import Beat, quiet_until
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral_operator.causes import not_a_number, unknown
from corral_operator.observed import QueueReading, Reading, WorkerReading

Command = tuple[str | bytes | int, ...]

SCORES_PER_MS = 4096
"""A delayed job's score is its due time in ms times this, plus its place among those of the same ms."""
LISTED_ACTIVE = 500
"""Ids of active jobs, newest first, that are read for a closer look."""
_MOST_MS = 1e15
"""Later than any time of ours."""
_MOST_JOBS = 1e15
"""More than any queue has, and than a moment lasts: what is reckoned with limits stays finite."""
RECORDS = 8192
"""Records of workers that are not read anew while they are the same: pools are looked at more often than workers beat."""
OLD_MARKER = b"0:"
"""What an id begins with that is none: versions before BullMQ 5 put a marker at the tail of an idle queue's list."""


class QueueKey(NamedTuple):
    """A queue of one Redis."""

    prefix: str
    name: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What to read of a queue. `horizon_s`: delayed jobs due within it are soon due; `ages`: the running jobs' ages
    as well; `seen_before`: it existed at some earlier time; `workers`: what Corral's workers say of themselves;
    `holders`: who runs the active jobs."""

    queue: QueueKey
    horizon_s: float
    ages: bool
    seen_before: bool
    workers: bool = False
    holders: bool = False


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
    if ask.workers:
        asked += [("ZRANGE", keys.beats, 0, -1, "WITHSCORES"), ("HGETALL", keys.workers), ("HGETALL", keys.orders)]
    if ask.ages or ask.holders:
        asked.append(("LRANGE", keys.active, 0, LISTED_ACTIVE - 1))
    return asked


def count(ask: Ask, asked: Sequence[Command], replies: Sequence[Any]) -> Reading:
    """The replies to `asked`, which is `commands(ask, ...)`: bytes, ints and lists, or RedisRefused for a command;
    RedisUnavailable for one whose node of a Cluster is away."""
    queue = ask.queue
    for command, reply in zip(asked, replies, strict=True):
        if isinstance(reply, RedisUnavailable):
            return unknown(queue.name, queue.prefix, reply, str(command[1]))
    wait, wait_tail, paused, paused_tail, prioritized, due, soon_due, delayed, first, active, flat, counter = replies[
        :12
    ]
    waiting_children, completed, failed = replies[12:15]
    if counter is not None and not is_whole(counter):
        return not_a_number(queue.name, f"{queue.prefix}:{queue.name}:id")
    meta = dict(_pairs(flat))
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
        workers=_workers(*replies[15:18]) if ask.workers else None,
        # Who holds the active jobs, a closer look tells.
        holders={} if ask.holders and not active else None,
    )


def listed(ask: Ask, replies: Sequence[Any]) -> list[bytes]:
    """The ids of the active jobs, newest first, among the replies of a queue that could be read; none if not asked."""
    return list(replies[-1]) if ask.ages or ask.holders else []


def _workers(scores: Sequence[bytes], records: Sequence[bytes], orders: Sequence[bytes]) -> tuple[WorkerReading, ...]:
    """Those whose beat and record are both there and can be read; a worker writes the two at once."""
    said, ordered = dict(_pairs(records)), dict(_pairs(orders))
    rows = []
    for worker, score in _pairs(scores):
        beat = _beat(worker, said.get(worker, b""))
        beat_ms = float(score)
        if beat is not None and 0 <= beat_ms < _MOST_MS:
            rows.append(WorkerReading(beat, int(beat_ms), quiet_until(ordered.get(worker))))
    return tuple(rows)


@lru_cache(maxsize=RECORDS)
def _beat(worker: bytes, record: bytes) -> Beat | None:
    return Beat.from_wire(worker.decode(errors="replace"), record)


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _markers(tail: bytes | None) -> int:
    return int(tail is not None and tail.startswith(OLD_MARKER))


def _due_ms(first: Sequence[bytes]) -> int | None:
    """From the earliest delayed job and its score."""
    score = float(first[1]) if first else math.inf
    return int(score) // SCORES_PER_MS if math.isfinite(score) else None


def _limit(meta: Mapping[bytes, bytes], field: bytes) -> int | None:
    """As the takes read it: rounded down; what is no number limits nothing, and what is larger than any count no more."""
    try:
        number = float(meta[field])
    except (KeyError, ValueError):
        return None
    return math.floor(min(number, _MOST_JOBS)) if math.isfinite(number) else None


def is_whole(text: Any) -> bool:
    """A reply is a text of digits."""
    return isinstance(text, bytes) and text.removeprefix(b"-").isdigit()
