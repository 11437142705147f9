"""Looking after a queue on real servers: reading jobs, states and counts, pausing, closing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, CorruptJob, Counts, InvalidQueueName, JobNotFound, Queue, State
from keyspace import dump
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("mail", redis=redis_url) as queue:
        yield queue


async def test_a_job_is_read_back_whole(queue: Queue) -> None:
    added = await queue.add("send", [1], attempts=2, backoff=3)
    found = await queue.get_job(added.id)
    assert found is not None
    assert (found.id, found.name, found.data, found.opts) == (added.id, "send", [1], added.opts)
    assert found.timestamp == added.timestamp
    assert await queue.get_job("nothing") is None


async def test_a_hash_that_is_no_job_is_told(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    await client.hset("bull:mail:9", mapping={"name": "x", "data": "{"})
    with pytest.raises(CorruptJob, match="job 9 of queue 'mail': field 'data' is not JSON"):
        await queue.get_job("9")


async def test_progress_and_log_rows_are_stored(queue: Queue) -> None:
    job = await queue.add("send", keep_logs=2)
    await job.update_progress({"done": 0.5})
    assert [await job.log(row) for row in ("one", "two", "drei ü")] == [1, 2, 2]
    assert await queue.get_job_logs(job.id) == ["two", "drei ü"]
    found = await queue.get_job(job.id)
    assert found is not None
    assert found.progress == {"done": 0.5}
    assert await queue.get_job_logs("nothing") == []


async def test_a_job_that_is_gone_takes_no_progress_and_no_log(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    job = await queue.add("send")
    await async_client.flushall()
    with pytest.raises(JobNotFound, match="job 1 of queue 'mail' is gone; its progress was not stored"):
        await job.update_progress(1)
    with pytest.raises(JobNotFound, match="job 1 of queue 'mail' is gone; the log row was not stored"):
        await job.log("row")
    assert await dump(async_client) == {}


async def test_many_producers_at_once_lose_nothing(queue: Queue) -> None:
    jobs = await asyncio.gather(*(queue.add("send", number) for number in range(200)))
    assert len({job.id for job in jobs}) == 200
    assert await queue.get_job_counts() == Counts(200, 0, 0, 0, 0, 0, 0)


async def test_where_a_job_is(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    ids = [(await queue.add("send", **options)).id for options in ({}, {"priority": 1}, {"delay": 60})]  # type: ignore[arg-type]
    states = [await queue.get_job_state(id) for id in [*ids, "nothing"]]
    assert states == [State.WAITING, State.PRIORITIZED, State.DELAYED, State.UNKNOWN]
    await client.lpush("bull:mail:active", "a")
    await client.zadd("bull:mail:completed", {"b": 1})
    await client.zadd("bull:mail:failed", {"c": 1})
    await client.zadd("bull:mail:waiting-children", {"d": 1})
    assert [await queue.get_job_state(id) for id in "abcd"] == ["active", "completed", "failed", "waiting-children"]
    assert await queue.get_job_counts() == Counts(1, 1, 1, 1, 1, 1, 1)
    assert (await queue.get_job_counts()).unfinished == 5


async def test_a_pause_and_its_end(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    await queue.add("send")
    assert not await queue.is_paused()
    await queue.pause()
    await queue.pause()
    assert await queue.is_paused()
    assert "bull:mail:marker" not in await dump(async_client)
    await queue.add("send")
    assert (await queue.get_job_counts()).waiting == 2
    await queue.resume()
    assert not await queue.is_paused()
    assert (await dump(async_client))["bull:mail:marker"] == {"0": 0}


async def test_a_pause_in_the_layout_of_bullmq_5(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    async with Queue("mail", redis=redis_url, dialect="v5") as queue:
        await queue.add("send")
        await queue.pause()
        await queue.add("send")
        assert (await dump(async_client))["bull:mail:paused"] == ["2", "1"]
        assert (await queue.get_job_counts()).waiting == 2
        await queue.resume()
        assert (await dump(async_client))["bull:mail:wait"] == ["2", "1"]


async def test_a_prefix_keeps_queues_of_one_name_apart(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    async with Queue("mail", redis=redis_url, prefix="{app}") as queue:
        await queue.add("send")
    assert set(await dump(async_client, "*:wait")) == {"{app}:mail:wait"}


async def test_a_closed_queue_has_no_connections_left(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    before = len(await client.client_list())
    queue = Queue("mail", redis=redis_url)
    await asyncio.gather(*(queue.add("send") for _ in range(20)))
    assert len(await client.client_list()) > before
    await queue.close()
    await queue.close()

    async def back_to_before() -> bool:  # the server needs a moment to see them go
        return len(await client.client_list()) <= before

    await eventually(back_to_before)


@pytest.mark.parametrize("dialect", ["v4", "", None])
def test_an_unknown_dialect_is_refused(dialect: Any) -> None:
    with pytest.raises(ConfigurationError, match="dialect is 'auto', 'v5' or 'v6'"):
        Queue("mail", redis="redis://h", dialect=dialect)


def test_a_queue_needs_a_name_without_a_colon() -> None:
    with pytest.raises(InvalidQueueName):
        Queue("a:b", redis="redis://h")
