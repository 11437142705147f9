"""Waits on the marker of a queue, and tells the settler when a take may find something. One loop for each queue."""

import asyncio
import logging
import random

from corral.clock import now_ms
from corral.connection import Line, retry_pause_s
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral.settler import Settler
from corral.slots import Slots

logger = logging.getLogger("corral.fetcher")

POLL_S = 5.0
"""How long to wait for a marker when no delayed job is known (BullMQ's drainDelay)."""
LONGEST_WAIT_S = 10.0
"""The longest wait for a known delayed job: whoever held its marker may have died."""
LEAST_WAIT_S = 0.01
"""After a take that found nothing: a due time that cannot be reached must not make us spin. (And never below 2 ms:
before Redis 7.0.8 a shorter timeout may round to 0, which means for ever.)"""


def marker_wait_s(now: int, next_due_ms: int, limited_until_ms: int) -> float:
    """Seconds to wait for a marker. Times in epoch ms, 0 = none."""
    if limited_until_ms > now:
        return (limited_until_ms - now) / 1000
    if not next_due_ms:
        return POLL_S
    return min(LONGEST_WAIT_S, max(LEAST_WAIT_S, (next_due_ms - now) / 1000))


class Fetcher:
    """Blocks on a connection of its own, which carries the name that dashboards count workers by."""

    def __init__(self, line: Line, keys: Keys, settler: Settler, slots: Slots) -> None:
        self._line, self._keys, self._settler, self._slots = line, keys, settler, slots
        self.trouble: str | None = None
        """Why the marker cannot be waited for; None = it can."""

    async def run(self) -> None:
        """The loop. Ends only when cancelled."""
        failures = 0
        while True:
            await self._settler.resting.wait()
            try:
                await self._wait_for_marker()
                failures, self.trouble = 0, None
            except RedisUnavailable as error:
                failures += 1
                if failures == 2:  # once is a connection that broke
                    self.trouble = f"new jobs of queue {self._keys.queue} are found late: {error}"
                    logger.warning("%s", self.trouble)
                await asyncio.sleep(retry_pause_s(failures, random.random()))
            self._settler.look()

    async def _wait_for_marker(self) -> None:
        now, settler = now_ms(), self._settler
        wait = marker_wait_s(now, settler.next_due_ms, settler.limited_until_ms)
        if settler.limited_until_ms > now:
            # A marker would only wake us for nothing. A sleep may end early, and a look before the time does nothing.
            while (left := settler.limited_until_ms - now_ms()) > 0:  # noqa: ASYNC110  (a time, not an event)
                await asyncio.sleep(max(0.001, left / 1000))
        else:
            await self._block(wait)

    async def _block(self, wait: float) -> None:
        popped = await self._line.call("BZPOPMIN", self._keys.marker, wait, timeout=wait + 1.0)
        if popped is not None and not (self._slots.free and self._settler.taking):
            # Popped for nothing: another worker may have room.
            await self._line.call("ZADD", self._keys.marker, 0, "0")
