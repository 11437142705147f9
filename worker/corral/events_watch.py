"""Waiting for the ends of jobs: hears of them in the events, and looks for itself every few seconds.

A look alone cannot tell a job that retention removed as it completed from one that was removed: the event has the value.
So a job that is gone is answered only when the events have been read beyond the moment of the look.
"""

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from corral.connection import Line, retry_pause_s
from corral.errors import RedisUnavailable
from corral.events_gap import START, order
from corral.events_record import Event
from corral.keys import Keys
from corral.payload import from_json

logger = logging.getLogger("corral.events")

LOOK_S = 5.0
"""Seconds between two looks at the jobs that somebody waits for."""
AWAY_S = 30.0
"""How long Redis may be away before those are told who have set no time limit."""
CHUNK = 250
"""Jobs looked at in one round trip."""
LOOKS_AT_MOST = 3
"""After so many looks a job that is gone counts as gone, wherever the events are."""


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended, or why nobody will hear of it: its value, its reason, nothing, or the error."""

    kind: Literal["completed", "failed", "gone", "lost"]
    value: Any = None


@dataclass(eq=False, slots=True)
class Waiter:
    """One who waits for the end of a job."""

    end: asyncio.Future[End]
    limited: bool
    since: str | None = None
    """The newest event before the first look: what it and older ones tell is of earlier runs."""
    early: list[Event] = field(default_factory=list)
    """What was heard before `since` was known."""
    gone_at: str = START
    """The newest event when a look did not find the job."""
    gone_looks: int = 0

    def hear(self, event: Event) -> None:
        """An event of the job."""
        if self.since is None:
            self.early.append(event)
        elif order(event.id) > order(self.since) and (end := end_in(event)) is not None:
            self.answer(end)

    def looked(self, since: str) -> None:
        """A look has begun when `since` was the newest event."""
        if self.since is None:
            self.since = since
            for event in self.early:
                self.hear(event)
            self.early.clear()

    def answer(self, end: End) -> None:
        """Tell the end, if it is not told yet."""
        if not self.end.done():
            self.end.set_result(end)


class EndWatch:
    """Who waits for which job of one queue; any number of waiters cost one look together."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line, self._keys = line, keys
        self._waiting: dict[str, set[Waiter]] = {}
        self._due = asyncio.Event()
        self._heard_to = START
        self.trouble: RedisUnavailable | None = None
        """Why jobs cannot be looked at now."""

    def expect(self, job_id: str, *, limited: bool) -> Waiter:
        """Begin to wait, with a time limit or without; `forget` it at the end."""
        waiter = Waiter(asyncio.get_running_loop().create_future(), limited)
        self._waiting.setdefault(job_id, set()).add(waiter)
        self._due.set()
        return waiter

    def forget(self, job_id: str, waiter: Waiter) -> None:
        """Somebody waits no longer."""
        waiters = self._waiting.get(job_id, set())
        waiters.discard(waiter)
        if not waiters:
            self._waiting.pop(job_id, None)

    def look_soon(self) -> None:
        """Something may have been missed."""
        self._due.set()

    def heard(self, events: Sequence[Event], up_to: str) -> None:
        """Events in order; all up to the id `up_to` are known now."""
        for event in events:
            for waiter in self._waiting.get(event.job_id or "", ()):
                waiter.hear(event)
        self._heard_to = up_to
        for waiter in self._all():
            self._settle_gone(waiter)

    def give_up(self, error: RedisUnavailable) -> None:
        """Nobody will hear anything any more."""
        for waiter in self._all():
            waiter.answer(End("lost", error))

    def _all(self) -> Iterator[Waiter]:
        return chain.from_iterable(self._waiting.values())

    async def run(self) -> None:
        """The loop. Ends only when cancelled."""
        loop = asyncio.get_running_loop()
        failures, since = 0, 0.0
        while True:
            try:
                await self._look()
                failures, self.trouble = 0, None
            except RedisUnavailable as error:
                failures, since = failures + 1, since if failures else loop.time()
                self.trouble = error
                if loop.time() - since >= AWAY_S:
                    for waiter in self._all():
                        if not waiter.limited:
                            waiter.answer(End("lost", error))
                await asyncio.sleep(retry_pause_s(failures, random.random()))
                continue
            await self._until_due()

    async def _until_due(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S if self._waiting else None):
                await self._due.wait()
        except TimeoutError:
            pass
        self._due.clear()

    async def _look(self) -> None:
        ids = list(self._waiting)
        newest = ("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        for start in range(0, len(ids), CHUNK):
            # Who comes while the look is under way waits for the next one: this one may be of an earlier run.
            asked = [(id, list(self._waiting.get(id, ()))) for id in ids[start : start + CHUNK]]
            commands: list[tuple[Any, ...]] = [newest]
            for id, _ in asked:
                commands += finish_commands(self._keys, id)
            before, *replies, after = await self._line.call_many([*commands, newest])
            each = len(replies) // len(asked)
            for place, (_, waiters) in enumerate(asked):
                end = read_end(replies[place * each : place * each + each])
                for waiter in waiters:
                    waiter.looked(newest_id(before))
                    if end is not None and end.kind == "gone":
                        waiter.gone_at, waiter.gone_looks = newest_id(after), waiter.gone_looks + 1
                        self._settle_gone(waiter)
                    elif end is not None:
                        waiter.answer(end)

    def _settle_gone(self, waiter: Waiter) -> None:
        heard = order(self._heard_to) >= order(waiter.gone_at)
        if waiter.gone_looks and (heard or waiter.gone_looks >= LOOKS_AT_MOST):
            waiter.answer(End("gone"))


def newest_id(reply: Any) -> str:
    """The id in the reply of XREVRANGE; that before all others when the stream is empty."""
    return str(reply[0][0].decode()) if reply else START


def end_in(event: Event) -> End | None:
    """The end that an event tells of."""
    match event.name:
        case "completed":
            return End("completed", event.fields.get("returnvalue"))
        case "failed":
            return End("failed", event.fields.get("failed_reason", ""))
        case "removed":
            return End("gone")
    return None


def ends_in(events: Sequence[Event], job_id: str) -> End | None:
    """The first end of one job among events."""
    return next((end for event in events if event.job_id == job_id and (end := end_in(event)) is not None), None)


def finish_commands(keys: Keys, job_id: str) -> list[tuple[Any, ...]]:
    """What is read to know whether a job has finished. The states first: what is read later is not older than they."""
    return [
        ("ZSCORE", keys.completed, job_id),
        ("ZSCORE", keys.failed, job_id),
        ("HMGET", keys.job(job_id), "returnvalue", "failedReason"),
        ("EXISTS", keys.job(job_id)),
    ]


def read_end(replies: Sequence[Any]) -> End | None:
    """What the replies to `finish_commands` say; None = it has not finished."""
    completed, failed, (value, reason), there = replies
    if not there:
        return End("gone")
    if completed is not None:
        return End("completed", _value(value))
    if failed is not None:
        return End("failed", (reason or b"").decode(errors="replace"))
    return None


def _value(stored: bytes | None) -> Any:
    if stored is None:
        return None
    text = stored.decode(errors="replace")
    try:
        return from_json(text)
    except (ValueError, RecursionError):
        return text
