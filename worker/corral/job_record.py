"""A job as it lies in its Redis hash, read into a Job."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from corral.errors import CorruptJob
from corral.job import Job
from corral.job_door import JobDoor
from corral.options import JobOptions
from corral.parent_link import Parent
from corral.payload import from_json, storable


@lru_cache(4096)
def _options(text: bytes) -> JobOptions | None:
    """Options as they are stored; None = they cannot be read. Jobs of one producer mostly carry the same text."""
    try:
        wire = from_json(text.decode())
        return JobOptions.from_wire(wire) if isinstance(wire, dict) else None
    except (ValueError, OverflowError, RecursionError):
        return None


def from_wire(job_id: str, fields: Mapping[bytes, bytes], queue_name: str, door: JobDoor | None = None) -> Job:
    """Read a job's hash. Raises CorruptJob, naming the job and the field that cannot be read."""
    try:
        name, data = fields[b"name"].decode(errors="replace"), fields[b"data"]
    except KeyError as error:
        raise CorruptJob(
            f"job {job_id} of queue {queue_name!r} has no field {error.args[0].decode()!r} in its hash"
        ) from None
    opts = _options(fields.get(b"opts", b"{}"))
    if opts is None:
        raise CorruptJob(f"job {job_id} of queue {queue_name!r}: field 'opts' cannot be read as options")
    try:
        job = Job(
            job_id,
            name,
            from_json(data.decode()),
            opts,
            queue_name,
            _number(fields.get(b"timestamp", b"0")),
            _number(fields.get(b"delay", b"0")),
            _number(fields.get(b"priority", b"0")),
            _door=door,
        )
        for name_in_hash, value in fields.items():
            if reader := _READERS.get(name_in_hash):
                setattr(job, reader[0], reader[1](value))
    except (ValueError, OverflowError, RecursionError):
        raise CorruptJob(_complaint(job_id, fields, queue_name)) from None
    return job


def unreadable_job(job_id: str, fields: Mapping[bytes, bytes], queue_name: str, error: CorruptJob, now_ms: int) -> Job:
    """A job in place of one that cannot be read, to fail with `error`.

    What its scheduler, if it has one, needs to go on is kept as far as it can be read: only this job is lost.
    """
    opts = _options(fields.get(b"opts", b"{}")) if b"rjk" in fields else None
    job = Job(job_id, _text(fields.get(b"name", b"")), None, opts or JobOptions(), queue_name, now_ms)
    job.scheduler_id = _text(fields[b"rjk"]) if b"rjk" in fields else None
    job.deferred_failure = str(error)
    return job


def starts_of(fields: Mapping[bytes, bytes]) -> int:
    """How often a job has been started, its present run included; `fields` are from before the take."""
    try:
        return _number(fields.get(b"ats", b"0")) + 1
    except (ValueError, OverflowError):
        return 1


def _number(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        return round(float(value))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _json(value: bytes) -> Any:
    return from_json(value.decode())


def _rows(value: bytes) -> tuple[str, ...]:
    rows = _json(value)
    return tuple(storable(str(row)) for row in rows) if isinstance(rows, list) else ()


def _parent(value: bytes) -> Parent | None:
    try:
        return Parent.from_wire(_json(value))
    except (ValueError, RecursionError):
        return None  # its key, in `parentKey`, is what counts


_READERS: dict[bytes, tuple[str, Callable[[bytes], Any]]] = {
    b"atm": ("attempts_made", _number),
    b"attemptsMade": ("attempts_made", _number),
    b"ats": ("attempts_started", _number),
    b"stc": ("stalled_counter", _number),
    b"processedOn": ("processed_on", _number),
    b"finishedOn": ("finished_on", _number),
    b"pb": ("processed_by", _text),
    b"progress": ("progress", _json),
    b"returnvalue": ("returnvalue", _json),
    b"failedReason": ("failed_reason", _text),
    b"stacktrace": ("stacktrace", _rows),
    b"defa": ("deferred_failure", _text),
    b"parentKey": ("parent_key", _text),
    b"parent": ("parent", _parent),
    b"rjk": ("scheduler_id", _text),
    b"deid": ("deduplication_id", _text),
}
"""Fields that not every job has: the attribute and how to read it."""


def _complaint(job_id: str, fields: Mapping[bytes, bytes], queue_name: str) -> str:
    """Which field of a hash cannot be read."""
    always = {b"data": _json, b"timestamp": _number, b"delay": _number, b"priority": _number}
    readers = always | {name: reader for name, (_, reader) in _READERS.items()}
    for name, reader in readers.items():
        try:
            reader(fields.get(name, b"0"))
        except (ValueError, OverflowError, RecursionError):
            kind = "a number" if reader is _number else "JSON"
            return f"job {job_id} of queue {queue_name!r}: field {name.decode()!r} is not {kind}"
    return f"job {job_id} of queue {queue_name!r} cannot be read"
