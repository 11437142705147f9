"""Data, values, progress, log rows and reasons of 1 MiB each pass unharmed, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from corral import Job, Queue, State, UnrecoverableError, Worker
from node_driver import NodeDriver
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop

MIB = 1024 * 1024

PATTERN = 'a"\\/\u2028é日👩‍🚀\n'
"""Of every kind of character that could be harmed: quoted, escaped, of one to four bytes."""

TEXT = (PATTERN * (MIB // len(PATTERN.encode()) + 1)).encode()[:MIB].decode(errors="ignore")


async def run(job: Job) -> Any:
    """Everything that a job can hold, as large as its data."""
    await job.update_progress({"text": job.data["text"]})
    await job.log(job.data["text"])
    if job.name == "fails":
        raise UnrecoverableError(job.data["text"])
    return {"echo": job.data}


async def ended(queue: Queue, job_id: str) -> Job:
    async def over() -> Job | None:
        job = await queue.get_job(job_id)
        return job if job is not None and job.finished_on is not None else None

    job = await eventually(over, 20)
    assert job is not None
    return job


async def test_what_node_sends_is_worked_here_and_read_there(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        fine, fails = await node.add("q", *({"name": name, "data": {"text": TEXT}} for name in ("fine", "fails")))
        async with running(Worker("q", run, redis=redis7_url)):
            await ended(queue, fine)
            await ended(queue, fails)
        for job_id, state in ((fine, "completed"), (fails, "failed")):
            read = await node.read("q", job_id)
            assert read is not None
            assert (read["state"], read["data"], read["progress"]) == (state, {"text": TEXT}, {"text": TEXT})
            logs = await node.queue("q", "getJobLogs", job_id)
            assert logs["logs"] == [TEXT]
            if state == "completed":
                assert read["returnvalue"] == {"echo": {"text": TEXT}}
            else:
                assert read["failedReason"] == TEXT
                assert TEXT[:1000] in "".join(read["stacktrace"])
        assert await audit(redis7_client) == []


async def test_what_we_send_is_worked_by_node_and_read_here(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        data = {"text": TEXT, "progress": {"text": TEXT}, "log": TEXT}
        fine = await queue.add("fine", data)
        fails = await queue.add("fails", data | {"unrecoverable": TEXT})
        await node.work(["q"])
        job = await ended(queue, fine.id)
        assert (job.data, job.progress, job.returnvalue["echo"]) == (data, {"text": TEXT}, data)
        assert await job.get_logs() == [TEXT]
        job = await ended(queue, fails.id)
        assert await job.get_state() is State.FAILED
        assert job.failed_reason == TEXT
        assert job.stacktrace
        assert TEXT[:1000] in job.stacktrace[0]
        await node.call("rest")
        assert await audit(redis7_client) == []
