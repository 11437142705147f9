"""Jobs that are told to end: cancelled, too slow, or not this worker's any more."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from corral import Backoff, Job, JobSpec, JobTimeout, LockLost, Queue, RateLimitError, UnrecoverableError, Worker
from corral.controls import Controls
from corral.errors import JobCancelled
from corral.job_signal import Signal
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def ended(queue: Queue, number: int = 1) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed + counts.failed == number, counts
    return True


async def reason_of(queue: Queue, job_id: str = "1") -> str | None:
    job = await queue.get_job(job_id)
    assert job is not None
    return job.failed_reason


async def test_a_cancelled_job_fails_with_the_reason_and_the_others_go_on(queue: Queue, redis7_url: str) -> None:
    inside: dict[str, str] = {}
    go_on = asyncio.Event()

    async def hold(job: Job) -> str:
        inside[job.id] = "running"
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            inside[job.id] = "cancelled"
            raise
        return "done"

    worker = Worker("q", hold, redis=redis7_url, concurrency=4)
    await queue.add_bulk([JobSpec("x"), JobSpec("y")])
    async with running(worker):
        await eventually(lambda: len(inside) == 2)
        assert worker.cancel_job("1", "not wanted any more")
        assert not worker.cancel_job("7")
        await eventually(lambda: ended(queue, 1))
        go_on.set()
        await eventually(lambda: ended(queue, 2))
        assert not worker.cancel_job("1")
    assert inside == {"1": "cancelled", "2": "running"}
    assert await reason_of(queue) == "not wanted any more"


async def test_a_cancelled_job_is_retried_while_attempts_are_left(queue: Queue, redis7_url: str) -> None:
    attempts: list[int] = []

    async def hold(job: Job) -> str:
        attempts.append(job.attempt)
        if job.attempt == 1:
            await asyncio.Event().wait()
        return "done"

    worker = Worker("q", hold, redis=redis7_url)
    await queue.add("x", attempts=2)
    async with running(worker):
        await eventually(lambda: attempts)
        worker.cancel_all_jobs()
        await eventually(lambda: ended(queue))
    assert attempts == [1, 2]
    assert (await queue.get_job_counts()).completed == 1


async def test_a_job_cancelled_as_it_is_taken_ends_too(queue: Queue, redis7_url: str) -> None:
    async def hold(job: Job) -> None:
        await asyncio.Event().wait()

    worker = Worker("q", hold, redis=redis7_url)
    # Told within the take, before its task has made a step.
    worker.on("active", lambda job: asyncio.get_running_loop().call_soon(worker.cancel_job, job.id, "at once"))
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert await reason_of(queue) == "at once"


async def test_a_processor_may_end_a_cancelled_job_in_its_own_way(queue: Queue, redis7_url: str) -> None:
    began: list[str] = []

    async def clean_up(job: Job) -> str:
        began.append(job.id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if job.name == "fatal":
                raise UnrecoverableError("cleaned up") from None
            return "saved"
        return "never"

    worker = Worker("q", clean_up, redis=redis7_url, concurrency=2)
    await queue.add("saves", attempts=3)
    await queue.add("fatal", attempts=3)
    async with running(worker):
        await eventually(lambda: len(began) == 2)
        worker.cancel_all_jobs()
        await eventually(lambda: ended(queue, 2))
    saved, fatal = await queue.get_job("1"), await queue.get_job("2")
    assert saved is not None
    assert fatal is not None
    assert (saved.returnvalue, fatal.failed_reason, fatal.attempts_made) == ("saved", "cleaned up", 1)


async def test_a_plain_processor_is_told_through_its_signal(queue: Queue, redis7_url: str) -> None:
    began = threading.Event()
    seen: list[Any] = []

    def wait(job: Job) -> str:
        seen.append((job.signal.aborted, job.signal.reason, job.signal.wait_in_thread(0)))
        job.signal.raise_if_aborted()
        began.set()
        seen.append((job.signal.wait_in_thread(10), job.signal.aborted, job.signal.reason))
        job.signal.raise_if_aborted()
        return "never"

    worker = Worker("q", wait, redis=redis7_url)
    await queue.add("x")
    async with running(worker):
        await eventually(began.is_set)
        assert worker.cancel_job("1", "stop")
        await eventually(lambda: ended(queue))
    assert seen == [(False, None, False), (True, True, "stop")]
    job = await queue.get_job("1")
    assert job is not None
    assert job.failed_reason == "stop"
    assert "JobCancelled: stop" in job.stacktrace[0]


async def test_a_signal_can_be_awaited(queue: Queue, redis7_url: str) -> None:
    seen: list[str] = []
    began = asyncio.Event()

    async def watch(job: Job) -> None:
        async def tell() -> None:
            seen.append(await job.signal.wait())

        # One that stops waiting does not end it for the other.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await job.signal.wait()
        telling = asyncio.create_task(tell())
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await telling

    worker = Worker("q", watch, redis=redis7_url)
    await queue.add("x")
    async with running(worker):
        await began.wait()
        worker.cancel_job("1", "enough")
        await eventually(lambda: ended(queue))
    assert seen == ["enough"]


async def test_a_slow_job_fails_and_is_retried(queue: Queue, redis7_url: str) -> None:
    attempts: list[int] = []

    async def slow(job: Job) -> str:
        attempts.append(job.attempt)
        if job.attempt == 1:
            await asyncio.Event().wait()
        return "in time"

    worker = Worker("q", slow, redis=redis7_url, job_timeout=0.1)
    reasons: list[str] = []
    worker.on("failed", lambda job, reason: reasons.append(reason))
    await queue.add("x", attempts=2)
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert attempts == [1, 2]
    assert reasons == ["the job ran longer than 0.1 s, the job_timeout of its worker"]
    assert (await queue.get_job_counts()).completed == 1


@pytest.mark.parametrize("obeys", [True, False])
async def test_a_slow_plain_processor_is_told_and_its_job_fails_when_it_returns(
    queue: Queue, redis7_url: str, obeys: bool
) -> None:
    errors: list[BaseException] = []

    def slow(job: Job) -> str:
        assert job.signal.wait_in_thread(10)
        if obeys:
            try:
                job.signal.raise_if_aborted()
            except JobTimeout as error:
                errors.append(error)
                raise
        return "too late"

    await queue.add("x")
    async with running(Worker("q", slow, redis=redis7_url, job_timeout=0.05)):
        await eventually(lambda: ended(queue))
    assert await reason_of(queue) == "the job ran longer than 0.05 s, the job_timeout of its worker"
    assert len(errors) == obeys


async def test_a_job_in_time_leaves_no_timer_behind(
    queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker("q", lambda job: "quick", redis=redis7_url, job_timeout=30)
    await queue.add_bulk([JobSpec("x", number) for number in range(20)])
    loop = asyncio.get_running_loop()
    call_later = loop.call_later
    timers: list[asyncio.TimerHandle] = []

    def noted(delay: float, callback: Any, *args: Any, **kept: Any) -> asyncio.TimerHandle:
        handle = call_later(delay, callback, *args, **kept)
        if getattr(callback, "__name__", "") == "_time_out":
            timers.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_later", noted)
    async with running(worker):
        await eventually(lambda: ended(queue, 20))
    assert (await queue.get_job_counts()).completed == 20
    assert [timer.cancelled() for timer in timers] == [True] * 20


async def test_a_lost_lock_is_told_to_the_processor_which_runs_on(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    seen: list[str] = []
    lost: list[list[str]] = []

    async def watch(job: Job) -> None:
        await client.set("bull:q:1:lock", "another:1")
        seen.append(await job.signal.wait())
        with pytest.raises(LockLost):
            job.signal.raise_if_aborted()

    worker = Worker("q", watch, redis=redis7_url, lock_duration=0.4)
    worker.on("lock_renewal_failed", lost.append)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: seen)
    assert lost == [["1"]]
    assert seen[0].startswith("the lock of job 1 of queue q is lost")


async def test_a_plain_processor_is_told_of_a_shutdown_and_its_job_handed_back(queue: Queue, redis7_url: str) -> None:
    began = threading.Event()
    reasons: list[str | None] = []

    def wait(job: Job) -> None:
        began.set()
        job.signal.wait_in_thread(20)
        reasons.append(job.signal.reason)
        job.signal.raise_if_aborted()

    worker = Worker("q", wait, redis=redis7_url)
    await queue.add("x")
    async with running(worker, grace=2.5):
        await eventually(began.is_set)
    assert reasons == ["the worker ends; the job is handed back"]
    job = await queue.get_job("1")
    assert job is not None
    assert (str(await job.get_state()), job.attempts_made) == ("waiting", 0)


async def test_a_plain_processor_is_never_begun_beside_itself(queue: Queue, redis7_url: str) -> None:
    inside: list[str] = []
    began: list[tuple[int, int]] = []

    def hold(job: Job) -> None:
        began.append((job.attempt, len(inside)))
        inside.append(job.id)
        job.signal.wait_in_thread(0.3)
        threading.Event().wait(0.1)
        inside.remove(job.id)

    worker = Worker("q", hold, redis=redis7_url, concurrency=2)

    async def cancel(job: Job) -> None:
        # An async listener runs just before the job does.
        if job.attempt == 1:
            assert worker.cancel_job(job.id)

    worker.on("active", cancel)
    await queue.add("x", attempts=2)
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert began == [(2, 0)]


async def test_a_listener_of_active_may_cancel_the_job(queue: Queue, redis7_url: str) -> None:
    ran: list[str] = []
    told: list[bool] = []

    async def note(job: Job) -> None:
        ran.append(job.id)

    worker = Worker("q", note, redis=redis7_url)
    worker.on("active", lambda job: told.append(worker.cancel_job(job.id, "not this one")))
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert (told, ran, await reason_of(queue)) == ([True], [], "not this one")


async def test_a_schedule_outlives_an_iteration_that_is_cancelled_as_the_next_one_is_made(
    queue: Queue, redis7_url: str
) -> None:
    ran: list[str] = []

    async def note(job: Job) -> None:
        ran.append(job.id)

    worker = Worker("q", note, redis=redis7_url)
    cancelled: list[str] = []

    @worker.on("active")
    async def cancel(job: Job) -> None:
        if not cancelled:
            cancelled.append(job.id)
            worker.cancel_all_jobs()

    await queue.upsert_job_scheduler("s", every=0.1)
    async with running(worker):
        await eventually(lambda: len(ran) >= 2)
    assert await reason_of(queue, cancelled[0]) == "the job was cancelled"


@pytest.mark.parametrize("how", ["cancelled", "too slow"])
async def test_what_comes_after_the_processor_is_not_cut_short(queue: Queue, redis7_url: str, how: str) -> None:
    attempts: list[int] = []
    reasons: list[str] = []
    told: list[bool] = []

    async def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> float:
        if how == "cancelled":
            told.append(worker.cancel_job(job.id))
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        return 0.01

    async def boom(job: Job) -> None:
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise ValueError("its own reason")

    timeout = 0.15 if how == "too slow" else None
    worker = Worker("q", boom, redis=redis7_url, job_timeout=timeout, backoff_strategy=strategy)
    worker.on("failed", lambda job, reason: reasons.append(reason))
    await queue.add("x", attempts=3, backoff=Backoff("mine"))
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert (attempts, reasons) == ([1, 2], ["its own reason"])
    assert told == [False] * (how == "cancelled")
    assert (await queue.get_job_counts()).completed == 1


async def test_a_job_cancelled_while_its_rate_limit_is_written_goes_back_all_the_same(
    queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    limit = Controls.limit

    async def slow(self: Controls, *args: Any) -> None:
        worker.cancel_all_jobs()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await limit(self, *args)

    async def decide(job: Job) -> None:
        starts.append(job.attempts_started)
        if job.attempts_started == 1:
            raise RateLimitError(0.05)

    monkeypatch.setattr(Controls, "limit", slow)
    worker = Worker("q", decide, redis=redis7_url)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert starts == [1, 2]
    assert (await queue.get_job_counts()).completed == 1


async def test_a_processor_that_cancels_its_own_task_as_it_fails_fails_with_its_own_reason(
    queue: Queue, redis7_url: str
) -> None:
    reasons: list[str] = []

    async def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> int:
        await asyncio.sleep(0)
        return 0

    async def boom(job: Job) -> None:
        if job.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            raise ValueError("its own reason")

    worker = Worker("q", boom, redis=redis7_url, backoff_strategy=strategy)
    worker.on("failed", lambda job, reason: reasons.append(reason))
    await queue.add("x", attempts=2, backoff=Backoff("mine"))
    async with running(worker):
        await eventually(lambda: ended(queue))
    assert reasons == ["its own reason"]
    assert (await queue.get_job_counts()).completed == 1


async def test_a_cancelled_job_whose_strategy_does_not_answer_before_a_shutdown_is_handed_back(
    queue: Queue, redis7_url: str
) -> None:
    began, asked = asyncio.Event(), asyncio.Event()

    async def strategy(attempts_made: int, kind: str, error: BaseException, job: Job) -> int:
        asked.set()
        await asyncio.Event().wait()
        return 0

    async def hold(job: Job) -> None:
        began.set()
        await asyncio.Event().wait()

    worker = Worker("q", hold, redis=redis7_url, backoff_strategy=strategy)
    await queue.add("x", attempts=2, backoff=Backoff("mine"))
    async with running(worker, grace=0.5):
        await began.wait()
        worker.cancel_job("1")
        await asked.wait()
    job = await queue.get_job("1")
    assert job is not None
    assert (str(await job.get_state()), job.attempts_made) == ("waiting", 0)


async def test_a_second_cancellation_does_not_cut_short_the_clean_up(queue: Queue, redis7_url: str) -> None:
    deeds: list[str] = []
    go_on = asyncio.Event()

    async def hold(job: Job) -> None:
        try:
            deeds.append("began")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            deeds.append("cleans up")
            await go_on.wait()
            deeds.append("cleaned up")
            raise

    worker = Worker("q", hold, redis=redis7_url)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: deeds == ["began"])
        worker.cancel_job("1", "first")
        await eventually(lambda: len(deeds) == 2)
        assert worker.cancel_job("1", "second")
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await eventually(lambda: ended(queue))
    assert deeds == ["began", "cleans up", "cleaned up"]
    assert await reason_of(queue) == "first"


async def test_a_signal_that_is_asked_again_and_again_keeps_nothing_of_it() -> None:
    signal = Signal()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await signal.wait()
    assert len(signal._told._done_callbacks) <= 1  # type: ignore[attr-defined]
    assert await asyncio.to_thread(lambda: asyncio.run(_wait_shortly(signal)))
    signal.abort(JobCancelled("enough"))
    assert await signal.wait() == "enough"


async def _wait_shortly(signal: Signal) -> bool:
    """In a loop of its own, as a plain processor may have one."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await signal.wait()
    return True
