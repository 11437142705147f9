"""What a queue tells on real servers: pages of jobs, counts, logs, workers, metrics."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, Deduplication, JobOptions, JobSpec, Queue, QueueMetrics, State, Worker
from corral.client_list import WorkerInfo, listeners_of, workers_of
from corral.job_pages import page, slices
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE = "bull:mail:"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("mail", redis=redis_url) as queue:
        yield queue


@pytest.fixture
def client(async_client: Any) -> Any:
    """redis-py's types mix its blocking and its async answers."""
    return async_client


@pytest.mark.parametrize(
    ("length", "start", "end", "places"),
    [
        (10, 0, -1, (0, 10)),
        (10, 2, 4, (2, 5)),
        (10, -3, -2, (7, 9)),
        (10, 8, 20, (8, 10)),
        (10, 12, 20, (12, 12)),
        (10, 5, 3, (5, 5)),
        (10, -20, 1, (0, 2)),
        (0, 0, -1, (0, 0)),
    ],
)
def test_places_of_a_page(length: int, start: int, end: int, places: tuple[int, int]) -> None:
    assert page(length, start, end) == places


def test_a_page_may_lie_across_two_lists() -> None:
    assert slices([4, 3], 2, 6) == [(2, 4), (0, 2)]
    assert slices([4, 3], 5, 7) == [(4, 4), (1, 3)]
    assert slices([0, 3], 0, 3) == [(0, 0), (0, 3)]


async def ids(queue: Queue, states: Any, *places: int, **more: bool) -> list[str]:
    return [job.id for job in await queue.get_jobs(states, *places, **more)]


async def test_the_newest_of_a_state_come_first_or_last(queue: Queue, client: Any) -> None:
    for id in "abcde":
        await queue.add("send", job_id=id)
        await queue.add("send", job_id=id + id, delay=60 + ord(id))
    assert await ids(queue, State.WAITING) == list("edcba")
    assert await ids(queue, State.WAITING, ascending=True) == list("abcde")
    assert await ids(queue, State.WAITING, 1, 2) == ["d", "c"]
    assert await ids(queue, State.WAITING, 1, 2, ascending=True) == ["b", "c"]
    assert await ids(queue, State.WAITING, -2, -1) == ["b", "a"]
    assert await ids(queue, State.WAITING, 7, 9) == []
    assert await ids(queue, State.DELAYED, 0, 1) == ["ee", "dd"]
    assert await ids(queue, State.DELAYED, 0, 1, ascending=True) == ["aa", "bb"]
    assert await ids(queue, [State.WAITING, State.DELAYED], 0, 0) == ["e", "ee"]
    assert await ids(queue, ["waiting", "active"], 4) == ["a"]
    await client.zadd(f"{BASE}completed", {"a": 5})
    assert await ids(queue, [State.WAITING, State.COMPLETED]) == list("edcba")
    assert await ids(queue, [State.COMPLETED, State.WAITING], 0, 0) == ["a", "e"]


async def test_jobs_kept_as_bullmq_5_does_are_the_older_ones(queue: Queue, client: Any) -> None:
    for id in "abcd":
        await queue.add("send", job_id=id)
    await client.delete(f"{BASE}wait")
    await client.rpush(f"{BASE}wait", "d", "c")
    await client.rpush(f"{BASE}paused", "b", "a")
    assert await ids(queue, State.WAITING) == ["d", "c", "b", "a"]
    assert await ids(queue, State.WAITING, 1, 2) == ["c", "b"]
    assert await ids(queue, State.WAITING, 0, 2, ascending=True) == ["a", "b", "c"]
    assert await queue.get_counts_per_priority([0]) == {0: 4}


async def test_what_is_no_job_is_left_out_and_told(queue: Queue, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    await queue.add("send", job_id="good")
    await client.lpush(f"{BASE}wait", "gone", "bad", "0:123")
    await client.hset(f"{BASE}bad", mapping={"name": "x", "data": "{"})
    with caplog.at_level(logging.WARNING, "corral.queue"):
        assert await ids(queue, State.WAITING) == ["good"]
    assert caplog.messages == ["left out of a page: job bad of queue 'mail': field 'data' is not JSON"]


async def test_a_page_is_read_whole_however_large(queue: Queue) -> None:
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked()) for n in range(450)])
    assert [job.data for job in await queue.get_jobs(State.WAITING, ascending=True)] == list(range(450))


async def test_a_job_of_a_page_can_be_asked_things(queue: Queue) -> None:
    await queue.add("send", delay=60)
    (job,) = await queue.get_jobs(State.DELAYED)
    await job.promote()
    assert await job.get_state() == State.WAITING


