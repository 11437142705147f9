"""Workers that leave their concurrency to the environment share its one budget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from corral import Job, JobSpec, Queue, Worker
from corral.slots import Slots
from corral_process import CorralProcess
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def queues(redis7_url: str) -> AsyncIterator[tuple[Queue, Queue, Queue]]:
    async with (
        Queue("a", redis=redis7_url) as a,
        Queue("b", redis=redis7_url) as b,
        Queue("own", redis=redis7_url) as own,
    ):
        for queue in (a, b, own):
            await queue.add_bulk([JobSpec("x", each) for each in range(10)])
        yield a, b, own


async def active(*queues: Queue) -> list[int]:
    return [(await queue.get_job_counts()).active for queue in queues]


class Gate:
    def __init__(self) -> None:
        self.inside = self.peak = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        await self.open.wait()
        self.inside -= 1


async def test_two_workers_with_the_same_slots_run_no_more_than_these_together(
    queues: tuple[Queue, Queue, Queue], redis7_url: str
) -> None:
    gate, slots = Gate(), Slots(4)
    workers = [Worker(name, gate, redis=redis7_url) for name in ("a", "b")]
    runs = [asyncio.create_task(worker.run(slots=slots)) for worker in workers]
    await eventually(lambda: gate.inside == 4)
    assert await active(*queues[:2]) == [2, 2]
    gate.open.set()

    async def all_done() -> bool:
        return [(await queue.get_job_counts()).completed for queue in queues[:2]] == [10, 10]

    await eventually(all_done)
    assert gate.peak == 4
    await asyncio.gather(*(worker.close() for worker in workers))
    await asyncio.gather(*runs)
    assert slots.busy == 0


SOURCE = """
import asyncio
from corral import Worker

async def hold(job):
    await asyncio.sleep(60)

a, b, own = Worker("a", hold), Worker("b", hold), Worker("own", hold, concurrency=3)
"""


async def test_corral_work_gives_its_workers_one_budget_and_leaves_those_that_name_theirs(
    tmp_path: Path, queues: tuple[Queue, Queue, Queue], redis7_url: str
) -> None:
    env = {"CORRAL_CONCURRENCY": "2", "CORRAL_POOL": "letters"}
    with CorralProcess(tmp_path, SOURCE, redis7_url, env, args=("app:a", "app:b", "app:own")) as process:
        await process.serving()

        async def full() -> bool:
            found = await active(*queues)
            assert found == [1, 1, 3], found
            return True

        await eventually(full, 20)
        assert process.said("^pool letters: serving a, b, own with probes and metrics")
        _, metrics = await process.get("/metrics")
        assert "corral" in metrics
        assert await active(*queues) == [1, 1, 3]


BLOCKS = """
import time
from corral import Worker

async def block(job):
    time.sleep(job.data)

worker = Worker("block", block)
"""


async def test_the_environment_says_when_a_blocked_event_loop_counts_as_dead(tmp_path: Path, redis7_url: str) -> None:
    with CorralProcess(tmp_path, BLOCKS, redis7_url, {"CORRAL_LIVEZ_STALL": "0.5"}) as process:
        await process.serving()
        assert (await process.get("/livez"))[0] == 200
        async with Queue("block", redis=redis7_url) as queue:
            await queue.add("x", 4)

        async def status(wanted: int) -> bool:
            return (await process.get("/livez"))[0] == wanted

        await eventually(lambda: status(503), 15)
        await eventually(lambda: status(200), 15)
