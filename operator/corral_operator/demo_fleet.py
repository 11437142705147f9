"""The demo's workers: real `corral work` processes, started, killed and ended as a machine would."""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from corral.errors import CorralError

GRACE_S = 4
"""Seconds that a worker has between SIGTERM and its end."""

WorkerState = Literal["starting", "working", "killed", "draining", "ended"]


@dataclass(slots=True)
class WorkerProcess:
    """One worker. `state` is what the demo did with it or saw of it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    state: WorkerState = "starting"

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace").strip()[-1000:] or "it said nothing"


class Fleet:
    """The worker processes of one `with` block; none outlives it."""

    def __init__(self, reference: str, redis_url: str, folder: Path) -> None:
        self._reference, self._redis_url, self._folder = reference, redis_url, folder
        self.workers: list[WorkerProcess] = []

    def start(self) -> WorkerProcess:
        """One more worker."""
        name = f"worker-{len(self.workers) + 1}"
        log = self._folder / f"{name}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - no shell, and every word is ours
                [sys.executable, "-m", "corral", "work", self._reference],
                env=_environment(self._redis_url, name),
                # An empty folder: nothing of the current one may pass for a module of Corral's.
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # Ctrl-C is for the demo, which then ends them itself.
                start_new_session=True,
            )
        worker = WorkerProcess(name, process, log)
        self.workers.append(worker)
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL, as the kernel does when memory is short; back when it is dead."""
        worker.state = "killed"
        worker.process.kill()
        worker.process.wait()

    def check(self) -> None:
        """Raises CorralError when a worker ended that nobody ended."""
        for worker in self.workers:
            if worker.state in ("starting", "working") and worker.process.poll() is not None:
                raise CorralError(
                    f"{worker.name} ended by itself with exit code {worker.process.returncode}: {worker.last_words()}"
                )

    async def drain(self) -> list[str]:
        """SIGTERM to all, and wait; gives a sentence for each that did not end with exit code 0."""
        left = [worker for worker in self.workers if worker.state in ("starting", "working")]
        for worker in left:
            worker.state = "draining"
            worker.process.terminate()
        until = time.monotonic() + GRACE_S + 1
        while any(worker.process.poll() is None for worker in left) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # a process has no event to wait for
        return [trouble for worker in left if (trouble := _ended(worker))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        left = [worker.process for worker in self.workers if worker.process.poll() is None]
        for process in left:
            process.kill()
        for process in left:
            process.wait()


def _ended(worker: WorkerProcess) -> str | None:
    """What was wrong with its end, if anything."""
    code = worker.process.poll()
    if code is None:
        return f"{worker.name} did not end within {GRACE_S + 1} s of SIGTERM: {worker.last_words()}"
    worker.state = "ended"
    return f"{worker.name} ended with exit code {code}: {worker.last_words()}" if code else None


def _environment(redis_url: str, name: str) -> dict[str, str]:
    """Ours, without what the user set up for workers of their own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CORRAL_", "REDIS_", "POD_"))}
    return {
        **ours,
        "REDIS_URL": redis_url,
        "POD_NAME": name,
        "CORRAL_PORT": "0",
        "CORRAL_GRACE": str(GRACE_S),
        "CORRAL_LOG_FORMAT": "text",
        "CORRAL_LOG_LEVEL": "warning",
    }
