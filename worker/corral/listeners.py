"""Who listens to a worker, or to a queue. A listener that raises is logged; it never harms a job."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal, get_args

from corral.errors import ConfigurationError

logger = logging.getLogger("corral.listeners")

EventName = Literal[
    "ready",
    "active",
    "completed",
    "failed",
    "retries_exhausted",
    "error",
    "stalled",
    "progress",
    "drained",
    "paused",
    "resumed",
    "lock_renewal_failed",
    "closing",
    "closed",
]
"""What a worker tells; `Worker.on` says what each listener gets."""

Listener = Callable[..., Any]


WORKER_EVENTS: tuple[str, ...] = get_args(EventName)


class Listeners:
    """Listeners, plain or async, called in the order in which they were added. `names`: what there is to listen to,
    that of a worker; None = anything."""

    def __init__(self, names: tuple[str, ...] | None = WORKER_EVENTS) -> None:
        self._names = names
        self._by_event: dict[str, list[Listener]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, event: str, listener: Listener) -> None:
        """Raises ConfigurationError for an unknown event."""
        if self._names is not None and event not in self._names:
            raise ConfigurationError(f"a worker has no event {event!r}; it has {', '.join(self._names)}")
        self._by_event.setdefault(event, []).append(listener)

    def __bool__(self) -> bool:
        return bool(self._by_event)

    def wants(self, event: EventName) -> bool:
        """Whether anyone listens to an event."""
        return event in self._by_event

    def tell(self, event: str, *args: Any) -> None:
        """Call the listeners of an event; async ones run on as tasks of their own."""
        for listener in self._by_event.get(event, ()):
            try:
                result = listener(*args)
            except BaseException:
                logger.exception("a listener of %r raised", event)
                continue
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(self._await(event, result))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _await(self, event: str, result: Awaitable[Any]) -> None:
        try:
            await result
        except asyncio.CancelledError:
            raise
        except BaseException:
            logger.exception("a listener of %r raised", event)

    async def close(self, within: float) -> None:
        """Let the async listeners that run end, for at most `within` seconds."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
