"""A worker with a dead-letter queue: what fails for good goes there by itself, and nothing else does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from audit import audit
from corral import ConfigurationError, Job, JobOptions, JobSpec, Queue, State, UnrecoverableError, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio


async def run(job: Job) -> None:
    if job.data == "never":
        raise UnrecoverableError("no use")
    if job.data == "twice" or (job.data == "once" and job.attempt == 1):
        raise ValueError("boom")


async def test_what_has_failed_for_good_is_moved_and_can_be_replayed(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis_url) as queue, Queue("q-dead", redis=redis_url) as dead:
        again = JobOptions.checked(attempts=2)
        jobs = await queue.add_bulk(JobSpec("n", what, again) for what in ("fine", "once", "twice", "never"))
        async with running(Worker("q", run, redis=redis_url, dead_letter_queue="q-dead")):

            async def moved() -> bool:
                return (await queue.get_job_counts()).completed == 2 and await dead.count() == 2

            await eventually(moved)
        assert await audit(async_client, "q", "q-dead") == []
        letters = {job.data: job for job in await dead.get_jobs([State.WAITING])}
        twice = letters["twice"].dead_letter
        assert twice is not None
        assert (twice.queue, twice.job_id, twice.reason, twice.attempts_made) == ("q", jobs[2].id, "boom", 2)
        assert letters.keys() == {"twice", "never"}
        assert (await dead.replay_all()).moved == 2
        assert await queue.get_job_state(jobs[3].id) is State.WAITING
        assert await audit(async_client, "q", "q-dead") == []


async def test_a_job_that_cannot_be_moved_stays_failed_and_the_worker_goes_on(
    redis7_url: str, redis7_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await redis7_client.set("bull:q-dead:wait", "not a list")
    async with Queue("q", redis=redis7_url) as queue:
        job = await queue.add("n", "never")
        with caplog.at_level(logging.WARNING, "corral.worker"):
            async with running(Worker("q", run, redis=redis7_url, dead_letter_queue="q-dead")):
                await eventually(lambda: "stays failed, not moved to q-dead" in caplog.text)
                await queue.add("n", "fine")
                await eventually(lambda: completed(queue))
        assert await queue.get_job_state(job.id) is State.FAILED


async def completed(queue: Queue) -> bool:
    return (await queue.get_job_counts()).completed == 1


@pytest.mark.parametrize("name", ["", "a:b"])
def test_a_dead_letter_queue_has_the_name_of_a_queue(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Worker("q", run, dead_letter_queue=name)


async def test_a_queue_is_not_its_own_dead_letter_queue(redis7_url: str) -> None:
    with pytest.raises(ConfigurationError, match="its own dead-letter queue"):
        await Worker(["q", "r"], run, redis=redis7_url, dead_letter_queue="r").run()
