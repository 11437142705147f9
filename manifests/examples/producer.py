import asyncio
from datetime import timedelta

from corral import Backoff, Queue


async def main() -> None:
    async with Queue("emails") as queue:  # REDIS_URL, or Queue("emails", redis=...)
        job = await queue.add(
            "welcome",
            {"to": "ada@example.com"},
            delay=timedelta(seconds=1),
            priority=3,
            attempts=3,
            backoff=Backoff.exponential(seconds=1),
        )
        print(job.id, await queue.get_job_state(job.id))


asyncio.run(main())
