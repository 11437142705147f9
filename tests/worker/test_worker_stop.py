"""When a worker is told to end: before its run, while it starts, in the middle of its own end, again and again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from corral import Counts, Job, JobSpec, Queue, Worker, queue_work
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


class Gate:
    """A processor that holds its jobs until it is opened."""

    def __init__(self) -> None:
        self.inside = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.inside += 1
        await self.open.wait()


class Stubborn(Gate):
    """One that ignores its first cancellations."""

    async def __call__(self, job: Job) -> None:
        self.inside += 1
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                continue


async def completed(queue: Queue, number: int) -> bool:
    return (await queue.get_job_counts()).completed == number


async def ended(run: asyncio.Task[None], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        await run


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_a_worker_told_to_end_before_its_run_ends_at_once_and_takes_nothing(
    queue: Queue, redis_url: str, how: str
) -> None:
    ran: list[Job] = []
    worker = Worker("q", ran.append, redis=redis_url)
    await queue.add("x")
    if how == "stop":
        worker.stop()
    else:
        await worker.close()
    await ended(asyncio.create_task(worker.run()), 2.0)
    assert ran == []
    assert (await queue.get_job_counts()).waiting == 1
    assert worker.shift is not None
    assert worker.shift.unready == "it has ended"
    await worker.close()


async def test_a_worker_told_to_end_before_its_run_needs_no_redis() -> None:
    worker = Worker("q", print, redis=f"redis://127.0.0.1:{free_port()}")
    worker.stop()
    await ended(asyncio.create_task(worker.run()), 2.0)


async def test_stop_only_begins_the_end(queue: Queue, redis_url: str) -> None:
    gate = Gate()
    worker = Worker("q", gate, redis=redis_url)
    await queue.add_bulk([JobSpec("x"), JobSpec("y")])
    run = asyncio.create_task(worker.run())
    await eventually(lambda: gate.inside == 1)
    worker.stop(20)
    # The first call decides the grace.
    worker.stop(0)
    assert worker.shift is not None
    shift = worker.shift
    await eventually(lambda: all(work.draining for work in shift.works))
    assert not run.done()
    gate.open.set()
    await ended(run)
    assert await queue.get_job_counts() == Counts(1, 0, 0, 0, 0, completed=1, failed=0)


async def test_a_worker_that_still_waits_for_redis_can_be_stopped() -> None:
    worker, errors = Worker("q", print, redis=f"redis://127.0.0.1:{free_port()}"), []
    worker.on("error", errors.append)
    run = asyncio.create_task(worker.run())
    await eventually(lambda: errors)
    worker.stop()
    await ended(run, 3.0)


@pytest.mark.parametrize("times", [2, 3, 5])
async def test_close_never_hangs_after_a_run_that_was_cancelled_several_times(
    queue: Queue, redis_url: str, times: int
) -> None:
    gate = Stubborn()
    worker = Worker("q", gate, redis=redis_url, concurrency=2, lock_duration=5)
    await queue.add_bulk([JobSpec("x"), JobSpec("y")])
    run = asyncio.create_task(worker.run())
    await eventually(lambda: gate.inside == 2)
    for _ in range(times):
        run.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await ended(run)
    async with asyncio.timeout(2):
        await worker.close()
    gate.open.set()


async def test_a_run_cancelled_while_it_ends_lets_close_return(queue: Queue, redis_url: str) -> None:
    gate = Gate()
    worker = Worker("q", gate, redis=redis_url)
    await queue.add("x")
    run = asyncio.create_task(worker.run())
    await eventually(lambda: gate.inside == 1)
    closing = asyncio.create_task(worker.close(20))
    await asyncio.sleep(0)
    run.cancel()
    async with asyncio.timeout(5):
        await closing
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await queue.get_job_counts()).waiting == 1


async def test_what_was_cut_short_is_known_as_handed_back(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    gate = Stubborn()
    worker = Worker("q", gate, redis=redis_url)
    await queue.add("x")
    run = asyncio.create_task(worker.run())
    await eventually(lambda: gate.inside == 1)
    await worker.close(grace=0)
    await run
    assert worker.shift is not None
    assert worker.shift.drain.handed_back
    assert worker.shift.stuck
    assert await queue.get_job_counts() == Counts(1, 0, 0, 0, 0, 0, 0)
    assert await client.exists("bull:q:1:lock") == 0
    gate.open.set()
    await eventually(lambda: not worker.shift or not worker.shift.stuck)


async def test_what_finished_was_not_handed_back(queue: Queue, redis_url: str) -> None:
    worker = Worker("q", lambda job: 1, redis=redis_url)
    await queue.add("x")
    run = asyncio.create_task(worker.run())
    await eventually(lambda: completed(queue, 1))
    await worker.close()
    await run
    assert worker.shift is not None
    assert not worker.shift.drain.handed_back


async def test_a_processor_that_cancels_its_own_task_fails_its_job(queue: Queue, redis_url: str) -> None:
    async def cancels(job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    await queue.add("x")
    await queue.add("fine", {})
    worker, failed = Worker("q", cancels, redis=redis_url, concurrency=2), []
    worker.on("failed", lambda job, reason: failed.append((job.name, reason)))
    run = asyncio.create_task(worker.run())
    await eventually(lambda: len(failed) == 2)
    assert {reason for _, reason in failed} == {"the processor cancelled its own task"}
    assert (await queue.get_job_counts()).failed == 2
    await worker.close()
    await ended(run)


def _eager(run: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
    """As `asyncio.create_task` with Python 3.12's eager tasks: what never waits is over when its task is made."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(StopIteration):
        run.send(None)
    over.set_result(None)
    return over


async def test_jobs_that_end_before_their_task_is_noted_are_not_held_as_running(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_work, "asyncio", SimpleNamespace(create_task=_eager))

    async def at_once(job: Job) -> int:
        return 5

    await queue.add_bulk([JobSpec("x", each) for each in range(20)])
    worker = Worker("q", at_once, redis=redis_url, concurrency=4)
    run = asyncio.create_task(worker.run())
    await eventually(lambda: completed(queue, 20))
    assert worker.shift is not None
    assert not worker.shift.stuck
    await eventually(lambda: worker.shift and not worker.shift.slots.busy)
    await worker.close()
    await ended(run)
