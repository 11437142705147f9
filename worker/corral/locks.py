"""Holds the locks of running jobs. One loop for all queues of a worker."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from corral import scripts
from corral.connection import Lines, retry_pause_s
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral.scripts import Held

logger = logging.getLogger("corral.locks")


@dataclass(slots=True)
class Locks:
    """The locks a worker holds in one queue: (job id, token) -> how often the job has been started, that run included,
    and the monotonic seconds of the last renewal."""

    keys: Keys
    held: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)

    def hold(self, job_id: str, token: str, starts: int) -> None:
        self.held[job_id, token] = starts, time.monotonic()

    def drop(self, job_id: str, token: str) -> None:
        self.held.pop((job_id, token), None)

    def starts(self, job_id: str, token: str) -> int:
        """How often the job of a lock has been started; 0 = the lock is not held."""
        starts, _ = self.held.get((job_id, token), (0, 0.0))
        return starts

    def due(self, before: float) -> list[Held]:
        """The locks not renewed since `before` (monotonic seconds)."""
        return [Held(*pair, starts) for pair, (starts, renewed) in self.held.items() if renewed <= before]


OnLost = Callable[[Keys, list[tuple[str, str]]], None]
"""Is told of locks that are gone: `on_lost(keys, [(job id, token), ...])`."""


async def renew(lines: Lines, all_locks: list[Locks], lock_ms: int, on_lost: OnLost) -> None:
    """Renew every lock that is older than a quarter of its time. Ends only when cancelled.

    Short jobs never cost a renewal. A lock that ran out in an outage is set anew while nobody has taken its job.
    `on_lost` is told once of each lock that is gone; its job runs on, but what it ends in will be refused.
    """
    every = lock_ms / 4000
    failures, told = 0, -60.0
    while True:
        # After an outage soon: others look for jobs without a lock.
        await asyncio.sleep(min(every, retry_pause_s(failures, random.random())) if failures else every)
        failed = False
        for locks in all_locks:
            try:
                await _renew_due(lines, locks, lock_ms, time.monotonic() - every, on_lost)
            except RedisUnavailable as error:
                failed = True
                if time.monotonic() - told >= 10:
                    told = time.monotonic()
                    logger.warning("locks of queue %s could not be renewed: %s", locks.keys.queue, error)
        failures = failures + 1 if failed else 0


async def _renew_due(lines: Lines, locks: Locks, lock_ms: int, before: float, on_lost: OnLost) -> None:
    due = locks.due(before)
    for first in range(0, len(due), 1000):
        some = due[first : first + 1000]
        renewed = await scripts.renew_locks(lines, locks.keys, lock_ms, some)
        if renewed.anew:
            logger.warning("%d locks of queue %s had run out and are held anew", len(renewed.anew), locks.keys.queue)
        now, gone = time.monotonic(), set(renewed.lost)
        lost: list[tuple[str, str]] = []
        for one in some:
            pair = one.job_id, one.token
            if pair not in locks.held:
                continue  # settled while the call was under way
            if one in gone:
                locks.drop(*pair)
                lost.append(pair)
            else:
                locks.held[pair] = one.starts, now
        if lost:
            on_lost(locks.keys, lost)
