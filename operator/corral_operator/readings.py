"""The door through which queues are read: all of them that one Redis holds in one round trip, on one connection."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from corral.address import address_of, make_pool
from corral.connection import Line
from corral.errors import RedisUnavailable
from corral_operator.causes import unknown
from corral_operator.certificates import Certificates
from corral_operator.counting import Ask, QueueKey, age_commands, commands, count, running_age_s, sample
from corral_operator.observed import QueueReading, Reading
from corral_operator.secret import RedisSecret

READ_S = 3.0
"""Seconds that a read may take, connecting included: an outage is to be told within 10 s, and a sleeping pool's read may
have to wait for another's to fail."""
QUEUES_PER_TRIP = 500
"""More go in several round trips, which keeps the buffers of both sides small."""


class Reader:
    """Reads the queues of one Redis. Connects at the first read, and anew at the next one after a failure.

    Raises ConfigurationError for an address that cannot be used.
    """

    def __init__(self, secret: RedisSecret, client_name: str = "corral-operator") -> None:
        self._certificates = Certificates(secret)
        try:
            self._pool = make_pool(secret.url, client_name, tls=self._certificates.tls)
        except BaseException:
            self._certificates.close()
            raise
        self._line = Line(self._pool)
        self._turn = asyncio.Lock()  # a line is for one call at a time

    async def read(self, asks: Sequence[Ask], wall_ms: int) -> dict[QueueKey, Reading]:
        """Count the queues, each asked for once. `wall_ms`: now, in epoch ms.

        What fails is Unknown: one queue that Redis refuses, or all that were not read when the connection failed.
        """
        found: dict[QueueKey, Reading] = {}
        failure: RedisUnavailable | None = None
        async with self._turn:
            try:
                async with asyncio.timeout(READ_S):
                    for start in range(0, len(asks), QUEUES_PER_TRIP):
                        await self._read_some(asks[start : start + QUEUES_PER_TRIP], wall_ms, found)
            except TimeoutError:
                what = f"Redis at {address_of(self._pool)} did not answer within {READ_S:g} s"
                cure = "is it overloaded, or does a firewall swallow the packets?"
                failure = RedisUnavailable(what, cure, code="timeout")
            except RedisUnavailable as error:
                failure = error
        for ask in asks:
            if failure is not None and ask.queue not in found:
                found[ask.queue] = unknown(ask.queue.name, ask.queue.prefix, failure)
        return found

    async def _read_some(self, asks: Sequence[Ask], wall_ms: int, found: dict[QueueKey, Reading]) -> None:
        """One round trip, and a second one if ages are wanted. Fills `found`, which keeps the counts if that fails."""
        asked = [commands(ask, wall_ms) for ask in asks]
        replies = iter(await self._line.call_each([command for some in asked for command in some]))
        running: dict[QueueKey, list[bytes]] = {}
        for ask, some in zip(asks, asked, strict=True):
            its_replies = [next(replies) for _ in some]
            reading = found[ask.queue] = count(ask, some, its_replies)
            if ask.ages and isinstance(reading, QueueReading) and reading.active:
                running[ask.queue] = sample(its_replies[-1])
        if running:
            await self._read_ages(running, wall_ms, found)

    async def _read_ages(
        self, running: dict[QueueKey, list[bytes]], wall_ms: int, found: dict[QueueKey, Reading]
    ) -> None:
        stamps = iter(
            await self._line.call_each(
                [command for queue, ids in running.items() for command in age_commands(queue, ids)]
            )
        )
        for queue, ids in running.items():
            reading = found[queue]
            if isinstance(reading, QueueReading):
                age_s = running_age_s(reading.active, [next(stamps) for _ in ids], wall_ms)
                found[queue] = replace(reading, running_age_s=age_s)

    async def close(self) -> None:
        """Close the connection and remove the certificates."""
        await self._line.close()
        self._certificates.close()
