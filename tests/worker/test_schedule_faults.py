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


@pytest.mark.parametrize("fate", FATES)
async def test_a_schedule_goes_on_when_redis_was_away_as_its_next_iteration_was_made(
    redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    call, lost = Lines.call, 0

    async def lossy(self: Lines, *command: Any, timeout: float = 10.0) -> Any:
        nonlocal lost
        if command[1:2] == (script.load("advance_scheduler").sha,) and lost < 3:
            lost += 1
            if "answer" in fate:
                await call(self, *command, timeout=timeout)
            raise FATES[fate]
        return await call(self, *command, timeout=timeout)

    monkeypatch.setattr(Lines, "call", lossy)
    async with Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("s", every=0.1)

        async def ticked() -> bool:
            return await ticks(redis7_client) >= 4

        async with running(Worker("q", run, redis=redis7_url)):
            await eventually(ticked, 15)
    assert lost == 3
    assert await audit(redis7_client) == []


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
