import asyncio
from datetime import timedelta

from corral import Deduplication, JobOptions, Queue


async def main() -> None:
    async with Queue("emails") as queue:
        # Every working day at seven in Madrid, whatever the clocks do; called again, it changes the one there is.
        opts = JobOptions.checked(attempts=3, backoff=60)
        await queue.upsert_job_scheduler(
            "digest", pattern="0 7 * * MON-FRI", tz="Europe/Madrid", data={"to": "all@example.com"}, opts=opts
        )
        # Only the last of several searches within five seconds is mailed.
        for words in ("r", "re", "redis"):
            last = Deduplication("search-ada", ttl=5, extend=True, replace=True)
            await queue.add("found", {"to": "ada@example.com", "words": words}, delay=5, deduplication=last)
        # At most 100 mails a minute, over all workers.
        await queue.set_global_rate_limit(100, timedelta(minutes=1))
        # What has failed for good goes aside, and comes back when its cause is mended: Queue("emails-dead").replay_all()
        print(await queue.move_failed_to_dead_letters(to="emails-dead"))
        print(await queue.get_job_counts())


asyncio.run(main())
