"""What a worker tells its listeners, and that no listener can harm a job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, CorralError, Job, JobSpec, Queue, Worker
from corral.metrics import Metrics
from keyspace import dump
from running import running, sample
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


class Heard(list[tuple[Any, ...]]):
    """Everything a worker told, in order, jobs by their id."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        for event in ("completed", "failed", "retries_exhausted", "error", "stalled", "progress", "drained"):
            worker.on(event, self._of(event))  # type: ignore[arg-type]

    def _of(self, event: str) -> Any:
        return lambda *args: self.append((event, *(arg.id if isinstance(arg, Job) else arg for arg in args)))

    def of(self, event: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self if each[0] == event]


async def test_the_whole_story_of_two_jobs_is_told(queue: Queue, redis_url: str) -> None:
    async def run(job: Job) -> int:
        if job.name == "bad":
            raise ValueError(f"boom {job.attempt}")
        await job.update_progress({"done": 1})
        return 42

    worker = Worker("q", run, redis=redis_url)
    heard = Heard(worker)
    await queue.add("good")
    async with running(worker):
        await eventually(lambda: heard.of("drained"))
        await queue.add("bad", attempts=2)
        await eventually(lambda: len(heard.of("drained")) == 2)
    assert heard == [
        ("progress", "1", {"done": 1}),
        ("completed", "1", 42),
        ("drained",),
        ("failed", "2", "boom 1"),
        ("failed", "2", "boom 2"),
        ("retries_exhausted", "2", "boom 2"),
        ("drained",),
    ]


async def test_what_listeners_hear_is_stored_already(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    found: list[tuple[Any, ...]] = []

    async def look(job: Job, value: Any) -> None:
        stored = await client.hget(f"bull:q:{job.id}", "returnvalue")
        found.append((stored, job.returnvalue, value, job.finished_on is not None, job.processed_by))

    async def run(job: Job) -> list[int]:
        return [1]

    worker = Worker("q", run, redis=redis_url, name="w1")
    worker.on("completed", look)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: found)
    assert found == [(b"[1]", [1], [1], True, "w1")]


async def test_a_queue_that_ran_empty_is_told_once(queue: Queue, redis_url: str) -> None:
    worker = Worker("q", lambda job: None, redis=redis_url, concurrency=10)
    heard = Heard(worker)
    await queue.add_bulk([JobSpec("x", number) for number in range(50)])
    async with running(worker):
        await eventually(lambda: heard.of("drained"))
        # A delayed job far away changes nothing about it.
        await queue.add("later", delay=3600)
        await queue.add("now")
        await eventually(lambda: len(heard.of("completed")) == 51)
        await eventually(lambda: len(heard.of("drained")) == 2)
    assert len(heard.of("drained")) == 2


async def test_a_worker_that_never_had_a_job_is_not_drained(queue: Queue, redis_url: str) -> None:
    worker = Worker("q", lambda job: None, redis=redis_url)
    heard, metrics = Heard(worker), Metrics()
    async with running(worker, metrics=metrics):
        await eventually(lambda: worker.shift is not None and worker.shift.latency is not None)
    assert heard == []


async def test_listeners_that_raise_harm_nothing(
    queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(job: Job) -> None:
        await job.update_progress(1)
        if job.data % 2:
            raise ValueError("boom")

    worker = Worker("q", run, redis=redis_url, concurrency=4)

    def plain(*args: Any) -> None:
        raise RuntimeError("plain listener")

    async def asynchronous(*args: Any) -> None:
        raise RuntimeError("async listener")

    for event in ("completed", "failed", "retries_exhausted", "progress", "drained"):
        worker.on(event, plain)  # type: ignore[arg-type]
        worker.on(event, asynchronous)  # type: ignore[arg-type]
    await queue.add_bulk([JobSpec("x", number) for number in range(20)])
    async with running(worker):
        await eventually(lambda: _ended(queue, 20))
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.failed, counts.unfinished) == (10, 10, 0)
    assert "RuntimeError: plain listener" in caplog.text
    assert "RuntimeError: async listener" in caplog.text


async def _ended(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed + counts.failed == number, counts
    return True


async def test_a_slow_listener_holds_up_no_job(queue: Queue, redis_url: str) -> None:
    let_go = asyncio.Event()

    async def slow(job: Job, value: Any) -> None:
        await let_go.wait()

    worker = Worker("q", lambda job: None, redis=redis_url)
    worker.on("completed", slow)
    await queue.add_bulk([JobSpec("x", number) for number in range(10)])
    async with running(worker):
        await eventually(lambda: _ended(queue, 10))
        let_go.set()


async def test_an_id_without_a_job_is_told_and_taken_out(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    worker = Worker("q", lambda job: None, redis=redis_url)
    heard = Heard(worker)
    await client.rpush("bull:q:wait", "ghost")
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: _ended(queue, 1))
        await eventually(lambda: heard.of("error"))
    ((error,),) = heard.of("error")
    assert "queue q held the id 'ghost', but bull:q:ghost is no job hash" in str(error)
    stored = await dump(async_client)
    assert "bull:q:wait" not in stored
    assert "bull:q:active" not in stored
    assert "bull:q:ghost" not in stored


async def test_a_job_of_a_dead_worker_is_told_as_stalled_and_run(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    worker = Worker("q", lambda job: job.stalled_counter, redis=redis_url, stalled_interval=0.1)
    heard, metrics = Heard(worker), Metrics()
    job = await queue.add("x")
    await client.lmove("bull:q:wait", "bull:q:active", "RIGHT", "LEFT")
    async with running(worker, metrics=metrics):
        await eventually(lambda: heard.of("completed"))
    assert heard.of("stalled") == [(job.id,)]
    assert heard.of("completed") == [(job.id, 1)]
    assert sample(metrics, "corral_jobs_recovered_total", queue="q") == 1


async def test_a_lost_lock_is_told_and_the_end_of_its_job_not_written(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    let_go = asyncio.Event()

    async def wait(job: Job) -> None:
        await let_go.wait()

    worker = Worker("q", wait, redis=redis_url, lock_duration=0.4)
    heard, metrics = Heard(worker), Metrics()
    await queue.add("x")
    async with running(worker, metrics=metrics):
        await eventually(lambda: client.exists("bull:q:1:lock"))
        await client.set("bull:q:1:lock", "another:1")
        await eventually(lambda: heard.of("error"))
        let_go.set()
        await eventually(lambda: len(heard.of("error")) == 2)
    lost, refused = (error for (error,) in heard.of("error"))
    assert isinstance(lost, CorralError)
    assert "the lock of job 1 of queue q is lost" in str(lost)
    assert "was not written: another worker holds its lock" in str(refused)
    assert sample(metrics, "corral_locks_lost_total", queue="q") == 1
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="lost") == 1
    assert await client.lrange("bull:q:active", 0, -1) == [b"1"]


def test_a_decorator_listens_too_and_gives_the_function_back() -> None:
    worker = Worker("q", print)

    @worker.on("failed")
    def hear(job: Job, reason: str) -> str:
        return reason

    assert hear(None, "x") == "x"  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a worker has no event 'done'"):
        worker.on("done")(print)  # type: ignore[arg-type]
