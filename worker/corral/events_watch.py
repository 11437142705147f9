"""Waiting for the ends of jobs: hears of them in the events, and looks for itself every few seconds.

A look alone cannot tell a job that retention removed as it completed from one that was removed: the event has the value.
So a job that is gone is answered only when the events have been read beyond the moment of the look.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from corral.connection import Line, retry_pause_s
from corral.errors import RedisUnavailable
from corral.events_gap import order
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


class EndWatch:
    """Who waits for which job of one queue; any number of waiters cost one look together."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line, self._keys = line, keys
        self._waiting: dict[str, set[asyncio.Future[End]]] = {}
        self._gone: dict[str, tuple[str, int]] = {}
        """Jobs that a look did not find: the last event at that time, and how many looks."""
        self._due = asyncio.Event()
        self._heard_to = "0-0"
        self.trouble: RedisUnavailable | None = None
        """Why jobs cannot be looked at now."""

    def expect(self, job_id: str) -> asyncio.Future[End]:
        """Begin to wait; `forget` it at the end."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        self._due.set()
        return future

    def forget(self, job_id: str, future: asyncio.Future[End]) -> None:
        """Somebody waits no longer."""
        waiters = self._waiting.get(job_id, set())
        waiters.discard(future)
        if not waiters:
            self._waiting.pop(job_id, None)
            self._gone.pop(job_id, None)

    def look_soon(self) -> None:
        """Something may have been missed."""
        self._due.set()

    def heard(self, events: Sequence[Event], up_to: str) -> None:
        """Events in order; all up to the id `up_to` are known now."""
        for event in events:
            job_id = event.job_id
            if job_id in self._waiting and (end := end_in(event)) is not None:
                self._answer(job_id, end)
        self._heard_to = up_to
        for job_id, (last, looks) in list(self._gone.items()):
            self._settle_gone(job_id, last, looks)

    def give_up(self, error: RedisUnavailable) -> None:
        """Nobody will hear anything any more."""
        for job_id in list(self._waiting):
            self._answer(job_id, End("lost", error))

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
                    self.give_up(error)
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
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            commands: list[tuple[Any, ...]] = []
            for id in chunk:
                commands += finish_commands(self._keys, id)
            replies = await self._line.call_many(commands)
            each = len(replies) // len(chunk)
            ends = {id: read_end(replies[place * each : place * each + each]) for place, id in enumerate(chunk)}
            for id, end in ends.items():
                if end is not None and end.kind != "gone":
                    self._answer(id, end)
            if gone := [id for id, end in ends.items() if end is not None and end.kind == "gone"]:
                await self._not_found(gone)

    async def _not_found(self, ids: list[str]) -> None:
        newest = await self._line.call("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        last = newest[0][0].decode() if newest else "0-0"
        for id in ids:
            if id in self._waiting:
                _, looks = self._gone.get(id, ("", 0))
                self._gone[id] = last, looks + 1
                self._settle_gone(id, last, looks + 1)

    def _settle_gone(self, job_id: str, last: str, looks: int) -> None:
        if order(self._heard_to) >= order(last) or looks >= LOOKS_AT_MOST:
            self._answer(job_id, End("gone"))

    def _answer(self, job_id: str, end: End) -> None:
        self._gone.pop(job_id, None)
        for future in self._waiting.pop(job_id, ()):
            if not future.done():
                future.set_result(end)


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
