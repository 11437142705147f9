"""How many jobs run at once, changed while they run."""

from __future__ import annotations

import asyncio
import threading

import pytest

from corral import ConfigurationError, Job, JobSpec, Queue, Worker
from running import running
from waiting import eventually


def many(number: int) -> list[JobSpec]:
    return [JobSpec("x", each) for each in range(number)]


async def completed(queue: Queue, number: int) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == number, counts
    return True


async def test_more_jobs_run_at_once_when_it_is_raised(queue: Queue, redis7_url: str) -> None:
    inside: set[str] = set()
    go_on = asyncio.Event()

    async def hold(job: Job) -> None:
        inside.add(job.id)
        await go_on.wait()

    worker = Worker("q", hold, redis=redis7_url, concurrency=2)
    await queue.add_bulk(many(10))
    async with running(worker):
        await eventually(lambda: len(inside) == 2)
        worker.concurrency = 7
        await eventually(lambda: len(inside) == 7)
        assert worker.concurrency == 7
        assert (await queue.get_job_counts()).active == 7
        go_on.set()
        await eventually(lambda: completed(queue, 10))


async def test_when_it_is_lowered_those_that_run_too_many_end_by_themselves(queue: Queue, redis7_url: str) -> None:
    gates: dict[str, asyncio.Event] = {}
    peak_after = 0

    async def hold(job: Job) -> None:
        gates[job.id] = asyncio.Event()
        await gates[job.id].wait()
        del gates[job.id]

    worker = Worker("q", hold, redis=redis7_url, concurrency=6)
    await queue.add_bulk(many(12))
    async with running(worker):
        await eventually(lambda: len(gates) == 6)
        worker.concurrency = 2
        while (await queue.get_job_counts()).unfinished:
            peak_after = max(peak_after, len(gates) if len(gates) < 6 else 0)
            first = next(iter(gates.values()), None)
            if first is not None:
                first.set()
            done = 12 - (await queue.get_job_counts()).unfinished
            if done >= 4:
                # From the fifth on, those above the new number are gone.
                assert len(gates) <= 2, gates
            await asyncio.sleep(0.005)
    assert worker.shift is not None
    assert worker.shift.slots.busy == 0


async def test_plain_processors_get_threads_for_it(queue: Queue, redis7_url: str) -> None:
    together = threading.Barrier(5)

    def meet(job: Job) -> None:
        together.wait(10)

    worker = Worker("q", meet, redis=redis7_url, concurrency=1)
    await queue.add_bulk(many(10))
    async with running(worker):
        worker.concurrency = 5
        await eventually(lambda: completed(queue, 10))


async def test_a_plain_processor_may_set_it_from_its_thread(queue: Queue, redis7_url: str) -> None:
    resized_in: list[int] = []

    def grow(job: Job) -> None:
        worker.concurrency = 3

    worker = Worker("q", grow, redis=redis7_url, concurrency=1)
    async with running(worker):
        assert worker.shift is not None
        worker.shift.slots.watch(lambda total: resized_in.append(threading.get_ident()))
        await queue.add("x")
        await eventually(lambda: resized_in)
        assert worker.shift.slots.total == 3
        await eventually(lambda: completed(queue, 1))
    assert resized_in == [threading.get_ident()]


async def test_a_number_set_before_the_run_counts_too(queue: Queue, redis7_url: str) -> None:
    together = asyncio.Barrier(3)

    async def meet(job: Job) -> None:
        async with asyncio.timeout(10):
            await together.wait()

    worker = Worker("q", meet, redis=redis7_url)
    worker.concurrency = 3
    await queue.add_bulk(many(3))
    async with running(worker):
        await eventually(lambda: completed(queue, 3))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", True, None])
def test_a_wrong_number_is_refused(wrong: object) -> None:
    worker = Worker("q", print, concurrency=2)
    with pytest.raises(ConfigurationError, match="concurrency is a whole number from 1 up"):
        worker.concurrency = wrong  # type: ignore[assignment]
    assert worker.concurrency == 2
