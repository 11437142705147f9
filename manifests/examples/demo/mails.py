"""A worker that waits for others, as most do: `corral work mails:worker` runs its jobs, many of them at once.

A job runs at least once: a worker that dies in the middle of it leaves it to another one, which runs it from its
beginning. Write processors so that a second run does no harm.
"""

import asyncio

from corral import Job, UnrecoverableError, Worker


async def mail(job: Job) -> str:
    """Waits; meanwhile the worker runs other jobs."""
    await asyncio.sleep(job.data["ms"] / 1000)
    return "sent"


async def flaky(job: Job) -> str:
    """Fails its first attempts. The producer's `attempts` and `backoff` say how often and when it runs again."""
    await asyncio.sleep(0.02)
    if job.attempt <= job.data["fails"]:
        raise ConnectionError(f"the other side hung up on attempt {job.attempt}")
    return f"worked on attempt {job.attempt}"


async def broken(job: Job) -> None:
    """Fails for good: UnrecoverableError asks for no further attempt."""
    raise UnrecoverableError(f"there is no address {job.data['to']}")


async def newsletter(job: Job) -> int:
    """Takes seconds and tells how far it is. The demo kills a worker in the middle of these."""
    for part in range(job.data["parts"]):
        await job.update_progress({"part": part, "of": job.data["parts"]})
        await asyncio.sleep(0.5)
    return int(job.data["parts"])


PROCESSORS = {"mail": mail, "flaky": flaky, "broken": broken, "newsletter": newsletter}


async def process(job: Job) -> object:
    """The processor: one queue carries jobs of several names."""
    return await PROCESSORS[job.name](job)


# How many jobs at once is the pool's `concurrency`. Locks and looks of seconds, so that the jobs of a killed worker come
# back while you watch; the defaults are 30 s. A busy machine may hold a worker up for longer than such a lock: such jobs
# are run again, not given up.
worker = Worker("mails", process, lock_duration=4, stalled_interval=2, max_stalled_count=5)
