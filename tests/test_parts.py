"""The test parts themselves: a test that trusts them must not be fooled by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from keyspace import dump, ttls
from node import NodeError, NodeProcess, run_node
from servers import ServerError
from waiting import eventually, eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis.asyncio

    from servers import Kind, RedisServer

    NewServer = Callable[..., RedisServer]

KINDS: list[Kind] = ["redis", "valkey"]


async def test_a_server_of_each_kind_answers_and_is_empty(async_client: redis.asyncio.Redis) -> None:
    assert await async_client.ping()
    assert await async_client.dbsize() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_server_comes_back_with_its_data_on_its_port(kind: Kind, new_server: NewServer) -> None:
    server = new_server(kind, rdb=True, password="secret")
    with server.client() as client:
        client.set("kept", "1")
        server.stop()
        assert not server.running
        server.start()
        assert client.get("kept") == b"1"
        assert ":secret@" in server.url


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_keeps_what_it_appended(kind: Kind, new_server: NewServer) -> None:
    server = new_server(kind, appendonly=True)
    with server.client() as client:
        client.set("kept", "1")
        server.kill()
        server.start()
        assert client.get("kept") == b"1"


def test_a_server_without_persistence_comes_back_empty(new_server: NewServer) -> None:
    server = new_server(maxmemory="64mb", extra=["--maxmemory-policy", "allkeys-lru"])
    with server.client() as client:
        client.set("lost", "1")
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lru"
        server.stop()
        server.start()
        assert client.get("lost") is None
    server.close()
    assert not server.directory.exists()


def test_a_server_that_cannot_start_says_why(new_server: NewServer) -> None:
    with pytest.raises(ServerError, match="ended while starting"):
        new_server("valkey", extra=["--no-such-option", "1"])


async def test_dump_shows_each_type_as_a_plain_value(async_client: redis.asyncio.Redis) -> None:
    await async_client.set("string", "v", px=60_000)
    await async_client.set("binary", b"\xff\x00")
    await async_client.hset("hash", mapping={"a": "1", "b": "zwei"})
    await async_client.rpush("list", "x", "y", "x")
    await async_client.sadd("set", "m", "n")
    await async_client.zadd("zset", {"one": 7353528917401600, "half": 0.5})
    await async_client.xadd("stream", {"event": "added", "jobId": "1"})
    assert await dump(async_client) == {
        "binary": b"\xff\x00",
        "hash": {"a": "1", "b": "zwei"},
        "list": ["x", "y", "x"],
        "set": {"m", "n"},
        "stream": [{"event": "added", "jobId": "1"}],
        "string": "v",
        "zset": {"half": 0.5, "one": 7353528917401600.0},
    }
    assert await dump(async_client, match="li*") == {"list": ["x", "y", "x"]}
    assert list(await ttls(async_client)) == ["string"]


async def test_eventually_gives_the_value_back_and_names_the_last_one_when_late() -> None:
    counts = iter(range(100))

    async def third() -> int:
        number = next(counts)
        assert number >= 2, "too small"
        return number

    assert await eventually(third) == 2
    assert eventually_sync(lambda: next(counts)) == 3
    with pytest.raises(AssertionError, match=r"not true within 0\.05 s.*last value: \[\]"):
        await eventually(list, within=0.05)
    with pytest.raises(AssertionError, match="last value: 0"):
        eventually_sync(lambda: 0, within=0.05)


ADD = """
import { Queue, connection, print } from "./bullmq.mjs";
const queue = new Queue("parts", { connection: connection() });
const job = await queue.add("hello", { n: 1 });
print("added", { id: job.id, argument: process.argv[1] });
await queue.close();
"""


@pytest.mark.interop
async def test_source_text_runs_with_each_bullmq(
    bullmq: str, node_env: dict[str, str], redis7_client: redis.asyncio.Redis
) -> None:
    result = await run_node(ADD, node_env, ["an argument"])
    assert result.lines == [{"event": "added", "id": "1", "argument": "an argument"}]
    seen = await dump(redis7_client)
    assert seen["bull:parts:wait"] == ["1"]
    assert isinstance(meta := seen["bull:parts:meta"], dict)
    assert str(meta["version"]).startswith(f"bullmq:{bullmq}.")


@pytest.mark.interop
async def test_a_script_that_fails_or_hangs_is_an_error_with_its_words(node_env: dict[str, str]) -> None:
    with pytest.raises(NodeError, match="broken on purpose"):
        await run_node("throw new Error('broken on purpose')", node_env)
    with pytest.raises(NodeError, match=r"within 0\.5 s"):
        await run_node("setInterval(() => {}, 1000)", node_env, timeout=0.5)


@pytest.mark.interop
@pytest.mark.parametrize("how", ["bulk", "single"])
async def test_producer_worker_and_events_of_node_work_together(node_env: dict[str, str], how: str) -> None:
    jobs = [{"name": "good", "data": {"n": 1}}, {"name": "bad", "data": {"fail": "no luck"}, "opts": {"attempts": 1}}]
    added = await run_node("producer.mjs", node_env, ["parts", how], stdin=json.dumps(jobs))
    assert added.lines == [{"event": "added", "ids": ["1", "2"]}]

    node_env = {**node_env, "CONCURRENCY": "2"}
    async with (
        NodeProcess("events.mjs", node_env, ["parts"]) as events,
        NodeProcess("worker.mjs", node_env, ["parts"]) as worker,
    ):
        await worker.expect("ready")
        completed = await worker.expect("completed")
        assert completed["result"] == {"echo": {"n": 1}, "by": "node"}
        assert (await worker.expect("failed"))["reason"] == "no luck"

        await events.expect("ready")
        first = await events.expect("added")
        assert (first["jobId"], first["name"]) == ("1", "good")
        assert (await events.expect("completed"))["jobId"] == "1"
        assert (await events.expect("failed", where=lambda event: event["jobId"] == "2"))["failedReason"] == "no luck"

        with pytest.raises(NodeError, match=r"no 'completed' within 0\.2 s"):
            await worker.expect("completed", within=0.2)
        await worker.send({"do": "close"})
        await worker.expect("closed")
        assert await worker.stop() == 0
        with pytest.raises(NodeError, match="ended before"):
            await worker.expect("completed")
        assert await events.stop() == 0
    assert [worker.stderr, events.stderr] == ["", ""]


@pytest.mark.interop
async def test_prefix_and_worker_options_reach_node(
    node_env: dict[str, str], redis7_client: redis.asyncio.Redis
) -> None:
    env = {**node_env, "PREFIX": "mine", "WORKER_OPTIONS": json.dumps({"removeOnComplete": {"count": 0}})}
    async with NodeProcess("worker.mjs", env, ["parts"]) as worker:
        await worker.expect("ready")
        await run_node("producer.mjs", env, ["parts"], stdin='[{"name": "once", "data": {"sleep": 1}}]')
        await worker.expect("completed")
        await eventually(lambda: _gone(redis7_client, "mine:parts:1"))


async def _gone(client: redis.asyncio.Redis, key: str) -> bool:
    return not await client.exists(key)
