"""Queue: where producers add jobs, and where anyone looks after them."""

from collections.abc import Iterable
from typing import Any, Unpack

from redis.asyncio import Redis

from corral import add_scripts, scripts
from corral.add_options import AddOptions
from corral.clock import now_ms
from corral.errors import InvalidJob
from corral.flow_tree import warn_of_unseen_failure
from corral.job import Job
from corral.job_spec import JobSpec, added_job, new_job
from corral.options import JobOptions, check_opts
from corral.queue_admin import QueueAdmin
from corral.queue_dead_letters import QueueDeadLetters
from corral.queue_door import Dialect
from corral.queue_limits import QueueLimits
from corral.queue_orphans import QueueOrphans
from corral.queue_reading import QueueReading
from corral.queue_schedulers import QueueSchedulers
from corral.refusals import refusal


class Queue(QueueReading, QueueAdmin, QueueLimits, QueueSchedulers, QueueDeadLetters, QueueOrphans):
    """A queue of jobs on Redis, shared with every BullMQ client of that Redis.

    redis: a URL, or a redis-py client whose settings are copied; default: REDIS_URL.
    prefix: first part of every key; default CORRAL_PREFIX, else `bull`, which is BullMQ's.
    dialect: layout of a paused queue; leave it at `auto`.
    default_job_options: for what a job's own options leave out; `JobOptions.checked(attempts=...)` makes them.

    Every method that talks to Redis raises RedisUnavailable when it cannot, RedisRefused when Redis says no.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        dialect: Dialect = "auto",
        default_job_options: JobOptions | None = None,
    ) -> None:
        super().__init__(name, redis=redis, prefix=prefix, dialect=dialect)
        if default_job_options is not None:
            check_opts(default_job_options)
        self._defaults = default_job_options

    async def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> Job:
        """Add a job; gives it as it was sent. A `job_id` that exists already leaves the job that has it as it is.

        name: what kind of job; data: any JSON value, the job's payload; options: see AddOptions. Turned away by its
        deduplication id, it gives the id of the job that holds that.
        repeat: makes a job scheduler or changes it, as `upsert_job_scheduler` does, and gives its next iteration. The
        scheduler's id is `job_id`, else the Repeat's `key`, else made of the name and when it repeats: the same id that
        the `repeat` option of BullMQ 5 makes of them.
        Raises InvalidJob (PayloadNotJSON, PayloadTooLarge), ParentNotFound or JobHasParent before anything is written.
        When RedisUnavailable has `maybe_done`, the job may be in the queue; with a `job_id` of your own, adding it once
        more is safe.
        """
        if (repeat := options.pop("repeat", None)) is not None:
            return await self._add_repeating(JobSpec(name, data, JobOptions.checked(**options)), repeat)
        (job,) = await self.add_bulk([JobSpec(name, data, JobOptions.checked(**options))])
        return job

    async def add_bulk(self, jobs: Iterable[JobSpec]) -> list[Job]:
        """Add jobs in one round trip, all or none; gives them in order. Raises as `add`.

        Redis does nothing else meanwhile: some thousands of jobs at a time are fine, a million are not.
        """
        specs = list(jobs)
        if wrong := [spec for spec in specs if not isinstance(spec, JobSpec)]:
            raise InvalidJob(f"add_bulk takes JobSpecs, like JobSpec('news', data); got {type(wrong[0]).__name__}")
        if self._defaults:
            specs = [spec.over(self._defaults) for spec in specs]
        if not specs:
            return []
        now = now_ms()
        rows = [new_job(spec, now) for spec in specs]
        ids = await add_scripts.add_jobs(self._lines, self.keys, self._dialect, now, rows)
        if isinstance(ids, add_scripts.Refused):
            row = rows[ids.place]
            raise refusal(ids.code, row.job_id or repr(row.name), self.name, "added")
        for spec in specs:
            warn_of_unseen_failure(self.name, spec.name, spec.opts)
        calls = self._calls()
        return [added_job(self.name, spec, row, id, calls) for spec, row, id in zip(specs, rows, ids, strict=True)]

    async def pause(self) -> None:
        """Let no worker take a job of this queue; running jobs finish."""
        await scripts.pause_queue(self._lines, self.keys, self._dialect)

    async def resume(self) -> None:
        """Let workers take jobs again."""
        await scripts.resume_queue(self._lines, self.keys)
