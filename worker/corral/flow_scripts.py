"""Typed functions that untie flows."""

from corral.keys import Keys
from corral.script import Caller, run


async def remove_unprocessed_children(caller: Caller, keys: Keys, dialect: str, now_ms: int, job_id: str) -> None:
    """Remove a parent's children that are open and not running, with theirs. The last one releases the parent."""
    await run(caller, "remove_unprocessed_children", keys, now_ms, job_id, dialect)


async def remove_child_dependency(caller: Caller, keys: Keys, dialect: str, now_ms: int, job_id: str) -> int:
    """Let a job's parent no longer wait for it: 1, or 0: it did not wait; -1 no job, -5 no parent."""
    return int(await run(caller, "remove_child_dependency", keys, now_ms, job_id, dialect))
