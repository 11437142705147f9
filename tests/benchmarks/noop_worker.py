"""A Corral worker that does nothing, as fast as it can; queue and concurrency come from the environment."""

from corral import Job, Worker


async def nothing(job: Job) -> None:
    pass


worker = Worker(nothing)
