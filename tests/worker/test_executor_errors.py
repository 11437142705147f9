"""Whatever a processor raises becomes an outcome: the worker and its other jobs never feel it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, JobOptions, UnrecoverableError
from corral.executor import Executor
from corral.lifecycle import Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable


async def outcome(processor: Any) -> Outcome:
    executor = Executor(processor, 2)
    try:
        # A run that never ends is what some of these tests are about.
        async with asyncio.timeout(5):
            return await executor.run(Job("7", "send", 5, JobOptions(), "mail", 1))
    finally:
        executor.close()


def _raiser(error: BaseException, plain: bool) -> Callable[[Job], Any]:
    def plainly(job: Job) -> None:
        raise error

    async def asynchronously(job: Job) -> None:
        raise error

    return plainly if plain else asynchronously


both = pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])


@both
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such user"), "no such user"),
        (KeyError("a"), "'a'"),
        (ValueError(), "ValueError"),
        (ValueError("\ud800"), "\\ud800"),
        (TimeoutError("late"), "late"),
        (ExceptionGroup("many", [ValueError("a")]), "many (1 sub-exception)"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_a_processor_raises_is_the_reason(error: Exception, reason: str, plain: bool) -> None:
    found = await outcome(_raiser(error, plain))
    assert isinstance(found, Failed)
    assert found.reason == reason
    assert not found.unrecoverable
    assert type(error).__name__ in found.stack
    assert "test_executor_errors.py" in found.stack
    assert found.stack.encode()


@both
async def test_an_unrecoverable_error_says_so(plain: bool) -> None:
    class Gone(UnrecoverableError):
        pass

    found = await outcome(_raiser(Gone("no more"), plain))
    assert isinstance(found, Failed)
    assert (found.reason, found.unrecoverable) == ("no more", True)


@both
async def test_sys_exit_fails_the_job_only(plain: bool) -> None:
    found = await outcome(_raiser(SystemExit(3), plain))
    assert isinstance(found, Failed)
    assert found.reason == "the processor called sys.exit(3)"


@both
async def test_an_iterator_that_ran_out_fails_the_job(plain: bool) -> None:
    # asyncio does not carry StopIteration from a thread into a future.
    found = await outcome(_raiser(StopIteration(), plain))
    assert isinstance(found, Failed)
    assert "StopIteration" in found.reason


@both
async def test_an_error_that_cannot_be_printed_fails_the_job(plain: bool) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nothing to say")

    found = await outcome(_raiser(Mute(), plain))
    assert isinstance(found, Failed)
    assert "Mute" in found.reason


@both
async def test_an_error_outside_of_exception_fails_the_job(plain: bool) -> None:
    class Abort(BaseException):
        pass

    found = await outcome(_raiser(Abort("stop"), plain))
    assert isinstance(found, Failed)
    assert found.reason == "stop"


@both
async def test_a_cancellation_from_within_is_a_failure(plain: bool) -> None:
    found = await outcome(_raiser(asyncio.CancelledError(), plain))
    assert isinstance(found, Failed)
    assert found.reason == "the processor was cancelled from within"


async def test_a_cancelled_task_that_the_processor_awaits_is_a_failure() -> None:
    async def awaits(job: Job) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    assert isinstance(await outcome(awaits), Failed)
