"""Worker: what a user writes. Its options, its listeners, and the beginning and end of its run."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, overload

from redis.asyncio import Redis

from corral.ending import BackoffStrategy
from corral.errors import ConfigurationError
from corral.executor import Processor
from corral.job import Job
from corral.keys import Keys
from corral.listeners import EventName, Listener, Listeners
from corral.manual import Manual
from corral.metrics import Metrics
from corral.moments import Duration, to_ms
from corral.queue_door import Dialect
from corral.rate_limit import RateLimit
from corral.retention import Keep
from corral.settings import Settings
from corral.shift import Shift
from corral.slots import Slots
from corral.worker_options import WorkerOptions, queue_and_processor, whole

L = TypeVar("L", bound=Listener)


class Worker:
    """Runs the jobs of one or more queues with one processor.

    `Worker("emails", send)` serves that queue, `Worker(send)` those of CORRAL_QUEUES. `Worker("emails")` runs nothing
    by itself: it gives its jobs one by one (`get_next_job`).

    concurrency: jobs at once, over all its queues; default CORRAL_CONCURRENCY, else 1. May be set while it runs.
    redis: a URL or a redis-py client whose settings are copied; default REDIS_URL.
    prefix: first part of every key; default CORRAL_PREFIX, else `bull`.
    name: what jobs say who ran them (`pb`), and dashboards who is there; default POD_NAME, else none.
    lock_duration: how long a job is ours without a renewal (default 30 s).
    stalled_interval: how often to look for jobs of dead workers (default 30 s).
    max_stalled_count: how often a job may lose its worker before it is failed (default 1).
    max_started_attempts: how often a job may be started, for whatever reason, before it is failed; default no limit.
    limiter: how many jobs of a queue may start in a span of time, `RateLimit.per(10, 1)`; counted for all its workers.
    job_timeout: how long a job may run before it fails; default as long as it likes. A plain processor, in its thread,
        is only told (`job.signal`), and its job fails when it returns.
    dead_letter_queue: where jobs go that have failed for good, see `Queue.replay`; default they stay, as failed.
    backoff_strategy: how long a failed job waits whose backoff is neither fixed nor exponential: a function, plain or
        async, `strategy(attempts_made, type, error, job)` that gives a timedelta, seconds, or None = do not retry.
    remove_on_complete, remove_on_fail: retention of jobs that say nothing themselves; default keep all.
    metrics_points: minutes kept of the queue's own metrics, which BullMQ's dashboards show; default a week, 0 = none.
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
        max_started_attempts: int | None = None,
        limiter: RateLimit | None = None,
        job_timeout: Duration | None = None,
        dead_letter_queue: str | None = None,
        backoff_strategy: BackoffStrategy | None = None,
        remove_on_complete: bool | int | Keep | None = None,
        remove_on_fail: bool | int | Keep | None = None,
        metrics_points: int = 10_080,
        dialect: Dialect = "auto",
    ) -> None:
        self._names, self._processor = queue_and_processor(queue, processor)
        if concurrency is not None:
            whole("concurrency", concurrency, 1)
        self._concurrency = concurrency
        self._options = WorkerOptions.checked(
            redis=redis,
            prefix=prefix,
            name=name,
            lock_duration=lock_duration,
            stalled_interval=stalled_interval,
            max_stalled_count=max_stalled_count,
            max_started_attempts=max_started_attempts,
            limiter=limiter,
            job_timeout=job_timeout,
            dead_letter_queue=dead_letter_queue,
            backoff_strategy=backoff_strategy,
            remove_on_complete=remove_on_complete,
            remove_on_fail=remove_on_fail,
            metrics_points=metrics_points,
            dialect=dialect,
        )
        self._listeners = Listeners()
        self._paused, self._resumed = False, asyncio.Event()
        self._manual: Manual | None = None
        self._shift: Shift | None = None
        self._stop_grace: float | None = None

    @overload
    def on(self, event: EventName) -> Callable[[L], L]: ...
    @overload
    def on(self, event: EventName, listener: L) -> L: ...
    def on(self, event: EventName, listener: L | None = None) -> L | Callable[[L], L]:
        """Listen to an event, as a call or as a decorator: `@worker.on("failed")`. The listener, plain or async, gets:

            ready()                           it is connected and takes jobs
            active(job)                       a job was taken and is about to run
            completed(job, value)             the job is stored as completed
            failed(job, reason)               an attempt failed and that is stored; for good when `job.finished_on` is set
            retries_exhausted(job, reason)    the last attempt failed
            error(error)                      Redis could not be reached or refused; a lock was lost; the worker goes on
            stalled(job_id)                   a job whose worker died was put back
            progress(job, progress)           a job of this worker stored its progress
            drained()                         a queue of this worker has nothing more to take
            paused(), resumed()               this worker (not its queue) was paused, or goes on
            lock_renewal_failed(job_ids)      the locks of these jobs are lost; they run on, and may run elsewhere too
            closing(), closed()               it begins to end; it has ended

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
        if self._options.dead_letters in names:
            raise ConfigurationError(
                f"queue {self._options.dead_letters!r} cannot be its own dead-letter queue; name another"
            )
        return names

    @property
    def shift(self) -> Shift | None:
        """The run under way (or over), None before it began."""
        return self._shift

    @property
    def concurrency(self) -> int | None:
        """Jobs at once, as the code says it; None = left to CORRAL_CONCURRENCY.

        Set while the worker runs, it counts from now on: of fewer, those that run too many run to their end. Workers of
        one process that leave it to the environment share one budget, and share this too. Raises ConfigurationError.
        """
        return self._concurrency

    @concurrency.setter
    def concurrency(self, jobs: int) -> None:
        whole("concurrency", jobs, 1)
        self._concurrency = jobs
        if self._shift is not None:
            self._shift.resize(jobs)

    @property
    def is_paused(self) -> bool:
        """Whether this worker was paused (its queue is another matter)."""
        return self._paused

    async def pause(self, do_not_wait_active: bool = False) -> None:
        """Let this worker take no more jobs until `resume`, and wait until those that run have ended.

        Told before `run`, it begins paused. do_not_wait_active: return at once.
        """
        first, self._paused = not self._paused, True
        self._resumed.clear()
        if self._shift is not None:
            self._shift.controls.pause()
            if not do_not_wait_active:
                await self._shift.controls.idle()
        if first:
            self._listeners.tell("paused")

    def resume(self) -> None:
        """Let this worker take jobs again."""
        if self._paused:
            self._paused = False
            self._resumed.set()
            if self._shift is not None:
                self._shift.controls.resume()
            self._listeners.tell("resumed")

    async def rate_limit(self, duration: Duration) -> None:
        """Let no job of the worker's queues start for so long. In a processor, `raise RateLimitError` then.

        This worker obeys by itself; others where they know a rate limit, their own or the queue's. Without a `limiter`
        it waits that time out, whatever `Queue.remove_rate_limit_key` does meanwhile.
        Raises ConfigurationError when it does not run, RedisUnavailable.
        """
        await self._running().controls.rate_limit(max(1, to_ms(duration)))

    def cancel_job(self, job_id: str, reason: str = "the job was cancelled") -> bool:
        """Tell a job that runs here to end; False: none does. It fails with the reason, and is retried as usual.

        Its signal is aborted, and an async processor cancelled. A plain processor that returns all the same has
        completed its job; to fail for good, a processor raises UnrecoverableError. From the worker's event loop only.
        """
        return self._shift is not None and self._shift.controls.cancel(job_id, reason)

    def cancel_all_jobs(self, reason: str = "the job was cancelled") -> None:
        """Tell every job that runs here to end, as `cancel_job` does."""
        if self._shift is not None:
            self._shift.controls.cancel(None, reason)

    async def get_next_job(self, timeout: Duration = 5.0) -> Job | None:
        """Take a job by hand, waiting for at most `timeout`; None: there is none, or the worker is paused or closed.

        It ends by `job.move_to_completed` or `job.move_to_failed`, and `job.extend_lock` holds it for longer than
        `lock_duration`. Nothing is checked of it: see `job.deferred_failure`. Raises RedisUnavailable;
        ConfigurationError for a worker of several queues, or one with a dead-letter queue.
        """
        until = time.monotonic() + to_ms(timeout) / 1000
        if self._paused:
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._resumed.wait()
            except TimeoutError:
                return None
        return await self._by_hand().next_job(until)

    def start_stalled_check(self) -> None:
        """Put back jobs of dead workers until `close`, for a worker whose jobs are taken by hand. `run` does by itself.

        Raises ConfigurationError for a worker of several queues.
        """
        self._by_hand().start_stalled_check(lambda job_id: self._listeners.tell("stalled", job_id))

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
        if self._processor is None:
            raise ConfigurationError(
                "the worker has no processor to run; write Worker('emails', send), or take its jobs by get_next_job"
            )
        settings = settings or Settings.from_env(os.environ)
        queues = self.queue_names(settings)
        slots = slots or Slots(self.concurrency or settings.concurrency)
        metrics = metrics or Metrics()
        self._shift = Shift(self._options, self._processor, queues, settings, self._listeners, metrics, slots)
        if self._paused:
            self._shift.controls.pause()
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
        if self._manual is not None:
            await self._manual.close()
            self._manual = None

    def _running(self) -> Shift:
        if self._shift is None:
            raise ConfigurationError("the worker does not run; call this after run()")
        return self._shift

    def _by_hand(self) -> Manual:
        if self._manual is None:
            settings = Settings.from_env(os.environ)
            names = self.queue_names(settings)
            if len(names) > 1:
                raise ConfigurationError(f"jobs are taken by hand from one queue, this worker has {', '.join(names)}")
            if self._options.dead_letters is not None:
                raise ConfigurationError(
                    "jobs taken by hand are not moved to a dead-letter queue; leave dead_letter_queue out, and call "
                    "Queue.move_failed_to_dead_letters when jobs have failed for good"
                )
            keys = Keys(names[0], self._options.prefix or settings.prefix)
            self._manual = Manual(self._options, keys, self._options.name or settings.pod or "")
        return self._manual
