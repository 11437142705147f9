"""The settler against a real Redis whose answers get lost: every job starts once, every end is written."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec, Queue, script, scripts
from corral.address import make_pool
from corral.connection import Line
from corral.settler import MOST
from lossy import NAMES, Rig
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


@pytest.fixture
async def new_rig(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """`async with new_rig(slots, fates...) as rig`: a settler that runs, on a line that loses what the fates say."""
    # Pauses between two tries: a hundredth of what they are.
    monkeypatch.setattr("corral.settler.retry_pause_s", lambda failures, draw: 0.001 * 2 ** min(failures, 6))

    @asynccontextmanager
    async def make(slots: int, *fates: str) -> AsyncIterator[Rig]:
        rig = Rig(redis_url, slots)
        rig.line.plan = iter(fates)
        task = asyncio.create_task(rig.settler.run())
        rig.settler.look()
        try:
            yield rig
        finally:
            task.cancel()
            await asyncio.wait([task])
            await rig.line.close()

    # EVALSHA is to be known, so that one call is one exchange.
    line = Line(make_pool(redis_url))
    for name in NAMES.values():
        await line.call("SCRIPT", "LOAD", script.load(name).text)
    await line.close()
    return make


def jobs(number: int) -> list[JobSpec]:
    return [JobSpec("x", each) for each in range(number)]


async def test_jobs_whose_take_was_answered_to_nobody_are_found_and_started_once(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await queue.add_bulk(jobs(5))
    async with new_rig(10, "answer") as rig:
        await rig.taken(5)
        await eventually(lambda: rig.heard.nothing)
    assert sorted(rig.heard.taken_ids) == ["1", "2", "3", "4", "5"]
    assert rig.line.sent[:2] == [("take_jobs", "t:1"), ("reclaim_jobs", "t:1")]
    assert {token for _, token in rig.heard.jobs} == {"t:1"}
    assert await client.get("bull:q:1:lock") == b"t:1"
    assert rig.slots.busy == 5


async def test_a_call_that_never_left_is_sent_again_with_the_same_token(
    queue: Queue, new_rig: Callable[..., Any]
) -> None:
    await queue.add("x")
    async with new_rig(1, "call", "call") as rig:
        await rig.taken(1)
    assert rig.line.sent[:3] == [("take_jobs", "t:1")] * 3
    assert rig.heard.taken_ids == ["1"]
    assert [worked for worked, _ in rig.heard.calls[:3]] == [False, False, True]


async def test_an_end_whose_answer_was_lost_is_written_once_and_not_told_as_written(
    queue: Queue, new_rig: Callable[..., Any]
) -> None:
    await queue.add("x")
    async with new_rig(1) as rig:
        await rig.taken(1)
        rig.line.plan = iter(["answer"])
        rig.end(1)
        await eventually(lambda: rig.heard.refusals)
    ((job_id, code, sent_before),) = rig.heard.refusals
    assert (job_id, sent_before) == ("1", True)
    assert code in scripts.CODES
    assert rig.heard.settled_ids == []
    assert (await queue.get_job_counts()).completed == 1
    assert rig.slots.busy == 0


async def test_the_lost_answer_of_an_end_that_took_jobs_too_loses_neither(
    queue: Queue, new_rig: Callable[..., Any]
) -> None:
    await queue.add_bulk(jobs(3))
    async with new_rig(1) as rig:
        await rig.taken(1)
        rig.line.plan = iter(["answer"])
        rig.heard.ends_at_once = True
        rig.end(1)
        await eventually(lambda: len(rig.heard.settled_ids) == 2)
    assert rig.heard.taken_ids == ["1", "2", "3"]
    assert rig.heard.refusals == [("1", rig.heard.refusals[0][1], True)]
    assert (await queue.get_job_counts()).completed == 3


async def test_what_ends_during_an_outage_is_written_after_it(queue: Queue, new_rig: Callable[..., Any]) -> None:
    await queue.add_bulk(jobs(2 * MOST + 10))
    async with new_rig(2 * MOST + 10) as rig:
        await rig.taken(2 * MOST + 10)
        rig.line.plan = iter(["call"] * 5)
        rig.end(2 * MOST + 10)
        assert rig.settler.unwritten == 2 * MOST + 10
        await eventually(lambda: len(rig.heard.settled_ids) == 2 * MOST + 10)
        await eventually(lambda: rig.settler.unwritten == 0)
    assert len(set(rig.heard.settled_ids)) == 2 * MOST + 10
    assert max(outcomes for _, outcomes in rig.heard.calls) == MOST
    assert (await queue.get_job_counts()).completed == 2 * MOST + 10


async def test_a_settler_told_to_be_quiet_during_an_outage_takes_no_more(
    queue: Queue, new_rig: Callable[..., Any]
) -> None:
    async with new_rig(5, *["call"] * 10_000) as rig:
        await eventually(lambda: len(rig.heard.calls) >= 2)
        await queue.add_bulk(jobs(5))
        rig.settler.quiet()
        rig.line.plan = None
        await eventually(lambda: rig.heard.calls[-1][0])
        await eventually(lambda: rig.settler.unwritten == 0)
        rig.settler.look()
        await eventually(lambda: rig.slots.busy == 0)
    assert rig.heard.jobs == []
    assert (await queue.get_job_counts()).waiting == 5


async def test_a_quiet_settler_still_gives_out_what_its_lost_take_had_taken(
    queue: Queue, new_rig: Callable[..., Any]
) -> None:
    await queue.add_bulk(jobs(3))
    async with new_rig(2, "answer", *["call"] * 10_000) as rig:
        await eventually(lambda: len(rig.heard.calls) >= 2)
        rig.settler.quiet()
        rig.line.plan = None
        await rig.taken(1)
        rig.end(1)
        await eventually(lambda: rig.heard.settled_ids)
    assert rig.heard.taken_ids == ["1"]
    counts = await queue.get_job_counts()
    assert (counts.waiting, counts.active, counts.completed) == (2, 0, 1)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_gets_lost_every_job_starts_once_and_every_end_is_written(
    queue: Queue, new_rig: Callable[..., Any], seed: int
) -> None:
    dice = random.Random(seed)
    await queue.add_bulk(jobs(150))
    async with new_rig(8, *dice.choices(["", "answer", "call"], [6, 2, 2], k=150)) as rig:
        rig.heard.ends_at_once = True
        await eventually(lambda: len(rig.heard.settled_ids) + len(rig.heard.refusals) == 150, within=30)
        await eventually(lambda: rig.slots.busy == 0)
    assert sorted(rig.heard.taken_ids, key=int) == [str(number) for number in range(1, 151)]
    assert all(sent_before for _, _, sent_before in rig.heard.refusals)
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.unfinished) == (150, 0)


async def test_a_look_during_a_rate_limit_leaves_the_waiting_to_the_fetcher(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await client.hset("bull:q:meta", mapping={"max": 1, "duration": 60_000})
    await queue.add_bulk(jobs(2))
    async with new_rig(4) as rig:
        await rig.taken(1)
        rig.settler.look()
        await eventually(lambda: rig.settler.limited_until_ms)
        rig.settler.look()
        await eventually(rig.settler.resting.is_set, within=2)
    assert rig.heard.taken_ids == ["1"]


async def test_an_end_that_meets_no_lock_is_written_while_nobody_else_has_taken_the_job(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await queue.add_bulk(jobs(4))
    async with new_rig(10) as rig:
        await rig.taken(4)
        # An outage was longer than the locks; meanwhile 2 was put back and taken by another, 3 was only put back.
        await client.delete(*(f"bull:q:{id}:lock" for id in (1, 2, 3, 4)))
        await client.hset("bull:q:2", "ats", 2)
        await client.lrem("bull:q:active", 1, "3")
        await client.rpush("bull:q:wait", "3")
        rig.end(4)
        await eventually(lambda: len(rig.heard.settled_ids) == 2 and len(rig.heard.refusals) == 2)
        assert rig.settler.unwritten == rig.settler.unwritten_ends == 0
    assert sorted(rig.heard.settled_ids) == ["1", "4"]
    assert sorted(rig.heard.refusals) == [("2", scripts.NO_LOCK, False), ("3", scripts.NO_LOCK, False)]
    assert [str(await queue.get_job_state(id)) for id in "12"] == ["completed", "active"]
    assert await client.exists("bull:q:2:lock") == 0


async def test_an_end_whose_lock_ran_out_waits_for_redis_and_counts_as_unwritten_until_then(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await queue.add("x")
    async with new_rig(1) as rig:
        await rig.taken(1)
        await client.delete("bull:q:1:lock")
        # The first try tells that there is no lock; asking for it anew is lost on the way, then its answer, then no more.
        rig.line.plan = iter(["", "call", "answer"])
        seen: list[int] = []
        rig.heard.calling = lambda error, outcomes: seen.append(rig.settler.unwritten_ends)  # type: ignore[method-assign]
        rig.end(1)
        await eventually(lambda: rig.heard.settled_ids)
    assert (rig.heard.settled_ids, rig.heard.refusals) == (["1"], [])
    assert min(seen) == 1
    assert await queue.get_job_state("1") == "completed"


async def test_a_written_end_whose_answer_was_lost_is_not_written_again(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await queue.add("x")
    async with new_rig(1) as rig:
        await rig.taken(1)
        rig.line.plan = iter(["answer"])
        rig.end(1)
        await eventually(lambda: rig.heard.refusals)
    assert rig.heard.refusals == [("1", scripts.NO_LOCK, True)]
    assert await client.hmget("bull:q:1", "atm", "ats") == [b"1", b"1"]
    assert await client.exists("bull:q:1:lock") == 0
