"""Processors that move their own job, and say so."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    DelayedError,
    Job,
    LockLost,
    Parent,
    Queue,
    WaitingChildrenError,
    WaitingError,
    Worker,
)
from corral.metrics import Metrics
from running import running, sample
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def completed(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == number, counts
    return True


async def events_of(client: Any, job_id: bytes) -> list[bytes]:
    return [entry[b"event"] for _, entry in await client.xrange("bull:q:events") if entry.get(b"jobId") == job_id]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_job_that_delays_itself_runs_later_and_no_attempt_is_counted(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, plain: bool
) -> None:
    ran: list[tuple[int, int]] = []

    async def run(job: Job) -> str:
        ran.append((job.attempts_made, job.attempts_started))
        if len(ran) == 1:
            await job.move_to_delayed(0.05)
            raise DelayedError
        return "done"

    def run_plain(job: Job) -> str:
        ran.append((job.attempts_made, job.attempts_started))
        if len(ran) == 1:
            job.move_to_delayed(timedelta(milliseconds=50))
            raise DelayedError
        return "done"

    metrics = Metrics()
    await queue.add("x")
    async with running(Worker("q", run_plain if plain else run, redis=redis7_url), metrics=metrics):
        await eventually(lambda: completed(queue, 1))
    assert ran == [(0, 1), (0, 2)]
    stored = await redis7_client.hgetall("bull:q:1")
    assert (stored[b"atm"], stored[b"ats"], b"failedReason" in stored) == (b"1", b"2", False)
    assert await events_of(redis7_client, b"1") == [
        b"added",
        b"waiting",
        b"active",
        b"delayed",
        b"waiting",
        b"active",
        b"completed",
    ]
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="moved") == 1
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="completed") == 1


async def test_a_job_that_goes_back_to_the_front_runs_before_the_others(queue: Queue, redis7_url: str) -> None:
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.id)
        if len(ran) == 1:
            await job.move_to_wait()
            raise WaitingError

    await queue.add("a")
    await queue.add("b")
    async with running(Worker("q", run, redis=redis7_url)):
        await eventually(lambda: completed(queue, 2))
    assert ran == ["1", "1", "2"]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_step_job_waits_for_children_that_it_adds(redis7_url: str, plain: bool) -> None:
    seen: list[bool] = []
    async with Queue("q", redis=redis7_url) as queue, Queue("c", redis=redis7_url) as children:

        async def add_children(job: Job) -> None:
            await children.add("child", 1, parent=Parent(job.id, "bull:q"))
            await children.add("child", 2, parent=Parent(job.id, "bull:q"))

        async def run(job: Job) -> str:
            if job.queue_name == "c":
                return f"child {job.data}"
            if job.data["step"] == 1:
                await add_children(job)
                await job.update_data({"step": 2})
            if await job.move_to_waiting_children():
                seen.append(True)
                raise WaitingChildrenError
            seen.append(False)
            return "all"

        def run_plain(job: Job) -> Any:
            if job.queue_name == "c":
                return f"child {job.data}"
            if job.data["step"] == 1:
                return run(job)
            seen.append(job.move_to_waiting_children().result())
            return "all"

        job = await queue.add("parent", {"step": 1})
        async with running(Worker(["q", "c"], run_plain if plain else run, redis=redis7_url, concurrency=2)):
            await eventually(lambda: completed(queue, 1))
        assert seen == [True, False]
        found = await queue.get_job(job.id)
        assert found is not None
        assert (found.returnvalue, found.attempts_made, found.attempts_started) == ("all", 1, 2)


async def test_a_processor_that_moved_its_job_and_returns_has_moved_it(queue: Queue, redis7_url: str) -> None:
    ran: list[int] = []

    async def run(job: Job) -> str:
        ran.append(job.attempts_started)
        if len(ran) == 1:
            await job.move_to_delayed(datetime.now(UTC) + timedelta(milliseconds=20))
        return "done"

    worker, metrics = Worker("q", run, redis=redis7_url), Metrics()
    await queue.add("x")
    async with running(worker, metrics=metrics):
        await eventually(lambda: completed(queue, 1))
    assert ran == [1, 2]
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="moved") == 1
    assert sample(metrics, "corral_jobs_total", queue="q", outcome="lost") == 0


async def test_a_moved_job_is_held_no_longer(queue: Queue, redis7_url: str) -> None:
    async def run(job: Job) -> None:
        await job.move_to_delayed(3600)
        raise DelayedError

    worker, metrics = Worker("q", run, redis=redis7_url), Metrics()
    await queue.add("x")
    async with running(worker, metrics=metrics):
        await eventually(lambda: sample(metrics, "corral_jobs_total", queue="q", outcome="moved") == 1)
        assert worker.shift is not None
        # Nobody looks whether its lock is there still.
        assert [work.locks.held for work in worker.shift.works] == [{}]


async def test_a_processor_that_runs_on_after_its_move_has_no_lock_to_lose_and_nothing_to_hand_back(
    queue: Queue, redis7_url: str
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def run(job: Job) -> None:
        job.move_to_delayed(3600)
        began.set()
        go_on.wait(20)

    worker, metrics = Worker("q", run, redis=redis7_url, lock_duration=0.4), Metrics()
    heard: list[Any] = []
    worker.on("error", heard.append)
    worker.on("lock_renewal_failed", heard.append)
    await queue.add("x")
    async with running(worker, metrics=metrics, grace=2.5):
        await eventually(began.is_set)
        assert worker.shift is not None
        (work,) = worker.shift.works
        # The renewal found that it is gone.
        await eventually(lambda: not work.locks.held)
        remains: list[Any] = []

        async def write_remains(caller: Any, running: Any) -> int:
            remains.extend(running)
            return 0

        work.settler.write_remains = write_remains  # type: ignore[method-assign]
    go_on.set()
    assert (heard, remains) == ([], [])
    assert sample(metrics, "corral_locks_lost_total", queue="q") == 0
    assert (await queue.get_job_counts()).delayed == 1


async def test_what_a_processor_raises_after_its_move_is_logged_and_nothing_more(
    queue: Queue, redis7_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []

    async def run(job: Job) -> None:
        ran.append(job.attempts_started)
        if len(ran) == 1:
            await job.move_to_wait()
            raise ValueError("too late")

    worker = Worker("q", run, redis=redis7_url)
    errors: list[object] = []
    worker.on("error", errors.append)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: completed(queue, 1))
    assert (ran, errors) == ([1, 2], [])
    assert "job 1 of queue q was moved by its own processor, which then raised: too late" in caplog.text


@pytest.mark.parametrize("error", [DelayedError, WaitingError, WaitingChildrenError])
async def test_raised_without_a_move_the_job_fails_and_says_what_to_call(
    queue: Queue, redis7_url: str, error: type[Exception]
) -> None:
    async def run(job: Job) -> None:
        raise error

    await queue.add("x")
    async with running(Worker("q", run, redis=redis7_url)):
        await eventually(lambda: _failed(queue))
    job = await queue.get_job("1")
    assert job is not None
    assert job.failed_reason is not None
    assert job.failed_reason.startswith(
        f"{error.__name__}: raised, but the job was not moved; call job.move_to_delayed"
    )


async def _failed(queue: Queue) -> bool:
    return (await queue.get_job_counts()).failed == 1


async def test_a_job_whose_lock_is_lost_cannot_be_moved(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    found: list[str] = []

    async def run(job: Job) -> None:
        await redis7_client.set("bull:q:1:lock", "another:1")
        for call in (job.move_to_delayed(1), job.move_to_wait()):
            with pytest.raises(LockLost) as caught:
                await call
            found.append(str(caught.value))
        assert not job.moved

    await queue.add("x")
    async with running(Worker("q", run, redis=redis7_url)):
        await eventually(lambda: len(found) == 2)
    assert found == [
        "job 1 of queue 'q' was not delayed: another worker holds its lock",
        "job 1 of queue 'q' was not put back: another worker holds its lock",
    ]


async def test_the_slot_of_a_moved_job_is_free_for_the_next(queue: Queue, redis7_url: str) -> None:
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.name)
        if job.name == "late":
            await job.move_to_delayed(3600)
            raise DelayedError

    for name in ("late", "late", "late", "now"):
        await queue.add(name)
    worker = Worker("q", run, redis=redis7_url, concurrency=2)
    async with running(worker):
        await eventually(lambda: completed(queue, 1))
        assert worker.shift is not None
        await eventually(lambda: worker.shift is not None and worker.shift.slots.busy == 0)
    assert ran == ["late", "late", "late", "now"]
    assert (await queue.get_job_counts()).delayed == 3


async def test_under_a_global_concurrency_the_child_of_a_waiting_parent_starts_at_once(
    queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No worker looks by itself: only what wakes it can start the child.
    monkeypatch.setattr("corral.fetcher.POLL_S", 60.0)
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.name)
        if ran == ["parent"]:
            await queue.add("child", parent=job)
            await job.move_to_waiting_children()
            raise WaitingChildrenError

    await queue.set_global_concurrency(1)
    async with running(Worker("q", run, redis=redis7_url, concurrency=4)):
        await queue.add("parent")
        await eventually(lambda: ran == ["parent", "child", "parent"])
