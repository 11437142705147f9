"""Job: what a processor sees, and how it lies in its Redis hash."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from corral.errors import CorralError, CorruptJob, InvalidJob, PayloadNotJSON
from corral.options import JobOptions


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


# Python reads NaN and Infinity, which JSON lacks.
_decode = json.JSONDecoder(parse_constant=_no_number).decode
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_json(value: Any, what: str) -> str:
    """JSON text of a value. `what` names it in the error.

    Raises PayloadNotJSON for what JSON cannot say: NaN and Infinity (one of them in a return value would end the
    event listeners of Node), lone surrogates, objects of one's own.
    """
    if value is None:
        return "null"
    try:
        text = _encoder.encode(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadNotJSON(
            f"{what} is not JSON: {error}; use None, bool, int, finite float, str, list and dict only"
        ) from error
    return text


def from_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError."""
    return _decode(text)


def storable(text: str) -> str:
    """A text that UTF-8 can hold: lone surrogates are made readable."""
    return text.encode(errors="backslashreplace").decode()


class JobDoor(Protocol):
    """What a running job may ask of its queue. Both calls work from the event loop and from a processor's thread."""

    def update_progress(self, job: "Job", progress: str) -> Awaitable[None]: ...

    def add_log(self, job: "Job", row: str) -> Awaitable[int]: ...


@dataclass(slots=True, eq=False)
class Job:
    """One job. Times are epoch milliseconds, as they are stored; 0 or None = never happened.

    `attempts_made` counts attempts that have ended (0 on the first run), `attempts_started` counts the takes
    (1 on the first run). `data` is any JSON value: producers in Node may send null, a list or a text.
    """

    id: str
    name: str
    data: Any
    opts: JobOptions
    queue_name: str
    timestamp: int
    delay: int = 0
    priority: int = 0
    attempts_made: int = 0
    attempts_started: int = 0
    stalled_counter: int = 0
    processed_on: int | None = None
    finished_on: int | None = None
    processed_by: str | None = None
    progress: Any = 0
    returnvalue: Any = None
    failed_reason: str | None = None
    stacktrace: tuple[str, ...] = ()
    deferred_failure: str | None = None
    parent_key: str | None = None
    scheduler_id: str | None = None
    deduplication_id: str | None = None
    token: str | None = None
    _door: JobDoor | None = field(default=None, repr=False)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.attempts_made + 1

    @property
    def added_at(self) -> datetime:
        """When the job was made, in UTC."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)

    def update_progress(self, progress: Any) -> Awaitable[None]:
        """Store the progress (any JSON value) and tell listeners of it. `await` it in an async processor.

        In a plain processor, which runs in a thread, the call itself waits until it is written.
        Raises PayloadNotJSON, JobNotFound, RedisUnavailable.
        """
        text = to_json(progress, f"progress of job {self.id}")
        self.progress = progress
        return self._asked().update_progress(self, text)

    def log(self, row: str) -> Awaitable[int]:
        """Add a row to the job's log; gives the number of rows kept. Waits like `update_progress`.

        Raises JobNotFound, RedisUnavailable; InvalidJob for what is no text.
        """
        if not isinstance(row, str):
            raise InvalidJob(f"a log row is a text, got {type(row).__name__}")
        return self._asked().add_log(self, storable(row))

    def _asked(self) -> JobDoor:
        if self._door is None:
            raise CorralError(f"job {self.id} was read without a connection; get it from a Queue or a Worker")
        return self._door


@lru_cache(4096)
def _options(text: bytes) -> JobOptions | None:
    """Options as they are stored; None = they cannot be read. Jobs of one producer mostly carry the same text."""
    try:
        wire = _decode(text.decode())
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
            _decode(data.decode()),
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
