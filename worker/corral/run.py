"""Run: one job that runs in this worker now, and what it may be told meanwhile."""

import asyncio
import threading
from collections.abc import Container
from typing import Literal

from corral.errors import CorralError
from corral.job import Job
from corral.job_signal import Signal

_MAKING = threading.Lock()
"""A job's first question for its signal may come from a thread, just when the loop aborts it."""


class Run:
    """See the module's docstring. `stopped`: why it was told to end, None = it was not.

    `stage`: what it is at: before its processor runs, in it, or after it, when the outcome stands.
    """

    __slots__ = ("_signal", "job", "stage", "stopped", "task", "timer")

    task: asyncio.Task[None]

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stage: Literal["before", "in", "after"] = "before"
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

    def stop(self, error: CorralError, in_thread: Container[object]) -> bool:
        """Tell it to end; the first reason stays. False: its processor has ended already.

        What is in a thread cannot be cancelled. Before its processor it is not cancelled either: it ends without it.
        """
        if self.stage == "after":
            return False
        if self.stopped is None:
            self.stopped = error
            self.signal.abort(error)
            # Not at once: whoever tells it may be the listener that hears of it before its task is there. And once
            # only: a second time would cut short how the processor cleans up.
            asyncio.get_running_loop().call_soon(self._cancel, in_thread)
        return True

    def _cancel(self, in_thread: Container[object]) -> None:
        if self.stage == "in" and self.task not in in_thread:
            self.task.cancel()
