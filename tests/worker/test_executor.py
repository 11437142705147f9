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


async def _async(job: Job) -> Any:
    await asyncio.sleep(0)
    return job.data


def _plain(job: Job) -> Any:
    return job.data


async def _async_with(more: int, job: Job) -> Any:
    return job.data + more


def _plain_with(more: int, job: Job) -> Any:
    return job.data + more


def _returns_awaitable(job: Job) -> Awaitable[Any]:
    return _async(job)


class AsyncObject:
    async def __call__(self, job: Job) -> Any:
        return job.data

    async def method(self, job: Job) -> Any:
        return job.data


class PlainObject:
    def __call__(self, job: Job) -> Any:
        return job.data

    def method(self, job: Job) -> Any:
        return job.data


@pytest.mark.parametrize(
    ("processor", "in_threads", "value"),
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
async def test_every_kind_of_processor_runs(processor: Any, in_threads: bool, value: str) -> None:
    assert Executor(processor, 1).in_threads == in_threads
    assert await outcome(processor) == Completed(value)


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
