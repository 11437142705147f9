"""The loop that looks for dead workers: as often as the queue allows, and only on firm ground."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from corral import Queue, Worker
from corral.address import make_pool
from corral.connection import Lines
from corral.footing import Footing
from corral.keys import Keys
from corral.looks import look
from jobs import BEATS_ON, job
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio


@asynccontextmanager
async def looking(url: str, steady_s: Callable[[], float]) -> AsyncIterator[list[str]]:
    """Gives the ids put back so far."""
    found: list[str] = []
    async with Lines(make_pool(url)) as lines:
        task = asyncio.create_task(
            look(
                lines,
                Keys("q"),
                "",
                Footing(lines, steady_s),
                worker_id="me",
                max_stalled=1,
                on_recovered=found.append,
            )
        )
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


async def lay(client: Any, worker_of: dict[str, str]) -> None:
    """Active jobs, each with its worker: `dead` has been silent for a minute."""
    seconds, _ = await client.time()
    await client.zadd("bull:q:corral:beats", {"me": BEATS_ON, "living": BEATS_ON, "dead": (seconds - 60) * 1000})
    for job_id, worker in worker_of.items():
        await client.lpush("bull:q:active", job_id)
        await client.hset(f"bull:q:{job_id}", mapping=job(ats=1))
        await client.set(f"bull:q:{job_id}:lock", f"{worker}:1", px=600_000)


async def test_the_jobs_of_a_dead_worker_are_put_back_and_told(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await lay(client, {"1": "dead", "2": "living"})
    async with looking(redis_url, lambda: math.inf) as found:
        await eventually(lambda: found)
    assert found == ["1"]
    assert await client.lrange("bull:q:wait", 0, -1) == [b"1"]
    assert await client.lrange("bull:q:active", 0, -1) == [b"2"]


async def test_a_worker_whose_own_connection_broke_lately_does_not_look(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    steady_s, asked = 9.9, 0
    await lay(client, {"1": "dead"})

    def steady() -> float:
        nonlocal asked
        asked += 1
        return steady_s

    async with looking(redis_url, steady) as found:
        await eventually(lambda: asked > 6)
        assert (found, await client.exists("bull:q:corral:look")) == ([], 0)
        steady_s = 10.0
        await eventually(lambda: found)


async def test_the_next_look_is_made_when_the_last_one_is_over_whoever_made_it(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await lay(client, {"1": "dead"})
    await client.set("bull:q:corral:look", "another", px=300)
    async with looking(redis_url, lambda: math.inf) as found:
        # Not in 4 s, as after one of its own.
        await eventually(lambda: found, 3)


async def test_a_look_that_redis_refuses_is_told_once_a_minute(
    redis_url: str, async_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = async_client
    monkeypatch.setattr("corral.looks.LOOK_S", 0.01)
    monkeypatch.setattr("corral.looks.JITTER_S", 0.0)
    await client.set("bull:q:corral:beats", "text")
    told = "looking for dead workers of queue q failed: Redis refused (WRONGTYPE)"
    async with looking(redis_url, lambda: math.inf) as found:
        await eventually(lambda: told in caplog.text)
        await client.delete("bull:q:corral:beats")
        await lay(client, {"1": "dead"})
        await eventually(lambda: found)
    assert [record.levelno for record in caplog.records if told in record.getMessage()] == [logging.ERROR]


@pytest.mark.timeout(60)
async def test_a_job_that_a_look_put_back_is_told_as_stalled_and_runs(
    redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.footing.FIRM_S", 0.5)
    client: Any = redis7_client
    stalled: list[str] = []
    worker = Worker("q", lambda job: None, redis=redis7_url)
    worker.on("stalled", stalled.append)
    async with Queue("q", redis=redis7_url) as queue, running(worker):
        await lay(client, {"1": "dead"})
        await eventually(lambda: stalled, 20)
        assert stalled == ["1"]

        async def done() -> bool:
            return (await queue.get_job_counts()).completed == 1

        await eventually(done)
