"""Typed functions for flows: parents and children in one transaction, and what unties them."""

from corral.keys import Keys
from corral.script import Caller


async def remove_unprocessed_children(caller: Caller, keys: Keys, now_ms: int, job_id: str) -> None:
    """Remove a parent's children that are open and not running, with theirs. The last one releases the parent."""
    raise NotImplementedError


async def remove_child_dependency(caller: Caller, keys: Keys, now_ms: int, job_id: str) -> int:
    """Let a job's parent no longer wait for it: 1, or 0: it did not wait; -1 no job, -5 no parent."""
    raise NotImplementedError
