"""A worker on a real server: jobs of every kind are run, and end as they should."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from corral import Backoff, Job, JobSpec, Queue, State, UnrecoverableError, Worker
from keyspace import dump
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


async def double(job: Job) -> Any:
    return job.data * 2


async def ended(queue: Queue, number: int = 1) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed + counts.failed >= number, counts
    return True


async def events_of(client: Any, job_id: str) -> list[str]:
    entries: Any = (await dump(client))["bull:q:events"]
    return [entry["event"] for entry in entries if entry.get("jobId") == job_id]


async def test_a_job_is_run_and_stored_as_completed(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    job = await queue.add("double", 21)
    async with running(Worker("q", double, redis=redis_url, name="w1")):
        await eventually(lambda: ended(queue))
    stored: Any = await dump(async_client)
    fields = stored["bull:q:1"]
    assert (fields["returnvalue"], fields["atm"], fields["ats"], fields["pb"]) == ("42", "1", "1", "w1")
    assert int(fields["timestamp"]) <= int(fields["processedOn"]) <= int(fields["finishedOn"])
    assert stored["bull:q:completed"] == {"1": float(fields["finishedOn"])}
    assert "bull:q:1:lock" not in stored
    assert await events_of(async_client, job.id) == ["added", "waiting", "active", "completed"]


async def test_a_plain_processor_runs_beside_others_and_may_use_the_job(queue: Queue, redis_url: str) -> None:
    together = threading.Barrier(3, timeout=10)

    def work(job: Job) -> str:
        together.wait()
        job.update_progress(50)
        job.log(f"row of {job.data}")
        return threading.current_thread().name

    jobs = await queue.add_bulk([JobSpec("x", number) for number in range(3)])
    async with running(Worker("q", work, redis=redis_url, concurrency=3)):
        await eventually(lambda: ended(queue, 3))
    found = [await queue.get_job(job.id) for job in jobs]
    assert all(job is not None and job.progress == 50 and job.returnvalue.startswith("corral-") for job in found)
    assert [await queue.get_job_logs(job.id) for job in jobs] == [["row of 0"], ["row of 1"], ["row of 2"]]


async def test_jobs_are_taken_in_bullmqs_order(queue: Queue, redis_url: str) -> None:
    order: list[str] = []
    await queue.add("low", priority=9)
    await queue.add("high", priority=1)
    await queue.add("first")
    await queue.add("second")
    await queue.add("front", lifo=True)
    async with running(Worker("q", lambda job: order.append(job.name), redis=redis_url)):
        await eventually(lambda: ended(queue, 5))
    assert order == ["front", "first", "second", "high", "low"]


async def test_a_delayed_job_runs_when_it_is_due_and_not_before(queue: Queue, redis_url: str) -> None:
    ran: list[float] = []
    async with running(Worker("q", lambda job: ran.append(time.time()), redis=redis_url)):
        job = await queue.add("later", delay=0.3)
        await eventually(lambda: ended(queue))
    # The wire knows whole milliseconds.
    assert 0.299 <= ran[0] - job.timestamp / 1000 < 2


async def test_a_failing_job_runs_until_its_attempts_are_used_up(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    seen: list[tuple[int, int, int]] = []

    async def fail(job: Job) -> None:
        seen.append((job.attempt, job.attempts_made, job.attempts_started))
        raise ValueError(f"boom {job.attempt}")

    job = await queue.add("fail", attempts=3, backoff=Backoff.exponential(0.02), stack_trace_limit=2)
    async with running(Worker("q", fail, redis=redis_url)):
        await eventually(lambda: ended(queue))
    assert seen == [(1, 0, 1), (2, 1, 2), (3, 2, 3)]
    found = await queue.get_job(job.id)
    assert found is not None
    assert (found.failed_reason, found.attempts_made, found.delay) == ("boom 3", 3, 0)
    assert ["boom 2" in found.stacktrace[0], "boom 3" in found.stacktrace[1], len(found.stacktrace)] == [True, True, 2]
    again = ["delayed", "waiting", "active"]
    assert await events_of(async_client, job.id) == [
        *("added", "waiting", "active", *again, *again, "failed", "retries-exhausted")
    ]


async def test_a_retry_without_backoff_comes_at_once(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async def once(job: Job) -> str:
        if job.attempt == 1:
            raise ValueError("not yet")
        return "now"

    job = await queue.add("once", attempts=2)
    async with running(Worker("q", once, redis=redis_url)):
        await eventually(lambda: ended(queue))
    assert await queue.get_job_state(job.id) == State.COMPLETED
    assert await events_of(async_client, job.id) == ["added", "waiting", "active", "waiting", "active", "completed"]


async def test_an_unrecoverable_error_ends_a_job_with_attempts_left(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async def fail(job: Job) -> None:
        raise UnrecoverableError("no such user")

    job = await queue.add("fail", attempts=5)
    async with running(Worker("q", fail, redis=redis_url)):
        await eventually(lambda: ended(queue))
    assert await events_of(async_client, job.id) == ["added", "waiting", "active", "failed"]
    found = await queue.get_job(job.id)
    assert found is not None
    assert (found.attempts_made, found.failed_reason) == (1, "no such user")


async def test_a_deferred_failure_is_written_without_a_run(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    ran: list[Job] = []
    await queue.pause()
    job = await queue.add("x", attempts=5)
    await client.hset("bull:q:1", "defa", "child failed")
    await queue.resume()
    async with running(Worker("q", ran.append, redis=redis_url)):
        await eventually(lambda: ended(queue))
    found = await queue.get_job(job.id)
    assert found is not None
    assert (found.failed_reason, found.deferred_failure, ran) == ("child failed", None, [])


async def test_several_queues_share_one_worker(redis_url: str) -> None:
    names = ["one", "two", "three"]
    queues = [Queue(name, redis=redis_url) for name in names]
    ran: Counter[str] = Counter()

    async def count(job: Job) -> None:
        ran[job.queue_name] += 1

    for each in queues:
        await each.add_bulk([JobSpec("x", number) for number in range(40)])
    async with running(Worker(names, count, redis=redis_url, concurrency=4)):
        for each in queues:
            await eventually(lambda each=each: ended(each, 40))
    assert ran == dict.fromkeys(names, 40)
    for each in queues:
        await each.close()


async def test_a_full_queue_does_not_starve_another(redis_url: str) -> None:
    async with Queue("full", redis=redis_url) as full, Queue("small", redis=redis_url) as small:
        order: list[str] = []

        async def note(job: Job) -> None:
            order.append(job.queue_name)
            await asyncio.sleep(0)

        await full.add_bulk([JobSpec("x", number) for number in range(400)])
        await small.add_bulk([JobSpec("x", number) for number in range(5)])
        async with running(Worker(["full", "small"], note, redis=redis_url, concurrency=4)):
            await eventually(lambda: ended(full, 400))
            await eventually(lambda: ended(small, 5))
        assert max(place for place, name in enumerate(order) if name == "small") < 200
