"""How much a worker does at once: its own slots, the queue's global limits, and the batches it writes in."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, JobSpec, Queue, Worker
from corral.metrics import Metrics
from running import running, sample
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


class Gate:
    """A processor that holds its jobs until it is opened, and knows the most that it held at once."""

    def __init__(self) -> None:
        self.inside = self.peak = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        await self.open.wait()
        await asyncio.sleep(0)
        self.inside -= 1


async def completed(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == number, counts
    return True


def many(number: int) -> list[JobSpec]:
    return [JobSpec("x", each) for each in range(number)]


@pytest.mark.parametrize("concurrency", [1, 2, 7])
async def test_exactly_as_many_jobs_run_at_once_as_may(queue: Queue, redis_url: str, concurrency: int) -> None:
    gate, metrics = Gate(), Metrics()
    await queue.add_bulk(many(5 * concurrency))
    async with running(Worker("q", gate, redis=redis_url, concurrency=concurrency), metrics=metrics):
        await eventually(lambda: gate.inside == concurrency)
        assert (await queue.get_job_counts()).active == concurrency
        gate.open.set()
        await eventually(lambda: completed(queue, 5 * concurrency))
    assert gate.peak == concurrency
    assert sample(metrics, "corral_jobs_taken_total", queue="q") == 5 * concurrency


async def test_more_jobs_run_at_once_than_one_call_may_take(queue: Queue, redis_url: str) -> None:
    gate = Gate()
    await queue.add_bulk(many(900))
    async with running(Worker("q", gate, redis=redis_url, concurrency=600)):
        await eventually(lambda: gate.inside == 600)
        gate.open.set()
        await eventually(lambda: completed(queue, 900))
    assert gate.peak == 600


async def test_the_environment_gives_a_concurrency_to_a_worker_that_has_none(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_CONCURRENCY", "3")
    monkeypatch.setenv("CORRAL_QUEUES", "q")
    monkeypatch.setenv("REDIS_URL", redis_url)
    gate = Gate()
    await queue.add_bulk(many(6))
    async with running(Worker(gate)):
        await eventually(lambda: gate.inside == 3)
        gate.open.set()
        await eventually(lambda: completed(queue, 6))
    assert gate.peak == 3


async def test_several_queues_share_the_slots(redis_url: str) -> None:
    async with Queue("one", redis=redis_url) as one, Queue("two", redis=redis_url) as two:
        gate = Gate()
        await one.add_bulk(many(20))
        await two.add_bulk(many(20))
        async with running(Worker(["one", "two"], gate, redis=redis_url, concurrency=6)):
            await eventually(lambda: gate.inside == 6)
            assert [(await each.get_job_counts()).active for each in (one, two)] == [3, 3]
            gate.open.set()
            await eventually(lambda: completed(one, 20))
            await eventually(lambda: completed(two, 20))
    assert gate.peak == 6


async def test_the_queues_own_concurrency_holds_for_all_workers_together(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    gate = Gate()
    await client.hset("bull:q:meta", "concurrency", 3)
    await queue.add_bulk(many(12))
    workers = [Worker("q", gate, redis=redis_url, concurrency=5) for _ in range(2)]
    async with running(*workers):
        await eventually(lambda: gate.inside == 3)
        gate.open.set()
        await eventually(lambda: completed(queue, 12))
    assert gate.peak == 3


async def test_the_queues_rate_limit_spreads_jobs_over_its_windows(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    ran: list[float] = []
    await client.hset("bull:q:meta", mapping={"max": 4, "duration": 300})
    await queue.add_bulk(many(10))

    async def note(job: Job) -> None:
        ran.append(time.monotonic())

    async with running(Worker("q", note, redis=redis_url, concurrency=20)):
        await eventually(lambda: completed(queue, 10))
    # 4, 4 and 2, each four a window apart; a window begins with the take, a little before its jobs run.
    assert all(later - sooner > 0.2 for sooner, later in zip(ran, ran[4:], strict=False))
    assert ran[-1] - ran[0] < 3


async def test_a_sleep_that_ends_a_little_early_does_not_stop_a_limited_worker(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = async_client
    sleep = asyncio.sleep
    monkeypatch.setattr("corral.fetcher.asyncio.sleep", lambda seconds: sleep(max(0.0, seconds - 0.01)))
    await client.hset("bull:q:meta", mapping={"max": 1, "duration": 50})
    await queue.add_bulk(many(5))
    async with running(Worker("q", lambda job: None, redis=redis_url)):
        # Sooner than any poll: nobody but the end of the limit may wake it.
        await eventually(lambda: completed(queue, 5), within=4)


async def test_a_paused_queue_gives_no_job_until_it_goes_on(queue: Queue, redis_url: str) -> None:
    ran: list[str] = []
    async with Queue("other", redis=redis_url) as other:
        await queue.pause()
        await queue.add("x")
        async with running(Worker(["q", "other"], lambda job: ran.append(job.queue_name), redis=redis_url)):
            await other.add("y")
            await eventually(lambda: completed(other, 1))
            assert ran == ["other"]
            await queue.resume()
            await eventually(lambda: completed(queue, 1))
    assert ran == ["other", "q"]


async def test_a_busy_worker_writes_many_outcomes_in_one_call(queue: Queue, redis_url: str) -> None:
    async def nothing(job: Job) -> None:
        return None

    metrics = Metrics()
    await queue.add_bulk(many(3000))
    async with running(Worker("q", nothing, redis=redis_url, concurrency=50), metrics=metrics):
        await eventually(lambda: completed(queue, 3000), within=30)
    written = sample(metrics, "corral_settle_batch_size_sum", queue="q")
    calls = sample(metrics, "corral_settle_batch_size_count", queue="q")
    assert written == 3000
    assert written / calls >= 5, f"{written / calls:.1f} outcomes a call"


async def test_two_workers_run_each_job_once(queue: Queue, redis_url: str) -> None:
    ran: list[str] = []

    async def note(job: Job) -> None:
        ran.append(job.id)
        await asyncio.sleep(0)

    await queue.add_bulk(many(500))
    async with running(*(Worker("q", note, redis=redis_url, concurrency=20) for _ in range(3))):
        await eventually(lambda: completed(queue, 500))
    assert len(ran) == len(set(ran)) == 500


async def test_the_lock_of_a_long_job_is_renewed(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    gate = Gate()
    await queue.add("x")
    renewals, last = 0, 0

    async def renewed_five_times() -> bool:
        nonlocal renewals, last
        left = int(await client.pttl("bull:q:1:lock"))
        assert left > 0, "the lock ran out"
        renewals += left > last
        last = left
        return renewals >= 6

    async with running(Worker("q", gate, redis=redis_url, lock_duration=0.4)):
        await eventually(lambda: gate.inside == 1)
        await eventually(renewed_five_times)
        gate.open.set()
        await eventually(lambda: completed(queue, 1))
