"""A producer's queue on real servers: what an add writes, all of it or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    Backoff,
    InvalidJob,
    JobOptions,
    JobSpec,
    Keep,
    PayloadNotJSON,
    PayloadTooLarge,
    Queue,
    RedisRefused,
    RedisUnavailable,
)
from keyspace import dump
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio

    from servers import RedisServer

AT = datetime(2027, 1, 15, 8, tzinfo=UTC)
AT_MS = 1_800_000_000_000


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("mail", redis=redis_url) as queue:
        yield queue


async def test_a_plain_job_is_stored_as_bullmq_stores_it(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    job = await queue.add("send", {"to": "é"}, timestamp=AT)
    assert (job.id, job.name, job.data, job.timestamp, job.queue_name) == ("1", "send", {"to": "é"}, AT_MS, "mail")
    stored = await dump(async_client)
    assert stored["bull:mail:1"] == {
        "name": "send",
        "data": '{"to":"é"}',
        "opts": json.dumps({"attempts": 0, "timestamp": AT_MS}, separators=(",", ":")),
        "timestamp": str(AT_MS),
        "delay": "0",
        "priority": "0",
    }
    assert stored["bull:mail:wait"] == ["1"]
    assert stored["bull:mail:marker"] == {"0": 0}


async def test_every_option_lands_where_node_looks_for_it(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    job = await queue.add(
        "send",
        {"to": "x"},
        delay=timedelta(minutes=1),
        priority=5,
        lifo=True,
        attempts=3,
        backoff=Backoff.exponential(1, jitter=0.5),
        job_id="mine",
        timestamp=AT,
        remove_on_complete=True,
        remove_on_fail=Keep(count=9, age_s=60),
        stack_trace_limit=4,
        keep_logs=7,
        size_limit=1000,
        correlation_id="c-1",
    )
    assert (job.id, job.delay, job.priority, job.opts.attempts) == ("mine", 60_000, 5, 3)
    stored: Any = await dump(async_client)
    fields = stored["bull:mail:mine"]
    assert (fields["timestamp"], fields["delay"], fields["priority"]) == (str(AT_MS), "60000", "5")
    assert json.loads(fields["opts"]) == {
        "attempts": 3,
        "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5},
        "delay": 60_000,
        "priority": 5,
        "lifo": True,
        "jobId": "mine",
        "timestamp": AT_MS,
        "removeOnComplete": True,
        "removeOnFail": {"count": 9, "age": 60},
        "stackTraceLimit": 4,
        "kl": 7,
        "sizeLimit": 1000,
        "correlationId": "c-1",
    }
    assert stored["bull:mail:delayed"] == {"mine": (AT_MS + 60_000) * 4096}


async def test_a_job_without_data_carries_an_empty_object(queue: Queue) -> None:
    job = await queue.add("send")
    found = await queue.get_job(job.id)
    assert found is not None
    assert job.data == found.data == {}


@pytest.mark.parametrize("data", [0, False, "", [], [None], "text", {"a": {"b": [1.5, "ü"]}}])
async def test_data_is_any_json_value(queue: Queue, data: Any) -> None:
    found = await queue.get_job((await queue.add("send", data)).id)
    assert found is not None
    assert found.data == data


async def test_an_id_that_exists_is_answered_and_its_job_left_alone(queue: Queue) -> None:
    await queue.add("send", "first", job_id="mine")
    again = await queue.add("other", "second", job_id="mine")
    assert again.id == "mine"
    found = await queue.get_job("mine")
    assert found is not None
    assert (found.name, found.data) == ("send", "first")
    assert (await queue.get_job_counts()).waiting == 1


async def test_lifo_goes_in_front(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    for name, lifo in (("a", False), ("b", False), ("c", True)):
        await queue.add("send", job_id=name, lifo=lifo)
    assert (await dump(async_client))["bull:mail:wait"] == ["b", "a", "c"]


async def test_many_are_added_in_order(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    specs = [JobSpec(f"n{number}", number) for number in range(500)]
    specs[3] = JobSpec("late", 3, JobOptions.checked(delay=60))
    jobs = await queue.add_bulk(iter(specs))
    assert [job.id for job in jobs] == [str(number) for number in range(1, 501)]
    assert [job.name for job in jobs[:5]] == ["n0", "n1", "n2", "late", "n4"]
    waiting: Any = (await dump(async_client))["bull:mail:wait"]
    assert waiting[::-1] == [job.id for job in jobs if job.name != "late"]
    assert await queue.add_bulk([]) == []


@pytest.mark.parametrize(
    "bad",
    [
        JobSpec("send", float("nan")),
        JobSpec("send", object()),
        JobSpec("send", "x" * 20, JobOptions(size_limit=10)),
        JobSpec("\ud800"),
        JobSpec(5),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(job_id="\ud800")),
        JobSpec("send", None, JobOptions(job_id="5")),
        JobSpec("send", None, JobOptions(job_id=5)),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(priority=-1)),
        JobSpec("send", None, JobOptions(priority=2_097_152)),
        JobSpec("send", None, JobOptions(attempts="3")),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(attempts=None)),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(delay_ms=-1)),
        JobSpec("send", None, JobOptions(delay_ms=2**53 + 1)),
        JobSpec("send", None, JobOptions(delay_ms=1.5)),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(timestamp_ms=1.5)),  # type: ignore[arg-type]
        JobSpec("send", None, JobOptions(timestamp_ms=-1)),
        JobSpec("send", None, JobOptions(keep_logs=True)),
        JobSpec("send", None, JobOptions(stack_trace_limit=-1)),
        JobSpec("send", None, JobOptions(correlation_id=5)),  # type: ignore[arg-type]
    ],
)
async def test_one_bad_job_and_none_is_added(queue: Queue, async_client: redis.asyncio.Redis, bad: JobSpec) -> None:
    with pytest.raises(InvalidJob):
        await queue.add_bulk([JobSpec("send"), bad, JobSpec("send")])
    assert await dump(async_client) == {}


async def test_a_queue_takes_its_prefix_from_the_environment(
    redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_PREFIX", "{app}")
    for given, key in ((None, "{app}:mail:1"), ("own", "own:mail:1")):
        async with Queue("mail", redis=redis_url, prefix=given) as queue:
            await queue.add("send")
        assert key in await dump(async_client)
    monkeypatch.setenv("CORRAL_PREFIX", "")
    assert Queue("mail", redis=redis_url).keys.base == "bull:mail:"


async def test_what_json_cannot_say_is_refused(queue: Queue) -> None:
    with pytest.raises(PayloadNotJSON, match="data of job 'send' is not JSON"):
        await queue.add("send", {"a": float("inf")})


async def test_the_size_limit_counts_bytes_of_json(queue: Queue) -> None:
    assert (await queue.add("send", "éé", size_limit=6)).id == "1"
    with pytest.raises(PayloadTooLarge, match="data of job 'send' is 6 bytes of JSON, over its size_limit of 5"):
        await queue.add("send", "éé", size_limit=5)
    assert (await queue.get_job_counts()).waiting == 1


async def test_a_full_server_takes_none_of_many(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis")
    async with Queue("mail", redis=server.url) as queue:
        with server.client() as client:
            client.config_set("maxmemory", "100kb")
            with pytest.raises(RedisRefused, match="OOM"):
                await queue.add_bulk([JobSpec("send", number) for number in range(100)])
            assert client.dbsize() == 0


async def test_an_outage_says_whether_the_job_may_be_there() -> None:
    async with Queue("mail", redis=f"redis://127.0.0.1:{free_port()}") as queue:
        with pytest.raises(RedisUnavailable, match="cannot be reached") as caught:
            await queue.add("send")
    assert not caught.value.maybe_done
