"""Scaling down in `corral up`, with real workers: the idle ones are ended, and no job is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue
from up_process import UpProcess, local_pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from corral import Job

# A job notes who began it, and ends when its gate, a file, is there.
APP = """
import asyncio, os
from pathlib import Path
from corral import Job, Worker

async def run(job: Job) -> str:
    gate = Path(job.data["gate"])
    with gate.with_suffix(".starts").open("a") as file:
        file.write(os.environ["POD_NAME"] + "\\n")
    while not gate.exists():
        await asyncio.sleep(0.02)
    return os.environ["POD_NAME"]

worker = Worker(run)
"""

PODS, ROUNDS = 4, 2


def _figures(process: UpProcess) -> str:
    """The latest line that counts."""
    return process.line(", replicas ") or ""


async def _over(queue: Queue, job_id: str) -> Job:
    """A job, when it has ended."""

    async def ended() -> Job | None:
        job = await queue.get_job(job_id)
        return job if job is not None and job.finished_on is not None else None

    job = await eventually(ended, 20)
    assert job is not None
    return job


@pytest.mark.timeout(180)
async def test_scaling_down_under_load_in_corral_up_interrupts_no_job(tmp_path: Path, redis7_url: str) -> None:
    # A worker that is told to end hands back what runs after a second: the job would begin a second time.
    spec = {"maxReplicas": PODS, "gracePeriod": "3s", "behavior": {"down": {"window": "0s"}}}
    with UpProcess(tmp_path / "up", [local_pool(**spec)], redis7_url, source=APP) as process:
        async with Queue("emails", redis=redis7_url) as queue:
            for turn in range(ROUNDS):
                gates = [tmp_path / f"{turn}-{number}" for number in range(PODS)]
                jobs = await queue.add_bulk([JobSpec("mail", {"gate": str(gate)}) for gate in gates])
                starts = [gate.with_suffix(".starts") for gate in gates]
                await eventually(lambda starts=starts: all(row.exists() for row in starts), 40)
                holders = [row.read_text() for row in starts]
                # Half of them are done, each time others, and so not always the oldest or the youngest.
                done = {turn, (turn + 2) % PODS}
                for number in done:
                    gates[number].touch()
                await eventually(lambda: _figures(process).endswith("replicas 2 of 2"), 40)
                assert [row.read_text() for row in starts] == holders
                for gate in gates:
                    gate.touch()

                found = [await _over(queue, job.id) for job in jobs]
                kept = [(job.returnvalue, job.attempts_made, job.stalled_counter) for job in found]
                assert kept == [(holder.strip(), 1, 0) for holder in holders]
                await eventually(lambda: _figures(process).endswith("replicas 0 of 0"), 40)
        process.ctrl_c()
        assert await process.wait() == 0, process.output
