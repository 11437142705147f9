"""Processes that end themselves by SIGKILL at one of their calls to Redis: a whole `corral work`, or a producer.

`python mortal.py` has imported everything; for each order, a line of JSON on its standard input, it forks a process that
lives the life of that order, waits for its end and answers with a line: {"code": exit code, -9 = SIGKILL}.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import corral as package
from corral import Backoff, DelayedError, Job, JobOptions, JobSpec, Queue, Worker
from corral.cli import main as corral
from corral.connection import Line
from corral.flow import FlowProducer
from corral.flow_tree import FlowJob
from corral.script import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

Life = Literal["work", "add"]
Moment = Literal["before", "after"]

worker: Worker
"""What `corral work` loads, in the process that is to die."""

UNTOLD = ("SCRIPT", "PING", "INFO", "TIME")
"""Calls that leave nothing behind: they do not count."""

JOBS = ("again", "fine", "last", "late", "next", "part 1", "part 2", "reports", "slow", "steps")
"""The jobs of a life, in the queues q and r: their ids, and the names that say what they do. In the queue s, one ticks."""


@dataclass(frozen=True)
class Order:
    """One life: what it is, under which prefix, and at which call it ends, before or after Redis does that."""

    life: Life
    url: str
    prefix: str
    folder: str
    at: str = ""
    """The call, by command or name of the script, and its number among those, like `settle_jobs 2`; empty = none."""
    when: Moment = "before"

    @property
    def diary(self) -> Path:
        """Where its calls are noted, one a line."""
        return Path(self.folder) / f"{self.prefix}.calls"

    @property
    def output(self) -> Path:
        """What it printed."""
        return Path(self.folder) / f"{self.prefix}.out"

    @property
    def calls(self) -> list[str]:
        """Its calls so far, as `at` names them."""
        return self.diary.read_text().splitlines() if self.diary.exists() else []


async def run(job: Job) -> str:
    """The processor. A job that begins anew after a crash does it all again."""
    match job.name:
        case "slow":
            await asyncio.sleep(0.4)
        case "reports":
            await job.update_progress(50)
            await job.log("a row")
        case "again" if job.attempts_made == 0:
            raise RuntimeError("first attempt")
        case "steps" if job.data != "second":
            await job.update_data("second")
            await job.move_to_delayed(0.05)
            raise DelayedError
        case "last" if os.environ.get("MORTAL"):
            await asyncio.sleep(0.6)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(1000)
    return job.name


async def add(url: str, prefix: str) -> None:
    """Add the jobs of a life, in all the ways there are. Doing it once more changes nothing."""
    async with Queue("q", redis=url, prefix=prefix) as queue:
        await queue.add("fine", job_id="fine")
        await queue.add("late", job_id="late", delay=0.1)
        again = JobOptions.checked(job_id="again", attempts=2, backoff=Backoff.fixed(0.02))
        others = [JobSpec(id, "first", JobOptions.checked(job_id=id)) for id in ("reports", "slow", "steps", "last")]
        await queue.add_bulk([JobSpec("again", None, again), *others])
    parts = [FlowJob(id, "r", opts=JobOptions.checked(job_id=id)) for id in ("part 1", "part 2")]
    async with FlowProducer(redis=url, prefix=prefix) as flows:
        await flows.add(FlowJob("next", "q", opts=JobOptions.checked(job_id="next"), children=parts))
    async with Queue("s", redis=url, prefix=prefix) as schedules:
        await schedules.upsert_job_scheduler("tick", every=0.2)


def worker_of(url: str, prefix: str, lock_duration: float) -> Worker:
    """A worker of all three queues."""
    return Worker(
        ["q", "r", "s"], run, redis=url, prefix=prefix, concurrency=8, lock_duration=lock_duration, stalled_interval=0.3
    )


class Nursery:
    """Starts a `python mortal.py`; also an async context manager."""

    _process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(sys.executable, __file__, stdin=pipe, stdout=pipe)
        return self

    async def live(self, order: Order) -> int:
        """Let a process live; gives its exit code, -9 for a SIGKILL."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        answer = await self._process.stdout.readline()
        return int(json.loads(answer)["code"])

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _name(command: tuple[Any, ...]) -> str:
    if command[0] in ("EVALSHA", "EVAL"):
        return _names()[command[1]]
    return str(command[0])


@functools.cache
def _names() -> dict[str, str]:
    scripts = [load(path.stem) for path in (Path(package.__file__).parent / "lua").glob("*.lua")]
    return {known: script.name for script in scripts for known in (script.sha, script.text)}


def _die(order: Order) -> None:
    """Let every call to Redis count, and the one that the order says be the last."""
    seen: Counter[str] = Counter()

    def counted(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counting(self: Line, *command: Any, **more: Any) -> Any:
            first = command if isinstance(command[0], str) else command[0][0]
            if first[0] in UNTOLD:
                return await call(self, *command, **more)
            name = _name(first)
            seen[name] += 1
            this = f"{name} {seen[name]}"
            with order.diary.open("a") as diary:
                diary.write(f"{this}\n")
            if this == order.at and order.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return await call(self, *command, **more)
            finally:
                if this == order.at:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counting

    for name in ("call", "call_many", "call_each"):
        setattr(Line, name, counted(getattr(Line, name)))


def _live(order: Order) -> int:
    _die(order)
    if order.life == "add":
        asyncio.run(add(order.url, order.prefix))
        return 0
    global worker  # noqa: PLW0603
    worker = worker_of(order.url, order.prefix, 1.0)
    os.environ |= {"MORTAL": "1", "CORRAL_GRACE": "0", "CORRAL_PORT": "0"}
    return corral(["work", "mortal:worker"])


def _forked(order: Order) -> int:
    """Live in a process of its own; gives its exit code."""
    pid = os.fork()
    if not pid:
        code = 70
        try:
            output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = _live(order)
        except Exception:  # noqa: BLE001  (it ends here)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.modules["mortal"] = sys.modules["__main__"]
    for line in sys.stdin:
        sys.stdout.write(json.dumps({"code": _forked(Order(**json.loads(line)))}) + "\n")
        sys.stdout.flush()
