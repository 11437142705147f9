"""A few connections, shared by many callers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import Queue
from corral.address import make_pool
from corral.connection import Lines
from corral.errors import RedisUnavailable
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def _blocked(client: Any) -> bool:
    return int((await client.info("clients"))["blocked_clients"]) == 1


async def test_shared_lines_serve_many_callers_on_a_few_connections(redis_url: str) -> None:
    async with Lines(make_pool(redis_url), most=3) as lines:
        ids = await asyncio.gather(*(lines.call("CLIENT", "ID") for _ in range(50)))
        assert 1 <= len(set(ids)) <= 3


async def test_a_caller_waits_while_all_lines_are_in_use(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    async with Lines(make_pool(redis_url), most=1) as lines:
        blocked = asyncio.create_task(lines.call("BLPOP", "l", 0))
        await eventually(lambda: _blocked(async_client))
        waiting = asyncio.create_task(lines.call("ECHO", "x"))
        await client.ping()
        assert not waiting.done()
        await client.rpush("l", 1)
        assert await blocked == [b"l", b"1"]
        assert await waiting == b"x"


async def test_a_broken_line_goes_back_among_the_free_ones(redis_url: str) -> None:
    async with Lines(make_pool(redis_url), most=1) as lines:
        for _ in range(3):
            with pytest.raises(RedisUnavailable):
                await lines.call("BLPOP", "nothing", 0, timeout=0.02)
        assert await lines.call_many([("ECHO", "x"), ("ECHO", "y")]) == [b"x", b"y"]


CLOSED = "the connections are closed; the queue or worker has ended"


async def test_closed_lines_refuse_calls_and_open_no_connection(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    lines = Lines(make_pool(redis_url))
    await lines.call("PING")
    await lines.close()
    before = len(await client.client_list())
    for call in (lines.call("PING"), lines.call_many([("PING",)])):
        with pytest.raises(RedisUnavailable, match=CLOSED) as caught:
            await call
        assert not caught.value.maybe_done
    assert len(await client.client_list()) <= before
    await lines.close()


async def test_a_call_under_way_at_the_close_still_ends_and_leaves_no_connection(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    before = len(await client.client_list())
    lines = Lines(make_pool(redis_url), most=1)
    under_way = asyncio.create_task(lines.call("BLPOP", "l", 0))
    await eventually(lambda: _blocked(client))
    waiting = asyncio.create_task(lines.call("ECHO", "x"))
    await asyncio.sleep(0)
    await lines.close()
    await client.rpush("l", 1)
    assert await under_way == [b"l", b"1"]
    with pytest.raises(RedisUnavailable, match=CLOSED):
        await waiting

    async def as_before() -> bool:
        return len(await client.client_list()) == before

    await eventually(as_before)


async def test_a_closed_queue_says_so(redis_url: str) -> None:
    queue = Queue("mail", redis=redis_url)
    await queue.add("x")
    await queue.close()
    with pytest.raises(RedisUnavailable, match=CLOSED):
        await queue.add("y")
