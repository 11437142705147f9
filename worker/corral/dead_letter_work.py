"""What a worker does with jobs that have failed for good, when it has a dead-letter queue."""

import asyncio
import logging

from corral.clock import now_ms
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral.letter_scripts import NOT_THERE, bury_jobs
from corral.script import Caller

logger = logging.getLogger("corral.worker")


class Burials:
    """Moves the failed jobs of one queue to its dead-letter queue, each in a task of its own.

    A job that cannot be moved, or whose worker dies in between, stays in `failed`: there the next
    `Queue.move_failed_to_dead_letters` finds it, so nothing is lost.
    """

    def __init__(self, caller: Caller, keys: Keys, to: Keys, dialect: str) -> None:
        self._caller, self._keys, self._to, self._dialect = caller, keys, to, dialect
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job_id: str) -> None:
        """Move a job that has just been written as failed."""
        task = asyncio.create_task(self._bury(job_id), name=f"burial of job {job_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bury(self, job_id: str) -> None:
        queue, to = self._keys.queue, self._to.queue
        try:
            (answer,) = await bury_jobs(self._caller, self._keys, self._to, self._dialect, now_ms(), [job_id])
        except RedisUnavailable as error:
            logger.warning("job %s of queue %s stays failed, not moved to %s: %s", job_id, queue, to, error)
            return
        # Not there: its retention keeps no failed jobs, or somebody retried or removed it.
        if isinstance(answer, int) and answer != NOT_THERE:
            logger.warning("job %s of queue %s stays where it is, not moved to %s: code %d", job_id, queue, to, answer)

    async def close(self, within: float) -> None:
        """Let the burials that are under way end, for at most `within` seconds."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
