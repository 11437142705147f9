"""The ear at Redis: hears of events of many queues on one connection, so that sleeping pools wake at once.

Where a queue's stream has been heard up to is a position, the id of an entry. A new queue's position is the end of its
stream, and the caller is told once: what came before it has counted the queue and what came after are both seen then.

A Redis Cluster has no read that waits for streams of several nodes: there the ends of the streams are read every POLL_S.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corral.address import make_pool
from corral.connection import Line, retry_pause_s
from corral.errors import RedisRefused, RedisUnavailable
from corral.keys import Keys
from corral_operator.certificates import Certificates
from corral_operator.counting import QueueKey
from corral_operator.secret import RedisSecret

BLOCK_S = 3.0
"""Seconds that Redis holds a read back while nothing happens."""
LATE_S = 1.5
"""Seconds beyond it after which the connection counts as lost; the look that follows has to fail within 10 s of the loss."""
EARLY_S = 0.1
"""An empty answer that comes so much before its time says that somebody unblocked the connection."""
PAUSE_S = 0.25
"""Seconds between an answer and the next read: a storm of events wakes the caller so often at most."""
CHANGE_S = 1.0
"""Seconds between two reads that are given up because the set of queues has changed."""
POLL_S = 2.0
"""Seconds between two reads of a Cluster."""
DEAF_S = 30.0
"""Seconds until a queue whose stream Redis refuses is tried again."""
QUEUES_PER_TRIP = 500

Position = tuple[int, int]
"""An entry's id: ms, and its number within that ms."""
NOTHING: Position = (0, 0)
_OF_ONE_KEY = ("WRONGTYPE", "NOPERM", "CROSSSLOT")


