"""A job scheduler whose next iteration Redis did not take at the first try: the schedule never ends by that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from corral import Job, Queue, RedisRefused, RedisUnavailable, Worker, script
from corral.connection import Lines
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

FATES = {
    "the call is lost": RedisUnavailable("lost on the way", maybe_done=False),
    "the answer is lost": RedisUnavailable("its answer was lost", maybe_done=True),
    "a replica refuses it": RedisRefused("Redis refused (READONLY)", "READONLY"),
}


async def run(job: Job) -> str:
    return job.id


async def ticks(client: Any) -> int:
    return int(await client.zcard("bull:q:completed"))


@pytest.fixture(params=FATES)
def lost(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first three calls that would make an iteration fail; filled as they do."""
    call, lost = Lines.call, list[str]()

    async def lossy(self: Lines, *command: Any, timeout: float = 10.0) -> Any:
        if command[1:2] == (script.load("advance_scheduler").sha,) and len(lost) < 3:
            lost.append(request.param)
            if "answer" in request.param:
                await call(self, *command, timeout=timeout)
            raise FATES[request.param]
        return await call(self, *command, timeout=timeout)

    monkeypatch.setattr(Lines, "call", lossy)
    return lost


async def test_a_schedule_goes_on_when_redis_was_away_as_its_next_iteration_was_made(
    redis7_url: str, redis7_client: redis.asyncio.Redis, lost: list[str]
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)

        async def ticked() -> bool:
            return await ticks(redis7_client) >= 4

        async with running(Worker("q", run, redis=redis7_url)):
            await eventually(ticked, 15)
    assert len(lost) == 3
    assert await audit(redis7_client) == []


async def test_a_worker_without_a_processor_is_told_and_finds_the_job_again(
    redis7_url: str, redis7_client: redis.asyncio.Redis, lost: list[str]
) -> None:
    found: list[str] = []
    worker = Worker("q", redis=redis7_url)
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)
        while len(found) < 4:
            try:
                job = await worker.get_next_job(timeout=5)
            except RedisUnavailable:
                continue
            assert job is not None
            assert job.attempts_started == 1
            await job.move_to_completed()
            found.append(job.id)
    await worker.close()
    assert len(lost) == 3
    assert len(set(found)) == 4
    assert await audit(redis7_client) == []


async def test_a_refusal_that_waiting_does_not_heal_is_told_and_the_job_runs_all_the_same(
    redis7_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call = Lines.call

    async def forbidden(self: Lines, *command: Any, timeout: float = 10.0) -> Any:
        if command[1:2] == (script.load("advance_scheduler").sha,):
            raise RedisRefused("Redis refused (NOPERM)", "NOPERM")
        return await call(self, *command, timeout=timeout)

    monkeypatch.setattr(Lines, "call", forbidden)
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)

        async def over() -> bool:
            counts = await queue.get_job_counts()
            return (counts.completed, counts.unfinished) == (1, 0)

        async with running(Worker("q", run, redis=redis7_url)):
            await eventually(over)
    assert "the next iteration of job scheduler 's' of queue q was not added" in caplog.text


async def test_a_schedule_goes_on_in_a_full_redis(redis7_url: str, redis7_client: redis.asyncio.Redis) -> None:
    client: Any = redis7_client
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)
        await client.config_set("maxmemory", 1)
        try:

            async def ticked() -> bool:
                return await ticks(client) >= 4

            async with running(Worker("q", run, redis=redis7_url)):
                await eventually(ticked, 15)
        finally:
            await client.config_set("maxmemory", 0)
    assert await audit(client) == []


@pytest.mark.parametrize("by_hand", [False, True], ids=["run", "by hand"])
async def test_a_schedule_outlives_an_iteration_that_cannot_be_read(
    redis7_url: str, redis7_client: redis.asyncio.Redis, by_hand: bool
) -> None:
    client: Any = redis7_client
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)
        (first,) = [key async for key in client.scan_iter("bull:q:repeat:s:*")]
        await client.hset(first, "data", "{")
        if by_hand:
            worker = Worker("q", redis=redis7_url)
            job = await worker.get_next_job(timeout=10)
            assert job is not None
            await job.move_to_completed()
            await worker.close()
        else:
            async with running(Worker("q", run, redis=redis7_url)):
                await eventually(lambda: ticks(client))
        assert (await queue.get_job_counts()).failed == 1
    assert await audit(client) == [f"queue q: job {first.decode().removeprefix('bull:q:')}: its data is not JSON"]
