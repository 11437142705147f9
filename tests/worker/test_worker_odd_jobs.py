"""A worker on a real server: how long finished jobs stay, and jobs whose stored fields make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, JobOptions, JobSpec, Keep, Queue, Worker
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


@pytest.mark.parametrize(
    ("job_says", "worker_says", "left"),
    [
        (None, None, 6),
        (None, True, 0),
        (None, 2, 2),
        (3, True, 3),
        (False, True, 6),
        (True, None, 0),
        (None, Keep(4), 4),
    ],
)
async def test_retention_is_the_jobs_or_else_the_workers(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, job_says: Any, worker_says: Any, left: int
) -> None:
    opts = JobOptions.checked(remove_on_complete=job_says, remove_on_fail=job_says)
    await queue.add_bulk([JobSpec("x", fails, opts) for fails in [False] * 6 + [True] * 6])
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.id)
        if job.data:
            raise ValueError("boom")

    worker = Worker("q", run, redis=redis_url, remove_on_complete=worker_says, remove_on_fail=worker_says)
    async with running(worker):
        await eventually(lambda: len(ran) == 12)
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.failed, counts.unfinished) == (left, left, 0)
    hashes = [key for key in await dump(async_client, "bull:q:*") if key.removeprefix("bull:q:").isdecimal()]
    assert len(hashes) == 2 * left


async def test_a_job_that_cannot_be_read_fails_and_the_others_run(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await queue.add_bulk([JobSpec("x", number) for number in range(4)])
    await client.hset("bull:q:2", "data", "{")
    await client.hset("bull:q:3", "opts", '{"backoff":{"type":"fixed","delay":1e999}}')
    async with running(Worker("q", double, redis=redis_url, concurrency=4)):
        await eventually(lambda: ended(queue, 4))
    assert [await queue.get_job_state(id) for id in "124"] == ["completed", "failed", "completed"]
    assert await client.hget("bull:q:2", "failedReason") == b"job 2 of queue 'q': field 'data' is not JSON"


@pytest.mark.parametrize("bad", [{"delay": 1e300, "jitter": 0.5}, {"type": "exponential", "delay": 1e308}, "x", None])
async def test_a_backoff_that_makes_no_sense_harms_no_other_job(queue: Queue, redis_url: str, bad: Any) -> None:
    async def fail(job: Job) -> None:
        raise ValueError("boom")

    odd = JobOptions(attempts=3, extra={"backoff": bad})
    await queue.add_bulk([JobSpec("odd", 1, odd), JobSpec("plain")])
    async with running(Worker("q", fail, redis=redis_url, concurrency=2)):
        await eventually(lambda: ended(queue))
        await eventually(lambda: _idle(queue))


async def _idle(queue: Queue) -> bool:
    counts = await queue.get_job_counts()
    assert (counts.waiting, counts.active) == (0, 0), counts
    return True


@pytest.mark.parametrize("bad", [1e30, {"count": 1e30}, {"age": 1e30}, {"age": 1, "limit": 1e30}])
async def test_a_retention_that_makes_no_sense_harms_no_job(queue: Queue, redis_url: str, bad: Any) -> None:
    await queue.add_bulk([JobSpec("odd", 1, JobOptions(extra={"removeOnComplete": bad})), JobSpec("plain", 2)])
    worker, errors, completed = Worker("q", double, redis=redis_url, concurrency=2), [], []
    worker.on("error", errors.append)
    worker.on("completed", lambda job, value: completed.append(job.name))
    async with running(worker):
        await eventually(lambda: ended(queue, 2))
    assert errors == []
    assert sorted(completed) == ["odd", "plain"]


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
async def test_a_processor_that_spoils_its_job_harms_no_other(queue: Queue, redis_url: str, fails: bool) -> None:
    async def spoil(job: Job) -> None:
        if job.name == "spoilt":
            job.attempts_made = None  # type: ignore[assignment]
            if fails:
                raise ValueError("boom")

    worker = Worker("q", spoil, redis=redis_url, concurrency=4)
    await queue.add_bulk([JobSpec("spoilt"), JobSpec("fine")])
    async with running(worker):
        await eventually(lambda: ended(queue, 2))
        assert worker.shift is not None
        (work,) = worker.shift.works
        await eventually(lambda: work.settler.unwritten == 0)
        assert (worker.shift.slots.busy, work.locks.due(float("inf"))) == (0, [])
    assert (await queue.get_job_counts()).failed == fails
