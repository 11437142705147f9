"""Reads one events stream from a place on, across breaks of the connection, and tells when something was missed."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from corral.connection import Line, retry_pause_s
from corral.errors import RedisRefused, RedisUnavailable
from corral.events_gap import Place, StreamFacts, judge, read_facts
from corral.events_record import Event, gap_event, read_event

BLOCK_S = 5.0
"""How long Redis waits for a new event before it says that there is none: so a dead connection is noticed."""
MOST = 1000
"""Events of one reply."""
UNWATCHED_S = 1.0
"""After a longer pause the stream may have been cut past our place."""


async def stream_facts(line: Line, key: str) -> StreamFacts | None:
    """What Redis tells of a stream; None = it does not exist. Raises RedisUnavailable, RedisRefused."""
    (reply,) = await line.call_each([("XINFO", "STREAM", key)])
    return _facts(reply)


def _facts(reply: Any) -> StreamFacts | None:
    if isinstance(reply, RedisRefused):
        if "no such key" in str(reply):
            return None
        raise reply
    return read_facts(reply)


class EventStream:
    """A reader with a connection of its own. `told` hears each RedisUnavailable that begins an outage, and None when
    Redis answers: at first, and after each outage."""

    def __init__(self, line: Line, key: str, place: Place, told: Callable[[RedisUnavailable | None], None]) -> None:
        self._line, self._key, self.place, self._told = line, key, place, told
        self._failures = 0
        self._answered: float | None = None  # None = our place must be looked at
        self._met = False
        self._read: deque[str] = deque(maxlen=MOST)

    async def next(self) -> list[Event]:
        """Wait for the next events, at least one. Cancelled, it loses none."""
        while True:
            try:
                events = await self._ask()
            except RedisUnavailable as error:
                self._answered, self._met = None, False
                self._failures += 1
                if self._failures == 1:
                    self._told(error)
                await asyncio.sleep(retry_pause_s(self._failures, random.random()))
                continue
            self._failures = 0
            if not self._met:
                self._met = True
                self._told(None)
            if events:
                return events

    async def _ask(self) -> list[Event]:
        if self._line.fresh or self._answered is None or time.monotonic() - self._answered > UNWATCHED_S:
            return await self._look()
        self._answered = None  # until the answer is there: a call that is given up leaves it open
        reply = await self._line.call(
            *("XREAD", "COUNT", MOST, "BLOCK", round(BLOCK_S * 1000), "STREAMS", self._key, self.place.id),
            timeout=BLOCK_S + 2.0,
        )
        return self._taken(reply)

    async def _look(self) -> list[Event]:
        """Read on, but look first, in one round trip, whether everything behind our place is still there."""
        place = self.place
        at, info, reply = await self._line.call_each(
            [
                ("XRANGE", self._key, place.id, place.id),
                ("XINFO", "STREAM", self._key),
                ("XREAD", "COUNT", MOST, "STREAMS", self._key, place.id),
            ]
        )
        for answer in (at, reply):
            if isinstance(answer, RedisRefused):
                raise answer
        facts = _facts(info)
        known = facts is not None and facts.last in self._read
        self.place, gap = judge(place, facts, there=bool(at), last_is_known=known)
        told = [] if gap is None else [gap_event(self.place.id, gap.reason, gap.lost, place.id)]
        if self.place.id != place.id:
            self._answered = time.monotonic()
            return told  # what may have come meanwhile was read from another place
        return told + self._taken(reply)

    def _taken(self, reply: Any) -> list[Event]:
        entries = reply[0][1] if reply else []
        events = [read_event(id, flat) for id, flat in entries if flat is not None]
        # A full reply means that we are behind, and the stream may be cut meanwhile.
        self._answered = None if len(entries) == MOST else time.monotonic()
        if entries:
            number = self.place.number
            last = entries[-1][0].decode()
            self.place = Place(last, None if number is None else number + len(entries))
            self._read.extend(id.decode() for id, _ in entries)
        return events

    async def close(self) -> None:
        """Drop the connection."""
        await self._line.close()
