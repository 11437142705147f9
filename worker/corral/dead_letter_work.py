"""What a worker does with a job that has failed for good, when it has a dead-letter queue."""

import logging

from corral.clock import now_ms
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral.letter_scripts import NOT_THERE, bury_jobs
from corral.script import Caller

logger = logging.getLogger("corral.worker")


async def bury(caller: Caller, keys: Keys, to: Keys, job_id: str) -> None:
    """Move a job that has just been written as failed. Never raises: a job that cannot be moved stays in `failed`.

    There the next `Queue.move_failed_to_dead_letters` finds it, so nothing is lost when the worker dies in between.
    """
    try:
        (answer,) = await bury_jobs(caller, keys, to, now_ms(), [job_id])
    except RedisUnavailable as error:
        logger.warning("job %s of queue %s stays failed, not moved to %s: %s", job_id, keys.queue, to.queue, error)
        return
    # Not there: its retention keeps no failed jobs, or somebody retried or removed it.
    if isinstance(answer, int) and answer != NOT_THERE:
        logger.warning(
            "job %s of queue %s stays where it is, not moved to %s: code %d", job_id, keys.queue, to.queue, answer
        )
