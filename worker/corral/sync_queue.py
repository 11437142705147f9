"""The blocking Queue. Each method is the one of the same name of `corral.Queue`, which is where it is described."""

import inspect
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self, Unpack

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from corral import queue as loops
from corral.add_options import AddOptions
from corral.backlog import Counts
from corral.blocking_lines import BlockingLines, drive, settings_of
from corral.client_list import WorkerInfo
from corral.job import Job
from corral.job_spec import JobSpec
from corral.moments import Duration
from corral.options import JobOptions
from corral.queue_admin import STEP
from corral.queue_dead_letters import Swept
from corral.queue_door import Dialect
from corral.queue_metrics import Ended, QueueMetrics
from corral.queue_orphans import Orphan
from corral.rate_limit import RateLimit
from corral.scheduler import JobScheduler
from corral.state import State


class _Twin(loops.Queue):
    """The Queue itself, over connections that wait in the thread."""

    def __init__(
        self,
        name: str,
        *,
        redis: str | Redis | None,
        prefix: str | None,
        dialect: Dialect,
        default_job_options: JobOptions | None,
    ) -> None:
        super().__init__(name, redis=redis, prefix=prefix, dialect=dialect, default_job_options=default_job_options)
        self._lines = BlockingLines(redis)


class Queue:
    """`corral.Queue` for code without an event loop, like Django and Flask: every call waits in its thread.

    Threads may share it; so may the processes that a server forks, each of which makes its own connections. In a
    thread that runs an event loop it works too, and blocks that loop. Of its jobs' calls, `result()` is the answer,
    which is there when the call returns: `job.get_state().result()`.

    redis: a URL, or a redis-py client (blocking or not) whose settings are copied. All else as for `corral.Queue`.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str | Redis | BlockingRedis | None = None,
        prefix: str | None = None,
        dialect: Dialect = "auto",
        default_job_options: JobOptions | None = None,
    ) -> None:
        self._twin = _Twin(
            name, redis=settings_of(redis), prefix=prefix, dialect=dialect, default_job_options=default_job_options
        )
        self.keys = self._twin.keys

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._twin.name

    def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> Job:
        """Add a job; gives it as it was sent. A `job_id` that exists already leaves the job that has it as it is."""
        return drive(self._twin.add(name, data, **options))

    def add_bulk(self, jobs: Iterable[JobSpec]) -> list[Job]:
        """Add jobs in one round trip, all or none; gives them in order. Raises as `add`."""
        return drive(self._twin.add_bulk(jobs))

    def pause(self) -> None:
        """Let no worker take a job of this queue; running jobs finish."""
        drive(self._twin.pause())

    def resume(self) -> None:
        """Let workers take jobs again."""
        drive(self._twin.resume())

    def get_job(self, job_id: str) -> Job | None:
        """Read a job; None when it does not exist. Raises CorruptJob."""
        return drive(self._twin.get_job(job_id))

    def get_jobs(
        self, states: State | Iterable[State], start: int = 0, end: int = -1, *, ascending: bool = False
    ) -> list[Job]:
        """The jobs of one or more states, the newest first (ascending: the oldest), from place `start` to `end`."""
        return drive(self._twin.get_jobs(states, start, end, ascending=ascending))

    def get_job_state(self, job_id: str) -> State:
        """Where a job is; UNKNOWN when it does not exist."""
        return drive(self._twin.get_job_state(job_id))

    def get_job_logs(self, job_id: str, start: int = 0, end: int = -1, *, ascending: bool = True) -> list[str]:
        """The log rows of a job from `start` to `end` (included), the oldest first, or (not ascending) the newest."""
        return drive(self._twin.get_job_logs(job_id, start, end, ascending=ascending))

    def get_job_logs_count(self, job_id: str) -> int:
        """How many log rows a job has."""
        return drive(self._twin.get_job_logs_count(job_id))

    def get_job_counts(self) -> Counts:
        """How many jobs are in each state."""
        return drive(self._twin.get_job_counts())

    def count(self) -> int:
        """How many jobs are still to be run: waiting, prioritized, delayed, or waiting for children."""
        return drive(self._twin.count())

    def get_counts_per_priority(self, priorities: Iterable[int]) -> dict[int, int]:
        """How many jobs wait with each of these priorities; 0 = those without one."""
        return drive(self._twin.get_counts_per_priority(priorities))

    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return drive(self._twin.is_paused())

    def get_version(self) -> str | None:
        """The library that last announced itself, like `bullmq:6.7.0`; None = none has."""
        return drive(self._twin.get_version())

    def get_workers(self) -> list[WorkerInfo]:
        """The workers of this queue that are connected, of every library that names its connections as BullMQ does."""
        return drive(self._twin.get_workers())

    def get_workers_count(self) -> int:
        """How many workers of this queue are connected."""
        return drive(self._twin.get_workers_count())

    def get_queue_events(self) -> list[WorkerInfo]:
        """Who listens to the events of this queue (QueueEvents of every library)."""
        return drive(self._twin.get_queue_events())

    def get_metrics(self, kind: Ended, start: int = 0, end: int = -1) -> QueueMetrics:
        """How many jobs completed (or failed) a minute, if the queue's workers count them. Raises ConfigurationError."""
        return drive(self._twin.get_metrics(kind, start, end))

    def remove(self, job_id: str, *, remove_children: bool = True) -> bool:
        """Remove a job from wherever it is, with its children; False when there is none. A parent is told."""
        return drive(self._twin.remove(job_id, remove_children=remove_children))

    def retry_jobs(
        self, *, state: State = State.FAILED, count: int = STEP, until: datetime | float | None = None
    ) -> int:
        """Let all failed (or completed) jobs run again that ended by `until` (default now); gives how many."""
        return drive(self._twin.retry_jobs(state=state, count=count, until=until))

    def promote_jobs(self, *, count: int = STEP) -> int:
        """Let all delayed jobs run now; gives how many. They wait behind all others, whatever their priority."""
        return drive(self._twin.promote_jobs(count=count))

    def drain(self, *, delayed: bool = False) -> int:
        """Remove the jobs that wait to be taken, with `delayed` also the delayed ones; gives how many."""
        return drive(self._twin.drain(delayed=delayed))

    def clean(self, grace: Duration, *, limit: int = 0, state: State = State.COMPLETED) -> list[str]:
        """Remove jobs of a state that are older than `grace` (a timedelta or seconds), the oldest first; gives their ids."""
        return drive(self._twin.clean(grace, limit=limit, state=state))

    def obliterate(self, *, force: bool = False, count: int = STEP) -> None:
        """Delete a paused queue with everything in it: jobs of all states, schedulers, limits, events, metrics."""
        drive(self._twin.obliterate(force=force, count=count))

    def trim_events(self, max_length: int) -> int:
        """Shorten the stream of events to about its newest `max_length`; gives how many went."""
        return drive(self._twin.trim_events(max_length))

    def get_deduplication_job_id(self, deduplication_id: str) -> str | None:
        """The job that owns a deduplication id; None: it is free."""
        return drive(self._twin.get_deduplication_job_id(deduplication_id))

    def remove_deduplication_key(self, deduplication_id: str) -> bool:
        """Give a deduplication id free, whoever owns it; False when it was free."""
        return drive(self._twin.remove_deduplication_key(deduplication_id))

    def update_job_progress(self, job_id: str, progress: Any) -> None:
        """Store a job's progress (any JSON value) and tell listeners of it. Raises PayloadNotJSON, JobNotFound."""
        drive(self._twin.update_job_progress(job_id, progress))

    def add_job_log(self, job_id: str, row: str, *, keep: int | None = None) -> int:
        """Add a row to a job's log, and keep the newest `keep`; gives how many there are. Raises JobNotFound."""
        return drive(self._twin.add_job_log(job_id, row, keep=keep))

    def set_global_concurrency(self, concurrency: int) -> None:
        """Let at most so many jobs of this queue run at once, over all workers. Raises ConfigurationError."""
        drive(self._twin.set_global_concurrency(concurrency))

    def remove_global_concurrency(self) -> None:
        """Let each worker decide how many it runs."""
        drive(self._twin.remove_global_concurrency())

    def get_global_concurrency(self) -> int | None:
        """How many jobs may run at once; None = no limit."""
        return drive(self._twin.get_global_concurrency())

    def is_maxed(self) -> bool:
        """Whether as many jobs run as the global concurrency allows."""
        return drive(self._twin.is_maxed())

    def set_global_rate_limit(self, max: int, duration: Duration) -> None:  # noqa: A002  (BullMQ's word)
        """Let at most `max` jobs start in each span of time (a timedelta or seconds), over all workers."""
        drive(self._twin.set_global_rate_limit(max, duration))

    def remove_global_rate_limit(self) -> None:
        """Leave the rate to the workers' own limits."""
        drive(self._twin.remove_global_rate_limit())

    def get_global_rate_limit(self) -> RateLimit | None:
        """The rate limit of the queue; None = it has none, or none that means anything."""
        return drive(self._twin.get_global_rate_limit())

    def get_rate_limit_ttl(self, max_jobs: int | None = None) -> float:
        """Seconds until more jobs may start; 0 = they may now."""
        return drive(self._twin.get_rate_limit_ttl(max_jobs))

    def rate_limit(self, duration: Duration) -> None:
        """Let no job start for a while (a timedelta or seconds)."""
        drive(self._twin.rate_limit(duration))

    def remove_rate_limit_key(self) -> bool:
        """End the present window of the rate limit, or a manual one; False when there was none."""
        return drive(self._twin.remove_rate_limit_key())

    def upsert_job_scheduler(
        self,
        scheduler_id: str,
        *,
        every: Duration | None = None,
        pattern: str | None = None,
        tz: str | None = None,
        limit: int | None = None,
        start_date: datetime | float | None = None,
        end_date: datetime | float | None = None,
        offset: Duration | None = None,
        immediately: bool = False,
        name: str | None = None,
        data: Any = None,
        opts: JobOptions | None = None,
    ) -> Job | None:
        """Make a job scheduler, or change the one with this id; gives its next iteration, an ordinary job."""
        return drive(
            self._twin.upsert_job_scheduler(
                scheduler_id,
                every=every,
                pattern=pattern,
                tz=tz,
                limit=limit,
                start_date=start_date,
                end_date=end_date,
                offset=offset,
                immediately=immediately,
                name=name,
                data=data,
                opts=opts,
            )
        )

    def get_job_scheduler(self, scheduler_id: str) -> JobScheduler | None:
        """Read a scheduler; None when there is none."""
        return drive(self._twin.get_job_scheduler(scheduler_id))

    def get_job_schedulers(self, start: int = 0, end: int = -1, *, ascending: bool = False) -> list[JobScheduler]:
        """Schedulers from place `start` to `end` (-1 = the last), by when they are due next, latest first."""
        return drive(self._twin.get_job_schedulers(start, end, ascending=ascending))

    def get_job_schedulers_count(self) -> int:
        """How many schedulers there are."""
        return drive(self._twin.get_job_schedulers_count())

    def remove_job_scheduler(self, scheduler_id: str) -> bool:
        """Remove a scheduler, with its pending iteration if that is delayed; one that waits or runs is left to run."""
        return drive(self._twin.remove_job_scheduler(scheduler_id))

    def move_to_dead_letters(self, job_id: str, *, to: str) -> Job:
        """Move a failed job to the queue `to`; gives it as it lies there, waiting. Doing it twice moves it once."""
        return drive(self._twin.move_to_dead_letters(job_id, to=to))

    def move_failed_to_dead_letters(
        self, *, to: str, count: int | None = None, until: datetime | float | None = None
    ) -> Swept:
        """Move failed jobs to the queue `to`, the oldest first: `count` at most, those that failed until then."""
        return drive(self._twin.move_failed_to_dead_letters(to=to, count=count, until=until))

    def replay(self, job_id: str) -> Job:
        """Move a dead letter back to its queue, where it waits under its old id; gives it as it lies there."""
        return drive(self._twin.replay(job_id))

    def replay_all(self, *, count: int | None = None) -> Swept:
        """Move the waiting dead letters back to their queues, the oldest first, `count` at most."""
        return drive(self._twin.replay_all(count=count))

    def find_orphans(self) -> list[Orphan]:
        """Look through all keys of the queue. A job whose worker died is none of them: that is active, and recovered."""
        return drive(self._twin.find_orphans())

    def put_back_orphans(self) -> int:
        """Put jobs in no state where they belong, by what their hashes say; gives how many."""
        return drive(self._twin.put_back_orphans())

    def remove_orphaned_jobs(self, *, limit: int | None = None) -> int:
        """Delete jobs in no state, and drop ids without a job; gives how many. `limit` = at most so many."""
        return drive(self._twin.remove_orphaned_jobs(limit=limit))

    def close(self) -> None:
        """Close the connections."""
        drive(self._twin.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


for _name, _method in vars(Queue).items():
    if not _name.startswith("_") and inspect.isfunction(_method):
        _method.__doc__ = getattr(loops.Queue, _name).__doc__
