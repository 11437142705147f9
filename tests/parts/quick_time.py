"""An event loop whose time runs faster: what takes minutes of waiting, a test sees in seconds.

Only the loop's own time: sleeps, timeouts, and whoever is given `loop.time` as a clock. Real peers stay as they are, so
that their answers seem so many times slower.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey


class QuickLoop(asyncio.SelectorEventLoop):
    """`asyncio.Runner(loop_factory=lambda: QuickLoop(20))`: twenty seconds in each."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        super().__init__(_QuickSelector(factor))

    def time(self) -> float:
        return time.monotonic() * self._factor


class _QuickSelector(selectors.DefaultSelector):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._factor)
