"""The door through which queues are read: all of them that one Redis holds in one round trip, on one connection."""

import asyncio
from collections.abc import Sequence
from typing import Any

from corral.address import address_of, make_pool
from corral.connection import Line
from corral.errors import RedisUnavailable
from corral.greeting import GREETING
from corral_operator.active_jobs import CloserLook, closer_look
from corral_operator.causes import replica_refused, unknown
from corral_operator.certificates import Certificates
from corral_operator.counting import Ask, Command, QueueKey, commands, count, listed
from corral_operator.observed import QueueReading, Reading
from corral_operator.secret import RedisSecret

READ_S = 3.0
"""Seconds that a read may take, connecting included: an outage is to be told within 10 s, and a sleeping pool's read may
have to wait for another's to fail."""
SHARE = 0.7
"""Of READ_S: what connecting may take, and what one node of a Cluster may."""
QUEUES_PER_TRIP = 500
"""More go in several round trips, which keeps the buffers of both sides small."""
JOBS_PER_TRIP = 10_000
"""Running jobs that are looked at in one."""
WRITES_PER_TRIP = 500


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
                failure = self._late()
            except RedisUnavailable as error:
                failure = self._late() if error.code == "timeout" else error
        for ask in asks:
            if failure is not None and ask.queue not in found:
                found[ask.queue] = unknown(ask.queue.name, ask.queue.prefix, failure)
        return found

    async def _read_some(self, asks: Sequence[Ask], wall_ms: int, found: dict[QueueKey, Reading]) -> None:
        """One round trip, and a second one where jobs run that are to be looked at. Fills `found`, which keeps the
        counts if that fails."""
        asked = [commands(ask, wall_ms) for ask in asks]
        greeting, *answers = await self._call([GREETING, *(command for some in asked for command in some)])
        if refusal := replica_refused(greeting):
            await self._line.close()  # behind Sentinel the next connection leads to the primary
            raise refusal
        replies = iter(answers)
        looks: list[CloserLook] = []
        for ask, some in zip(asks, asked, strict=True):
            its_replies = [next(replies) for _ in some]
            reading = found[ask.queue] = count(ask, some, its_replies)
            if isinstance(reading, QueueReading) and (look := closer_look(ask, reading, listed(ask, its_replies))):
                looks.append(look)
        while looks:
            looks = await self._look_closer(looks, wall_ms, found)

    async def _look_closer(
        self, looks: Sequence[CloserLook], wall_ms: int, found: dict[QueueKey, Reading]
    ) -> list[CloserLook]:
        """As many of them as go in one round trip; gives the others."""
        asked: list[list[Command]] = []
        jobs = 0
        for look in looks:
            jobs += len(look.ids)
            if asked and jobs > JOBS_PER_TRIP:
                break
            asked.append(look.commands())
        replies = iter(await self._call([command for some in asked for command in some]))
        for look, some in zip(looks, asked, strict=False):
            reading = found[look.queue]
            assert isinstance(reading, QueueReading)
            found[look.queue] = look.seen(reading, [next(replies) for _ in some], wall_ms)
        return list(looks[len(asked) :])

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Plain writes over the same connection, after a read that is under way. For each, in order, its reply or the
        RedisRefused of that command alone.

        Raises RedisUnavailable: then any of them may have been carried out, or none; and RedisRefused for a login or a
        server that takes no commands at all.
        """
        replies: list[Any] = []
        async with self._turn:
            try:
                async with asyncio.timeout(READ_S):
                    for start in range(0, len(commands), WRITES_PER_TRIP):
                        replies += await self._call(commands[start : start + WRITES_PER_TRIP])
            except TimeoutError:
                raise self._late() from None
            except RedisUnavailable as error:
                raise (self._late() if error.code == "timeout" else error) from None
        return replies

    async def _call(self, commands: Sequence[Command]) -> list[Any]:
        # A node of a Cluster that stands still must not use up the time of the others, nor a connection that of its cause.
        return await self._line.call_each(commands, timeout=SHARE * READ_S)

    def _late(self) -> RedisUnavailable:
        what = f"Redis at {address_of(self._pool)} did not answer within {READ_S:g} s"
        cure = "is it overloaded, or does a firewall swallow the packets?"
        return RedisUnavailable(what, cure, maybe_done=True, code="timeout")

    async def close(self) -> None:
        """Close the connection and remove the certificates."""
        await self._line.close()
        self._certificates.close()
