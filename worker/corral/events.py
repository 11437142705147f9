"""QueueEvents: what happens in a queue, whoever does it, as it happens."""

import asyncio
import logging
import os
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self, TypeVar, overload

from redis.asyncio import Redis

from corral.address import make_pool
from corral.connection import Line, retry_pause_s
from corral.errors import ConfigurationError, RedisRefused, RedisUnavailable, shown
from corral.events_gap import START, Place
from corral.events_record import GAP, Event
from corral.events_stream import EventStream, stream_facts
from corral.events_watch import EndWatch
from corral.keys import DEFAULT_PREFIX, Keys
from corral.listeners import Listeners

logger = logging.getLogger("corral.events")

L = TypeVar("L", bound=Callable[..., Any])

_PASSING = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"})
"""Refusals that pass by themselves."""


class QueueEvents(AsyncIterator[Event]):
    """Listens to the events of one queue, of all its workers and producers.

        async with QueueEvents("mail") as events:
            async for event in events:
                print(event.name, event.fields)

    or, beside other work, `@events.on("completed")`. It hears everything from `async with` (or `start`) on, however
    late one begins to iterate: the stream itself is the buffer, and Redis keeps about the last 10,000 events of a queue.
    When it missed some (Redis was away for too long, or the reader too slow) it tells an event `gap` and goes on; see
    `Event`.

    redis, prefix: as for Queue. last_event_id: `$` = from now on, `0` = from the oldest event that is kept, or the `id`
    of an event that was the last one dealt with.

    Iterating and calling listeners are two readers, each with its connection and its place: neither slows the other
    down, and both hear everything. Only one iteration at a time; for another, make another QueueEvents.
    """

    def __init__(
        self,
        queue: str,
        *,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        last_event_id: str = "$",
    ) -> None:
        self.keys = Keys(queue, prefix or os.environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX)
        if last_event_id != "$" and not re.fullmatch(r"\d+(-\d+)?", last_event_id, re.ASCII):
            raise ConfigurationError(f"last_event_id is '$', '0' or the id of an event, got {shown(last_event_id)}")
        self._from = last_event_id
        self._unnamed = make_pool(redis)
        self._pool = make_pool(redis, f"{self.keys.client_name()}:qe")
        self._lines: list[Line] = []
        self._listeners = Listeners(None)
        self._begin: Place | None = None
        self._starting: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._heard: EventStream | None = None
        """What the listeners hear."""
        self._watch: EndWatch | None = None
        self._stream: EventStream | None = None
        """What is iterated over."""
        self._ahead: deque[Event] = deque()
        self._reading: asyncio.Task[list[Event]] | None = None
        self._iterating = False
        self._closed = False
        self.trouble: RedisUnavailable | None = None
        """Why it hears nothing now; None = it does."""

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    @overload
    def on(self, event: str) -> Callable[[L], L]: ...
    @overload
    def on(self, event: str, listener: L) -> L: ...
    def on(self, event: str, listener: L | None = None) -> L | Callable[[L], L]:
        """Call a plain or async function with each Event of this name, `*` for all; also as a decorator.

        Two names tell of the listening itself: `ready` (no argument) when Redis answers, at first and after each
        outage, and `error` (RedisUnavailable) when an outage begins. Custom events of these names are told to `*` only.
        A listener that raises is logged.
        """

        def add(function: L) -> L:
            self._listeners.add(event, function)
            if self._begin is not None:
                self._listen()
            return function

        return add if listener is None else add(listener)

    async def start(self) -> None:
        """Connect, and find the place from which everything is heard. Waits while Redis is away.

        Raises RedisRefused when Redis refuses for good, for a wrong password say.
        """
        if self._closed:
            raise RedisUnavailable(f"the listener of queue {self.name!r} is closed")
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start of the events of {self.name}")
        elif self._starting.get_loop() is not asyncio.get_running_loop():
            raise ConfigurationError("a QueueEvents belongs to the event loop that started it; make one for each loop")
        starting = self._starting
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled():  # by `close`
                raise RedisUnavailable(f"the listener of queue {self.name!r} was closed") from None
            raise
        finally:
            if starting.done() and (starting.cancelled() or starting.exception()):
                self._starting = None

    async def _start(self) -> None:
        failures = 0
        while True:
            try:
                self._begin = await self._first_place()
                self.trouble = None
                break
            except RedisRefused as error:
                if error.code not in _PASSING:
                    raise
                self._outage(error)
            except RedisUnavailable as error:
                self._outage(error)
            failures += 1
            await asyncio.sleep(retry_pause_s(failures, random.random()))
        if self._listeners:
            self._listen()

    async def _first_place(self) -> Place:
        """Where to begin: `$` becomes an id here, so that nothing falls between two reads."""
        line = Line(self._pool)
        try:
            try:
                await line.call("PING")
            except RedisRefused as error:
                if error.code != "NOPERM":
                    raise
                logger.debug("the connection has no name: its user may not set one")
                self._pool = self._unnamed
                line = Line(self._pool)
            facts = await stream_facts(line, self.keys.events)
        finally:
            await line.close()
        if self._from == "$":
            return Place(START, 0) if facts is None else Place(facts.last, facts.added)
        return Place(self._from if "-" in self._from else f"{self._from}-0", None)

    def _line(self) -> Line:
        line = Line(self._pool)
        self._lines.append(line)
        return line

    def _outage(self, error: RedisUnavailable) -> None:
        if self.trouble is None:
            logger.warning("the events of queue %s are not heard for now: %s", self.name, error)
            self._listeners.tell("error", error)
        self.trouble = error

    def _told(self, error: RedisUnavailable | None) -> None:
        if error is not None:
            self._outage(error)
            return
        if self.trouble is not None:
            logger.info("the events of queue %s are heard again", self.name)
        self.trouble = None
        self._listeners.tell("ready")
        if self._watch is not None:
            self._watch.look_soon()

    def _listen(self) -> EventStream:
        """Begin to read for the listeners, and for those who wait for jobs."""
        if self._heard is None:
            self._heard = self._new_stream(self._told)
            self._keep(self._run(self._heard), f"events of {self.name}")
        return self._heard

    def _new_stream(self, told: Callable[[RedisUnavailable | None], None]) -> EventStream:
        if self._closed or self._begin is None:
            raise RedisUnavailable(f"the listener of queue {self.name!r} has not started, or is closed")
        return EventStream(self._line(), self.keys.events, self._begin, told)

    def _keep(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._ended)
        self._loops.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            logger.critical("%s broke: %r", task.get_name(), task.exception())
            if self._watch is not None:
                self._watch.give_up(RedisUnavailable(f"the listener of queue {self.name!r} broke; see the log"))

    async def _run(self, stream: EventStream) -> None:
        while True:
            events = await stream.next()
            for event in events:
                if event.name not in ("ready", "error", "*"):
                    self._listeners.tell(event.name, event)
                self._listeners.tell("*", event)
            if self._watch is not None:
                self._watch.heard(events, stream.place.id)
                if any(event.name == GAP for event in events):
                    self._watch.look_soon()

    def watch(self) -> EndWatch:
        """Who waits for jobs of the queue; it must have started. For `Job.wait_until_finished`."""
        heard = self._listen()
        if self._watch is None:
            self._watch = EndWatch(self._line(), self.keys)
            self._watch.heard((), heard.place.id)
            self._keep(self._watch.run(), f"look after jobs of {self.name}")
        return self._watch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. Waits while there is none, and while Redis is away. Ends when it is closed."""
        if self._iterating:
            raise RuntimeError("somebody iterates over these events already; make another QueueEvents")
        if self._ahead:
            return self._ahead.popleft()
        if self._closed:
            raise StopAsyncIteration
        if self._reading is None:
            self._reading = asyncio.create_task(self._next(), name=f"next event of {self.name}")
        self._iterating = True
        try:
            # An iteration that is given up leaves the read to the next one: it may have the events already.
            await asyncio.wait([self._reading])
        finally:
            self._iterating = False
        reading, self._reading = self._reading, None
        try:
            self._ahead.extend(reading.result())
        except (asyncio.CancelledError, RedisUnavailable):
            if self._closed:
                raise StopAsyncIteration from None
            raise
        return self._ahead.popleft()

    async def _next(self) -> list[Event]:
        if self._stream is None:
            await self.start()
            self._stream = self._new_stream(self._told_iterator)
        return await self._stream.next()

    def _told_iterator(self, error: RedisUnavailable | None) -> None:
        if self._heard is None:  # else it tells
            self._told(error)

    async def close(self) -> None:
        """Stop listening, and close the connections. An iteration ends, whoever waits for a job is told."""
        self._closed = True
        tasks = [task for task in (self._starting, self._reading, *self._loops) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._watch is not None:
            self._watch.give_up(RedisUnavailable(f"the listener of queue {self.name!r} was closed"))
        await self._listeners.close(within=1.0)
        for line in self._lines:
            await line.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
