"""From SIGTERM to the end of the process, whatever is stuck.

    first signal    drain: `Worker.stop` with the whole grace
    second signal   hand back now: `Shift.hurry`
    the watchdog    a thread: when the event loop has not ended the process in time (a processor blocks it, Redis
                    hangs), it hands the jobs back itself and ends the process

Plain signal handlers, not the event loop's: they run even while a processor blocks the loop.
"""

import asyncio
import itertools
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from corral.drain import LAST_CALL_S, drain_margin
from corral.worker import Worker

logger = logging.getLogger("corral.shutdown")


class Shutdown:
    """Ends the workers of a process. `grace` in seconds, from the first signal to the end of the process."""

    def __init__(
        self,
        workers: Sequence[Worker],
        grace: float,
        loop: asyncio.AbstractEventLoop,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._workers, self._grace, self._loop, self._end_process = workers, grace, loop, end_process
        # One handler may interrupt another in the middle: counted in one step, or both would be the first.
        self._signals = itertools.count(1)
        # Put from a signal handler: of the standard library's queues and locks, this one alone may be.
        self._deadlines: queue.SimpleQueue[float] = queue.SimpleQueue()

    def install(self) -> None:
        """Answer SIGTERM and SIGINT. Main thread only."""
        threading.Thread(target=self._watch, name="corral-shutdown", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if next(self._signals) == 1:
            # The last third of the margin is the watchdog's: the orderly way comes first.
            self._deadlines.put(time.monotonic() + max(LAST_CALL_S, self._grace - drain_margin(self._grace) / 3))
            self._loop.call_soon_threadsafe(self._stop)
        else:
            self._deadlines.put(time.monotonic() + 2 * LAST_CALL_S)
            self._loop.call_soon_threadsafe(self._hurry)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.stop(self._grace)

    def _hurry(self) -> None:
        for worker in self._workers:
            if worker.shift is not None:
                worker.shift.hurry()

    def _watch(self) -> None:
        deadline = self._deadlines.get()
        for worker in self._workers:
            # From here, as the event loop may be blocked.
            if worker.shift is not None:
                worker.shift.beats.drain()
        while (left := deadline - time.monotonic()) > 0:
            try:
                deadline = min(deadline, self._deadlines.get(timeout=left))
            except queue.Empty:
                break
        logger.error("the process did not end in time, something blocks it; handing back jobs from outside")
        try:
            asyncio.run(asyncio.wait_for(self._last_calls(), 2 * LAST_CALL_S))
        except Exception:
            logger.exception("handing back from outside failed; the locks run out and other workers recover the jobs")
        finally:
            self._end_process(0)

    async def _last_calls(self) -> None:
        shifts = [worker.shift for worker in self._workers if worker.shift is not None]
        await asyncio.gather(*(shift.last_call_from_outside() for shift in shifts))
