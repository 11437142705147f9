"""The distinct Redis servers that the pools use: one reader and one listener each, however many pools share it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corral_operator.counting import Ask, QueueKey
from corral_operator.listener import Listener
from corral_operator.observed import Reading
from corral_operator.readings import Reader
from corral_operator.secret import RedisSecret

Way = tuple[str, str | None, str | None, str | None, tuple[tuple[str, str], ...]]
"""What makes a Redis distinct: address with credentials, TLS files, and the names that certificates are of. Never shown."""

logger = logging.getLogger("corral.operator.redis")


def way_of(secret: RedisSecret) -> Way:
    """Two Secrets with the same way share their connections."""
    return secret.url, secret.ca, secret.cert, secret.key, tuple(sorted(secret.known_as.items()))


class Redis:
    """One of them. `busy` is its user's mark that a read is under way: there is one connection for it."""

    def __init__(self, secret: RedisSecret, on_event: Callable[[QueueKey], None], on_lost: Callable[[], None]) -> None:
        self._reader = Reader(secret)
        self._listener = Listener(secret, on_event, on_lost)
        self._listening: asyncio.Task[None] | None = None
        self.busy = False

    async def read(self, asks: Sequence[Ask], wall_ms: int) -> Mapping[QueueKey, Reading]:
        """As Reader.read."""
        return await self._reader.read(asks, wall_ms)

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """As Reader.send: on the connection of the reads, between two of them."""
        return await self._reader.send(commands)

    def listen(self, queues: Iterable[QueueKey]) -> None:
        """Hear of these queues; the first time this opens the connection."""
        wanted = set(queues)
        if self._listening is None and wanted:
            self._listening = asyncio.create_task(self._listener.run())
        self._listener.listen(wanted)

    async def close(self) -> None:
        """Close both connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._listener.close()
        await self._reader.close()


class Redises:
    """All of them, by their way. `woken` hears of an event on a queue; None for its queue: the connection was lost."""

    def __init__(self, woken: Callable[[Way, QueueKey | None], None]) -> None:
        self._woken = woken
        self._redises: dict[Way, Redis] = {}

    def of(self, secret: RedisSecret) -> Redis:
        """The one that a Secret leads to. Raises ConfigurationError for an address that cannot be used."""
        way = way_of(secret)
        if way not in self._redises:
            self._redises[way] = Redis(secret, lambda queue: self._woken(way, queue), lambda: self._woken(way, None))
        return self._redises[way]

    def __len__(self) -> int:
        return len(self._redises)

    def listen(self, queues: Mapping[Way, Iterable[QueueKey]]) -> None:
        """Hear of exactly these queues."""
        for way, redis in self._redises.items():
            redis.listen(queues.get(way, ()))

    async def keep(self, ways: Iterable[Way]) -> None:
        """Close those that no pool uses any more."""
        used = set(ways)
        for way in [way for way, redis in self._redises.items() if way not in used and not redis.busy]:
            await self._redises.pop(way).close()

    async def close(self) -> None:
        """Close all."""
        await self.keep(())
        for redis in self._redises.values():
            await redis.close()
        self._redises.clear()
