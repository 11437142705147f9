"""Run: one job that runs in this worker now, and what it may be told meanwhile."""

import asyncio
import threading

from corral.errors import CorralError
from corral.job import Job
from corral.job_signal import Signal

_MAKING = threading.Lock()
"""A job's first question for its signal may come from a thread, just when the loop aborts it."""


class Run:
    """See the module's docstring. `stopped`: why it was told to end, None = it was not."""

    __slots__ = ("_signal", "job", "stopped", "task", "timer")

    task: asyncio.Task[None]

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stopped: CorralError | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._signal: Signal | None = None

    @property
    def signal(self) -> Signal:
        """Made when it is asked for first: most processors never do."""
        with _MAKING:
            if self._signal is None:
                self._signal = Signal()
            return self._signal

    def stop(self, error: CorralError, *, in_thread: bool) -> None:
        """Tell it to end; the first reason stays. What is in a thread cannot be cancelled."""
        if self.stopped is None:
            self.stopped = error
        self.signal.abort(error)
        if not in_thread:
            # Not at once: a task that is cancelled before its first step never runs, and its job would never end.
            asyncio.get_running_loop().call_soon(self.task.cancel)
