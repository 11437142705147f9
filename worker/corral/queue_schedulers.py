"""The job schedulers of a Queue: jobs that come again and again."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from corral import scheduler_scripts
from corral.clock import now_ms
from corral.errors import InvalidJob, SchedulerConflict
from corral.job import Job
from corral.job_spec import JobSpec, added_job, new_job, to_text
from corral.moments import Duration
from corral.options import JobOptions
from corral.payload import to_json
from corral.queue_door import QueueDoor
from corral.repeat import Repeat
from corral.scheduler import JobScheduler, from_record, iteration_opts, template_opts


class QueueSchedulers(QueueDoor):
    """See the module's docstring."""

    _defaults: JobOptions | None = None

    async def upsert_job_scheduler(
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
        """Make a job scheduler, or change the one with this id; gives its next iteration, an ordinary job.

        Exactly one iteration is pending, however often this is called: it is replaced, and with `every` unchanged keeps
        its time. The next one is made when a worker takes it, so what no worker was there for is skipped.
        every, pattern, tz, limit, start_date, end_date, offset, immediately: see Repeat.
        name: of the iterations, default the id; data: any JSON value; opts: their options, without `job_id`, `delay`
        and `parent`; `JobOptions.checked(attempts=...)` makes them.
        None: the pattern does not come before the end date, and nothing was changed.
        Raises InvalidJob; SchedulerConflict when other jobs have the ids of the next iterations, or of the
        scheduler's own record.
        """
        repeat = Repeat(every, pattern, tz, limit, start_date, end_date, offset, immediately)
        return await self._upsert(scheduler_id, repeat, JobSpec(name or scheduler_id, data, opts or JobOptions()))

    async def _upsert(self, scheduler_id: str, repeat: Repeat, spec: JobSpec) -> Job | None:
        now = now_ms()
        schedule = repeat.checked(now)
        _check(scheduler_id, spec.opts)
        if self._defaults is not None:
            spec = spec.over(self._defaults)
        due = None
        if schedule.pattern is not None:
            due = now if repeat.immediately else schedule.next_by_pattern(now)
            if due is None and schedule.end_ms is None:
                raise InvalidJob(f"pattern {schedule.pattern!r} never comes")
            if due is None:
                return None
        kept = template_opts(spec.opts)
        row = new_job(spec, now)
        kept_opts = to_json(kept, f"options of job scheduler {scheduler_id!r}")
        tries = 0
        while True:
            tries += 1
            opts = iteration_opts(kept, schedule.to_wire() | {"count": 1}, scheduler_id, due, now)
            template = scheduler_scripts.Template(
                name=row.name,
                data=row.data,
                opts=to_json(opts, f"options of job scheduler {scheduler_id!r}"),
                priority=row.priority,
                lifo=row.lifo,
                deduplication=spec.opts.deduplication.id if spec.opts.deduplication else "",
            )
            made = await scheduler_scripts.upsert_scheduler(
                self._lines, self.keys, self._dialect, now, scheduler_id, schedule, due, template, kept_opts
            )
            if made != scheduler_scripts.TAKEN_AHEAD or due is None or tries == scheduler_scripts.TRIES:
                break
            due = schedule.next_by_pattern(due)
            if due is None:
                return None
        if isinstance(made, int):
            raise SchedulerConflict(
                f"job scheduler {scheduler_id!r} of queue {self.name!r} was not changed: {_conflict(made)}"
            )
        job_id, due_ms = made
        delay = max(0, due_ms - now)
        wire = opts | {"jobId": job_id, "delay": delay}
        job = added_job(self.name, JobSpec(row.name, spec.data, JobOptions.from_wire(wire)), row, job_id, self._calls())
        job.delay, job.scheduler_id = delay, scheduler_id
        return job

    async def get_job_scheduler(self, scheduler_id: str) -> JobScheduler | None:
        """Read a scheduler; None when there is none."""
        record, next_ms = await scheduler_scripts.read_scheduler(self._lines, self.keys, scheduler_id)
        return from_record(scheduler_id, record, next_ms) if record or next_ms is not None else None

    async def get_job_schedulers(self, start: int = 0, end: int = -1, *, ascending: bool = False) -> list[JobScheduler]:
        """Schedulers from place `start` to `end` (-1 = the last), by when they are due next, latest first."""
        rows = await scheduler_scripts.list_schedulers(self._lines, self.keys, start, end, ascending)
        return [found for row in rows if (found := from_record(*row)) is not None]

    async def get_job_schedulers_count(self) -> int:
        """How many schedulers there are."""
        return await scheduler_scripts.count_schedulers(self._lines, self.keys)

    async def remove_job_scheduler(self, scheduler_id: str) -> bool:
        """Remove a scheduler, with its pending iteration if that is delayed; one that waits or runs is left to run.

        False: there is none.
        """
        return await scheduler_scripts.remove_scheduler(self._lines, self.keys, scheduler_id)

    async def _add_repeating(self, spec: JobSpec, repeat: Repeat) -> Job:
        """`Queue.add` with `repeat`: a scheduler."""
        if not isinstance(repeat, Repeat):
            raise InvalidJob(f"repeat takes a Repeat, got {repeat!r}")
        scheduler_id = spec.opts.job_id or repeat.key or repeat.checked(now_ms()).key_for(spec.name)
        job = await self._upsert(scheduler_id, repeat, replace(spec, opts=replace(spec.opts, job_id=None)))
        if job is None:
            raise InvalidJob(f"pattern {repeat.pattern!r} does not come before end_date {repeat.end_date!r}")
        return job


def _conflict(code: int) -> str:
    if code == scheduler_scripts.ID_OF_JOB:
        return "a job has the key of its record; use another id"
    return "jobs with the ids of its next iterations exist already; remove them, or use another id"


def _check(scheduler_id: str, opts: JobOptions) -> None:
    if not isinstance(scheduler_id, str) or not scheduler_id:
        raise InvalidJob(f"a job scheduler's id is a text that is not empty, got {scheduler_id!r}")
    to_text(scheduler_id)
    for name in ("job_id", "delay_ms", "timestamp_ms", "parent", "child_failure"):
        if getattr(opts, name):
            raise InvalidJob(
                f"the iterations of a job scheduler take no {name.removesuffix('_ms')}: it says when they run"
            )
