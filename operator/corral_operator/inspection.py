"""What a closer look reads of a queue, and what the replies say: plain reads, a few dozen jobs, three round trips. Pure.

Each look is a generator: it yields commands and is sent their replies, which are bytes, numbers and lists, or a
RedisRefused for a command that Redis refused. What is refused is not known, and so nothing is said of it.

A job may end between two round trips. Whatever looks wrong is therefore read once more before it counts: every script
of BullMQ's and of ours moves a job, its lock and its place in the parent's set in one step.
"""

from collections.abc import Generator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from corral.errors import RedisRefused
from corral.keys import Keys
from corral_operator.counting import OLD_MARKER, Command
from corral_operator.observed import QueueReading

MOST_ACTIVE = 25
"""Active jobs that are looked at: those that were taken first."""
MOST_READY = 5
"""Of those to be taken next: that is where a job comes back to whose worker died."""
MOST_FAILED = 5
"""Of those that failed last."""
MOST_PARENTS = 5
MOST_CHILDREN = 50
"""A parent with more open children than that is left alone."""

STALL_LIMIT = b"job stalled more than allowable limit"
"""Why BullMQ fails a job whose workers died too often."""


class Place(StrEnum):
    """Where a job was found."""

    ACTIVE = "active"
    READY = "ready"
    FAILED = "failed"
    KNOWN = "known"
    """Nobody looked where it is: it was suspected before."""


class JobSeen(NamedTuple):
    """A job as its hash tells of it. How often it was *started* is not among it: hand-backs, rate limits and delays
    raise that number too."""

    queue: str
    job_id: str
    place: Place
    stalls: int = 0
    """How often it lost its worker: its `stc`."""
    worker: str | None = None
    """The name of the worker that took it last; in a pool that is its pod."""
    taken_ms: int | None = None
    """When that was, in epoch ms of that worker's clock."""
    given_up: bool = False
    """It failed because it lost its worker too often."""
    ended_ms: int | None = None
    """When it completed or failed; None while it has still to."""
    alone: bool = False
    """It is active, and nobody holds its lock, or one does who is gone."""


class ParentSeen(NamedTuple):
    """A parent for whose release nobody will care: none of its open children is going to end."""

    queue: str
    job_id: str
    child: str | None
    """The key of one of those children; None when it has no open child at all."""
    fate: str = ""
    """What became of that child: `gone`, `failed` or `completed`."""


class Seen(NamedTuple):
    jobs: tuple[JobSeen, ...] = ()
    parents: tuple[ParentSeen, ...] = ()


Look = Generator[list[Command], list[Any], Seen]


def look_at_jobs(reading: QueueReading, prefix: str, gone: frozenset[str], known: Sequence[str]) -> Look:
    """The jobs of a queue that something may have happened to, and those suspected before (`known`). `gone`: ids of
    workers that are not heard of any more."""
    keys = Keys(reading.name, prefix)
    lists: list[tuple[Place, Command]] = []
    if reading.active:
        lists.append((Place.ACTIVE, ("LRANGE", keys.active, -MOST_ACTIVE, -1)))
    if reading.waiting:
        lists.append((Place.READY, ("LRANGE", keys.wait, -MOST_READY, -1)))
        lists.append((Place.READY, ("LRANGE", keys.paused, -MOST_READY, -1)))
    if reading.prioritized:
        lists.append((Place.READY, ("ZRANGE", keys.prioritized, 0, MOST_READY - 1)))
    if reading.failed:
        lists.append((Place.FAILED, ("ZREVRANGE", keys.failed, 0, MOST_FAILED - 1)))
    replies = (yield [command for _, command in lists]) if lists else []
    found = [(place, job_id) for (place, _), reply in zip(lists, replies, strict=True) for job_id in _ids(reply)]
    listed = {job_id for _, job_id in found}
    found += [(Place.KNOWN, job_id) for job_id in known if job_id not in listed]
    replies = (yield [command for _, job_id in found for command in _of_job(keys, job_id)]) if found else []
    rows = [
        (job, lock)
        for (place, job_id), lock, fields in zip(found, replies[::2], replies[1::2], strict=True)
        if (job := _job(reading.name, place, job_id, fields)) is not None
    ]
    doubtful = [job.job_id for job, lock in rows if job.place is Place.ACTIVE and _is_alone(lock, gone)]
    alone = set()
    if doubtful:
        replies = yield [command for job_id in doubtful for command in _still(keys, job_id)]
        for job_id, lock, place_now in zip(doubtful, replies[::2], replies[1::2], strict=True):
            if isinstance(place_now, int) and _is_alone(lock, gone):
                alone.add(job_id)
    return Seen(jobs=tuple(job._replace(alone=job.place is Place.ACTIVE and job.job_id in alone) for job, _ in rows))


