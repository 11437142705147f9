import asyncio

from corral import JobOptions, JobSpec, Queue


async def main() -> None:
    async with Queue("emails") as queue:
        once = JobOptions.checked(remove_on_complete=1000, attempts=5, backoff=2)
        await queue.add_bulk([JobSpec("news", {"to": f"reader{n}@example.com"}, once) for n in range(500)])
        print(await queue.get_job_counts())


asyncio.run(main())
