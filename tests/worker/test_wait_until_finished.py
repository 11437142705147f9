"""Waiting for the end of a job: it always ends, with the right answer."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from corral import Event, Job, Queue, QueueEvents, RedisUnavailable, State, Worker, events_watch
from corral.address import make_pool
from corral.clock import now_ms
from corral.connection import Line, Lines
from corral.errors import ConfigurationError, JobFailed, JobNotFound, JobTimeout
from corral.events_gap import order
from corral.events_watch import End, EndWatch, Waiter
from corral.lifecycle import Complete, Fail, Step
from corral.retention import Keep
from corral.scripts import Settlement, Taking, settle_jobs
from relay import Relay
from running import running
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


@pytest.fixture
async def events(redis_url: str) -> AsyncIterator[QueueEvents]:
    async with QueueEvents("q", redis=redis_url) as events:
        yield events


def waiting(job: Job, events: QueueEvents, timeout: float | None = 15) -> asyncio.Future[Any]:
    async def wait() -> Any:
        return await job.wait_until_finished(events, timeout=timeout)

    return asyncio.ensure_future(wait())


async def waited_for(events: QueueEvents, number: int = 1) -> None:
    """Until that many jobs are waited for, and were looked at."""
    await eventually(
        lambda: (
            len(events.watch()._waiting) == number and all(waiter.since is not None for waiter in events.watch()._all())
        )
    )


async def end(queue: Queue, step: Step, number: int = 1) -> None:
    """Take jobs and end them, as a worker does."""
    lines, keys = queue._lines, queue.keys
    taken = await settle_jobs(lines, keys, "", now_ms(), [], Taking(number, "t:1", 60_000, ""))
    settlements = [Settlement(id, "t:1", step) for id, _ in taken.jobs]
    ended = await settle_jobs(lines, keys, "", now_ms(), settlements, Taking(0, "", 60_000, ""))
    assert ended.codes == [0] * number


def done(value: str = '{"sum": 3}', keep: int | None = None) -> Complete:
    return Complete(value, Keep(keep))


FAILED = Fail("boom", ("boom",), Keep(), True)


async def test_the_value_of_a_job_that_completes(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    waiter = waiting(job, events)
    await waited_for(events)
    assert not waiter.done()
    await end(queue, done())
    assert await waiter == {"sum": 3}


async def test_the_value_of_a_job_that_has_completed_already(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    await end(queue, done("null"))
    assert await job.wait_until_finished(events, timeout=15) is None


async def test_the_reason_of_a_job_that_fails_or_has_failed(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    waiter = waiting(job, events)
    await waited_for(events)
    await end(queue, FAILED)
    for one in (waiter, waiting(job, events)):
        with pytest.raises(JobFailed, match=f"job {job.id} of queue 'q' failed: boom") as caught:
            await one
        assert caught.value.reason == "boom"


async def test_a_job_that_is_removed_or_was_never_there(queue: Queue, events: QueueEvents, redis_url: str) -> None:
    job, gone = await queue.add("n"), await queue.add("n")
    waiter = waiting(job, events)
    await waited_for(events)
    async with Lines(make_pool(redis_url)) as lines:
        for one in (job, gone):
            await lines.call("DEL", queue.keys.job(one.id))
        await lines.call("XADD", queue.keys.events, "*", "event", "removed", "jobId", job.id, "prev", "wait")
    for wait in (waiter, waiting(gone, events)):
        with pytest.raises(JobNotFound, match="does not exist"):
            await wait


async def test_the_value_of_a_job_that_retention_removes_as_it_completes(queue: Queue, events: QueueEvents) -> None:
    jobs = [await queue.add("n") for _ in range(50)]
    waiters = [waiting(job, events) for job in jobs[:25]]
    await waited_for(events, 25)
    await end(queue, done("5", keep=0), 50)
    assert await asyncio.gather(*waiters) == [5] * 25
    assert await queue.get_job_state(jobs[0].id) == State.UNKNOWN


async def test_a_job_found_gone_is_not_answered_before_the_events_were_read(
    redis7: RedisServer, redis7_url: str
) -> None:
    async with (
        Relay(redis7.port) as relay,
        QueueEvents("q", redis=relay.url) as events,
        Queue("q", redis=redis7_url) as queue,
    ):
        job = await queue.add("n")
        waiter = waiting(job, events)
        await waited_for(events)
        # The events are cut off, the looks at the job are not.
        events.watch()._line._pool = make_pool(redis7_url)
        relay.shut()
        await end(queue, done("5", keep=0))
        events.watch().look_soon()
        await eventually(lambda: any(each.gone_looks for each in events.watch()._all()))
        assert not waiter.done()
        relay.open = True
        assert await waiter == 5


async def test_a_lost_event_does_not_make_it_hang(
    queue: Queue, events: QueueEvents, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_watch, "LOOK_S", 0.1)
    job = await queue.add("n")
    waiter = waiting(job, events, None)
    await waited_for(events)
    # What an end leaves behind, without any event.
    await async_client.hset(queue.keys.job(job.id), mapping={"returnvalue": "7", "finishedOn": "1"})
    await async_client.lrem(queue.keys.wait, 1, job.id)
    await async_client.zadd(queue.keys.completed, {job.id: 1})
    assert await waiter == 7


async def test_a_gap_makes_it_look_at_once(redis7: RedisServer, redis7_url: str, redis7_client: Any) -> None:
    async with (
        Relay(redis7.port) as relay,
        QueueEvents("q", redis=relay.url) as events,
        Queue("q", redis=redis7_url) as queue,
    ):
        job = await queue.add("n")
        waiter = waiting(job, events, None)
        await waited_for(events)
        relay.shut()
        await end(queue, done())
        await redis7_client.xtrim(queue.keys.events, maxlen=0, approximate=False)
        relay.open = True
        assert await asyncio.wait_for(waiter, 4) == {"sum": 3}, "before the next regular look"


async def test_a_job_that_takes_too_long(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    with pytest.raises(JobTimeout, match=f"job {job.id} of queue 'q' has not finished within 0.1 s"):
        await job.wait_until_finished(events, timeout=0.1)
    assert not events.watch()._waiting


async def test_redis_away_at_the_end_of_the_time_is_told_as_such(
    new_server: Callable[..., RedisServer],
) -> None:
    server = new_server()
    async with Queue("q", redis=server.url) as queue, QueueEvents("q", redis=server.url) as events:
        job = await queue.add("n")
        waiter = waiting(job, events, 1.0)
        await waited_for(events)
        server.kill()
        events.watch().look_soon()
        with pytest.raises(RedisUnavailable, match=r"cannot be reached|broke"):
            await waiter


async def test_without_a_time_limit_a_lost_redis_is_an_answer_in_the_end(
    new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_watch, "AWAY_S", 0.5)
    monkeypatch.setattr(events_watch, "LOOK_S", 0.1)
    server = new_server()
    async with Queue("q", redis=server.url) as queue, QueueEvents("q", redis=server.url) as events:
        job = await queue.add("n")
        waiter = waiting(job, events, None)
        await waited_for(events)
        server.kill()
        with pytest.raises(RedisUnavailable):
            await waiter


async def test_with_a_time_limit_an_outage_is_waited_out(
    new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_watch, "AWAY_S", 0.1)
    monkeypatch.setattr(events_watch, "LOOK_S", 0.1)
    server = new_server(appendonly=True, extra=("--appendfsync", "always"))
    async with Queue("q", redis=server.url) as queue, QueueEvents("q", redis=server.url) as events:
        job = await queue.add("n")
        limited, unlimited = waiting(job, events, 60), waiting(job, events, None)
        await eventually(lambda: [waiter.since is not None for waiter in events.watch()._all()] == [True, True])
        server.kill()
        with pytest.raises(RedisUnavailable):
            await unlimited
        assert not limited.done()
        server.start()
        await end(queue, done())
        assert await limited == {"sum": 3}


async def test_the_end_of_an_earlier_run_is_not_the_answer(queue: Queue, redis_url: str) -> None:
    await queue.add("n", job_id="report")
    await end(queue, done("1", keep=0))
    job = await queue.add("n", job_id="report")
    async with QueueEvents("q", redis=redis_url, last_event_id="0") as events:
        waiter = waiting(job, events)
        await waited_for(events)
        await eventually(lambda: order(events.watch()._heard_to) >= order(next(events.watch()._all()).since or ""))
        assert not waiter.done()
        await end(queue, done("2"))
        assert await waiter == 2


async def test_an_end_heard_during_the_first_look_counts_if_it_is_newer_than_the_look() -> None:
    older, newer = (Event(f"{ms}-0", "completed", {"returnvalue": ms}, {"jobId": "1"}) for ms in (5, 6))
    waiter = Waiter(asyncio.get_running_loop().create_future(), limited=False)
    waiter.hear(older)
    waiter.hear(newer)
    assert not waiter.end.done()
    waiter.looked("5-0")
    assert waiter.end.result() == End("completed", 6)


async def test_a_look_that_was_under_way_is_no_answer_for_who_comes_now(queue: Queue) -> None:
    class Slow(Line):
        async def call_many(self, commands: Any, timeout: float = 1.0) -> list[Any]:
            replies = await super().call_many(commands, timeout)
            second.append(watch.expect(job.id, limited=False))
            return replies

    job = await queue.add("n")
    await end(queue, FAILED)
    second: list[Waiter] = []
    line = Slow(queue._lines.pool)
    watch = EndWatch(line, queue.keys)
    first = watch.expect(job.id, limited=False)
    await watch._look()
    assert first.end.result() == End("failed", "boom")
    assert not second[0].end.done()
    await line.close()


async def test_a_listener_that_cannot_start_is_told_in_time() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    events, queue = QueueEvents("q", redis=url), Queue("q", redis=url)
    job = Job("1", "n", {}, None, "q", 0, _door=queue._calls())  # type: ignore[arg-type]
    with pytest.raises(RedisUnavailable, match="cannot be reached"):
        await job.wait_until_finished(events, timeout=0.3)
    await events.close()


async def test_redis_back_in_time_goes_unnoticed(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(appendonly=True, extra=("--appendfsync", "always"))
    async with Queue("q", redis=server.url) as queue, QueueEvents("q", redis=server.url) as events:
        job = await queue.add("n")
        waiter = waiting(job, events, None)
        await waited_for(events)
        server.kill()
        await eventually(lambda: events.trouble is not None)
        server.start()
        await end(queue, done())
        assert await waiter == {"sum": 3}


async def test_a_closed_listener_ends_the_wait(queue: Queue, redis_url: str) -> None:
    job = await queue.add("n")
    async with QueueEvents("q", redis=redis_url) as events:
        waiter = waiting(job, events)
        await waited_for(events)
    with pytest.raises(RedisUnavailable, match="was closed"):
        await waiter
    with pytest.raises(RedisUnavailable, match="is closed"):
        await job.wait_until_finished(events)


async def test_the_events_of_another_queue_are_refused(queue: Queue, redis_url: str) -> None:
    job = await queue.add("n")
    async with QueueEvents("q", redis=redis_url, prefix="other") as events:
        with pytest.raises(ConfigurationError, match="make a QueueEvents of the job's queue"):
            await job.wait_until_finished(events)


async def test_in_async_code_it_needs_events(queue: Queue) -> None:
    with pytest.raises(ConfigurationError, match="needs a QueueEvents"):
        (await queue.add("n")).wait_until_finished()


async def test_a_listener_that_breaks_leaves_nobody_waiting(
    queue: Queue, events: QueueEvents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> None:
        raise AssertionError("a bug")

    waiter = waiting(await queue.add("n"), events, None)
    await waited_for(events)
    monkeypatch.setattr(events.watch(), "heard", broken)
    await queue.add("n")
    with pytest.raises(RedisUnavailable, match="broke; see the log"):
        await waiter
    assert "a bug" in caplog.text


async def test_a_thousand_waiters_share_two_connections(
    queue: Queue, events: QueueEvents, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    jobs = [await queue.add("n") for _ in range(500)]
    before = len(await client.client_list())
    waiters = [waiting(job, events, 30) for job in jobs for _ in range(2)]
    await waited_for(events, 500)
    assert len(await client.client_list()) <= before + 2
    calls = (await client.info("commandstats"))["cmdstat_hmget"]["calls"]
    await end(queue, done(), 500)
    assert await asyncio.gather(*waiters) == [{"sum": 3}] * 1000
    looks = (await client.info("commandstats"))["cmdstat_hmget"]["calls"] - calls
    assert looks < 5000, "ends are heard, not asked for"


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    first, second = waiting(job, events), waiting(job, events)
    await waited_for(events)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await end(queue, done())
    assert await second == {"sum": 3}
    assert not events.watch()._waiting


async def test_a_thread_waits_too(queue: Queue, events: QueueEvents) -> None:
    job = await queue.add("n")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(job.wait_until_finished(events).result()))
    thread.start()
    await waited_for(events)
    await end(queue, done())
    await eventually(lambda: found == [{"sum": 3}])
    thread.join()


async def test_a_processor_waits_for_another_job(redis_url: str, events: QueueEvents, queue: Queue) -> None:
    inner = await queue.add("inner")

    def plain(job: Job) -> Any:
        if job.name == "inner":
            return 20
        return inner.wait_until_finished(events, timeout=15).result() + 1

    async with running(Worker("q", plain, redis=redis_url, concurrency=2)):
        outer = await queue.add("outer")
        assert await outer.wait_until_finished(events, timeout=15) == 21
