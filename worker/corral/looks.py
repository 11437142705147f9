"""Puts back jobs of workers that have fallen silent, long before their locks run out. One loop for each queue."""

import logging
import random
import time
from collections.abc import Callable

from corral import scripts
from corral.connection import Lines
from corral.errors import RedisRefused, RedisUnavailable
from corral.footing import Footing
from corral.keys import Keys

logger = logging.getLogger("corral.looks")

LOOK_S = 4.0
"""Between two looks of one queue, whoever makes them."""

JITTER_S = 0.2
"""The workers of a fleet do not ask all at once when the next look may be made."""

_TELL_S = 60.0


async def look(
    lines: Lines,
    keys: Keys,
    dialect: str,
    footing: Footing,
    *,
    worker_id: str,
    max_stalled: int,
    on_recovered: Callable[[str], None],
) -> None:
    """Look as often as the queue allows, while this worker's own connection has been unbroken for long enough. Ends only
    when cancelled.

    A worker is dead when its beats have stopped; jobs of workers that never beat, Node's say, are never touched.
    """
    told = -_TELL_S
    while True:
        pause = LOOK_S
        try:
            asked_ms = await footing.redis_ms()
            if footing.firm_in_s:
                pause = min(LOOK_S, footing.firm_in_s)
            else:
                ids, next_ms = await scripts.recover_silent(
                    lines, keys, dialect, worker_id, max_stalled, asked_ms=asked_ms
                )
                pause = min(LOOK_S, next_ms / 1000)
                for job_id in ids:
                    on_recovered(job_id)
        except RedisUnavailable as error:
            # The settler tells of an absent Redis; one that refuses this script alone is told here, now and then.
            if isinstance(error, RedisRefused) and time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                logger.error("looking for dead workers of queue %s failed: %s", keys.queue, error)
        await footing.rest(pause + random.uniform(0.0, JITTER_S))
