"""A whole worker whose connections are cut again and again while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, JobSpec, Queue, Worker
from corral.metrics import Metrics
from running import running, sample
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

JOBS = 3000


@pytest.mark.parametrize("concurrency", [1, 50])
async def test_connections_cut_at_any_time_lose_no_job_and_run_none_twice(
    redis_url: str, async_client: redis.asyncio.Redis, concurrency: int
) -> None:
    client: Any = async_client
    number = JOBS if concurrency > 1 else JOBS // 5
    ran: list[str] = []
    cuts = 0

    async def run(job: Job) -> None:
        ran.append(job.id)
        await asyncio.sleep(0)

    async with Queue("q", redis=redis_url) as queue:
        await queue.add_bulk([JobSpec("x", each) for each in range(number)])

    async def cut_until_all_are_done() -> bool:
        nonlocal cuts
        # Not while it connects; and a cut between two calls breaks none.
        if ran and (cuts < 12 or not sample(metrics, "corral_redis_errors_total", queue="q")):
            cuts += int(await client.client_kill_filter(_type="normal", skipme=True)) > 0
        return bool(await client.zcard("bull:q:completed") == number)

    metrics = Metrics()
    async with running(Worker("q", run, redis=redis_url, concurrency=concurrency), metrics=metrics):
        await eventually(cut_until_all_are_done, within=40)
    assert cuts > 1
    assert sample(metrics, "corral_redis_errors_total", queue="q") >= 1
    assert sorted(ran, key=int) == [str(each) for each in range(1, number + 1)]
    assert await client.llen("bull:q:active") == 0
    ended = sum(sample(metrics, "corral_jobs_total", queue="q", outcome=name) for name in ("completed", "lost"))
    assert ended == number
