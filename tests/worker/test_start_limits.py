"""How often a job may be started, or lose its worker, before it is failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import DelayedError, Job, Queue, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def failed(queue: Queue) -> Job:
    async def one() -> bool:
        counts = await queue.get_job_counts()
        assert counts.failed == 1, counts
        return True

    await eventually(one)
    job = await queue.get_job("1")
    assert job is not None
    return job


async def test_a_job_that_moves_itself_again_and_again_is_failed_at_last(queue: Queue, redis7_url: str) -> None:
    ran: list[int] = []

    async def run(job: Job) -> None:
        ran.append(job.attempts_started)
        await job.move_to_delayed(0)
        raise DelayedError

    await queue.add("x", attempts=10)
    async with running(Worker("q", run, redis=redis7_url, max_started_attempts=3)):
        job = await failed(queue)
    assert ran == [1, 2, 3]
    assert job.failed_reason == "job started more than allowable limit"
    assert (job.attempts_made, job.attempts_started) == (1, 4)


async def test_a_job_is_not_retried_after_its_last_start(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client

    async def run(job: Job) -> None:
        raise ValueError(f"boom {job.attempts_started}")

    await queue.add("x", attempts=10)
    async with running(Worker("q", run, redis=redis7_url, max_started_attempts=2)):
        job = await failed(queue)
    assert (job.failed_reason, job.attempts_made, job.attempts_started) == ("boom 2", 2, 2)
    names = [entry[b"event"] for _, entry in await client.xrange("bull:q:events")]
    # Attempts are left.
    assert b"retries-exhausted" not in names


@pytest.mark.parametrize(("most", "runs"), [(0, 0), (2, 2)])
async def test_a_job_that_lost_its_worker_too_often_is_failed(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, most: int, runs: int
) -> None:
    client: Any = redis7_client
    ran: list[int] = []

    async def run(job: Job) -> None:
        ran.append(job.stalled_counter)
        # As if this worker had died: its lock is gone, and somebody puts the job back before its end is told.
        await client.delete("bull:q:1:lock")
        await eventually(lambda: put_back(len(ran) + 1))

    async def put_back(stalls: int) -> bool:
        return int(await client.hget("bull:q:1", "stc")) == stalls

    await queue.add("x", attempts=9)
    await client.lmove("bull:q:wait", "bull:q:active", "RIGHT", "LEFT")
    async with running(
        Worker("q", run, redis=redis7_url, stalled_interval=0.1, max_stalled_count=most, lock_duration=30)
    ):
        job = await failed(queue)
    assert ran == list(range(1, runs + 1))
    assert job.failed_reason == "job stalled more than allowable limit"
    assert job.stalled_counter == most + 1
