"""Typed functions for who looks after a queue: one job at a time. Negative codes: see `refusals.py`."""

from corral.keys import Keys
from corral.script import Caller
from corral.state import State


async def promote_job(caller: Caller, keys: Keys, dialect: str, job_id: str) -> int:
    """Let a delayed job run now: 0, -1 or -3."""
    raise NotImplementedError


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
    raise NotImplementedError


async def change_delay(caller: Caller, keys: Keys, now_ms: int, job_id: str, delay_ms: int) -> int:
    """Let a delayed job be due at `now_ms + delay_ms`: 0, -1 or -3."""
    raise NotImplementedError


async def change_priority(caller: Caller, keys: Keys, dialect: str, job_id: str, priority: int, lifo: bool) -> int:
    """Give a job another priority, and its place if it waits: 0 or -1."""
    raise NotImplementedError


async def update_data(caller: Caller, keys: Keys, job_id: str, data: str) -> int:
    """Replace a job's data (JSON): 0 or -1."""
    raise NotImplementedError


async def clear_logs(caller: Caller, keys: Keys, job_id: str, keep: int | None) -> None:
    """Delete a job's log rows, or all but the newest `keep`."""
    raise NotImplementedError


async def remove_job(caller: Caller, keys: Keys, now_ms: int, job_id: str, remove_children: bool) -> int:
    """Remove a job from wherever it is: 1; 0: it or a child is locked; -1, -8."""
    raise NotImplementedError


async def remove_deduplication_key(caller: Caller, keys: Keys, deduplication_id: str, job_id: str) -> bool:
    """Give a deduplication id free if the job owns it ('' = whoever owns it)."""
    raise NotImplementedError
