"""Puts back jobs whose worker died. One loop for each queue."""

import asyncio
import logging
from collections.abc import Callable

from corral import scripts
from corral.clock import now_ms
from corral.connection import Lines
from corral.errors import RedisRefused, RedisUnavailable
from corral.keys import Keys

logger = logging.getLogger("corral.stalled")


async def recover(
    lines: Lines,
    keys: Keys,
    dialect: str,
    *,
    interval_ms: int,
    max_stalled: int,
    on_recovered: Callable[[str], None],
) -> None:
    """Look at once, then every `interval_ms`. Ends only when cancelled.

    The key `stalled-check` lets one worker of the fleet look per interval, whatever its library.
    """
    while True:
        pause = interval_ms / 1000
        try:
            for job_id in await scripts.recover_stalled(lines, keys, dialect, now_ms(), interval_ms, max_stalled):
                on_recovered(job_id)
        except RedisUnavailable as error:
            # The settler tells of an absent Redis; one that refuses this script alone is told here.
            level = logging.ERROR if isinstance(error, RedisRefused) else logging.DEBUG
            logger.log(level, "looking for stalled jobs of queue %s failed: %s", keys.queue, error)
            pause = min(pause, 5.0)
        await asyncio.sleep(pause)
