"""Jobs taken by hand, without a processor."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    Backoff,
    ConfigurationError,
    CorralError,
    LockLost,
    Queue,
    RateLimit,
    RedisUnavailable,
    UnrecoverableError,
    Worker,
    scripts,
)
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio


@pytest.fixture
async def by_hand(redis7_url: str) -> AsyncIterator[Callable[..., Worker]]:
    """Make workers without a processor; all are closed at the end."""
    made: list[Worker] = []

    def make(**options: Any) -> Worker:
        made.append(Worker("q", redis=redis7_url, **options))
        return made[-1]

    yield make
    for worker in made:
        await worker.close()


async def test_a_job_is_taken_and_completed(
    queue: Queue, by_hand: Callable[..., Worker], redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    worker = by_hand(name="w1", lock_duration=20)
    await queue.add("send", {"to": "a"})
    job = await worker.get_next_job()
    assert job is not None
    assert (job.name, job.data, job.attempts_started, job.processed_by) == ("send", {"to": "a"}, 1, "w1")
    assert await client.get("bull:q:1:lock") == (job.token or "").encode()
    assert 15_000 < await client.pttl("bull:q:1:lock") <= 20_000
    await job.move_to_completed({"sent": True})
    found = await queue.get_job("1")
    assert found is not None
    assert (str(await found.get_state()), found.returnvalue, found.attempts_made) == ("completed", {"sent": True}, 1)
    assert not await client.exists("bull:q:1:lock")


async def test_a_failed_job_is_retried_as_its_options_say_and_then_failed(
    queue: Queue, by_hand: Callable[..., Worker]
) -> None:
    worker = by_hand()
    await queue.add("x", attempts=3, backoff=Backoff.fixed(0.02))
    for attempt in (1, 2, 3):
        job = await worker.get_next_job(timeout=5)
        assert job is not None
        assert job.attempt == attempt
        await job.move_to_failed(ValueError(f"boom {attempt}") if attempt < 3 else "given up")
    counts = await queue.get_job_counts()
    assert (counts.failed, counts.unfinished) == (1, 0)
    found = await queue.get_job("1")
    assert found is not None
    assert found.failed_reason == "given up"
    assert [row.splitlines()[-1] for row in found.stacktrace] == ["ValueError: boom 1", "ValueError: boom 2"]


async def test_an_unrecoverable_error_fails_at_once(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    await queue.add("x", attempts=9)
    job = await by_hand().get_next_job()
    assert job is not None
    await job.move_to_failed(UnrecoverableError("never"))
    assert (await queue.get_job_counts()).failed == 1


async def test_it_waits_for_a_job_and_gives_up_in_time(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    worker = by_hand()
    began = time.monotonic()
    assert await worker.get_next_job(timeout=0.2) is None
    assert time.monotonic() - began > 0.15
    waiting = asyncio.create_task(worker.get_next_job(timeout=20))
    await asyncio.sleep(0)
    await queue.add("x")
    job = await asyncio.wait_for(waiting, 10)
    assert job is not None
    # A delayed one is waited for too.
    await queue.add("later", delay=0.1)
    job = await worker.get_next_job(timeout=20)
    assert job is not None
    assert job.name == "later"


async def test_a_lock_is_held_for_longer_only_by_whom_it_belongs_to(
    queue: Queue, by_hand: Callable[..., Worker], redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    await queue.add("x")
    job = await by_hand().get_next_job()
    assert job is not None
    await job.extend_lock(300)
    assert await client.pttl("bull:q:1:lock") > 200_000
    await client.set("bull:q:1:lock", "another:1")
    with pytest.raises(LockLost, match="job 1 of queue 'q' was not held for longer: another worker holds its lock"):
        await job.extend_lock(300)
    with pytest.raises(LockLost, match="was not ended: another worker holds its lock"):
        await job.move_to_completed()
    with pytest.raises(LockLost):
        await job.move_to_failed("x")
    with pytest.raises(CorralError, match="only a running job has a signal"):
        _ = job.signal


async def test_the_workers_own_limits_and_retention_hold(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    worker = by_hand(limiter=RateLimit.per(1, 0.3), remove_on_complete=True)
    await queue.add("a")
    await queue.add("b")
    began = time.monotonic()
    for _ in range(2):
        job = await worker.get_next_job(timeout=5)
        assert job is not None
        await job.move_to_completed()
    assert time.monotonic() - began > 0.25
    assert (await queue.get_job_counts()).completed == 0


async def test_jobs_of_the_dead_are_put_back_when_that_is_asked_for(
    queue: Queue, by_hand: Callable[..., Worker], redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    worker = by_hand(stalled_interval=0.1)
    stalled: list[str] = []
    worker.on("stalled", stalled.append)
    await queue.add("x")
    first = await by_hand().get_next_job()
    assert first is not None
    await client.delete("bull:q:1:lock")
    worker.start_stalled_check()
    again = await worker.get_next_job(timeout=10)
    assert again is not None
    assert (again.id, again.stalled_counter, stalled) == ("1", 1, ["1"])
    await again.move_to_completed()


async def test_a_job_that_cannot_be_read_fails_and_the_next_one_comes(
    queue: Queue, by_hand: Callable[..., Worker], redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    await queue.add("bad")
    await queue.add("good")
    await client.hset("bull:q:1", "data", "{")
    job = await by_hand().get_next_job()
    assert job is not None
    assert job.name == "good"
    assert (await queue.get_job_counts()).failed == 1


async def test_a_paused_worker_gives_none(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    worker = by_hand()
    await worker.pause()
    await queue.add("x")
    assert await worker.get_next_job(timeout=0.05) is None
    worker.resume()
    assert await worker.get_next_job() is not None


async def test_a_paused_worker_waits_until_it_goes_on(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    worker = by_hand()
    await worker.pause()
    await queue.add("x")
    waiting = asyncio.create_task(worker.get_next_job(timeout=20))
    await asyncio.sleep(0)
    assert not waiting.done()
    worker.resume()
    assert await asyncio.wait_for(waiting, 10) is not None


@pytest.mark.parametrize("why", ["paused", "limited"])
async def test_asking_again_and_again_leaves_the_loop_to_others(
    queue: Queue, by_hand: Callable[..., Worker], why: str
) -> None:
    worker = by_hand(limiter=RateLimit.per(1, 60))
    if why == "paused":
        await worker.pause()
    else:
        for _ in range(2):
            await queue.add("x")
        await worker.get_next_job()
        assert await worker.get_next_job(timeout=0) is None
    calls: list[object] = []

    async def ask() -> None:
        while len(calls) < 10:
            calls.append(await worker.get_next_job(timeout=0))

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(calls) < 10
    await asking


async def test_calls_at_the_same_time_get_jobs_of_their_own(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    worker = by_hand()
    await queue.add("a")
    await queue.add("b")
    taken = await asyncio.gather(*(worker.get_next_job(timeout=0) for _ in range(2)))
    # Two that wait share the connection, and both hear of what comes.
    waiting = [asyncio.create_task(worker.get_next_job(timeout=20)) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(2):
        await queue.add("late")
    taken += await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert len({job.token for job in taken if job is not None}) == 4
    for job in taken:
        assert job is not None
        await job.move_to_completed()
    assert (await queue.get_job_counts()).completed == 4


async def test_a_cancelled_call_leaves_its_job_to_the_next_one(
    queue: Queue, by_hand: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = scripts.settle_jobs
    took = asyncio.Event()

    async def stuck(*args: Any) -> Any:
        found = await settle(*args)
        if not took.is_set():
            took.set()
            await asyncio.Event().wait()
        return found

    monkeypatch.setattr("corral.manual.scripts.settle_jobs", stuck)
    worker = by_hand()
    await queue.add("x")
    asking = asyncio.create_task(worker.get_next_job())
    await took.wait()
    asking.cancel()
    await asyncio.wait([asking])
    job = await worker.get_next_job(timeout=0)
    assert job is not None
    await job.move_to_completed()


async def test_a_call_cancelled_while_the_next_iteration_is_made_leaves_its_job_to_the_next_one(
    queue: Queue, by_hand: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    took = asyncio.Event()

    async def stuck(*args: Any) -> None:
        if not took.is_set():
            took.set()
            await asyncio.Event().wait()

    monkeypatch.setattr("corral.manual.produce_next", stuck)
    worker = by_hand()
    await queue.upsert_job_scheduler("s", every=3600)
    asking = asyncio.create_task(worker.get_next_job())
    await took.wait()
    asking.cancel()
    await asyncio.wait([asking])
    job = await worker.get_next_job(timeout=0)
    assert job is not None
    await job.move_to_completed()


@pytest.mark.parametrize("number", [1, 2])
async def test_who_waits_for_a_job_gets_none_when_the_worker_is_closed(
    by_hand: Callable[..., Worker], redis7_client: redis.asyncio.Redis, number: int
) -> None:
    client: Any = redis7_client
    worker = by_hand()
    waiting = [asyncio.create_task(worker.get_next_job(timeout=60)) for _ in range(number)]

    async def blocked() -> bool:
        return int((await client.info("clients"))["blocked_clients"]) == 1

    await eventually(blocked)
    await worker.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [None] * number


async def test_a_dead_letter_queue_is_refused_for_it_says_nothing_of_jobs_taken_by_hand(
    by_hand: Callable[..., Worker],
) -> None:
    with pytest.raises(ConfigurationError, match=r"call Queue\.move_failed_to_dead_letters"):
        await by_hand(dead_letter_queue="q-dead").get_next_job()


async def test_a_worker_of_several_queues_gives_no_jobs(redis7_url: str) -> None:
    with pytest.raises(ConfigurationError, match="taken by hand from one queue, this worker has a, b"):
        await Worker(["a", "b"], redis=redis7_url).get_next_job()


async def test_two_workers_share_a_queue_by_hand(queue: Queue, by_hand: Callable[..., Worker]) -> None:
    one, two = by_hand(), by_hand()
    for _ in range(6):
        await queue.add("x")
    taken = [await worker.get_next_job() for worker in (one, two, one, two, one, two)]
    assert sorted(job.id for job in taken if job is not None) == ["1", "2", "3", "4", "5", "6"]
    assert len({job.token for job in taken if job is not None}) == 6
    await asyncio.gather(*(job.move_to_completed() for job in taken if job is not None))
    await eventually(lambda: _all_done(queue))


async def _all_done(queue: Queue) -> bool:
    return (await queue.get_job_counts()).completed == 6


async def test_a_job_whose_answer_was_lost_is_given_by_the_next_call(
    queue: Queue, by_hand: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, lose = scripts.settle_jobs, [True]

    async def lossy(*args: Any) -> Any:
        found = await settle(*args)
        if lose.pop() if lose else False:
            raise RedisUnavailable("its answer was lost", maybe_done=True)
        return found

    monkeypatch.setattr("corral.manual.scripts.settle_jobs", lossy)
    worker = by_hand()
    await queue.add("first")
    await queue.add("second")
    with pytest.raises(RedisUnavailable):
        await worker.get_next_job()
    jobs = [await worker.get_next_job() for _ in range(2)]
    assert [(job.name, job.attempts_started) for job in jobs if job is not None] == [("first", 1), ("second", 1)]
    for job in jobs:
        assert job is not None
        await job.move_to_completed()
    assert (await queue.get_job_counts()).completed == 2
