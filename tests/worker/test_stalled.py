"""The loop that puts back jobs without a lock: at once when it begins, and after an outage when all had time to renew."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from corral.address import make_pool
from corral.connection import Lines
from corral.footing import Footing
from corral.keys import Keys
from corral.stalled import recover
from jobs import job
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


class Beats:
    def __init__(self) -> None:
        self.steady, self.asked = 0.0, 0

    def steady_s(self) -> float:
        self.asked += 1
        return self.steady


@asynccontextmanager
async def looking(url: str, beats: Beats) -> AsyncIterator[list[str]]:
    """Gives the ids put back so far."""
    found: list[str] = []
    async with Lines(make_pool(url)) as lines:
        footing = Footing(lines, beats.steady_s)
        loop = recover(lines, Keys("q"), "", footing, interval_ms=200, max_stalled=1, on_recovered=found.append)
        task = asyncio.create_task(loop)
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def suspect(async_client: redis.asyncio.Redis) -> Any:
    """A job whose lock has run out, which an earlier look has seen; gives the client."""
    client: Any = async_client
    await client.lpush("bull:q:active", "1")
    await client.hset("bull:q:1", mapping=job(ats=1))
    await client.sadd("bull:q:stalled", "1")
    return client


async def test_a_worker_that_begins_looks_at_once(redis_url: str, suspect: Any) -> None:
    async with looking(redis_url, Beats()) as found:
        await eventually(lambda: found == ["1"], 5)


async def test_after_an_outage_nobody_looks_until_all_had_time_to_renew_their_locks(
    redis_url: str, suspect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It began long ago.
    monkeypatch.setattr("corral.footing._BEGINNING_S", -60.0)
    beats = Beats()
    beats.steady = 9.8
    async with looking(redis_url, beats) as found:
        await eventually(lambda: beats.asked >= 5)
        assert (found, await suspect.exists("bull:q:stalled-check")) == ([], 0)
        beats.steady = 10.0
        await eventually(lambda: found == ["1"])


async def test_where_redis_never_answers_promptly_jobs_are_put_back_all_the_same(
    redis_url: str, suspect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.footing._BEGINNING_S", -60.0)
    monkeypatch.setattr("corral.stalled.PATIENCE_S", 0.5)
    async with looking(redis_url, Beats()) as found:
        await eventually(lambda: found == ["1"], 5)


async def test_a_user_who_may_not_ask_for_redis_time_puts_jobs_back_all_the_same(redis_url: str, suspect: Any) -> None:
    await suspect.execute_command("ACL", "SETUSER", "bullmq", "on", ">pw", "~*", "&*", "+@all", "-time")
    try:
        async with looking(redis_url.replace("redis://", "redis://bullmq:pw@"), Beats()) as found:
            await eventually(lambda: found)
    finally:
        await suspect.execute_command("ACL", "DELUSER", "bullmq")
    assert found == ["1"]
