"""An iteration of a job scheduler: the next one is asked for before it runs, and nothing about that can lose the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral import Job, Queue, RedisUnavailable, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import pytest
    import redis.asyncio


async def completed(queue: Queue) -> bool:
    counts = await queue.get_job_counts()
    assert counts.completed == 1, counts
    return True


async def deeds_with(
    queue: Queue, redis_url: str, client: Any, monkeypatch: pytest.MonkeyPatch, *errors: Exception
) -> list[tuple[str, str | None]]:
    """Run one iteration; to add the next one fails with these errors, one after another."""
    left = list(errors)
    deeds: list[tuple[str, str | None]] = []

    async def produce(caller: Any, keys: Any, dialect: str, job: Job) -> None:
        deeds.append(("produce", job.scheduler_id))
        if left:
            raise left.pop(0)

    async def run(job: Job) -> None:
        deeds.append(("run", job.id))

    monkeypatch.setattr("corral.shift.produce_next", produce)
    await queue.add("x")
    await client.hset("bull:q:1", "rjk", "nightly")
    async with running(Worker("q", run, redis=redis_url)):
        await eventually(lambda: completed(queue))
    return deeds


async def test_the_next_one_is_added_before_the_job_runs(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = await deeds_with(queue, redis7_url, redis7_client, monkeypatch)
    assert deeds == [("produce", "nightly"), ("run", "1")]


async def test_while_redis_is_away_the_job_waits_for_it(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = await deeds_with(queue, redis7_url, redis7_client, monkeypatch, RedisUnavailable("away"))
    assert deeds == [("produce", "nightly"), ("produce", "nightly"), ("run", "1")]


async def test_a_next_one_that_cannot_be_added_does_not_stop_the_job(
    queue: Queue,
    redis7_url: str,
    redis7_client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deeds = await deeds_with(queue, redis7_url, redis7_client, monkeypatch, ValueError("unreadable"))
    assert deeds == [("produce", "nightly"), ("run", "1")]
    assert "the next iteration of job scheduler 'nightly' of queue q was not added" in caplog.text
