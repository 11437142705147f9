"""The locks that a worker holds: renewed while they are held, told once when they are lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from corral.address import make_pool
from corral.connection import Lines
from corral.keys import Keys
from corral.locks import Locks, renew
from corral.scripts import Held
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

KEYS = Keys("q")


@pytest.fixture
async def lines(redis_url: str) -> AsyncIterator[Lines]:
    async with Lines(make_pool(redis_url)) as lines:
        yield lines


@asynccontextmanager
async def renewing(lines: Lines, locks: Locks) -> AsyncIterator[list[tuple[str, str]]]:
    """Gives the locks that were told as lost so far."""
    lost: list[tuple[str, str]] = []
    task = asyncio.create_task(renew(lines, [locks], 400, lambda keys, some: lost.extend(some)))
    try:
        yield lost
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_of_two_runs_of_one_job_only_the_one_that_lost_its_lock_is_told(
    lines: Lines, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    # Recovered, and taken by the same worker once more: the first run goes on beside the second.
    await client.set("bull:q:1:lock", "w:2", px=60_000)
    locks = Locks(KEYS)
    locks.hold("1", "w:1", 1)
    locks.hold("1", "w:2", 2)

    async def renewed() -> bool:
        return 0 < int(await client.pttl("bull:q:1:lock")) <= 400

    async with renewing(lines, locks) as lost:
        await eventually(lambda: lost)
        await eventually(renewed)
        assert lost == [("1", "w:1")]
        assert list(locks.held) == [("1", "w:2")]


async def test_a_lost_lock_is_told_once(lines: Lines, async_client: redis.asyncio.Redis) -> None:
    client: Any = async_client
    await client.set("bull:q:2:lock", "w:1", px=60_000)
    locks = Locks(KEYS)
    for job_id in ("1", "2", "3"):
        locks.hold(job_id, "w:1", 1)

    async with renewing(lines, locks) as lost:
        await eventually(lambda: len(lost) == 2)
        _, first = locks.held["2", "w:1"]
        await eventually(lambda: locks.held["2", "w:1"][1] > first)
    assert sorted(lost) == [("1", "w:1"), ("3", "w:1")]


async def test_a_lock_that_ran_out_is_held_anew_and_not_told_as_lost(
    lines: Lines, async_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = async_client
    await client.lpush("bull:q:active", "1")
    await client.hset("bull:q:1", "ats", 3)
    locks = Locks(KEYS)
    locks.hold("1", "w:1", 3)
    async with renewing(lines, locks) as lost:
        await eventually(lambda: client.exists("bull:q:1:lock"))
        assert await client.get("bull:q:1:lock") == b"w:1"
    assert (lost, list(locks.held)) == ([], [("1", "w:1")])
    assert "1 locks of queue q had run out and are held anew" in caplog.text


async def test_after_an_outage_locks_are_renewed_long_before_the_next_round(
    lines: Lines, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = async_client
    await client.lpush("bull:q:active", "1")
    await client.hset("bull:q:1", "ats", 1)
    locks = Locks(KEYS)
    locks.hold("1", "w:1", 1)
    rounds: list[float] = []

    async def hasty(seconds: float) -> None:
        rounds.append(seconds)
        await asyncio.sleep(min(seconds, 0.01))

    monkeypatch.setattr("corral.locks.asyncio", SimpleNamespace(sleep=hasty))
    monkeypatch.setattr("corral.locks.Locks.due", lambda self, before: [Held("1", "w:1", 1)])
    await lines.close()
    back = Lines(lines.pool)
    task = asyncio.create_task(renew(lines, [locks], 1_000_000, lambda keys, some: None))
    try:
        await eventually(lambda: len(rounds) > 3)
        lines.call = back.call  # type: ignore[method-assign]
        await eventually(lambda: client.exists("bull:q:1:lock"))
        await eventually(lambda: rounds[-1] == 250.0)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await back.close()
    # A round takes 250 s; while Redis was away it was tried within seconds.
    assert rounds[0] == 250.0
    assert all(seconds <= 5.0 for seconds in rounds[1:4])
