"""What a worker tells of itself, from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral import Job, Queue, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def test_a_workers_life_is_told_in_order(queue: Queue, redis7_url: str) -> None:
    heard: list[tuple[Any, ...]] = []
    worker = Worker("q", lambda job: None, redis=redis7_url)
    for event in ("ready", "active", "completed", "drained", "paused", "resumed", "closing", "closed"):

        def tell(*args: Any, event: str = event) -> None:
            heard.append((event, *(arg.id for arg in args if isinstance(arg, Job))))

        worker.on(event, tell)  # type: ignore[arg-type]
    async with running(worker):
        await eventually(lambda: heard == [("ready",)])
        await queue.add("x")
        await eventually(lambda: ("drained",) in heard)
        await worker.pause()
        worker.resume()
    assert heard == [
        ("ready",),
        ("active", "1"),
        ("completed", "1"),
        ("drained",),
        ("paused",),
        ("resumed",),
        ("closing",),
        ("closed",),
    ]


async def test_an_active_job_is_told_before_it_runs_and_as_it_is_stored(queue: Queue, redis7_url: str) -> None:
    heard: list[Any] = []
    worker = Worker("q", lambda job: heard.append("runs"), redis=redis7_url, name="w1")
    worker.on("active", lambda job: heard.append((job.attempts_started, job.processed_by, job.token is not None)))
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: len(heard) == 2)
    assert heard == [(1, "w1", True), "runs"]


async def test_an_async_listener_of_the_end_runs_to_its_end(redis7_url: str) -> None:
    heard: list[bool] = []
    worker = Worker("q", lambda job: None, redis=redis7_url)

    @worker.on("closed")
    async def closed() -> None:
        heard.append(worker.shift is not None and worker.shift.unready == "it has ended")

    async with running(worker):
        await eventually(lambda: worker.shift is not None and worker.shift.unready is None)
    assert heard == [True]


async def test_every_lock_that_is_lost_is_told_once(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    lost: list[str] = []

    async def watch(job: Job) -> None:
        await job.signal.wait()

    worker = Worker("q", watch, redis=redis7_url, concurrency=4, lock_duration=0.4)
    worker.on("lock_renewal_failed", lost.extend)
    await queue.add("x")
    await queue.add("y")
    async with running(worker):
        await eventually(lambda: client.exists("bull:q:1:lock", "bull:q:2:lock"))
        await eventually(lambda: worker.shift is not None and worker.shift.slots.busy == 2)
        await client.mset({"bull:q:1:lock": "another:1", "bull:q:2:lock": "another:2"})
        await eventually(lambda: len(lost) == 2)
    assert sorted(lost) == ["1", "2"]
