"""What a worker does for job schedulers: an iteration that was taken makes the next one, before it runs."""

from corral.clock import now_ms
from corral.errors import SchedulerConflict
from corral.job import Job
from corral.keys import Keys
from corral.payload import to_json
from corral.scheduler import next_iteration
from corral.scheduler_scripts import TRIES, Template, advance_scheduler
from corral.script import Caller

FOR_GOOD = ("WRONGTYPE", "NOPERM", "ERR")
"""Refusals of Redis that waiting does not heal: the job runs although no iteration follows it."""


async def produce_next(caller: Caller, keys: Keys, dialect: str, job: Job) -> str | None:
    """Make the iteration after `job`, which this worker has taken; gives its id. Call it before the job runs.

    None: nothing is left to make. The job is none of a scheduler, or not its pending iteration (a retry, or the
    scheduler was changed or removed), or the limit or the end date is reached. Calling it again makes no second one.
    Where a job lies that was promoted before its time, the schedule goes past it.
    Raises InvalidJob when the job's schedule cannot be read, SchedulerConflict when other jobs have the ids of all its
    next iterations: nobody goes on with it then. Raises RedisUnavailable, RedisRefused: it was not made, or (`maybe_done`) may have been. A worker that dies before this leaves the job as the
    pending one: recovered and taken again, it makes the next one then.
    """
    if job.scheduler_id is None:
        return None
    now = now_ms()
    following = next_iteration(job, now)
    if following is None:
        return None
    due_ms, every_ms = following.due_ms, following.schedule.every_ms
    for _ in range(TRIES):
        opts = following.opts if due_ms is None else following.opts | {"prevMillis": due_ms}
        template = Template(
            name=job.name,
            data=to_json(job.data, f"data of job {job.id}"),
            opts=to_json(opts, f"options of job {job.id}"),
            priority=job.opts.priority,
            lifo=job.opts.lifo,
            deduplication=job.opts.deduplication.id if job.opts.deduplication else "",
        )
        made = await advance_scheduler(caller, keys, dialect, now, job.scheduler_id, job.id, due_ms, every_ms, template)
        if not isinstance(made, int):
            return made
        if due_ms is None:
            break
        due_ms = following.schedule.next_by_pattern(due_ms)
        if due_ms is None:
            return None
    raise SchedulerConflict(
        f"job scheduler {job.scheduler_id!r} of queue {job.queue_name!r} has ended: jobs with the ids of its next "
        "iterations exist already; remove them, and upsert the scheduler"
    )
