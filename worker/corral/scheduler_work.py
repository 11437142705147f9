"""What a worker does for job schedulers: an iteration that was taken makes the next one, before it runs."""

from corral.clock import now_ms
from corral.job import Job
from corral.keys import Keys
from corral.payload import to_json
from corral.scheduler import next_iteration
from corral.scheduler_scripts import Template, advance_scheduler
from corral.script import Caller

FOR_GOOD = ("WRONGTYPE", "NOPERM", "ERR")
"""Refusals of Redis that waiting does not heal: the job runs although no iteration follows it."""


async def produce_next(caller: Caller, keys: Keys, dialect: str, job: Job) -> str | None:
    """Make the iteration after `job`, which this worker has taken; gives its id. Call it before the job runs.

    None: nothing is left to make. The job is none of a scheduler, or not its pending iteration (a retry, or the
    scheduler was changed or removed), or the limit or the end date is reached. Calling it again makes no second one.
    Raises InvalidJob when the job's schedule cannot be read: nobody goes on with it then. Raises RedisUnavailable,
    RedisRefused: it was not made, or (`maybe_done`) may have been. A worker that dies before this leaves the job as the
    pending one: recovered and taken again, it makes the next one then.
    """
    if job.scheduler_id is None:
        return None
    now = now_ms()
    following = next_iteration(job, now)
    if following is None:
        return None
    template = Template(
        name=job.name,
        data=to_json(job.data, f"data of job {job.id}"),
        opts=to_json(following.opts, f"options of job {job.id}"),
        priority=job.opts.priority,
        lifo=job.opts.lifo,
        deduplication=job.opts.deduplication.id if job.opts.deduplication else "",
    )
    every_ms = following.schedule.every_ms
    return await advance_scheduler(
        caller, keys, dialect, now, job.scheduler_id, job.id, following.due_ms, every_ms, template
    )
