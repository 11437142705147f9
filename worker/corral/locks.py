"""Holds the locks of running jobs. One loop for all queues of a worker."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from corral import scripts
from corral.connection import Lines
from corral.errors import RedisUnavailable
from corral.keys import Keys

logger = logging.getLogger("corral.locks")


@dataclass(slots=True)
class Locks:
    """The locks a worker holds in one queue: (job id, token) -> monotonic seconds of the last renewal."""

    keys: Keys
    held: dict[tuple[str, str], float] = field(default_factory=dict)

    def hold(self, job_id: str, token: str) -> None:
        self.held[job_id, token] = time.monotonic()

    def drop(self, job_id: str, token: str) -> None:
        self.held.pop((job_id, token), None)

    def due(self, before: float) -> list[tuple[str, str]]:
        """The locks not renewed since `before` (monotonic seconds)."""
        return [pair for pair, renewed in self.held.items() if renewed <= before]


OnLost = Callable[[Keys, list[tuple[str, str]]], None]
"""Is told of locks that are gone: `on_lost(keys, [(job id, token), ...])`."""


async def renew(lines: Lines, all_locks: list[Locks], lock_ms: int, on_lost: OnLost) -> None:
    """Renew every lock that is older than a quarter of its time. Ends only when cancelled.

    Short jobs never cost a renewal. `on_lost` is told once of each lock that is gone; its job runs on, but what it
    ends in will be refused.
    """
    every = lock_ms / 4000
    while True:
        await asyncio.sleep(every)
        for locks in all_locks:
            try:
                await _renew_due(lines, locks, lock_ms, time.monotonic() - every, on_lost)
            except RedisUnavailable as error:
                logger.warning("locks of queue %s could not be renewed: %s", locks.keys.queue, error)


async def _renew_due(lines: Lines, locks: Locks, lock_ms: int, before: float, on_lost: OnLost) -> None:
    due = locks.due(before)
    for first in range(0, len(due), 1000):
        some = due[first : first + 1000]
        gone = set(await scripts.renew_locks(lines, locks.keys, lock_ms, some))
        renewed = time.monotonic()
        lost: list[tuple[str, str]] = []
        for pair in some:
            if pair not in locks.held:
                continue  # settled while the call was under way
            if pair in gone:
                locks.drop(*pair)
                lost.append(pair)
            else:
                locks.held[pair] = renewed
        if lost:
            on_lost(locks.keys, lost)
