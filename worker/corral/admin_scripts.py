"""Typed functions for who looks after a queue: one job at a time, or many in steps that keep Redis free for others.

Negative codes: see `refusals.py`.
"""

from collections.abc import Mapping
from typing import Literal

from corral.errors import InvalidJob
from corral.keys import Keys
from corral.options import JobOptions
from corral.script import Caller, run, to_text
from corral.state import State

Place = Literal["wait", "paused", "active", "prioritized", "delayed", "completed", "failed"]
"""A list or set of jobs, by the name that follows P."""


async def promote_job(caller: Caller, keys: Keys, dialect: str, job_id: str) -> int:
    """Let a delayed job run now: 0, -1 or -3."""
    return int(await run(caller, "promote_job", keys, job_id, dialect))


async def retry_job(
    caller: Caller,
    keys: Keys,
    dialect: str,
    job_id: str,
    state: State,
    lifo: bool,
    reset_made: bool,
    reset_started: bool,
) -> int:
    """Let a job that is completed or failed run again: 0, -1 or -3."""
    if state not in (State.COMPLETED, State.FAILED):
        return -3
    flags = (int(lifo), int(reset_made), int(reset_started))
    return int(await run(caller, "retry_job", keys, job_id, dialect, state.value, *flags))


async def change_delay(caller: Caller, keys: Keys, now_ms: int, job_id: str, delay_ms: int) -> int:
    """Let a delayed job be due at `now_ms + delay_ms`: 0, -1 or -3."""
    return int(await run(caller, "change_delay", keys, job_id, now_ms, delay_ms))


async def change_priority(caller: Caller, keys: Keys, dialect: str, job_id: str, priority: int, lifo: bool) -> int:
    """Give a job another priority, and its place if it waits: 0 or -1. Raises InvalidJob for what is no priority."""
    JobOptions.checked(priority=priority)
    return int(await run(caller, "change_priority", keys, job_id, dialect, priority, int(lifo)))


async def update_data(caller: Caller, keys: Keys, job_id: str, data: str) -> int:
    """Replace a job's data (JSON): 0 or -1."""
    return int(await run(caller, "update_data", keys, job_id, data))


async def clear_logs(caller: Caller, keys: Keys, job_id: str, keep: int | None) -> None:
    """Delete a job's log rows, or all but the newest `keep`. Raises InvalidJob for a negative number."""
    if keep is not None and keep < 0:
        raise InvalidJob(f"the log rows to keep are counted from 0 up, got {keep!r}")
    if keep:
        await caller.call("LTRIM", keys.logs(job_id), -keep, -1)
    else:
        await caller.call("DEL", keys.logs(job_id))


async def remove_job(caller: Caller, keys: Keys, dialect: str, now_ms: int, job_id: str, remove_children: bool) -> int:
    """Remove a job from wherever it is: 1; 0: it or a child is locked; -1, -8."""
    return int(await run(caller, "remove_job", keys, job_id, now_ms, int(remove_children), dialect))


async def remove_deduplication_key(caller: Caller, keys: Keys, deduplication_id: str, job_id: str) -> bool:
    """Give a deduplication id free if the job owns it ('' = whoever owns it)."""
    if not job_id:
        return bool(await caller.call("DEL", f"{keys.base}de:{deduplication_id}"))
    return bool(await run(caller, "free_deduplication", keys, deduplication_id, job_id))


async def requeue_jobs(caller: Caller, keys: Keys, dialect: str, state: State, until_ms: int | None, most: int) -> int:
    """Let up to `most` jobs that are completed, failed (by `until_ms` at the latest) or delayed run; gives how many."""
    until = "+inf" if until_ms is None else until_ms
    return int(await run(caller, "requeue_jobs", keys, dialect, state.value, until, most))


async def drain_jobs(caller: Caller, keys: Keys, dialect: str, now_ms: int, place: Place, most: int) -> int:
    """Remove up to `most` jobs, but no scheduler's pending iteration; gives how many."""
    return int(await run(caller, "drain_jobs", keys, place, now_ms, most, dialect))


async def clean_jobs(
    caller: Caller, keys: Keys, now_ms: int, place: Place, newest_ms: int, most: int, look: int, skip: int
) -> tuple[list[str], int]:
    """Remove up to `most` jobs as old as `newest_ms`, among `look` after the oldest `skip`.

    Gives the ids of those that are gone, and how many it looked at.
    """
    gone, looked = await run(caller, "clean_jobs", keys, place, now_ms, newest_ms, most, look, skip)
    return [to_text(id) for id in gone], int(looked)


async def obliterate_queue(caller: Caller, keys: Keys, dialect: str, now_ms: int, force: bool, most: int) -> int:
    """Delete up to `most` jobs of a paused queue, and in the end the queue: 1 = call again, 0 = nothing is left.

    -1: it is not paused; -2: it has active jobs, and `force` was not given. With `most` 0 it only asks.
    """
    return int(await run(caller, "obliterate_queue", keys, now_ms, int(force), most, dialect))


async def set_limits(caller: Caller, keys: Keys, fields: Mapping[str, int | None]) -> None:
    """Set fields of `meta`, or lift them (None), and wake a worker if jobs are waiting."""
    args = [part for name, value in fields.items() for part in (name, "" if value is None else value)]
    await run(caller, "set_limits", keys, *args)
