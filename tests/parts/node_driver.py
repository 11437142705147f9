"""Drives one Node process of tests/interop/driver.mjs from a test, and the same worker in Python for comparison."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from node import NodeError, NodeProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

# Grants the wishes of a job's data as `run` of driver.mjs does. `WORKER` stands for the arguments of Worker.
CORRAL_WORKER = """
import asyncio
from corral import UnrecoverableError, Worker

async def run(job):
    wishes = job.data if isinstance(job.data, dict) else {}
    if sleep := wishes.get("sleep"):
        await asyncio.sleep(sleep / 1000)
    if "progress" in wishes:
        await job.update_progress(wishes["progress"])
    if row := wishes.get("log"):
        await job.log(row)
    if text := wishes.get("unrecoverable"):
        raise UnrecoverableError(text)
    if text := wishes.get("fail"):
        raise RuntimeError(text)
    if job.attempts_made < wishes.get("failFirst", 0):
        raise RuntimeError(f"attempt {job.attempts_made + 1}")
    return {"echo": job.data, "by": "corral"}

worker = Worker(WORKER)
"""


def corral_worker(arguments: str = "run") -> str:
    """Source of a module whose `worker` does what Node's worker of driver.mjs does."""
    return CORRAL_WORKER.replace("WORKER", arguments)


class NodeDriver:
    """A BullMQ of one version, told what to do by `await node.call("add", queue="q", jobs=[...])`."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.process = NodeProcess("driver.mjs", env)
        self._calls = itertools.count(1)

    async def call(self, do: str, within: float = 30.0, **arguments: Any) -> Any:
        """Do something (see driver.mjs) and give its value. `NodeError` with Node's message when it fails."""
        number = next(self._calls)
        await self.process.send({**arguments, "do": do, "call": number})
        answer = await self.process.expect("answer", within, where=lambda event: event["call"] == number)
        if "failure" in answer:
            raise NodeError(f"{do} {arguments}: {answer['failure']}")
        return answer["value"]

    async def queue(self, queue: str, method: str, *args: Any) -> Any:
        """Call a method of a Node Queue."""
        return await self.call("queue", queue=queue, method=method, args=args)

    async def add(self, queue: str, *jobs: Mapping[str, Any]) -> list[str]:
        """Add jobs {name, data, opts} one after another; gives their ids."""
        ids: list[str] = await self.call("add", queue=queue, jobs=jobs)
        return ids

    async def read(self, queue: str, job_id: str) -> dict[str, Any] | None:
        """A job as Node reads it, with its state."""
        found: dict[str, Any] | None = await self.call("read", queue=queue, id=job_id)
        return found

    async def work(self, queues: Sequence[str], **options: Any) -> None:
        """Start a Node worker on each queue."""
        await self.call("work", queues=queues, options=options)

    def heard(self, queue: str) -> list[tuple[str, dict[str, Any]]]:
        """The events that QueueEvents told of a queue so far: name and fields."""
        return [(event["name"], event["fields"]) for event in self.process.seen("heard") if event["queue"] == queue]

    async def __aenter__(self) -> Self:
        await self.process.start()
        await self.process.expect("ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.stop()
