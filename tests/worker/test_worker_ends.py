"""The end of a worker's run: running jobs finish, the rest goes back, and nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, Counts, Job, JobSpec, Queue, Worker
from corral.metrics import Metrics
from running import running, sample
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio

    from servers import RedisServer


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


class Gate:
    """A processor that holds its jobs until it is opened."""

    def __init__(self) -> None:
        self.inside = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> str:
        self.inside += 1
        await self.open.wait()
        return "done"


async def started(worker: Worker) -> asyncio.Task[None]:
    task = asyncio.create_task(worker.run())
    await eventually(lambda: worker.shift is not None and worker.shift.unready is None)
    return task


async def test_running_jobs_finish_and_no_new_ones_are_taken(queue: Queue, redis_url: str) -> None:
    gate = Gate()
    worker = Worker("q", gate, redis=redis_url, concurrency=3)
    await queue.add_bulk([JobSpec("x", number) for number in range(10)])
    run = await started(worker)
    await eventually(lambda: gate.inside == 3)
    closing = asyncio.create_task(worker.close(grace=20))
    await eventually(lambda: worker.shift is not None and all(work.draining for work in worker.shift.works))
    gate.open.set()
    await closing
    await run
    assert gate.inside == 3
    assert await queue.get_job_counts() == Counts(7, 0, 0, 0, 0, completed=3, failed=0)


async def test_what_does_not_finish_within_the_grace_goes_back_in_front(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    gate = Gate()
    worker = Worker("q", gate, redis=redis_url, concurrency=2)
    await queue.add_bulk([JobSpec("x", number) for number in range(4)])
    run = await started(worker)
    await eventually(lambda: gate.inside == 2)
    began = time.monotonic()
    await worker.close(grace=2.2)
    await run
    assert time.monotonic() - began < 2.2
    assert await queue.get_job_counts() == Counts(4, 0, 0, 0, 0, 0, 0)
    assert set((await client.lrange("bull:q:wait", 0, -1))[-2:]) == {b"1", b"2"}
    assert await client.exists("bull:q:1:lock", "bull:q:2:lock") == 0
    # An attempt that did not end costs none.
    assert await client.hmget("bull:q:1", "atm", "ats") == [None, b"1"]


async def test_a_cancelled_run_hands_back_at_once(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    gate, metrics = Gate(), Metrics()
    worker = Worker("q", gate, redis=redis_url, concurrency=3)
    await queue.add_bulk([JobSpec("x", number) for number in range(3)])
    run = asyncio.create_task(worker.run(metrics=metrics))
    await eventually(lambda: gate.inside == 3)
    began = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - began < 2
    assert await queue.get_job_counts() == Counts(3, 0, 0, 0, 0, 0, 0)
    assert await client.hmget("bull:q:1", "atm", "ats") == [None, b"1"]
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="handed_back") == 3


async def test_what_was_handed_back_is_run_by_the_next_worker(queue: Queue, redis_url: str) -> None:
    gate = Gate()
    await queue.add("x", attempts=1)
    run = await started(Worker("q", gate, redis=redis_url))
    await eventually(lambda: gate.inside == 1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    async with running(Worker("q", lambda job: [job.attempt, job.attempts_started], redis=redis_url)):
        await eventually(lambda: _finished(queue))
    job = await queue.get_job("1")
    assert job is not None
    assert job.returnvalue == [1, 2]


async def _finished(queue: Queue) -> bool:
    return (await queue.get_job_counts()).completed == 1


async def test_a_job_in_a_thread_goes_back_and_what_it_still_does_is_not_recorded(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    began, let_go, over = threading.Event(), threading.Event(), threading.Event()

    def stuck(job: Job) -> str:
        began.set()
        let_go.wait(20)
        over.set()
        return "late"

    await queue.add("x")
    worker = Worker("q", stuck, redis=redis_url)
    run = await started(worker)
    await eventually(began.is_set)
    await worker.close(grace=0)
    await run
    assert await queue.get_job_counts() == Counts(1, 0, 0, 0, 0, 0, 0)
    let_go.set()
    await eventually(over.is_set)
    assert await client.hget("bull:q:1", "returnvalue") is None


async def test_a_worker_closed_while_redis_is_away_ends() -> None:
    worker = Worker("q", print, redis=f"redis://127.0.0.1:{free_port()}")
    errors: list[Exception] = []
    worker.on("error", errors.append)
    run = asyncio.create_task(worker.run())
    await eventually(lambda: errors)
    assert worker.shift is not None
    assert "cannot be reached" in str(worker.shift.unready)
    async with asyncio.timeout(10):
        await worker.close(grace=1)
        await run


async def test_a_worker_that_starts_before_redis_waits_for_it(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.stop()
    worker = Worker("q", lambda job: "ran", redis=server.url)
    errors: list[Exception] = []
    worker.on("error", errors.append)
    async with running(worker):
        await eventually(lambda: errors)
        server.start()
        async with Queue("q", redis=server.url) as queue:
            await queue.add("x")
            await eventually(lambda: _finished(queue))


async def test_closing_twice_and_after_the_run_is_fine(queue: Queue, redis_url: str) -> None:
    worker = Worker("q", print, redis=redis_url)
    run = await started(worker)
    await asyncio.gather(worker.close(grace=3), worker.close(grace=3))
    await run
    await worker.close()


async def test_a_worker_runs_once(queue: Queue, redis_url: str) -> None:
    worker = Worker("q", print, redis=redis_url)
    run = await started(worker)
    with pytest.raises(ConfigurationError, match="the worker ran already; make a second one"):
        await worker.run()
    await worker.close(grace=3)
    await run
    with pytest.raises(ConfigurationError, match="the worker ran already"):
        await worker.run()


async def test_no_connection_no_task_and_no_thread_is_left(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thread that nobody wakes would end at its next beat.
    monkeypatch.setattr("corral.pace.BEAT_S", 3600.0)
    client: Any = async_client
    await queue.add("x")
    connections, tasks, threads = len(await client.client_list()), len(asyncio.all_tasks()), threading.active_count()
    async with running(Worker("q", lambda job: None, redis=redis_url)):
        await eventually(lambda: _finished(queue))
    assert len(asyncio.all_tasks()) == tasks
    await eventually(lambda: threading.active_count() <= threads)
    await eventually(lambda: _connections(client, connections))


async def test_many_short_lived_workers_leave_nothing_in_their_process_and_no_record_in_redis(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client

    async def five_lives() -> None:
        workers = [Worker("q", lambda job: None, redis=redis_url) for _ in range(5)]
        async with running(*workers):
            job = await queue.add("x")
            await eventually(lambda: _has_run(queue, job))

    def held() -> tuple[int, int, int]:
        return threading.active_count(), len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))

    def nothing_left() -> bool:
        assert all(now <= then for now, then in zip(held(), before, strict=True)), (held(), before)
        return True

    await queue.add("x")
    connections, before = len(await client.client_list()), held()
    for _ in range(5):
        await five_lives()
    await eventually(nothing_left)
    await eventually(lambda: _connections(client, connections))
    assert await client.keys("bull:q:corral:*") == []


async def _has_run(queue: Queue, job: Job) -> bool:
    found = await queue.get_job(job.id)
    return found is not None and found.finished_on is not None


async def _connections(client: Any, number: int) -> bool:
    return len(await client.client_list()) == number


@pytest.mark.parametrize("name", [None, "pod-7"])
async def test_dashboards_find_the_worker_by_the_name_of_its_connection(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, name: str | None
) -> None:
    client: Any = async_client

    async def names() -> set[str]:
        return {each["name"] for each in await client.client_list()}

    async with running(Worker("q", print, redis=redis_url, name=name)):
        await eventually(lambda: _named(names, "bull:cQ==" + (f":w:{name}" if name else "")))


async def _named(names: Callable[[], Any], name: str) -> bool:
    found = await names()
    assert name in found, found
    return True


async def test_wrong_credentials_end_the_run(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", password="right")
    with pytest.raises(ConfigurationError, match="the user name or password is wrong") as caught:
        await Worker("q", print, redis=f"redis://:wr0ng@127.0.0.1:{server.port}").run()
    assert "wr0ng" not in str(caught.value)
