"""Worker: what a user writes. Its options, its listeners, and the beginning and end of its run."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar, overload

from redis.asyncio import Redis

from corral.backoff import Duration, to_ms
from corral.errors import ConfigurationError, InvalidJob
from corral.executor import Processor
from corral.keys import Keys
from corral.lifecycle import Retention
from corral.listeners import EventName, Listener, Listeners
from corral.metrics import Metrics
from corral.queue_door import Dialect, dialect_arg
from corral.retention import Keep, keep_option
from corral.settings import Settings
from corral.shift import Shift, WorkerOptions
from corral.slots import Slots

L = TypeVar("L", bound=Listener)


class Worker:
    """Runs the jobs of one or more queues with one processor.

    `Worker("emails", send)` serves that queue, `Worker(send)` those of CORRAL_QUEUES.

    concurrency: jobs at once, over all its queues; default CORRAL_CONCURRENCY, else 1.
    redis: a URL or a redis-py client whose settings are copied; default REDIS_URL.
    prefix: first part of every key; default CORRAL_PREFIX, else `bull`.
    name: what jobs say who ran them (`pb`), and dashboards who is there; default POD_NAME, else none.
    lock_duration: how long a job is ours without a renewal (default 30 s).
    stalled_interval: how often to look for jobs of dead workers (default 30 s).
    max_stalled_count: how often a job may lose its worker before it is failed (default 1).
    remove_on_complete, remove_on_fail: retention of jobs that say nothing themselves; default keep all.
    dialect: layout of a paused queue; leave it at `auto`.

    Raises ConfigurationError.
    """

    def __init__(
        self,
        queue: str | Sequence[str] | Processor,
        processor: Processor | None = None,
        *,
        concurrency: int | None = None,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        name: str | None = None,
        lock_duration: Duration = 30.0,
        stalled_interval: Duration = 30.0,
        max_stalled_count: int = 1,
        remove_on_complete: bool | int | Keep | None = None,
        remove_on_fail: bool | int | Keep | None = None,
        dialect: Dialect = "auto",
    ) -> None:
        names, self._processor = _queue_and_processor(queue, processor)
        for each in names:
            Keys(each)
        if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
            raise ConfigurationError(f"concurrency is a whole number from 1 up, got {concurrency!r}")
        if type(max_stalled_count) is not int or max_stalled_count < 0:
            raise ConfigurationError(f"max_stalled_count is a whole number from 0 up, got {max_stalled_count!r}")
        try:
            lock_ms, stalled_ms = to_ms(lock_duration), to_ms(stalled_interval)
            retention = Retention(keep_option(remove_on_complete), keep_option(remove_on_fail))
        except InvalidJob as error:
            raise ConfigurationError(str(error)) from None
        if lock_ms < 100 or stalled_ms < 100:
            raise ConfigurationError("lock_duration and stalled_interval are at least 0.1 s")
        self._names = names
        self._listeners = Listeners()
        self._options = WorkerOptions(
            concurrency=concurrency,
            redis=redis,
            prefix=prefix,
            name=name,
            lock_ms=lock_ms,
            stalled_ms=stalled_ms,
            max_stalled=max_stalled_count,
            retention=retention,
            dialect=dialect_arg(dialect),
        )
        self._shift: Shift | None = None
        self._stop_grace: float | None = None

    @overload
    def on(self, event: EventName) -> Callable[[L], L]: ...
    @overload
    def on(self, event: EventName, listener: L) -> L: ...
    def on(self, event: EventName, listener: L | None = None) -> L | Callable[[L], L]:
        """Listen to an event (see EventName), as a call or as a decorator: `@worker.on("failed")`.

        Raises ConfigurationError for an unknown event.
        """

        def add(function: L) -> L:
            self._listeners.add(event, function)
            return function

        return add if listener is None else add(listener)

    def queue_names(self, settings: Settings) -> tuple[str, ...]:
        """The queues it serves: its own, else the environment's. Raises ConfigurationError when there are none."""
        names = self._names or settings.queues
        if not names:
            raise ConfigurationError(
                "the worker names no queue and CORRAL_QUEUES is not set; "
                "write Worker('emails', send) or set CORRAL_QUEUES=emails"
            )
        return names

    @property
    def shift(self) -> Shift | None:
        """The run under way (or over), None before it began."""
        return self._shift

    @property
    def concurrency(self) -> int | None:
        """Jobs at once, as the code says it; None = left to CORRAL_CONCURRENCY."""
        return self._options.concurrency

    async def run(
        self, *, settings: Settings | None = None, metrics: Metrics | None = None, slots: Slots | None = None
    ) -> None:
        """Run jobs until `close` is called; then drain, and return.

        Cancelled, it hands unfinished jobs back at once. settings: default the environment's; metrics: default none
        that anyone reads; slots: shared with other workers, default its own. Raises ConfigurationError when it is set
        up wrongly or Redis refuses its credentials.
        """
        if self._shift is not None:
            raise ConfigurationError("the worker ran already; make a second one for a second run")
        settings = settings or Settings.from_env(os.environ)
        queues = self.queue_names(settings)
        slots = slots or Slots(self.concurrency or settings.concurrency)
        metrics = metrics or Metrics()
        self._shift = Shift(self._options, self._processor, queues, settings, self._listeners, metrics, slots)
        if self._stop_grace is not None:
            self._shift.begin_drain(self._stop_grace)
        await self._shift.run()

    def stop(self, grace: Duration = 30.0) -> None:
        """Begin to end: as `close`, without waiting. Told before `run`, the run ends at once."""
        if self._stop_grace is None:
            self._stop_grace = to_ms(grace) / 1000
        if self._shift is not None:
            self._shift.begin_drain(self._stop_grace)

    async def close(self, grace: Duration = 30.0) -> None:
        """Stop taking jobs, let running ones finish, hand the rest back before `grace` is over, and end `run`.

        A processor in a thread cannot be ended: its job is handed back, what it still does is not recorded.
        """
        self.stop(grace)
        if self._shift is not None:
            await self._shift.over.wait()


def _queue_and_processor(
    queue: str | Sequence[str] | Processor, processor: Processor | None
) -> tuple[tuple[str, ...], Processor]:
    """Tell `Worker(send)` from `Worker("emails", send)`. Raises ConfigurationError."""
    if callable(queue):
        if processor is not None:
            raise ConfigurationError("the queue's name comes first: Worker('emails', send)")
        return (), queue
    if not callable(processor):
        raise ConfigurationError(f"a worker needs a processor, a function that takes the job; got {processor!r}")
    names = (queue,) if isinstance(queue, str) else tuple(queue) if isinstance(queue, Sequence) else (queue,)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise ConfigurationError(f"a queue's name is a text, got {wrong[0]!r}")
    if not names:
        raise ConfigurationError("the list of queues is empty; name one, or write Worker(send) and set CORRAL_QUEUES")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"a queue is named twice in {', '.join(names)}")
    return names, processor
