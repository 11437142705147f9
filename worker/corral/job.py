"""Job: what a processor sees, and how it lies in its Redis hash."""

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from corral.errors import CorralError, CorruptJob, PayloadNotJSON
from corral.options import JobOptions

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_json(value: Any, what: str) -> str:
    """JSON text of a value. `what` names it in the error.

    Raises PayloadNotJSON for what JSON cannot say: NaN and Infinity (one of them in a return value would end the
    event listeners of Node), lone surrogates, objects of one's own.
    """
    try:
        text = _encoder.encode(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadNotJSON(
            f"{what} is not JSON: {error}; use None, bool, int, finite float, str, list and dict only"
        ) from error
    return text


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
    _door: JobDoor | None = None

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

        Raises JobNotFound, RedisUnavailable.
        """
        return self._asked().add_log(self, row)

    def _asked(self) -> JobDoor:
        if self._door is None:
            raise CorralError(f"job {self.id} was read without a connection; get it from a Queue or a Worker")
        return self._door


def from_wire(job_id: str, fields: Mapping[bytes, bytes], queue_name: str, door: JobDoor | None = None) -> Job:
    """Read a job's hash. Raises CorruptJob, naming the job and the field that cannot be read."""
    read = _Reader(job_id, queue_name, fields)
    if b"name" not in fields or b"data" not in fields:
        missing = "name" if b"name" not in fields else "data"
        raise CorruptJob(f"job {job_id} of queue {queue_name!r} has no field {missing!r} in its hash")
    opts = read.json(b"opts", {})
    if not isinstance(opts, dict):
        raise CorruptJob(f"job {job_id} of queue {queue_name!r}: field 'opts' is not a JSON object")
    stacktrace = read.json(b"stacktrace", [])
    return Job(
        id=job_id,
        name=read.text(b"name") or "",
        data=read.json(b"data", None),
        opts=JobOptions.from_wire(opts),
        queue_name=queue_name,
        timestamp=read.number(b"timestamp"),
        delay=read.number(b"delay"),
        priority=read.number(b"priority"),
        attempts_made=read.number(b"atm" if b"atm" in fields else b"attemptsMade"),
        attempts_started=read.number(b"ats"),
        stalled_counter=read.number(b"stc"),
        processed_on=read.number(b"processedOn") or None,
        finished_on=read.number(b"finishedOn") or None,
        processed_by=read.text(b"pb"),
        progress=read.json(b"progress", 0),
        returnvalue=read.json(b"returnvalue", None),
        failed_reason=read.text(b"failedReason"),
        stacktrace=tuple(str(row) for row in stacktrace) if isinstance(stacktrace, list) else (),
        deferred_failure=read.text(b"defa"),
        parent_key=read.text(b"parentKey"),
        scheduler_id=read.text(b"rjk"),
        deduplication_id=read.text(b"deid"),
        _door=door,
    )


class _Reader:
    """Decodes single fields of a hash, with errors that name job and field."""

    __slots__ = ("fields", "job_id", "queue")

    def __init__(self, job_id: str, queue: str, fields: Mapping[bytes, bytes]) -> None:
        self.job_id, self.queue, self.fields = job_id, queue, fields

    def text(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return None if value is None else value.decode(errors="replace")

    def number(self, name: bytes) -> int:
        value = self.fields.get(name)
        if value is None:
            return 0
        try:
            return int(value)
        except ValueError:
            return self._fraction(name, value)

    def _fraction(self, name: bytes, value: bytes) -> int:
        try:
            return round(float(value))
        except (ValueError, OverflowError):
            raise self._corrupt(name, "a number") from None

    def json(self, name: bytes, default: Any) -> Any:
        value = self.fields.get(name)
        if value is None:
            return default
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise self._corrupt(name, "JSON") from None

    def _corrupt(self, name: bytes, kind: str) -> CorruptJob:
        return CorruptJob(f"job {self.job_id} of queue {self.queue!r}: field {name.decode()!r} is not {kind}")
