"""The door to Redis: what happens to a call when the connection breaks, Redis refuses, or nobody answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral.address import make_pool
from corral.connection import Line, Lines
from corral.errors import RedisRefused, RedisUnavailable
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio

    from servers import RedisServer


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    line = Line(make_pool(redis_url, "under-test"))
    yield line
    await line.close()


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A URL where somebody listens and never answers."""
    over = asyncio.Event()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    over.set()
    server.close()
    await server.wait_closed()


async def _id(line: Line) -> int:
    return int(await line.call("CLIENT", "ID"))


async def test_a_call_gives_redis_answer_as_bytes_numbers_and_lists(line: Line) -> None:
    assert await line.call("SET", "k", "ü") == b"OK"
    assert await line.call("GET", "k") == "ü".encode()
    assert await line.call("GET", "none") is None
    assert await line.call("RPUSH", "l", 1, b"\xff") == 2
    assert await line.call("LRANGE", "l", 0, -1) == [b"1", b"\xff"]


async def test_many_calls_go_in_one_round_trip_and_come_back_in_order(line: Line) -> None:
    assert await line.call_many([("SET", "k", 5), ("INCR", "k"), ("GET", "k")]) == [b"OK", 6, b"6"]
    assert await line.call_many([("GET", "k")]) == [b"6"]
    assert await line.call_many([]) == []


async def test_an_error_among_many_is_raised_and_the_line_stays_usable(line: Line) -> None:
    await line.call("SET", "k", "text")
    with pytest.raises(RedisRefused) as caught:
        await line.call_many([("SET", "a", 1), ("LPUSH", "k", 1), ("SET", "b", 2), ("GET", "b")])
    assert caught.value.code == "WRONGTYPE"
    assert await line.call("ECHO", "next") == b"next"
    assert await line.call("GET", "b") == b"2"


async def test_a_script_that_redis_lost_among_many_calls_leaves_no_answer_behind(line: Line) -> None:
    with pytest.raises(RedisRefused) as caught:
        await line.call_many([("EVALSHA", "0" * 40, 0), ("ECHO", "left over")])
    assert caught.value.code == "NOSCRIPT"
    assert await line.call("ECHO", "next") == b"next"


async def test_a_refused_call_says_why_and_what_helps(line: Line) -> None:
    await line.call("SET", "k", "text")
    with pytest.raises(RedisRefused, match=r"Redis refused \(WRONGTYPE\): .*is the prefix shared") as caught:
        await line.call("LPUSH", "k", 1)
    assert not caught.value.maybe_done


async def test_an_unknown_refusal_keeps_redis_own_words(line: Line) -> None:
    with pytest.raises(RedisRefused, match="unknown command") as caught:
        await line.call("CORRAL")
    assert caught.value.code == "ERR"


@pytest.mark.parametrize("command", [("CORRAL", "hunter2"), ("CONFIG", "CORRAL", "hunter2")])
async def test_a_refusal_quotes_no_argument(line: Line, command: tuple[str, ...]) -> None:
    with pytest.raises(RedisRefused, match="unknown") as caught:
        await line.call(*command)
    assert "hunter2" not in str(caught.value)


