"""One worker that pauses; its queue does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from corral import Job, JobSpec, Queue, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def completed(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == number, counts
    return True


async def test_a_pause_waits_for_what_runs_and_takes_nothing_more(queue: Queue, redis7_url: str) -> None:
    inside: list[str] = []
    go_on = asyncio.Event()

    async def hold(job: Job) -> None:
        inside.append(job.id)
        await go_on.wait()

    worker = Worker("q", hold, redis=redis7_url, concurrency=2)
    heard: list[str] = []
    worker.on("paused", lambda: heard.append("paused"))
    worker.on("resumed", lambda: heard.append("resumed"))
    await queue.add_bulk([JobSpec("x", number) for number in range(6)])
    async with running(worker):
        await eventually(lambda: len(inside) == 2)
        pausing = asyncio.create_task(worker.pause())
        await eventually(lambda: worker.is_paused)
        assert not pausing.done()
        go_on.set()
        await pausing
        # Everything that ran is written, and nothing else was begun.
        counts = await queue.get_job_counts()
        assert (counts.completed, counts.active, counts.waiting, len(inside)) == (2, 0, 4, 2)
        assert not await queue.is_paused()
        await queue.add("more")
        async with running(other := Worker("q", lambda job: None, redis=redis7_url, concurrency=1)):
            await eventually(lambda: completed(queue, 7))
            await other.pause()
        assert (len(inside), heard) == (2, ["paused"])
        worker.resume()
        assert not worker.is_paused
        await queue.add("again")
        await eventually(lambda: completed(queue, 8))
    assert (len(inside), heard) == (3, ["paused", "resumed"])


async def test_a_pause_need_not_wait(queue: Queue, redis7_url: str) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def hold(job: Job) -> None:
        began.set()
        await go_on.wait()

    worker = Worker("q", hold, redis=redis7_url)
    await queue.add_bulk([JobSpec("x"), JobSpec("y")])
    async with running(worker):
        await began.wait()
        await worker.pause(do_not_wait_active=True)
        assert (await queue.get_job_counts()).active == 1
        go_on.set()
        await eventually(lambda: completed(queue, 1))
        assert (await queue.get_job_counts()).waiting == 1
        worker.resume()
        await eventually(lambda: completed(queue, 2))


async def test_a_worker_paused_before_its_run_begins_paused(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    worker = Worker("q", lambda job: None, redis=redis7_url)
    await worker.pause()
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: worker.shift is not None and worker.shift.latency is not None)
        assert (await queue.get_job_counts()).waiting == 1
        assert await client.exists("bull:q:marker")
        worker.resume()
        await eventually(lambda: completed(queue, 1))


async def test_a_paused_worker_leaves_the_marker_to_the_others(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    worker = Worker("q", lambda job: None, redis=redis7_url)
    async with running(worker):
        await queue.add("first")
        await eventually(lambda: completed(queue, 1))
        await worker.pause()
        # It blocks on the marker still; what it pops, it puts back for whoever may take.
        await queue.add("second")
        await eventually(lambda: client.exists("bull:q:marker"))
        assert (await queue.get_job_counts()).waiting == 1


async def test_a_paused_worker_can_be_closed(queue: Queue, redis7_url: str) -> None:
    worker = Worker("q", lambda job: None, redis=redis7_url)
    async with running(worker):
        await eventually(lambda: worker.shift is not None and worker.shift.unready is None)
        await worker.pause()
        await worker.pause()
    assert worker.shift is not None
    assert worker.shift.over.is_set()


async def test_a_second_pause_waits_for_what_runs_when_the_first_did_not(queue: Queue, redis7_url: str) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def hold(job: Job) -> None:
        began.set()
        await go_on.wait()

    worker = Worker("q", hold, redis=redis7_url)
    heard: list[str] = []
    worker.on("paused", lambda: heard.append("paused"))
    await queue.add("x")
    async with running(worker):
        await began.wait()
        await worker.pause(do_not_wait_active=True)
        pausing = asyncio.create_task(worker.pause())
        await asyncio.sleep(0)
        assert not pausing.done()
        go_on.set()
        await pausing
        assert (await queue.get_job_counts()).completed == 1
    assert heard == ["paused"]


async def test_a_pause_ends_with_the_worker_whatever_is_left(queue: Queue, redis7_url: str) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def stay(job: Job) -> None:
        began.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    worker = Worker("q", stay, redis=redis7_url)
    await queue.add("x")
    async with running(worker, grace=0.4):
        await began.wait()
        pausing = asyncio.create_task(worker.pause())
        await eventually(lambda: worker.is_paused)
    assert worker.shift is not None
    assert worker.shift.stuck
    try:
        await asyncio.wait_for(pausing, 5)
    finally:
        go_on.set()
