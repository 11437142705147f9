"""The limits of a Queue: how many jobs at once, how many in a span of time. They hold for workers of every library.

A limit that is lifted or raised wakes a worker, so that what it held up does not wait for the next look.
"""

from corral import admin_scripts
from corral.errors import ConfigurationError
from corral.moments import Duration, to_ms
from corral.queue_door import QueueDoor
from corral.rate_limit import RateLimit

_BEYOND_ALL = 9007199254740991
"""More jobs than any limit allows: what a manual rate limit writes as their number."""


class QueueLimits(QueueDoor):
    """See the module's docstring."""

    async def set_global_concurrency(self, concurrency: int) -> None:
        """Let at most so many jobs of this queue run at once, over all workers. Raises ConfigurationError."""
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(
                f"a concurrency is a whole number from 1 up, got {concurrency!r}; 0 would be pause()"
            )
        await admin_scripts.set_limits(self._lines, self.keys, {"concurrency": concurrency})

    async def remove_global_concurrency(self) -> None:
        """Let each worker decide how many it runs."""
        await admin_scripts.set_limits(self._lines, self.keys, {"concurrency": None})

    async def get_global_concurrency(self) -> int | None:
        """How many jobs may run at once; None = no limit."""
        return _whole(await self._lines.call("HGET", self.keys.meta, "concurrency"))

    async def is_maxed(self) -> bool:
        """Whether as many jobs run as the global concurrency allows."""
        limit, active = await self._lines.call_many(
            [("HGET", self.keys.meta, "concurrency"), ("LLEN", self.keys.active)]
        )
        most = _whole(limit)
        return most is not None and int(active) >= most

    async def set_global_rate_limit(self, max: int, duration: Duration) -> None:  # noqa: A002  (BullMQ's word)
        """Let at most `max` jobs start in each span of time (a timedelta or seconds), over all workers.

        It overrides the workers' own limits. Raises ConfigurationError.
        """
        limit = RateLimit.per(max, duration)
        await admin_scripts.set_limits(self._lines, self.keys, {"max": limit.max, "duration": limit.duration_ms})

    async def remove_global_rate_limit(self) -> None:
        """Leave the rate to the workers' own limits."""
        await admin_scripts.set_limits(self._lines, self.keys, {"max": None, "duration": None})

    async def get_global_rate_limit(self) -> RateLimit | None:
        """The rate limit of the queue; None = it has none, or none that means anything."""
        jobs, duration_ms = map(_whole, await self._lines.call("HMGET", self.keys.meta, "max", "duration"))
        return RateLimit(jobs, duration_ms) if jobs and duration_ms else None

    async def get_rate_limit_ttl(self, max_jobs: int | None = None) -> float:
        """Seconds until more jobs may start; 0 = they may now.

        max_jobs: the limit to compare with, by default that of the queue; without either, the seconds that the window
        (or a manual limit) lasts.
        """
        limit, started, left_ms = await self._lines.call_many(
            [("HGET", self.keys.meta, "max"), ("GET", self._limiter), ("PTTL", self._limiter)]
        )
        most = max_jobs if max_jobs is not None else _whole(limit)
        if most is not None and (_whole(started) or 0) < most:
            return 0.0
        return max(0, int(left_ms)) / 1000

    async def rate_limit(self, duration: Duration) -> None:
        """Let no job start for a while (a timedelta or seconds).

        Workers heed it that have a rate limit, their own or the queue's; any other ignores it. Raises InvalidJob.
        """
        await self._lines.call("SET", self._limiter, _BEYOND_ALL, "PX", max(1, to_ms(duration)))

    async def remove_rate_limit_key(self) -> bool:
        """End the present window of the rate limit, or a manual one; False when there was none."""
        was_there = bool(await self._lines.call("DEL", self._limiter))
        await admin_scripts.set_limits(self._lines, self.keys, {})
        return was_there

    @property
    def _limiter(self) -> str:
        return self.keys.base + "limiter"


def _whole(value: bytes | None) -> int | None:
    """A number as another client wrote it; None = there is none, or something else."""
    return int(value) if value is not None and value.isdigit() else None