def look_at_parents(reading: QueueReading, prefix: str, start: int, known: Sequence[str]) -> Look:
    """The parents from a place of their line on, and those that were `known` to wait for ever."""
    if not reading.waiting_children:
        return Seen()
    keys = Keys(reading.name, prefix)
    (page,) = yield [("ZRANGE", keys.waiting_children, start, start + MOST_PARENTS - 1)]
    ids = [*known, *(job_id for job_id in _ids(page) if job_id not in known)]
    if not ids:
        return Seen()
    replies = yield [("SSCAN", _open(keys, job_id), 0, "COUNT", MOST_CHILDREN) for job_id in ids]
    families = {job_id: _members(reply) for job_id, reply in zip(ids, replies, strict=True)}
    asked = [
        (job_id, child, command)
        for job_id, children in families.items()
        if children is not None
        for child, command in _of_family(keys, job_id, children)
    ]
    if not asked:
        return Seen()
    replies = yield [command for _, _, command in asked]
    told: dict[str, list[tuple[str | None, Any]]] = {}
    for (job_id, child, _), reply in zip(asked, replies, strict=True):
        told.setdefault(job_id, []).append((child, reply))
    rows = [_parent(reading.name, job_id, family) for job_id, family in told.items()]
    return Seen(parents=tuple(row for row in rows if row is not None))


def worker_of(lock: bytes) -> str:
    """The id of the worker that a lock's token names."""
    return lock.rpartition(b":")[0].decode(errors="replace")


def _ids(reply: Any) -> list[str]:
    """Those of a list; ids that are no text are nobody's whose name we could tell."""
    rows = reply if isinstance(reply, list) else []
    return [row.decode() for row in rows if not row.startswith(OLD_MARKER) and _is_text(row)]


def _is_text(row: bytes) -> bool:
    try:
        return bool(row.decode())
    except UnicodeDecodeError:
        return False


def _of_job(keys: Keys, job_id: str) -> list[Command]:
    job = keys.job(job_id)
    return [("GET", f"{job}:lock"), ("HMGET", job, "stc", "pb", "processedOn", "failedReason", "finishedOn")]


def _still(keys: Keys, job_id: str) -> list[Command]:
    """First the lock, then whether it is active: one that ended before the lock was read is not active any more."""
    return [("GET", f"{keys.job(job_id)}:lock"), ("LPOS", keys.active, job_id)]


def _is_alone(lock: Any, gone: frozenset[str]) -> bool:
    return lock is None or (isinstance(lock, bytes) and worker_of(lock) in gone)


def _job(queue: str, place: Place, job_id: str, fields: Any) -> JobSeen | None:
    if not isinstance(fields, list):
        return None
    stalls, worker, taken, failed, ended = fields
    return JobSeen(
        queue,
        job_id,
        place,
        stalls=_number(stalls) or 0,
        worker=worker.decode(errors="replace") if worker else None,
        taken_ms=_number(taken),
        given_up=place is Place.FAILED and failed == STALL_LIMIT,
        ended_ms=_number(ended),
    )


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 16 else None


def _open(keys: Keys, job_id: str) -> str:
    return f"{keys.job(job_id)}:dependencies"


def _members(reply: Any) -> list[str] | None:
    """The open children; None where they were not all read."""
    if isinstance(reply, RedisRefused) or int(reply[0]) != 0 or len(reply[1]) > MOST_CHILDREN:
        return None
    if not all(_is_text(row) for row in reply[1]):
        return None
    return sorted(row.decode() for row in reply[1])


def _of_family(keys: Keys, job_id: str, children: Sequence[str]) -> list[tuple[str | None, Command]]:
    """Of each child its fate, and then whether the parent still waits for it; at last, whether that waits at all."""
    rows: list[tuple[str | None, Command]] = []
    for child in children:
        rows.append((child, ("HMGET", child, "timestamp", "finishedOn", "failedReason")))
        rows.append((child, ("SISMEMBER", _open(keys, job_id), child)))
    return [*rows, (None, ("SCARD", _open(keys, job_id))), (None, ("ZSCORE", keys.waiting_children, job_id))]


def _parent(queue: str, job_id: str, rows: Sequence[tuple[str | None, Any]]) -> ParentSeen | None:
    """None for one that may yet be released, and where anything is not known."""
    *family, (_, open_now), (_, waits) = rows
    if not isinstance(waits, bytes) or open_now != len(family) // 2:
        return None
    first = ParentSeen(queue, job_id, None)
    for (child, fields), (_, member) in zip(family[::2], family[1::2], strict=True):
        if not isinstance(fields, list) or member != 1:
            return None
        timestamp, finished, failed = fields
        if timestamp is not None and finished is None:
            return None  # it has still to run
        fate = "gone" if timestamp is None else "completed" if failed is None else "failed"
        if first.child is None:
            first = ParentSeen(queue, job_id, child, fate)
    return first
