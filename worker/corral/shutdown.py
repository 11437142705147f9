"""From SIGTERM to the end of the process, whatever is stuck.

    first signal    drain: `Shift.begin_drain` with the whole grace
    second signal   hand back now: `Shift.hurry`
    the watchdog    a thread started by the first signal: when the event loop has not ended the process in time
                    (a processor blocks it, Redis hangs), it hands the jobs back itself and ends the process

Plain signal handlers, not the event loop's: they run even while a processor blocks the loop.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from corral.shift import LAST_CALL_S, Shift, drain_margin

logger = logging.getLogger("corral.shutdown")


class Shutdown:
    """Ends the shifts of a process. `grace` in seconds, from the first signal to the end of the process."""

    def __init__(
        self,
        shifts: Callable[[], Sequence[Shift]],
        grace: float,
        loop: asyncio.AbstractEventLoop,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._shifts, self.grace, self._loop, self._end_process = shifts, grace, loop, end_process
        self._signals = 0
        self._deadline = float("inf")
        self._changed = threading.Event()

    def install(self) -> None:
        """Answer SIGTERM and SIGINT. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        now = time.monotonic()
        if self._signals == 1:
            # The last third of the margin is the watchdog's: the orderly way comes first.
            self._deadline = now + max(LAST_CALL_S, self.grace - drain_margin(self.grace) / 3)
            threading.Thread(target=self._watch, name="corral-shutdown", daemon=True).start()
            self._tell(lambda shift: shift.begin_drain(self.grace))
        else:
            self._deadline = min(self._deadline, now + 2 * LAST_CALL_S)
            self._changed.set()
            self._tell(Shift.hurry)

    def _tell(self, call: Callable[[Shift], None]) -> None:
        for shift in self._shifts():
            self._loop.call_soon_threadsafe(call, shift)

    def _watch(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            self._changed.wait(left)
            self._changed.clear()
        logger.error("the event loop did not end in time, a processor blocks it; handing its jobs back from outside")
        try:
            asyncio.run(asyncio.wait_for(self._last_calls(), 2 * LAST_CALL_S))
        except Exception:
            logger.exception("handing back from outside failed; the locks run out and other workers recover the jobs")
        finally:
            self._end_process(0)

    async def _last_calls(self) -> None:
        for shift in self._shifts():
            await shift.last_call_from_outside()
