"""Footing: whether a worker may look for the jobs of dead workers now.

Not soon after an outage, after this process was frozen, or after Redis' clock was set (a machine that slept sets it
too): then everybody's beats and locks are old, and each worker needs a moment to renew its own.
"""

import asyncio
import math
import time
from collections.abc import Callable

from corral.connection import Lines
from corral.errors import RedisUnavailable
from corral.scripts import redis_ms

FIRM_S = 10.0
"""The connection must have been unbroken for so long: all workers are back by then."""

PROMPT_S = 2.0
"""A call that took longer, or a pause that lasted so much longer than it should, is a break as well."""

_BEGINNING_S = 3.0
"""How long after its start a worker may know of no unbroken connection yet."""


class Footing:
    """`steady_s()`: for how long Redis has answered this worker promptly, as its beats know it."""

    def __init__(self, lines: Lines, steady_s: Callable[[], float]) -> None:
        self._lines, self._steady_s = lines, steady_s
        self._began = time.monotonic()
        self._whole_since = -math.inf
        self._ahead_s: float | None = None

    async def redis_ms(self) -> int | None:
        """Redis' own time, to be sent with the look that follows; None = this user may not ask for it, and the look is
        made without. Raises RedisUnavailable."""
        asked, answer = time.monotonic(), None
        try:
            answer = await redis_ms(self._lines)
        except RedisUnavailable as error:
            if error.code != "NOPERM":
                self._whole_since = math.inf
                raise
        self._whole_since = min(self._whole_since, time.monotonic())
        self._noticed(asked, PROMPT_S)
        if answer is not None:
            self._compared(answer / 1000)
        return answer

    def _compared(self, redis_s: float) -> None:
        """Of Redis' clock and ours, one may have been set since they were compared last: beats and locks go by Redis'."""
        before, now = self._ahead_s, time.monotonic()
        self._ahead_s = redis_s - now
        if before is not None and abs(self._ahead_s - before) > PROMPT_S:
            self._whole_since = max(self._whole_since, now)

    async def rest(self, seconds: float) -> None:
        """Sleep, and notice when that took far too long."""
        began = time.monotonic()
        await asyncio.sleep(seconds)
        self._noticed(began, seconds + PROMPT_S)

    def _noticed(self, began: float, at_most: float) -> None:
        if (now := time.monotonic()) - began > at_most:
            self._whole_since = max(self._whole_since, now)

    @property
    def firm_in_s(self) -> float:
        """0 when the connection has been unbroken for `FIRM_S`; else how long that will last."""
        return max(0.0, FIRM_S - self._unbroken_s())

    @property
    def sound_in_s(self) -> float:
        """The same, but a worker that has had no outage since its start need not wait."""
        unbroken, alive = self._unbroken_s(), time.monotonic() - self._began
        return 0.0 if unbroken > alive - _BEGINNING_S else max(0.0, FIRM_S - unbroken)

    def _unbroken_s(self) -> float:
        return max(0.0, min(self._steady_s(), time.monotonic() - self._whole_since))
