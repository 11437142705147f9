"""The answer of a call on a job is never mistaken for its value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from corral import Job, Queue, State, Worker, sync
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from corral import Reply


@pytest.mark.parametrize(
    "mistake",
    [bool, lambda reply: reply == State.WAITING, lambda reply: reply != State.WAITING, lambda reply: reply.values()],
    ids=["truth", "equality", "inequality", "attribute"],
)
async def test_to_use_it_as_its_value_is_an_error_that_says_how(
    redis7_url: str, mistake: Callable[[Reply[State]], object]
) -> None:
    with sync.Queue("q", redis=redis7_url) as queue:
        with pytest.raises((TypeError, AttributeError), match=r"await it in async code, or take \.result\(\)"):
            mistake(queue.add("n").get_state())
        assert queue.add("n").get_state().result() is State.WAITING
        assert repr(queue.add("n").get_state()) == "Done(<State.WAITING: 'waiting'>)"
    async with Queue("q", redis=redis7_url) as looped:
        job = await looped.add("n")
        reply = job.get_state()
        with pytest.raises((TypeError, AttributeError), match="await it in async code"):
            mistake(reply)
        assert await reply is State.WAITING


async def test_result_in_async_code_says_to_await(redis7_url: str) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        job = await queue.add("n")
        with pytest.raises(RuntimeError, match="await the call"):
            job.get_state().result()


async def test_it_may_become_a_task_like_any_coroutine(redis7_url: str) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        jobs = [await queue.add("n") for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job.get_state()) for job in jobs]
        assert [task.result() for task in tasks] == [State.WAITING] * 3
        gone = await queue.add("n")
        await gone.remove()
        task = asyncio.create_task(gone.retry())
        with pytest.raises(Exception, match="does not exist"):
            await task


async def test_a_plain_processor_takes_its_result(redis7_url: str) -> None:
    seen: list[State] = []

    def run(job: Job) -> None:
        seen.append(job.get_state().result())

    async with Queue("q", redis=redis7_url) as queue, running(Worker("q", run, redis=redis7_url)):
        await queue.add("n")
        await eventually(lambda: seen == [State.ACTIVE])
