"""Typed functions for a job in the caller's hands: moved by its own processor, or ended without one."""

from corral.job import Job
from corral.keys import Keys
from corral.script import Caller


async def move_to_delayed(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, job_id: str, token: str, due_ms: int
) -> int:
    """Delay an active job until `due_ms`, no attempt counted: 0, -1, -2, -3 or -6."""
    raise NotImplementedError


async def move_to_wait(caller: Caller, keys: Keys, dialect: str, job_id: str, token: str) -> int:
    """Put an active job back to the front: 0, -1, -2, -3 or -6."""
    raise NotImplementedError


async def move_to_waiting_children(
    caller: Caller, keys: Keys, now_ms: int, job_id: str, token: str, child: str | None
) -> int:
    """Let an active job wait for its open children (or one, by its key): 0; 1 = none is open; -1, -2, -3, -6, -9."""
    raise NotImplementedError


async def complete(caller: Caller, keys: Keys, dialect: str, now_ms: int, job: Job, value: str) -> None:
    """Complete an active job with a value (JSON). Raises LockLost, JobNotInState, JobNotFound."""
    raise NotImplementedError


async def fail(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, job: Job, reason: str, stack: str, unrecoverable: bool
) -> None:
    """End an attempt of an active job: retried, delayed or failed. Raises LockLost, JobNotInState, JobNotFound."""
    raise NotImplementedError


async def extend_lock(caller: Caller, keys: Keys, job_id: str, token: str, duration_ms: int) -> int:
    """Hold an active job for so long from now: 0, -2 or -6."""
    raise NotImplementedError
