"""One job is run, whatever the processor is and whatever it does; the answer is always an outcome."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, JobOptions
from corral.executor import Executor
from corral.lifecycle import Completed, Failed, Interrupted, Outcome
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable


def job(data: Any = 5, **fields: Any) -> Job:
    return Job("7", "send", data, JobOptions(), "mail", 1, **fields)


async def outcome(processor: Any, data: Any = 5) -> Outcome:
    executor = Executor(processor, 2)
    try:
        # A run that never ends is what some of these tests are about.
        async with asyncio.timeout(5):
            return await executor.run(job(data))
    finally:
        executor.close()


ran_in: list[str] = []
"""Names of the threads in which the processors below ran."""


def _noted(job: Job) -> Any:
    ran_in.append(threading.current_thread().name)
    return job.data


async def _async(job: Job) -> Any:
    await asyncio.sleep(0)
    return _noted(job)


def _plain(job: Job) -> Any:
    return _noted(job)


async def _async_with(more: int, job: Job) -> Any:
    return _noted(job) + more


def _plain_with(more: int, job: Job) -> Any:
    return _noted(job) + more


def _returns_awaitable(job: Job) -> Awaitable[Any]:
    _noted(job)
    return _async(job)


class AsyncObject:
    async def __call__(self, job: Job) -> Any:
        return _noted(job)

    async def method(self, job: Job) -> Any:
        return _noted(job)


class PlainObject:
    def __call__(self, job: Job) -> Any:
        return _noted(job)

    def method(self, job: Job) -> Any:
        return _noted(job)


@pytest.mark.parametrize(
    ("processor", "in_thread", "value"),
    [
        (_async, False, "5"),
        (functools.partial(_async_with, 2), False, "7"),
        (AsyncObject(), False, "5"),
        (AsyncObject().method, False, "5"),
        (_plain, True, "5"),
        (functools.partial(_plain_with, 2), True, "7"),
        (PlainObject(), True, "5"),
        (PlainObject().method, True, "5"),
        (_returns_awaitable, True, "5"),
    ],
    ids=[
        "async",
        "partial of async",
        "async object",
        "async method",
        "plain",
        "partial of plain",
        "plain object",
        "plain method",
        "plain that returns an awaitable",
    ],
)
async def test_every_kind_of_processor_runs_where_it_belongs(processor: Any, in_thread: bool, value: str) -> None:
    ran_in.clear()
    assert await outcome(processor) == Completed(value)
    assert ran_in[0].startswith("corral-processor") == in_thread


async def test_only_what_is_in_a_thread_now_counts_as_such() -> None:
    in_thread, let_go, go_on = threading.Event(), threading.Event(), asyncio.Event()

    async def rest() -> str:
        await go_on.wait()
        return "done"

    def first_in_a_thread(job: Job) -> Any:
        in_thread.set()
        let_go.wait(10)
        return rest()

    executor = Executor(first_in_a_thread, 1)
    running = asyncio.create_task(executor.run(job()))
    await eventually(in_thread.is_set)
    assert executor.in_thread == {running}
    let_go.set()
    # The rest is in the event loop, where a shutdown can end it.
    await eventually(lambda: not executor.in_thread)
    assert not running.done()
    go_on.set()
    assert await running == Completed('"done"')
    executor.close()


async def test_an_async_processor_is_never_in_a_thread() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def waits(job: Job) -> None:
        began.set()
        await go_on.wait()

    executor = Executor(waits, 1)
    running = asyncio.create_task(executor.run(job()))
    await began.wait()
    assert executor.in_thread == set()
    go_on.set()
    assert await running == Completed("null")


async def test_a_plain_processor_does_not_block_the_event_loop() -> None:
    release = threading.Event()
    thread: list[str] = []

    def wait(job: Job) -> bool:
        thread.append(threading.current_thread().name)
        return release.wait(10)

    running = asyncio.create_task(outcome(wait))
    await eventually(lambda: thread)
    release.set()
    assert await running == Completed("true")
    assert thread[0].startswith("corral-processor")


@pytest.mark.parametrize(("value", "text"), [(None, "null"), ({"é": [1]}, '{"é":[1]}'), ((1, 2), "[1,2]"), ("", '""')])
async def test_a_return_value_becomes_json(value: Any, text: str) -> None:
    assert await outcome(_async, value) == Completed(text)


@pytest.mark.parametrize("value", [float("nan"), object(), {1}, b"x", "\ud800"], ids=repr)
async def test_a_return_value_that_is_not_json_fails_the_job(value: Any) -> None:
    found = await outcome(_plain, value)
    assert isinstance(found, Failed)
    assert found.reason.startswith("the return value of job 7 is not JSON: ")
    assert not found.unrecoverable
    assert found.reason.encode()


async def test_a_cancellation_by_a_shutdown_is_an_interruption() -> None:
    began = asyncio.Event()

    async def waits(job: Job) -> None:
        began.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(Executor(waits, 1).run(job()))
    await began.wait()
    running.cancel()
    assert await running == Interrupted()


async def test_a_processor_that_finishes_in_spite_of_a_shutdown_has_completed() -> None:
    began = asyncio.Event()

    async def finishes(job: Job) -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"
        return "never"

    running = asyncio.create_task(Executor(finishes, 1).run(job()))
    await began.wait()
    running.cancel()
    assert await running == Completed('"saved"')


async def test_a_processors_own_timeout_is_a_failure_not_an_interruption() -> None:
    async def slow(job: Job) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    found = await outcome(slow)
    assert isinstance(found, Failed)
    assert found.reason == "TimeoutError"


async def test_a_deferred_failure_is_not_run() -> None:
    ran: list[Job] = []
    found = await Executor(ran.append, 1).run(job(deferred_failure="job stalled more than allowable limit"))
    assert found == Failed("job stalled more than allowable limit", unrecoverable=True)
    assert ran == []


async def test_a_job_that_was_started_too_often_is_not_run() -> None:
    ran: list[Job] = []
    executor = Executor(ran.append, 1, max_started=3)
    assert await executor.run(job(attempts_started=4)) == Failed(
        "job started more than allowable limit", unrecoverable=True
    )
    assert ran == []
    assert await executor.run(job(attempts_started=3)) == Completed("null")
    executor.close()


async def test_a_resized_executor_lets_its_threads_end_and_has_as_many_as_it_was_told() -> None:
    release = threading.Event()
    together = threading.Barrier(3)

    def wait(job: Job) -> bool:
        return release.wait(10) if job.data == 1 else together.wait(10) >= 0

    executor = Executor(wait, 1)
    first = asyncio.create_task(executor.run(job(1)))
    await eventually(lambda: executor.in_thread)
    executor.resize(3)
    assert await asyncio.gather(*(executor.run(job(2)) for _ in range(3))) == [Completed("true")] * 3
    release.set()
    assert await first == Completed("true")
    executor.close()


async def test_a_closed_executor_waits_for_no_thread() -> None:
    release, began = threading.Event(), threading.Event()

    def stuck(job: Job) -> bool:
        began.set()
        return release.wait(10)

    executor = Executor(stuck, 1)
    running = asyncio.create_task(executor.run(job()))
    await eventually(began.is_set)
    executor.close()
    assert not running.done()
    release.set()
    assert await running == Completed("true")
