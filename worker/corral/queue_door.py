"""What everything that a Queue can do shares: its keys, and the way to Redis."""

import os
from typing import Literal, Self

from redis.asyncio import Redis

from corral.address import make_pool
from corral.connection import Lines
from corral.errors import ConfigurationError, shown
from corral.job_calls import JobCalls
from corral.keys import DEFAULT_PREFIX, Keys

Dialect = Literal["auto", "v5", "v6"]
"""Which layout a paused queue has: that of BullMQ 5, of 6, or (auto) what the queue's own keys show."""


def dialect_arg(dialect: Dialect) -> str:
    """The dialect as the scripts read it. Raises ConfigurationError."""
    if dialect not in ("auto", "v5", "v6"):
        raise ConfigurationError(f"dialect is 'auto', 'v5' or 'v6', got {shown(dialect)}")
    return "" if dialect == "auto" else dialect


class QueueDoor:
    """One queue on one Redis. The rooms of `Queue` are built on it."""

    def __init__(
        self,
        name: str,
        *,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        dialect: Dialect = "auto",
    ) -> None:
        self.keys = Keys(name, prefix or os.environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX)
        self._dialect = dialect_arg(dialect)
        self._lines = Lines(make_pool(redis))

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    def _calls(self) -> JobCalls:
        """What the queue's jobs ask through."""
        return JobCalls(self._lines, self.keys, self._dialect)

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
