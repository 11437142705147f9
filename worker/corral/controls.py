"""Controls: what a worker that runs is told from outside: pause, go on, wait, cancel."""

import asyncio
from collections.abc import Sequence

from corral.hold_scripts import limit_queue, limited_ms
from corral.queue_work import QueueWork
from corral.script import Caller

UNKNOWN_LIMIT_MS = 100
"""How long a queue rests whose processor speaks of a limit that Redis does not know: it would run again at once."""


class Controls:
    """Tells the works of one shift, which is `over` at its end. `paused`: it takes no jobs until told to go on."""

    def __init__(self, works: Sequence[QueueWork], caller: Caller, over: asyncio.Event) -> None:
        self._works, self._caller, self._over = works, caller, over
        self.paused = False

    def pause(self) -> None:
        """Take no more jobs; those that run go on."""
        if not self.paused:
            self.paused = True
            for work in self._works:
                work.settler.pause()

    async def idle(self) -> None:
        """Wait until nothing runs and every outcome is written, or the shift is over, whatever is left then."""
        while not self._over.is_set() and self._busy():  # noqa: ASYNC110  (once)
            await asyncio.sleep(0.005)

    def _busy(self) -> bool:
        return any(work.running or work.settler.unwritten for work in self._works)

    def resume(self) -> None:
        """Take jobs again."""
        if self.paused:
            self.paused = False
            for work in self._works:
                work.settler.resume()

    async def rate_limit(self, duration_ms: int) -> None:
        """Limit every queue of the worker. Raises RedisUnavailable."""
        for work in self._works:
            await self.limit(work, duration_ms)

    async def limit(self, work: QueueWork, duration_ms: int) -> None:
        """Limit one queue; 0 = obey the limit that it has. Raises RedisUnavailable."""
        if duration_ms:
            # Here first: the job that asked for it must not be taken again before Redis knows.
            work.settler.limit(duration_ms)
            await limit_queue(self._caller, work.keys, duration_ms)
        else:
            work.settler.limit(await limited_ms(self._caller, work.keys) or UNKNOWN_LIMIT_MS)

    def cancel(self, job_id: str | None, reason: str) -> bool:
        """Cancel the runs of a job, or all (None). False: there is none."""
        found = [work.cancel(job_id, reason) for work in self._works]
        return any(found)
