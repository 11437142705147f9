import asyncio

from corral import FlowJob, FlowProducer, Job, JobOptions, QueueEvents, Worker


async def work(job: Job) -> int:
    if job.name == "page":
        return len(job.data["text"].split())
    pages = await job.get_children_values()  # key of each child -> what it returned
    return sum(pages.values())


worker = Worker(["reports", "pages"], work, concurrency=10)


async def main() -> None:
    page = JobOptions.checked(attempts=3, backoff=1, fail_parent_on_failure=True)
    pages = [FlowJob("page", "pages", {"text": text}, page) for text in ("one two", "three", "four five six")]
    async with FlowProducer() as flows, QueueEvents("reports") as events:
        report = await flows.add(FlowJob("report", "reports", children=pages))
        print(await report.job.wait_until_finished(events, timeout=30))


if __name__ == "__main__":
    asyncio.run(main())
