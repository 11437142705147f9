"""Typed functions for job schedulers: made or changed, gone on with, removed."""

from dataclasses import dataclass
from typing import Any

from corral.keys import Keys
from corral.repeat import Schedule
from corral.script import Caller, pairs, run, to_text
from corral.version import __version__

TAKEN, ALL_TAKEN, TAKEN_AHEAD, ID_OF_JOB = -10, -11, -12, -13

TRIES = 32
"""Times of a pattern that are tried at most, when jobs have the ids of the first ones."""


@dataclass(frozen=True, slots=True)
class Template:
    """What an iteration is made of. `opts`: JSON, without jobId and delay; `deduplication`: an id, '' = none."""

    name: str
    data: str
    opts: str
    priority: int
    lifo: bool
    deduplication: str


async def upsert_scheduler(
    caller: Caller,
    keys: Keys,
    dialect: str,
    now_ms: int,
    scheduler_id: str,
    schedule: Schedule,
    due_ms: int | None,
    template: Template,
    kept_opts: str,
) -> tuple[str, int] | int:
    """Make a scheduler or change it; gives its next iteration's id and ms, or a code.

    TAKEN, ALL_TAKEN: other jobs have the ids of its next iterations. TAKEN_AHEAD: the same, but one is pending: a job
    that was promoted lies there; call again with the pattern's next time. ID_OF_JOB: the record would replace a job.
    due_ms: when the next one is due; None = counted by `every`. kept_opts: JSON of the template's options in the record.
    """
    settings = (
        schedule.every_ms,
        schedule.pattern,
        schedule.tz,
        schedule.limit,
        schedule.start_ms,
        schedule.end_ms,
        schedule.offset_ms,
    )
    reply = await run(
        caller,
        "upsert_scheduler",
        keys,
        dialect,
        f"corral:{__version__}",
        now_ms,
        scheduler_id,
        _given(due_ms),
        template.name,
        template.data,
        kept_opts,
        template.opts,
        template.priority,
        int(template.lifo),
        template.deduplication,
        *(_given(setting) for setting in settings),
    )
    if isinstance(reply, int):
        return reply
    return to_text(reply[0]), reply[1]


def _given(value: str | int | None) -> str | int:
    return "" if value is None else value


async def advance_scheduler(
    caller: Caller,
    keys: Keys,
    dialect: str,
    now_ms: int,
    scheduler_id: str,
    job_id: str,
    due_ms: int | None,
    every_ms: int | None,
    template: Template,
) -> str | int | None:
    """Make the iteration after `job_id`; gives its id. None: that job is not the pending one.

    TAKEN: a job has the id that `due_ms` makes; call again with the next time. ALL_TAKEN: the same of many by `every`.
    """
    reply = await run(
        caller,
        "advance_scheduler",
        keys,
        dialect,
        now_ms,
        scheduler_id,
        job_id,
        template.name,
        template.data,
        _given(due_ms),
        _given(every_ms),
        template.opts,
        template.priority,
        int(template.lifo),
        template.deduplication,
    )
    return reply if isinstance(reply, int) else to_text(reply) or None


async def remove_scheduler(caller: Caller, keys: Keys, scheduler_id: str) -> bool:
    """End a scheduler. False: there is none."""
    return bool(await run(caller, "remove_scheduler", keys, scheduler_id))


async def read_scheduler(caller: Caller, keys: Keys, scheduler_id: str) -> tuple[dict[bytes, bytes], int | None]:
    """A scheduler's record (empty = none), and when its pending iteration is due."""
    score = await caller.call("ZSCORE", keys.base + "repeat", scheduler_id)
    flat: Any = await caller.call("HGETALL", f"{keys.base}repeat:{scheduler_id}")
    fields = pairs(flat)
    return fields, None if score is None else int(float(score))


async def list_schedulers(
    caller: Caller, keys: Keys, start: int, end: int, ascending: bool
) -> list[tuple[str, dict[bytes, bytes], int | None]]:
    """A page of schedulers, by when they are due: id, record and ms of each."""
    ids = await caller.call("ZRANGE" if ascending else "ZREVRANGE", keys.base + "repeat", start, end)
    return [(to_text(id), *await read_scheduler(caller, keys, to_text(id))) for id in ids]


async def count_schedulers(caller: Caller, keys: Keys) -> int:
    """How many schedulers there are."""
    return int(await caller.call("ZCARD", keys.base + "repeat"))
