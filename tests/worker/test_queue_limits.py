"""The limits of a queue on real servers: set, read, kept to by workers, and lifted under their eyes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, InvalidJob, Queue, RateLimit, Worker
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from corral import Job

BASE = "bull:mail:"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("mail", redis=redis_url) as queue:
        yield queue


@pytest.fixture
def client(async_client: Any) -> Any:
    """redis-py's types mix its blocking and its async answers."""
    return async_client


async def test_a_global_concurrency_is_set_read_and_lifted(queue: Queue, client: Any) -> None:
    assert await queue.get_global_concurrency() is None
    assert not await queue.is_maxed()
    await queue.set_global_concurrency(2)
    assert await queue.get_global_concurrency() == 2
    await client.lpush(f"{BASE}active", "a")
    assert not await queue.is_maxed()
    await client.lpush(f"{BASE}active", "b")
    assert await queue.is_maxed()
    await queue.remove_global_concurrency()
    assert await queue.get_global_concurrency() is None
    assert not await queue.is_maxed()


async def test_a_global_rate_limit_is_set_read_and_lifted(queue: Queue, client: Any) -> None:
    assert await queue.get_global_rate_limit() is None
    await queue.set_global_rate_limit(5, timedelta(seconds=2))
    assert await queue.get_global_rate_limit() == RateLimit(5, 2000)
    assert await client.hgetall(f"{BASE}meta") == {b"max": b"5", b"duration": b"2000"}
    await queue.remove_global_rate_limit()
    assert await queue.get_global_rate_limit() is None


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3"])
async def test_what_is_no_limit_is_refused(queue: Queue, client: Any, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="whole number from 1 up"):
        await queue.set_global_concurrency(wrong)
    with pytest.raises(ConfigurationError, match="whole number from 1 up"):
        await queue.set_global_rate_limit(wrong, 1)
    with pytest.raises(ConfigurationError):
        await queue.set_global_rate_limit(1, -1)
    with pytest.raises(InvalidJob, match="span of time"):
        await queue.rate_limit(-1)
    assert await client.dbsize() == 0


async def test_limits_that_another_wrote_and_that_mean_nothing_count_as_none(queue: Queue, client: Any) -> None:
    await client.hset(f"{BASE}meta", mapping={"concurrency": "x", "max": "0", "duration": "5"})
    assert await queue.get_global_concurrency() is None
    assert await queue.get_global_rate_limit() is None
    assert not await queue.is_maxed()


async def test_how_long_a_rate_limit_still_holds(queue: Queue, client: Any) -> None:
    assert await queue.get_rate_limit_ttl() == 0
    await client.set(f"{BASE}limiter", 3, px=60_000)
    assert 55 < await queue.get_rate_limit_ttl() <= 60
    assert 55 < await queue.get_rate_limit_ttl(3) <= 60
    assert await queue.get_rate_limit_ttl(4) == 0
    await queue.set_global_rate_limit(4, 60)
    assert await queue.get_rate_limit_ttl() == 0
    assert 55 < await queue.get_rate_limit_ttl(2) <= 60


async def test_a_manual_rate_limit_holds_until_it_ends_or_is_taken_back(queue: Queue, client: Any) -> None:
    await queue.rate_limit(timedelta(minutes=1))
    assert await client.get(f"{BASE}limiter") == b"9007199254740991"
    await queue.set_global_rate_limit(1000, 1)
    assert 55 < await queue.get_rate_limit_ttl() <= 60
    assert await queue.remove_rate_limit_key()
    assert not await queue.remove_rate_limit_key()
    assert await queue.get_rate_limit_ttl() == 0


async def test_a_worker_that_slept_at_the_global_concurrency_is_woken_when_it_is_raised(
    queue: Queue, redis_url: str
) -> None:
    running: set[str] = set()
    go = asyncio.Event()

    async def hold(job: Job) -> None:
        running.add(job.id)
        await go.wait()

    await queue.set_global_concurrency(1)
    for _ in range(3):
        await queue.add("send")
    worker = Worker("mail", hold, redis=redis_url, concurrency=10)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: len(running) == 1)
    await queue.set_global_concurrency(2)
    # Well below the five seconds after which a worker looks by itself.
    await eventually(lambda: len(running) == 2, 3)
    await queue.remove_global_concurrency()
    await eventually(lambda: len(running) == 3, 3)
    go.set()
    await worker.close()
    await task