@pytest.mark.parametrize("states", ["wait", ["waiting", "sleeping"], State.UNKNOWN])
async def test_an_unknown_state_is_refused(queue: Queue, states: Any) -> None:
    with pytest.raises(ConfigurationError, match="state"):
        await queue.get_jobs(states)


async def test_counts_by_priority_and_of_all_that_is_to_be_run(queue: Queue, client: Any) -> None:
    for priority in (0, 0, 1, 3, 3, 2_097_151):
        await queue.add("send", priority=priority)
    await queue.add("send", delay=60)
    await client.zadd(f"{BASE}waiting-children", {"p": 1})
    await client.lpush(f"{BASE}active", "x")
    assert await queue.get_counts_per_priority([3, 0, 2, 2_097_151, 3]) == {3: 2, 0: 2, 2: 0, 2_097_151: 1}
    assert await queue.get_counts_per_priority([1]) == {1: 1}
    assert await queue.get_counts_per_priority([]) == {}
    assert await queue.count() == 8


async def test_log_rows_by_place(queue: Queue) -> None:
    job = await queue.add("send")
    for row in "abcde":
        await job.log(row)
    assert await queue.get_job_logs(job.id, 1, 2) == ["b", "c"]
    assert await queue.get_job_logs(job.id, 0, 1, ascending=False) == ["e", "d"]
    assert await queue.get_job_logs(job.id, ascending=False) == list("edcba")
    assert await queue.get_job_logs_count(job.id) == 5
    assert await queue.get_job_logs_count("none") == 0


async def test_the_version_of_the_queue(queue: Queue, client: Any) -> None:
    assert await queue.get_version() is None
    await queue.add("send")
    assert str(await queue.get_version()).startswith("corral:")
    await client.hset(f"{BASE}meta", "version", "bullmq:6.7.0")
    assert await queue.get_version() == "bullmq:6.7.0"


async def test_workers_are_counted_by_their_names(queue: Queue, redis_url: str) -> None:
    async def nothing(job: Any) -> None: ...

    workers = [Worker("mail", nothing, redis=redis_url, name=name) for name in ("one", "two")]
    other = Worker("mail2", nothing, redis=redis_url)
    tasks = [asyncio.create_task(worker.run()) for worker in [*workers, other]]

    async def two() -> bool:
        return await queue.get_workers_count() == 2

    await eventually(two)
    assert {worker.name for worker in await queue.get_workers()} == {"one", "two"}
    assert all(worker.address.startswith("127.0.0.1:") for worker in await queue.get_workers())
    assert await queue.get_queue_events() == []
    for worker in [*workers, other]:
        await worker.close()
    await asyncio.gather(*tasks)


def test_names_of_connections_are_told_apart() -> None:
    clients = "\n".join(
        f"id=7 addr=10.0.0.{at}:99 laddr=x name={name} age=12 idle=3 flags=N db=0"
        for at, name in enumerate(["bull:bQ==", "bull:bQ==:w:a=b", "bull:bQ==:qe", "bull:bQ==x", "bull:bQ==:other", ""])
    )
    assert workers_of(clients + "\n", "bull:bQ==") == [
        WorkerInfo(None, "10.0.0.0:99", 12, 3),
        WorkerInfo("a=b", "10.0.0.1:99", 12, 3),
    ]
    assert listeners_of(clients, "bull:bQ==") == [WorkerInfo(None, "10.0.0.2:99", 12, 3)]
    assert workers_of("", "bull:bQ==") == []


async def test_metrics_as_workers_have_counted_them(queue: Queue, client: Any) -> None:
    assert await queue.get_metrics("completed") == QueueMetrics(0, (), 0, 0, 0)
    await client.hset(f"{BASE}metrics:failed", mapping={"count": 9, "prevTS": 1234, "prevCount": 7})
    await client.rpush(f"{BASE}metrics:failed:data", 3, 0, 4)
    assert await queue.get_metrics("failed") == QueueMetrics(9, (3, 0, 4), 3, 1234, 7)
    assert (await queue.get_metrics("failed", 1, 1)).points == (0,)
    with pytest.raises(ConfigurationError, match="'completed' and 'failed'"):
        await queue.get_metrics("active")  # type: ignore[arg-type]


async def test_reading_writes_nothing(queue: Queue, client: Any) -> None:
    await queue.add("send", deduplication=Deduplication("d"))
    before = await client.dbsize(), await client.xlen(f"{BASE}events")
    await queue.get_jobs(list(State)[:-1])
    await queue.count()
    await queue.get_counts_per_priority([0, 1])
    await queue.get_metrics("completed")
    await queue.get_workers()
    await queue.get_deduplication_job_id("d")
    await queue.is_maxed()
    await queue.get_global_rate_limit()
    await queue.get_rate_limit_ttl()
    assert (await client.dbsize(), await client.xlen(f"{BASE}events")) == before