async def test_a_connection_killed_in_the_middle_may_have_done_its_call(
    line: Line, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    me = await _id(line)
    waiting = asyncio.create_task(line.call("BLPOP", "nothing", 0))
    await eventually(lambda: _blocked(client))
    await client.client_kill_filter(_id=me)
    with pytest.raises(RedisUnavailable, match=r"the connection to Redis at 127\.0\.0\.1:\d+ broke") as caught:
        await waiting
    assert caught.value.maybe_done
    assert await line.call("ECHO", "next") == b"next"
    assert await _id(line) != me


async def _blocked(client: Any) -> bool:
    return int((await client.info("clients"))["blocked_clients"]) == 1


async def test_a_connection_killed_between_two_calls_breaks_one_call_at_most(
    line: Line, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await client.client_kill_filter(_id=await _id(line))

    async def answers() -> bool:
        try:
            return bool(await line.call("ECHO", "x") == b"x")
        except RedisUnavailable:
            return False

    assert await answers() or await answers()


async def test_a_cancelled_call_leaves_its_answer_to_nobody(line: Line, async_client: redis.asyncio.Redis) -> None:
    me = await _id(line)
    waiting = asyncio.create_task(line.call("BLPOP", "l", 0))
    await eventually(lambda: _blocked(async_client))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await line.call("ECHO", "next") == b"next"
    assert await _id(line) != me


async def test_who_does_not_answer_in_time_may_have_done_the_call(line: Line) -> None:
    await line.call("PING")
    with pytest.raises(RedisUnavailable, match="did not answer in time; is it overloaded") as caught:
        await line.call("BLPOP", "nothing", 0, timeout=0.05)
    assert caught.value.maybe_done
    assert await line.call("ECHO", "next") == b"next"


async def test_a_server_that_is_busy_for_too_long_counts_as_away(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", extra=("--enable-debug-command", "yes"))
    line = Line(make_pool(server.url))
    await line.call("PING")
    with pytest.raises(RedisUnavailable) as caught:
        await line.call("DEBUG", "SLEEP", 0.5, timeout=0.05)
    assert caught.value.maybe_done
    assert await line.call("ECHO", "next") == b"next"
    await line.close()


async def test_who_accepts_and_never_answers_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.connection.CALL_TIMEOUT", 0.1)
    line = Line(make_pool(silent, "name"))
    with pytest.raises(RedisUnavailable, match="did not answer in time"):
        await line.call("PING", timeout=0.1)
    await line.close()


async def test_where_nobody_listens_nothing_was_done() -> None:
    port = free_port()
    with pytest.raises(RedisUnavailable, match=f"Redis at 127.0.0.1:{port} cannot be reached: .*REDIS_URL") as caught:
        await Line(make_pool(f"redis://127.0.0.1:{port}")).call("PING")
    assert not caught.value.maybe_done


async def test_a_server_that_comes_back_is_reached_by_the_same_line(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    line = Line(make_pool(server.url))
    await line.call("PING")
    server.kill()
    with pytest.raises(RedisUnavailable):
        await line.call("PING")
    with pytest.raises(RedisUnavailable, match="cannot be reached"):
        await line.call("PING")
    server.start()
    assert await line.call("PING") == b"PONG"
    await line.close()


async def test_a_full_server_says_what_helps(new_server: Callable[..., RedisServer]) -> None:
    async with Lines(make_pool(new_server("redis", maxmemory="100kb").url)) as lines:
        # Its own buffers alone are more than that.
        with pytest.raises(RedisRefused, match=r"\(OOM\): its memory is full; raise maxmemory") as caught:
            await lines.call("SET", "k", "x")
        assert caught.value.code == "OOM"


async def test_a_replica_says_to_use_the_primary(new_server: Callable[..., RedisServer]) -> None:
    primary, replica = new_server(), new_server()
    async with Lines(make_pool(replica.url)) as lines:
        await lines.call("REPLICAOF", "127.0.0.1", primary.port)
        with pytest.raises(RedisRefused, match="it is a replica; point REDIS_URL at the primary"):
            await lines.call("SET", "k", 1)


async def test_each_command_has_its_own_reply_or_its_own_refusal(line: Line) -> None:
    await line.call("SET", "k", "text")
    got, refused, unknown, after = await line.call_each([("GET", "k"), ("LLEN", "k"), ("CORRAL",), ("ECHO", "after")])
    assert (got, after) == (b"text", b"after")
    assert isinstance(refused, RedisRefused)
    assert isinstance(unknown, RedisRefused)
    assert (refused.code, unknown.code) == ("WRONGTYPE", "ERR")


async def test_refused_commands_keep_the_connection_for_the_next_call(line: Line) -> None:
    me = await _id(line)
    await line.call_each([("CORRAL",), ("CORRAL",)])
    assert await _id(line) == me


async def test_one_command_and_none_give_a_list_too(line: Line) -> None:
    assert await line.call_each([("ECHO", "x")]) == [b"x"]
    assert await line.call_each([]) == []


async def test_a_connection_without_login_refuses_all_commands_at_once(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", password="s3cret")
    line = Line(make_pool(f"redis://127.0.0.1:{server.port}"))
    with pytest.raises(RedisRefused) as caught:
        await line.call_each([("GET", "k"), ("GET", "l")])
    assert caught.value.code == "NOAUTH"
    await line.close()


async def test_a_connection_that_breaks_gives_no_reply_of_any_command(
    line: Line, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    me = await _id(line)
    waiting = asyncio.create_task(line.call_each([("PING",), ("BLPOP", "nothing", 0)]))
    await eventually(lambda: _blocked(client))
    await client.client_kill_filter(_id=me)
    with pytest.raises(RedisUnavailable) as caught:
        await waiting
    assert not isinstance(caught.value, RedisRefused)
    assert caught.value.code == "broken"
    assert await line.call_each([("ECHO", "next")]) == [b"next"]


async def test_the_kind_of_a_failure_is_told_to_programs(line: Line) -> None:
    with pytest.raises(RedisUnavailable) as late:
        await line.call("BLPOP", "nothing", 0, timeout=0.05)
    with pytest.raises(RedisUnavailable) as away:
        await Line(make_pool(f"redis://127.0.0.1:{free_port()}")).call("PING")
    talkative = await asyncio.start_server(_plain, "127.0.0.1", 0)
    async with talkative:
        port = talkative.sockets[0].getsockname()[1]
        with pytest.raises(RedisUnavailable, match=r"no TLS connection with Redis at .*; check the certif") as no_tls:
            await Line(make_pool(f"rediss://127.0.0.1:{port}")).call("PING")
    assert [one.value.code for one in (late, away, no_tls)] == ["timeout", "unreachable", "tls"]


async def _plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server without TLS, to whom a client speaks TLS."""
    writer.write(b"-ERR Protocol error\r\n")
    await reader.read()
    writer.close()
