"""QueueEventsProducer: events of one's own in a queue's stream, which every QueueEvents hears, Node's too."""

import os
from typing import Any, Self

from redis.asyncio import Redis

from corral.address import make_pool
from corral.connection import Lines
from corral.errors import ConfigurationError
from corral.events_record import BULLMQ_EVENTS, GAP
from corral.keys import DEFAULT_PREFIX, Keys
from corral.payload import storable, to_json

_NOT_OURS = BULLMQ_EVENTS | {GAP, "ready", "error", "*", ""}
"""Names that mean something to listeners: `completed` without a value ends Node's, and so does an unheard `error`."""


class QueueEventsProducer:
    """Publishes custom events.

    redis, prefix: as for Queue. max_events: about how many events of all kinds the stream keeps after each; the default
    is BullMQ's length of the stream. (The producer of Node cuts it to 1,000.)
    """

    def __init__(
        self, queue: str, *, redis: str | Redis | None = None, prefix: str | None = None, max_events: int = 10_000
    ) -> None:
        if max_events < 1:
            raise ConfigurationError(f"max_events is at least 1, got {max_events}")
        self.keys = Keys(queue, prefix or os.environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX)
        self._most = max_events
        self._lines = Lines(make_pool(redis))

    async def publish_event(self, name: str, /, **fields: Any) -> str:
        """Tell all listeners of an event; gives its id.

        The fields travel as texts under their own names: texts as they are, everything else as JSON. A field `jobId`
        is what `Event.job_id` reads, and lets Node's listeners hear `name:jobId`.
        Raises ConfigurationError for a name of BullMQ's own events, PayloadNotJSON, RedisUnavailable.
        """
        if name in _NOT_OURS or "event" in fields:
            raise ConfigurationError(
                f"a custom event cannot be named {name!r}"
                if name in _NOT_OURS
                else "a custom event cannot have a field 'event', which holds its name; rename it"
            )
        parts: list[str] = []
        for key, value in fields.items():
            text = storable(value) if isinstance(value, str) else to_json(value, f"field {key!r} of event {name!r}")
            parts += (storable(key), text)
        id = await self._lines.call(
            "XADD", self.keys.events, "MAXLEN", "~", self._most, "*", "event", storable(name), *parts
        )
        return str(id.decode())

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
