"""Typed functions for a job in the caller's hands: moved by its own processor, or ended without one."""

from corral.ending import Ending
from corral.job import Job
from corral.keys import Keys
from corral.lifecycle import Completed, Failed, Step
from corral.refusals import refusal
from corral.script import Caller, run
from corral.scripts import Settlement, Taking, settle_jobs

FOREVER = 2**53 - 1
"""What a limiter counts when it is set by hand: more jobs than any limit allows. BullMQ's number."""


async def move_to_delayed(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, job_id: str, token: str, due_ms: int
) -> int:
    """Delay an active job until `due_ms`, no attempt counted: 0, -1, -2, -3 or -6."""
    return int(await run(caller, "move_to_delayed", keys, now_ms, dialect, job_id, token, due_ms))


async def move_to_wait(caller: Caller, keys: Keys, dialect: str, job_id: str, token: str) -> int:
    """Put an active job back to the front: 0, -1, -2, -3 or -6."""
    return int(await run(caller, "move_to_wait", keys, dialect, job_id, token))


async def move_to_waiting_children(
    caller: Caller, keys: Keys, now_ms: int, job_id: str, token: str, child: str | None
) -> int:
    """Let an active job wait for its open children (or one, by its key): 0; 1 = none is open; -1, -2, -3, -6, -9."""
    return int(await run(caller, "move_to_waiting_children", keys, now_ms, job_id, token, child or ""))


async def extend_lock(caller: Caller, keys: Keys, job_id: str, token: str, duration_ms: int) -> int:
    """Hold an active job for so long from now: 0, -2 or -6."""
    return int(await run(caller, "extend_lock", keys, job_id, token, duration_ms))


async def complete(caller: Caller, keys: Keys, dialect: str, now_ms: int, job: Job, value: str, ending: Ending) -> None:
    """Complete an active job with a value (JSON). Raises LockLost, JobNotInState, JobNotFound."""
    await _settle(caller, keys, dialect, now_ms, job, ending.step(job, Completed(value)), ending)


async def fail(caller: Caller, keys: Keys, dialect: str, now_ms: int, job: Job, failed: Failed, ending: Ending) -> None:
    """End an attempt of an active job: retried, delayed or failed. Raises LockLost, JobNotInState, JobNotFound."""
    verdict = await ending.verdict(job, failed) if ending.asks(job, failed) else None
    await _settle(caller, keys, dialect, now_ms, job, ending.step(job, failed, verdict), ending)


async def _settle(caller: Caller, keys: Keys, dialect: str, now_ms: int, job: Job, step: Step, ending: Ending) -> None:
    taking = Taking(0, "", 0, "", points=ending.metrics_points)
    settled = await settle_jobs(caller, keys, dialect, now_ms, [Settlement(job.id, job.token or "", step)], taking)
    if settled.codes[0]:
        raise refusal(settled.codes[0], job.id, keys.queue, "ended")


async def limit_queue(caller: Caller, keys: Keys, duration_ms: int) -> None:
    """Let no job of the queue start for so long, where a rate limit is known (its own, or a worker's)."""
    await caller.call("SET", keys.limiter, FOREVER, "PX", max(1, duration_ms))


async def limited_ms(caller: Caller, keys: Keys) -> int:
    """How long the window of the queue's rate limit still lasts; 0 = there is none."""
    return max(0, int(await caller.call("PTTL", keys.limiter)))