class Listener:
    """Calls `on_event` with a queue whenever something happened to it, or may have; the caller then counts it.

    `on_lost` is called once when the connection fails; when it is back, `on_event` is called for every queue.
    Both are called on the loop and must return at once. Raises ConfigurationError for an address that cannot be used.
    """

    def __init__(self, secret: RedisSecret, on_event: Callable[[QueueKey], None], on_lost: Callable[[], None]) -> None:
        self._on_event, self._on_lost = on_event, on_lost
        self._certificates = Certificates(secret)
        try:
            self._line = Line(make_pool(secret.url, "corral-operator:events", tls=self._certificates.tls))
        except BaseException:
            self._certificates.close()
            raise
        self._queues: frozenset[QueueKey] = frozenset()
        self._positions: dict[QueueKey, Position] = {}
        self._stirred: set[QueueKey] = set()
        """Those that answered last: many entries may have followed the one that was read."""
        self._deaf_until: dict[QueueKey, float] = {}
        self._changed = asyncio.Event()
        self._blocked: asyncio.Timeout | None = None
        self._given_up_at = 0.0
        self._lost = False

    def listen(self, queues: Iterable[QueueKey]) -> None:
        """Hear of exactly these queues from now on. A new one is heard of within CHANGE_S."""
        wanted = frozenset(queues)
        if wanted == self._queues:
            return
        added = wanted - self._queues
        for queue in self._queues - wanted:
            self._positions.pop(queue, None)
            self._deaf_until.pop(queue, None)
            self._stirred.discard(queue)
        self._queues = wanted
        self._changed.set()
        # Those that left are merely not told any more. One give-up serves all changes until it comes.
        if self._blocked is not None and self._blocked.when() is None and (added or not wanted):
            self._blocked.reschedule(max(asyncio.get_running_loop().time(), self._given_up_at + CHANGE_S))

    async def run(self) -> None:
        """The loop. Ends only when cancelled."""
        failures = 0
        while True:
            self._changed.clear()
            if not self._queues:
                await self._line.close()
                await self._changed.wait()
                continue
            try:
                await self._learn_ends()
                await self._hear()
                failures, self._lost = 0, False
            except RedisUnavailable:
                await self._line.close()
                failures += 1
                # Learnt anew when it is back: after a flush or a restore the ids may have gone back.
                self._positions.clear()
                self._stirred.clear()
                if not self._lost:
                    self._lost = True
                    self._on_lost()
                await asyncio.sleep(retry_pause_s(failures, random.random()))

    async def close(self) -> None:
        """Close the connection and remove the certificates; `run` has been cancelled."""
        await self._line.close()
        self._certificates.close()

    async def _learn_ends(self) -> None:
        """Give a position to the queues without one, and bring the stirred ones near the end of their streams."""
        now = asyncio.get_running_loop().time()
        fresh = [each for each in self._queues - self._positions.keys() if self._deaf_until.get(each, now) <= now]
        stirred, self._stirred = self._stirred, set()
        for queue, last in await self._last_entries([*fresh, *stirred]):
            if queue not in self._queues:
                continue
            if queue not in self._positions:
                self._positions[queue] = last[0] if last else NOTHING
                self._deaf_until.pop(queue, None)
                self._on_event(queue)
            elif len(last) > 1:
                # Up to the last but one: if the last one is new, the next read tells it, and all before it, once.
                self._positions[queue] = max(self._positions[queue], last[1])

    async def _last_entries(self, queues: Sequence[QueueKey]) -> list[tuple[QueueKey, list[Position]]]:
        """Ids of the last two entries of each stream, newest first. Those that Redis refuses become deaf; those whose
        node of a Cluster is away are new when it is back. Raises RedisUnavailable when nothing can be read."""
        found = []
        failures: list[RedisUnavailable] = []
        for start in range(0, len(queues), QUEUES_PER_TRIP):
            some = queues[start : start + QUEUES_PER_TRIP]
            asked = [("XREVRANGE", _stream(queue), "+", "-", "COUNT", 2) for queue in some]
            for queue, reply in zip(some, await self._line.call_each(asked, timeout=BLOCK_S + LATE_S), strict=True):
                if not isinstance(reply, RedisUnavailable):
                    found.append((queue, [_position(entry[0]) for entry in reply]))
                elif reply.code in _OF_ONE_KEY:
                    self._deaf_until[queue] = asyncio.get_running_loop().time() + DEAF_S
                    self._positions.pop(queue, None)
                elif self._line.cluster:
                    self._positions.pop(queue, None)
                    failures.append(reply)
                else:
                    raise reply
        if failures and not found:
            raise failures[0]
        return found

    async def _hear(self) -> None:
        """One blocking read of all streams, and what it says."""
        if self._line.cluster:
            await self._poll()
            return
        loop = asyncio.get_running_loop()
        if self._queues - self._positions.keys() - self._deaf_until.keys():
            return  # added while the ends were learnt
        began = loop.time()
        heard = {_stream(queue): queue for queue in self._positions}
        try:
            answer = await self._read(heard)
        except TimeoutError:
            self._given_up_at = loop.time()
            return
        except RedisRefused:
            if await self._found_culprits():
                return
            raise
        if answer:
            self._tell(heard, answer)
        elif loop.time() - began < BLOCK_S - EARLY_S:
            # Something unblocked us, and Redis does not say what.
            for queue in self._queues:
                self._on_event(queue)
        else:
            return
        await asyncio.sleep(PAUSE_S)

    async def _poll(self) -> None:
        """The same for a Cluster, after a while."""
        try:
            async with asyncio.timeout(None) as self._blocked:
                await asyncio.sleep(POLL_S)
        except TimeoutError:
            self._given_up_at = asyncio.get_running_loop().time()
            return
        finally:
            self._blocked = None
        for queue, last in await self._last_entries(list(self._positions)):
            newest = last[0] if last else NOTHING
            if self._positions.get(queue, newest) != newest:
                self._positions[queue] = newest
                self._on_event(queue)

    async def _read(self, heard: Mapping[str, QueueKey]) -> Any:
        """The answer to XREAD. Raises TimeoutError when it is given up because the set has changed."""
        positions = ["{}-{}".format(*self._positions[queue]) for queue in heard.values()]
        block = ("XREAD", "COUNT", 1, "BLOCK", round(BLOCK_S * 1000), "STREAMS")
        try:
            async with asyncio.timeout(None) as self._blocked:
                if not heard:
                    return await asyncio.sleep(BLOCK_S)
                return await self._line.call(*block, *heard, *positions, timeout=BLOCK_S + LATE_S)
        finally:
            self._blocked = None

    def _tell(self, heard: Mapping[str, QueueKey], answer: Any) -> None:
        for stream, entries in answer:
            queue = heard[stream.decode()]
            if queue in self._positions:
                self._positions[queue] = _position(entries[-1][0])
                self._stirred.add(queue)
                self._on_event(queue)

    async def _found_culprits(self) -> bool:
        """Whether single streams were what made Redis refuse to read all of them; those are deaf now."""
        before = len(self._positions)
        await self._last_entries(list(self._positions))
        return len(self._positions) < before


def _stream(queue: QueueKey) -> str:
    return Keys(queue.name, queue.prefix).base + "events"


def _position(entry_id: bytes) -> Position:
    ms, number = entry_id.split(b"-")
    return int(ms), int(number)
