"""What the pools of these tests run, from the image of jobs.Dockerfile.

Before anything else a job notes its start: the list `starts:QUEUE:ID` in its Redis holds the pods that began it.

    job.data.sleep   milliseconds to take
    job.data.eat     MiB to take at the first start, more than the pod may have
    job.data.eats    at so many starts instead of one
"""

import asyncio
import os

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from corral import Job, Worker

POD = os.environ["POD_NAME"]

# Redis may be away for a while: the tests end it.
redis = Redis.from_url(os.environ["REDIS_URL"], retry=Retry(ConstantBackoff(0.2), 150))


async def run(job: Job) -> str:
    starts = await redis.rpush(f"starts:{job.queue_name}:{job.id}", POD)
    await asyncio.sleep(job.data.get("sleep", 0) / 1000)
    if "eat" in job.data and starts <= job.data.get("eats", 1):
        # Written, not only asked for: memory counts when it is touched.
        return str(len(b"x" * (job.data["eat"] << 20)))
    return POD


worker = Worker(run)
# Its dead are found within seconds, not within a minute.
quick = Worker(run, lock_duration=5, stalled_interval=4)
