"""Controls: what a worker that runs is told from outside: pause, be quiet, go on, wait, cancel."""

import asyncio
from collections.abc import Sequence

from corral.hold_scripts import limit_queue, limited_ms
from corral.queue_work import QueueWork
from corral.script import Caller

UNKNOWN_LIMIT_MS = 100
"""How long a queue rests whose processor speaks of a limit that Redis does not know: it would run again at once."""


class Controls:
    """Tells the works of one shift, which is `over` at its end.

    Two reasons to take no jobs, and it goes on when neither is left: `paused`, by the user; `ordered`, by the operator.
    """

    def __init__(self, works: Sequence[QueueWork], caller: Caller, over: asyncio.Event) -> None:
        self._works, self._caller, self._over = works, caller, over
        self.paused = self.ordered = False

    def pause(self) -> None:
        """Take no more jobs; those that run go on."""
        if not self.paused:
            self.paused = True
            self._halt()

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
            self._go_on()

    def obey(self) -> None:
        """Take no more jobs, by order, whatever the user says of a pause."""
        if not self.ordered:
            self.ordered = True
            self._halt()

    def release(self) -> None:
        """The order stands no more."""
        if self.ordered:
            self.ordered = False
            self._go_on()

    @property
    def quiet(self) -> bool:
        """Whether an order is obeyed: nothing is taken, and nothing can come any more. From any thread."""
        return self.ordered and not any(work.settler.bringing for work in self._works)

    def _halt(self) -> None:
        for work in self._works:
            work.settler.pause()

    def _go_on(self) -> None:
        if not (self.paused or self.ordered):
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
