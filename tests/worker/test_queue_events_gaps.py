"""QueueEvents across breaks: nothing is lost, or it says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from corral import Event, Queue, QueueEvents
from corral.keys import Keys
from relay import Relay
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis.asyncio

    from servers import RedisServer

KEY = Keys("q").events


async def names(events: QueueEvents, number: int) -> list[str]:
    async with asyncio.timeout(15):
        return [(await anext(events)).name for _ in range(number)]


async def one(events: QueueEvents) -> Event:
    async with asyncio.timeout(15):
        return await anext(events)


async def say(client: Any, *words: str) -> None:
    for word in words:
        await client.xadd(KEY, {"event": word})


def said(server: RedisServer, *words: str) -> None:
    with server.client() as client:
        for word in words:
            client.xadd(KEY, {"event": word})


async def test_killed_connections_leave_no_gap(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    heard: list[str] = []
    async with QueueEvents("q", redis=redis_url) as events:
        events.on("*", lambda event: heard.append(event.name))
        await eventually(lambda: events._loops)
        for turn in range(5):
            iterating = asyncio.ensure_future(names(events, 2))
            await client.client_kill_filter(_type="normal", skipme=True)
            await say(client, f"a{turn}", f"b{turn}")
            await client.client_kill_filter(_type="normal", skipme=True)
            assert await iterating == [f"a{turn}", f"b{turn}"]
        expected = [f"{letter}{turn}" for turn in range(5) for letter in "ab"]
        await eventually(lambda: heard == expected)


async def test_a_network_that_breaks_in_the_middle_of_many_events_loses_and_repeats_none(
    redis7: RedisServer, redis7_client: redis.asyncio.Redis
) -> None:
    heard: list[str] = []
    async with Relay(redis7.port) as relay, QueueEvents("q", redis=relay.url) as events:
        events.on("*", lambda event: heard.append(event.name))
        errors: list[Exception] = []
        events.on("error", errors.append)
        for number in range(400):
            await say(redis7_client, str(number))
            if number % 50 == 25:
                relay.cut()
        await eventually(lambda: len(heard) >= 400, 20)
        assert heard == [str(number) for number in range(400)]
        assert errors


async def test_what_happens_while_the_network_is_away_is_heard_afterwards(
    redis7: RedisServer, redis7_client: redis.asyncio.Redis
) -> None:
    states: list[str] = []
    async with Relay(redis7.port) as relay, QueueEvents("q", redis=relay.url) as events:
        events.on("error", lambda error: states.append("error"))
        events.on("ready", lambda: states.append("ready"))
        await eventually(lambda: states == ["ready"])
        relay.shut()
        await eventually(lambda: states == ["ready", "error"])
        await say(redis7_client, "meanwhile")
        relay.open = True
        assert await names(events, 1) == ["meanwhile"]
        await eventually(lambda: states == ["ready", "error", "ready"])


async def test_a_stream_cut_while_it_was_away_is_told_with_the_number_that_was_missed(
    server: RedisServer, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with Relay(server.port) as relay, QueueEvents("q", redis=relay.url) as events:
        await say(client, "first")
        first = await one(events)
        relay.shut()
        await say(client, *(str(number) for number in range(10)))
        await client.xtrim(KEY, maxlen=3, approximate=False)
        relay.open = True
        gap = await one(events)
        assert (gap.name, gap.fields) == ("gap", {"reason": "trimmed", "lost": 7, "after": first.id})
        assert await names(events, 3) == ["7", "8", "9"]
        # What it says is right also the next time.
        relay.shut()
        await client.xtrim(KEY, maxlen=0, approximate=False)
        await say(client, "next")
        relay.open = True
        assert await names(events, 1) == ["next"]


async def test_a_reader_that_is_too_slow_is_told(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    async with QueueEvents("q", redis=redis_url) as events:
        await say(client, *("x" for _ in range(1500)))
        assert await names(events, 1) == ["x"]
        await client.xtrim(KEY, maxlen=100, approximate=False)
        assert await names(events, 999) == ["x"] * 999, "what was read already"
        gap = await one(events)
        assert (gap.name, gap.fields["lost"]) == ("gap", 400)
        assert await names(events, 100) == ["x"] * 100


async def test_going_on_after_an_event_that_is_gone_is_told(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    await say(client, "a", "b", "c")
    async with QueueEvents("q", redis=redis_url, last_event_id="0") as events:
        first = await one(events)
    await client.xtrim(KEY, maxlen=1, approximate=False)
    async with QueueEvents("q", redis=redis_url, last_event_id=first.id) as events:
        gap = await one(events)
        assert (gap.name, gap.fields["reason"], gap.id) == ("gap", "trimmed", first.id)
        assert await names(events, 1) == ["c"]


async def test_a_deleted_stream_is_told_and_the_new_one_is_heard_from_its_beginning(
    server: RedisServer, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with Relay(server.port) as relay, QueueEvents("q", redis=relay.url) as events:
        await say(client, "a")
        await names(events, 1)
        relay.shut()
        await client.delete(KEY)
        await client.xadd(KEY, {"event": "b"}, id="1-1")
        relay.open = True
        gap = await one(events)
        assert (gap.name, gap.fields["reason"], gap.fields["lost"]) == ("gap", "deleted", None)
        assert await names(events, 1) == ["b"]
        await client.xadd(KEY, {"event": "c"})
        assert await names(events, 1) == ["c"]


async def test_a_redis_that_comes_back_empty_is_told(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    async with QueueEvents("q", redis=server.url) as events:
        said(server, "a")
        assert await names(events, 1) == ["a"]
        server.kill()
        server.start()
        said(server, "b")
        gap = await one(events)
        assert (gap.name, gap.fields["reason"]) == ("gap", "deleted")
        assert await names(events, 1) == ["b"]


async def test_a_redis_that_keeps_its_data_over_a_restart_leaves_no_gap(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(appendonly=True, extra=("--appendfsync", "always"))
    async with QueueEvents("q", redis=server.url) as events:
        said(server, "a")
        assert await names(events, 1) == ["a"]
        said(server, "b")
        server.kill()
        server.start()
        said(server, "c")
        assert await names(events, 2) == ["b", "c"]


async def test_a_redis_that_lost_its_last_events_is_told_and_repeats_none(
    new_server: Callable[..., RedisServer],
) -> None:
    server = new_server(rdb=True)
    async with QueueEvents("q", redis=server.url) as events:
        said(server, "a")
        with server.client() as client:
            client.save()
        said(server, "lost")
        assert await names(events, 2) == ["a", "lost"]
        server.kill()
        server.start()
        gap = await one(events)
        assert (gap.name, gap.fields["reason"]) == ("gap", "rolled back")
        said(server, "b")
        assert await names(events, 1) == ["b"]


async def test_a_queue_that_is_flushed_while_it_listens_goes_on(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        await queue.add("n")
        assert await names(events, 2) == ["added", "waiting"]
        blocked = asyncio.ensure_future(one(events))
        await async_client.flushall()
        await queue.add("n")
        assert (await blocked).name in ("added", "gap")
