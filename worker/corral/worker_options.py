"""What the user's code said of a worker."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from redis.asyncio import Redis

from corral.ending import BackoffStrategy, Ending
from corral.errors import ConfigurationError, InvalidJob, shown
from corral.executor import Processor
from corral.keys import Keys
from corral.lifecycle import Retention
from corral.moments import Duration, to_ms
from corral.queue_door import Dialect, dialect_arg
from corral.rate_limit import RateLimit
from corral.retention import Keep, keep_option

HOUR_MS = 3_600_000
"""The longest lock: a job of a dead worker waits for so long. (And who says 30000 means milliseconds.)"""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Times in milliseconds. None = left to the environment, or not wanted."""

    redis: str | Redis | None = field(repr=False)
    prefix: str | None
    name: str | None
    lock_ms: int
    stalled_ms: int
    max_stalled: int
    limit: RateLimit | None
    timeout_ms: int | None
    dead_letters: str | None
    ending: Ending
    dialect: str

    @classmethod
    def checked(
        cls,
        *,
        redis: str | Redis | None,
        prefix: str | None,
        name: str | None,
        lock_duration: Duration,
        stalled_interval: Duration,
        max_stalled_count: int,
        max_started_attempts: int | None,
        limiter: RateLimit | None,
        job_timeout: Duration | None,
        dead_letter_queue: str | None,
        backoff_strategy: BackoffStrategy | None,
        remove_on_complete: bool | int | Keep | None,
        remove_on_fail: bool | int | Keep | None,
        metrics_points: int,
        dialect: Dialect,
    ) -> Self:
        """From the arguments of `Worker`. Raises ConfigurationError."""
        whole("max_stalled_count", max_stalled_count, 0)
        whole("metrics_points", metrics_points, 0)
        if max_started_attempts is not None:
            whole("max_started_attempts", max_started_attempts, 1)
        if limiter is not None and not isinstance(limiter, RateLimit):
            raise ConfigurationError(f"limiter is a RateLimit, like RateLimit.per(10, 1); got {shown(limiter)}")
        if backoff_strategy is not None and not callable(backoff_strategy):
            raise ConfigurationError(f"backoff_strategy is a function, got {shown(backoff_strategy)}")
        if dead_letter_queue is not None:
            Keys(dead_letter_queue)
        try:
            lock_ms, stalled_ms = to_ms(lock_duration), to_ms(stalled_interval)
            timeout_ms = None if job_timeout is None else to_ms(job_timeout)
            retention = Retention(keep_option(remove_on_complete), keep_option(remove_on_fail))
        except InvalidJob as error:
            raise ConfigurationError(str(error)) from None
        if not (100 <= lock_ms <= HOUR_MS and 100 <= stalled_ms <= HOUR_MS):
            raise ConfigurationError("lock_duration and stalled_interval are a timedelta or seconds, 0.1 s to an hour")
        if timeout_ms == 0:
            raise ConfigurationError("job_timeout is at least 1 ms; leave it out for jobs that may run for ever")
        ending = Ending(retention, max_started_attempts, backoff_strategy, metrics_points)
        return cls(
            redis,
            prefix,
            name,
            lock_ms,
            stalled_ms,
            max_stalled_count,
            limiter,
            timeout_ms,
            dead_letter_queue,
            ending,
            dialect_arg(dialect),
        )


def whole(name: str, value: object, least: int) -> None:
    """Raises ConfigurationError unless `value` is a whole number from `least` up."""
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{name} is a whole number from {least} up, got {shown(value)}")


def queue_and_processor(
    queue: str | Sequence[str] | Processor, processor: Processor | None
) -> tuple[tuple[str, ...], Processor | None]:
    """Tell `Worker(send)` from `Worker("emails", send)`. Raises ConfigurationError."""
    if callable(queue):
        if processor is not None:
            raise ConfigurationError("the queue's name comes first: Worker('emails', send)")
        return (), queue
    if processor is not None and not callable(processor):
        raise ConfigurationError(f"a worker needs a processor, a function that takes the job; got {shown(processor)}")
    names = (queue,) if isinstance(queue, str) else tuple(queue) if isinstance(queue, Sequence) else (queue,)
    if not names:
        raise ConfigurationError("the list of queues is empty; name one, or write Worker(send) and set CORRAL_QUEUES")
    for name in names:
        Keys(name)
    if len(set(names)) < len(names):
        raise ConfigurationError(f"a queue is named twice in {', '.join(names)}")
    return names, processor
