"""A worker's own way to say when a failed job runs again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import Backoff, Job, Queue, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def boom(job: Job) -> None:
    raise ValueError(f"boom {job.attempt}")


async def failed(queue: Queue) -> Job:
    async def one() -> bool:
        counts = await queue.get_job_counts()
        assert counts.failed == 1, counts
        return True

    await eventually(one)
    job = await queue.get_job("1")
    assert job is not None
    return job


async def test_the_strategy_is_asked_with_what_it_needs(queue: Queue, redis7_url: str) -> None:
    asked: list[tuple[Any, ...]] = []

    def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> timedelta:
        asked.append((attempts_made, kind, repr(error), job.id))
        return timedelta(milliseconds=10)

    await queue.add("x", attempts=3, backoff=Backoff("lunar", 5))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=strategy)):
        job = await failed(queue)
    assert asked == [(1, "lunar", "ValueError('boom 1')", "1"), (2, "lunar", "ValueError('boom 2')", "1")]
    assert (job.attempts_made, job.failed_reason) == (3, "boom 3")


async def test_its_wait_is_the_jobs_delay(queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis) -> None:
    client: Any = redis7_client

    async def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> float:
        return 3600.5

    await queue.add("x", attempts=3, backoff=Backoff("lunar"))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=strategy)):
        await eventually(lambda: client.zcard("bull:q:delayed"))
    assert await client.hget("bull:q:1", "delay") == b"3600500"


async def test_no_wait_means_at_once(queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis) -> None:
    client: Any = redis7_client
    await queue.add("x", attempts=2, backoff=Backoff("lunar"))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=lambda *asked: 0)):
        await failed(queue)
    names = [entry[b"event"] for _, entry in await client.xrange("bull:q:events") if b"jobId" in entry]
    assert b"delayed" not in names


@pytest.mark.parametrize("no", [None, -1])
async def test_it_may_forbid_a_retry(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, no: int | None
) -> None:
    client: Any = redis7_client
    await queue.add("x", attempts=9, backoff=Backoff("lunar"))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=lambda *asked: no)):
        job = await failed(queue)
    assert (job.failed_reason, job.attempts_made) == ("boom 1", 1)
    assert b"retries-exhausted" not in [entry[b"event"] for _, entry in await client.xrange("bull:q:events")]


async def test_one_that_raises_fails_the_job_and_says_so(queue: Queue, redis7_url: str) -> None:
    def strategy(*asked: Any) -> int:
        raise KeyError("moon")

    await queue.add("x", attempts=9, backoff=Backoff("lunar"))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=strategy)):
        job = await failed(queue)
    assert job.failed_reason == "boom 1 (not retried: the backoff strategy raised KeyError: 'moon')"


async def test_nonsense_fails_the_job_and_says_so(queue: Queue, redis7_url: str) -> None:
    await queue.add("x", attempts=9, backoff=Backoff("lunar"))
    worker = Worker("q", boom, redis=redis7_url, backoff_strategy=lambda *asked: "soon")  # type: ignore[arg-type,return-value]
    async with running(worker):
        job = await failed(queue)
    assert job.failed_reason is not None
    assert job.failed_reason.startswith("boom 1 (not retried: the backoff strategy raised InvalidJob: 'soon'")


async def test_the_two_that_everybody_knows_are_not_asked_for(queue: Queue, redis7_url: str) -> None:
    asked: list[Any] = []
    await queue.add("x", attempts=2, backoff=Backoff.fixed(0.01))
    async with running(Worker("q", boom, redis=redis7_url, backoff_strategy=lambda *args: asked.append(args))):
        job = await failed(queue)
    assert (job.attempts_made, asked) == (2, [])


async def test_a_worker_without_a_strategy_says_how_to_give_it_one(queue: Queue, redis7_url: str) -> None:
    await queue.add("x", attempts=9, backoff=Backoff("lunar"))
    async with running(Worker("q", boom, redis=redis7_url)):
        job = await failed(queue)
    assert job.failed_reason is not None
    assert "unknown backoff strategy 'lunar'" in job.failed_reason
    assert "Worker(..., backoff_strategy=...)" in job.failed_reason


async def test_a_parent_that_may_not_complete_is_asked_for_too(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    asked: list[str] = []

    def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> int:
        asked.append(str(error))
        return 0

    await queue.add("x", attempts=2, backoff=Backoff("lunar"))
    await client.sadd("bull:q:1:dependencies", "bull:c:1")
    async with running(Worker("q", lambda job: None, redis=redis7_url, backoff_strategy=strategy)):
        job = await failed(queue)
    assert asked == ["the job cannot complete: it has open children"]
    assert job.attempts_made == 2
