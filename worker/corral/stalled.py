"""Puts back jobs whose lock has run out. One loop for each queue."""

import logging
import time
from collections.abc import Callable

from corral import scripts
from corral.clock import now_ms
from corral.connection import Lines
from corral.errors import RedisRefused, RedisUnavailable
from corral.footing import Footing
from corral.keys import Keys

logger = logging.getLogger("corral.stalled")

PATIENCE_S = 30.0
"""The longest wait for firm ground: where Redis never answers promptly, jobs must be put back all the same."""


async def recover(
    lines: Lines,
    keys: Keys,
    dialect: str,
    footing: Footing,
    *,
    interval_ms: int,
    max_stalled: int,
    on_recovered: Callable[[str], None],
) -> None:
    """Look at once, then every `interval_ms`; after an outage, when every worker could renew its locks. Ends only when
    cancelled.

    The key `stalled-check` lets one worker of the fleet look per interval, whatever its library.
    """
    while True:
        pause = interval_ms / 1000
        try:
            asked_ms = await _on_firm_ground(footing)
            now = now_ms()
            for job_id in await scripts.recover_stalled(
                lines, keys, dialect, now, interval_ms, max_stalled, asked_ms=asked_ms
            ):
                on_recovered(job_id)
        except RedisUnavailable as error:
            # The settler tells of an absent Redis; one that refuses this script alone is told here.
            level = logging.ERROR if isinstance(error, RedisRefused) else logging.DEBUG
            logger.log(level, "looking for stalled jobs of queue %s failed: %s", keys.queue, error)
            pause = min(pause, 5.0)
        await footing.rest(pause)


async def _on_firm_ground(footing: Footing) -> int | None:
    """Wait for it; gives Redis' time, where it may be asked for. Raises RedisUnavailable."""
    until = time.monotonic() + PATIENCE_S
    while True:
        asked_ms = await footing.redis_ms()
        wait = min(footing.sound_in_s, until - time.monotonic())
        if wait <= 0:
            return asked_ms
        await footing.rest(max(0.1, wait))
