"""A worker's own rate limit, one set by hand, and a processor that may not go on now."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, Job, JobSpec, Queue, RateLimit, RateLimitError, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def completed(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == number, counts
    return True


async def test_a_limiter_spreads_jobs_over_its_windows(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    ran: list[float] = []

    async def note(job: Job) -> None:
        ran.append(time.monotonic())

    await queue.add_bulk([JobSpec("x", number) for number in range(10)])
    worker = Worker("q", note, redis=redis7_url, concurrency=20, limiter=RateLimit.per(4, timedelta(seconds=0.3)))
    async with running(worker):
        await eventually(lambda: len(ran) == 4)
        assert await client.get("bull:q:limiter") == b"4"
        await eventually(lambda: completed(queue, 10))
    assert all(later - sooner > 0.2 for sooner, later in zip(ran, ran[4:], strict=False))


async def test_a_worker_limits_its_queues_by_hand(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    ran: list[str] = []
    worker = Worker("q", lambda job: ran.append(job.id), redis=redis7_url)
    async with running(worker):
        await queue.add("first")
        await eventually(lambda: completed(queue, 1))
        began = time.monotonic()
        await worker.rate_limit(0.5)
        assert await client.get("bull:q:limiter") == b"9007199254740991"
        assert 300 < await client.pttl("bull:q:limiter") <= 500
        await queue.add("second")
        await eventually(lambda: completed(queue, 2))
        assert time.monotonic() - began > 0.45


async def test_a_worker_that_does_not_run_limits_nothing() -> None:
    with pytest.raises(ConfigurationError, match="the worker does not run"):
        await Worker("q", print).rate_limit(1)


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_processor_that_may_not_go_on_gives_its_job_back(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, plain: bool
) -> None:
    client: Any = redis7_client
    ran: list[tuple[str, int, int, float]] = []

    def decide(job: Job) -> None:
        ran.append((job.id, job.attempts_made, job.attempts_started, time.monotonic()))
        if len(ran) == 1:
            raise RateLimitError(0.4)

    async def decide_async(job: Job) -> None:
        decide(job)

    await queue.add_bulk([JobSpec("a"), JobSpec("b")])
    async with running(Worker("q", decide if plain else decide_async, redis=redis7_url)):
        await eventually(lambda: client.exists("bull:q:limiter"))
        await eventually(lambda: completed(queue, 2))
    # In front of the other, no attempt counted, after the limit.
    assert [each[:3] for each in ran] == [("1", 0, 1), ("1", 0, 2), ("2", 0, 1)]
    assert ran[1][3] - ran[0][3] > 0.35
    events = [entry[b"event"] for _, entry in await client.xrange("bull:q:events") if entry.get(b"jobId") == b"1"]
    assert events == [b"added", b"waiting", b"active", b"waiting", b"active", b"completed"]


async def test_without_a_time_the_limit_that_is_there_is_obeyed(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    ran: list[float] = []

    async def decide(job: Job) -> None:
        ran.append(time.monotonic())
        if len(ran) == 1:
            await client.set("bull:q:limiter", 2**53 - 1, px=400)
            raise RateLimitError

    await queue.add("x")
    async with running(Worker("q", decide, redis=redis7_url)):
        await eventually(lambda: completed(queue, 1))
    assert ran[1] - ran[0] > 0.35


async def test_a_worker_that_limits_itself_and_gives_up_runs_the_job_once_more(queue: Queue, redis7_url: str) -> None:
    ran: list[float] = []

    async def decide(job: Job) -> None:
        ran.append(time.monotonic())
        if len(ran) == 1:
            await worker.rate_limit(0.3)
            raise RateLimitError

    worker = Worker("q", decide, redis=redis7_url, limiter=RateLimit(100, 60_000))
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: completed(queue, 1))
    assert ran[1] - ran[0] > 0.25


async def test_a_wrong_time_fails_the_job_and_says_so(queue: Queue, redis7_url: str) -> None:
    async def wrong(job: Job) -> None:
        raise RateLimitError(-1)

    await queue.add("x")
    failed = asyncio.get_running_loop().create_future()
    worker = Worker("q", wrong, redis=redis7_url)
    worker.on("failed", lambda job, reason: failed.set_result(reason))
    async with running(worker):
        assert "a span of time is not negative" in await asyncio.wait_for(failed, 10)


async def test_a_job_that_speaks_of_a_limit_that_is_not_there_does_not_run_at_once_again(
    queue: Queue, redis7_url: str
) -> None:
    ran: list[float] = []

    async def decide(job: Job) -> None:
        ran.append(time.monotonic())
        if len(ran) < 4:
            raise RateLimitError

    await queue.add("x")
    async with running(Worker("q", decide, redis=redis7_url)):
        await eventually(lambda: completed(queue, 1))
    assert all(later - sooner > 0.09 for sooner, later in itertools.pairwise(ran))
