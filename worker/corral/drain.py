"""The end of a shift, in stages that share one grace period.

take nothing more -> running jobs finish -> at the end of the grace, less a margin, cancel what runs
-> write all outcomes -> the last call: hand back what could not be ended
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from corral.errors import JobCancelled, RedisUnavailable
from corral.executor import Executor
from corral.queue_work import QueueWork
from corral.script import Caller

logger = logging.getLogger("corral.worker")

LAST_CALL_S = 2.0
"""The most seconds for the last call to Redis."""


def drain_margin(grace: float) -> float:
    """Seconds kept back at the end of a grace period, to hand back what is unfinished: a tenth, at least 2 s, at most
    half of it."""
    return min(max(2.0, grace * 0.1), grace / 2)


class Drain:
    """Ends the works of a shift. `hurry`, once set, hands back at once what runs.

    `handed_back`: processors were cut short; what they started elsewhere, in a thread of their own, may still run.
    """

    def __init__(self, works: Sequence[QueueWork], executor: Executor) -> None:
        self.works, self.executor = works, executor
        self.hurry = asyncio.Event()
        self.handed_back = False
        self._end_by = float("inf")

    async def run(self, grace: float, takers: list[asyncio.Task[None]]) -> None:
        """All stages but the last call. `takers` are the loops that bring new jobs."""
        margin = drain_margin(grace)
        self._end_by = time.monotonic() + (margin if self.hurry.is_set() else max(margin, grace))
        for work in self.works:
            work.draining = True
            work.settler.quiet()
        await self.cancelled(takers)
        if (running := self._running()) and (seconds := self.left(margin)) > 0:
            logger.info("shutting down: %d jobs may finish within %.1f s", len(running), seconds)
            await self._finished_or_late(running, seconds)
        if self.hurry.is_set():
            self._end_by = min(self._end_by, time.monotonic() + margin)
        if left := self._running():
            await self._interrupt(left, self.left(0.6 * margin))
        await self._written(self.left(0.4 * margin))

    def left(self, kept: float) -> float:
        """Seconds until the end of the grace, less what is kept for later stages."""
        return max(0.0, self._end_by - kept - time.monotonic())

    def _running(self) -> list[asyncio.Task[None]]:
        return [run.task for work in self.works for run in work.running.values()]

    async def _finished_or_late(self, running: list[asyncio.Task[None]], seconds: float) -> None:
        until = time.monotonic() + seconds
        hurry = asyncio.create_task(self.hurry.wait())
        pending: set[asyncio.Task[Any]] = set(running)
        while pending and not hurry.done() and (left := until - time.monotonic()) > 0:
            _, rest = await asyncio.wait({hurry, *pending}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            pending = rest - {hurry}
        hurry.cancel()

    async def _interrupt(self, left: list[asyncio.Task[None]], seconds: float) -> None:
        """Cancel what runs in the event loop; a thread cannot be cancelled, its job is handed back last."""
        logger.warning("%d jobs did not finish in time and are handed back", len(left))
        self.handed_back = True
        for work in self.works:
            for run in work.running.values():
                run.signal.abort(JobCancelled("the worker ends; the job is handed back"))
        cancelled = [task for task in left if task not in self.executor.in_thread]
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled, timeout=seconds)

    async def _written(self, seconds: float) -> None:
        """Wait until every outcome is in Redis; for takes that are under way, briefly."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            brief = waited < LAST_CALL_S
            if not any(work.settler.unwritten if brief else work.settler.unwritten_ends for work in self.works):
                return
            await asyncio.sleep(0.005)

    async def last_call(self, caller: Caller) -> None:
        """Write what is unwritten and hand back what still runs; told when it fails."""
        seconds = min(LAST_CALL_S, max(0.5, self.left(0.1)))
        await asyncio.gather(*(self._last_call(caller, work, seconds) for work in self.works))

    async def _last_call(self, caller: Caller, work: QueueWork, seconds: float) -> None:
        # A job that its processor has moved is not ours to hand back.
        running = {held: work.locks.starts(*held) for held, run in list(work.running.items()) if not run.job.moved}
        self.handed_back = self.handed_back or bool(work.running)
        try:
            async with asyncio.timeout(seconds):
                await work.settler.write_remains(caller, running)
        except (RedisUnavailable, TimeoutError) as error:
            logger.error(
                "%d outcomes and %d running jobs of queue %s could not be written or handed back: %s; when their locks "
                "have run out, another worker recovers the jobs",
                work.settler.unwritten,
                len(running),
                work.keys.queue,
                error if isinstance(error, RedisUnavailable) else "Redis did not answer in time",
            )

    async def cancelled(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancel loops and wait for their end, briefly."""
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)
