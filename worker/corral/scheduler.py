"""A job scheduler as it lies in Redis: its record, and the options of its iterations. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from corral.errors import InvalidJob
from corral.job import Job
from corral.moments import from_epoch_ms
from corral.options import JobOptions
from corral.payload import from_json
from corral.repeat import Schedule, wire_ms


@dataclass(frozen=True, slots=True)
class JobScheduler:
    """What makes jobs again and again. Times are epoch milliseconds, as they are stored; None = not given.

    `next_ms`: when the pending iteration is due. `iterations`: how many were made so far; None for a repeatable job
    of BullMQ 5 that no scheduler has taken over yet. `data` and `opts` are what the iterations get.
    """

    id: str
    name: str
    next_ms: int | None = None
    iterations: int | None = None
    every_ms: int | None = None
    pattern: str | None = None
    tz: str | None = None
    limit: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    offset_ms: int | None = None
    data: Any = None
    opts: JobOptions | None = None

    @property
    def next_at(self) -> datetime | None:
        """When the pending iteration is due, in UTC."""
        return None if self.next_ms is None else from_epoch_ms(self.next_ms)


def from_record(scheduler_id: str, record: Mapping[bytes, bytes], next_ms: int | None) -> JobScheduler | None:
    """Read a record; None when there is none, and the id says nothing either. What cannot be read is left out."""
    fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in record.items()}
    if not fields:
        fields = _told_by(scheduler_id)
        if not fields:
            return None
    schedule = Schedule.from_wire(fields)
    opts = _json(fields.get("opts"))
    return JobScheduler(
        id=scheduler_id,
        name=fields.get("name", ""),
        next_ms=next_ms,
        iterations=wire_ms(fields.get("ic")),
        every_ms=schedule.every_ms,
        pattern=schedule.pattern,
        tz=schedule.tz,
        limit=schedule.limit,
        start_ms=schedule.start_ms,
        end_ms=schedule.end_ms,
        offset_ms=schedule.offset_ms,
        data=_json(fields.get("data")),
        opts=JobOptions.from_wire(opts) if isinstance(opts, dict) else None,
    )


def _told_by(scheduler_id: str) -> dict[str, str]:
    """The oldest repeatable jobs have no record: their id `name:id:endDate:tz:when` says it all."""
    match = re.fullmatch(r"([^:]*):[^:]*:(\d*):([^:]*):(.+)", scheduler_id)
    if match is None:
        return {}
    name, end, tz, when = match.groups()
    return {"name": name, "endDate": end, "tz": tz, "every" if when.isdigit() else "pattern": when}


def _json(text: str | None) -> Any:
    try:
        return None if text is None else from_json(text)
    except (ValueError, RecursionError):
        return None


def template_opts(opts: JobOptions) -> dict[str, Any]:
    """Options of the iterations as the record keeps them. A job's own ones mean nothing here."""
    own = {"jobId", "delay", "timestamp", "parent", "repeat", "repeatJobKey", "prevMillis"}
    if opts.attempts == 0:
        own.add("attempts")
    return {name: value for name, value in opts.to_wire().items() if name not in own}


@dataclass(frozen=True, slots=True)
class Iteration:
    """The next iteration of a scheduler, as the job just taken tells it. `due_ms` None = counted by `every`."""

    schedule: Schedule
    due_ms: int | None
    opts: dict[str, Any]


def next_iteration(job: Job, now_ms: int) -> Iteration | None:
    """What follows an iteration; None = nothing: the limit is reached, or the end. Raises InvalidJob."""
    wire = job.opts.to_wire()
    repeat = wire.get("repeat")
    if not isinstance(repeat, dict):
        raise InvalidJob(f"iteration {job.id!r} of job scheduler {job.scheduler_id!r} has no 'repeat' in its options")
    schedule = Schedule.from_wire(repeat)
    count = (wire_ms(repeat.get("count")) or 0) + 1
    if schedule.is_over(count, now_ms):
        return None
    due_ms = None
    if schedule.pattern is not None:
        due_ms = schedule.next_by_pattern(now_ms, wire_ms(wire.get("prevMillis")) or 0)
        if due_ms is None:
            return None
    elif schedule.every_ms is None:
        raise InvalidJob(f"iteration {job.id!r} of job scheduler {job.scheduler_id!r} says neither every nor pattern")
    kept = {name: value for name, value in repeat.items() if name != "immediately" and value is not None}
    opts = iteration_opts(wire, kept | {"count": count}, job.scheduler_id or "", due_ms, now_ms)
    return Iteration(schedule, due_ms, opts)


def iteration_opts(
    wire: Mapping[str, Any], repeat: Mapping[str, Any], scheduler_id: str, due_ms: int | None, now_ms: int
) -> dict[str, Any]:
    """Options of an iteration. Its `jobId` and `delay` are left to the script, which alone knows the ms."""
    opts = {name: value for name, value in wire.items() if name not in ("jobId", "delay", "prevMillis")}
    opts |= {"timestamp": now_ms, "repeatJobKey": scheduler_id, "repeat": dict(repeat)}
    return opts if due_ms is None else opts | {"prevMillis": due_ms}
