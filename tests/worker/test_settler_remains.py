"""What a settler's loop leaves behind when it is ended is written by one last call; nothing stays with a dead worker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from corral import Counts, JobSpec, Queue
from corral.address import make_pool
from corral.connection import Lines
from corral.errors import RedisUnavailable
from lossy import Rig
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_bulk([JobSpec("x", each) for each in range(4)])
        yield queue


@pytest.fixture
async def lines(redis_url: str) -> AsyncIterator[Lines]:
    """The connections of the last call."""
    async with Lines(make_pool(redis_url)) as lines:
        yield lines


@pytest.fixture
def new_rig(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`async with new_rig(slots) as (rig, end)`: a settler that runs until `await end()`."""
    monkeypatch.setattr("corral.settler.retry_pause_s", lambda failures, draw: 0.001 * 2 ** min(failures, 6))

    @asynccontextmanager
    async def make(slots: int) -> AsyncIterator[tuple[Rig, Callable[[], Any]]]:
        rig = Rig(redis_url, slots)
        task = asyncio.create_task(rig.settler.run())

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        rig.settler.look()
        try:
            yield rig, end
        finally:
            await end()
            await rig.line.close()

    return make


def in_front(rig: Rig, first: int) -> dict[tuple[str, str], int]:
    """What runs still: all that was taken but the first so many."""
    return {(job.id, token): 1 for job, token in rig.heard.jobs[first:]}


async def test_unwritten_outcomes_are_written_and_running_jobs_go_back(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        rig.line.plan = iter(["call"] * 100_000)
        rig.end(2)
        await eventually(lambda: not rig.heard.calls[-1][0])
        await end()
        assert await rig.settler.write_remains(lines, in_front(rig, 2)) == 4
    assert await queue.get_job_counts() == Counts(2, 0, 0, 0, 0, completed=2, failed=0)
    assert [str(await queue.get_job_state(id)) for id in "1234"] == ["completed", "completed", "waiting", "waiting"]
    assert await client.exists(*(f"bull:q:{id}:lock" for id in range(1, 5))) == 0


async def test_a_last_call_that_meets_locks_which_ran_out_writes_and_hands_back_all_the_same(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        rig.line.plan = iter(["call"] * 100_000)
        rig.end(2)
        await eventually(lambda: not rig.heard.calls[-1][0])
        await end()
        await client.delete(*(f"bull:q:{id}:lock" for id in range(1, 5)))
        # Recovered meanwhile, and taken by another.
        await client.hset("bull:q:2", "ats", 2)
        await client.hset("bull:q:4", "ats", 2)
        await rig.settler.write_remains(lines, in_front(rig, 2))
    assert [str(await queue.get_job_state(id)) for id in "1234"] == ["completed", "active", "waiting", "active"]
    assert await client.exists(*(f"bull:q:{id}:lock" for id in range(1, 5))) == 0


async def test_outcomes_that_came_while_a_call_was_under_way_are_written_too(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any]
) -> None:
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        rig.line.plan = iter(["call"] * 100_000)
        rig.end(1)
        await eventually(lambda: not rig.heard.calls[-1][0])
        (first, second) = rig.heard.jobs[:2]
        rig.heard.jobs[:2] = [second, first]
        rig.end(1)
        await end()
        assert rig.settler.unwritten == 2
        assert await rig.settler.write_remains(lines, in_front(rig, 2)) == 4
    assert await queue.get_job_counts() == Counts(2, 0, 0, 0, 0, completed=2, failed=0)


async def test_an_outcome_whose_answer_was_lost_is_written_once(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        rig.line.plan = iter(["answer", *["call"] * 100_000])
        rig.end(1)
        await eventually(lambda: len([worked for worked, _ in rig.heard.calls if not worked]) > 1)
        assert await queue.get_job_state("1") == "completed"
        await end()
        await rig.settler.write_remains(lines, in_front(rig, 1))
    assert await queue.get_job_counts() == Counts(3, 0, 0, 0, 0, completed=1, failed=0)
    assert await client.hget("bull:q:1", "atm") == b"1"


async def test_jobs_of_a_take_whose_answer_nobody_worked_on_go_back(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    async with new_rig(2) as (rig, end):
        rig.line.plan = iter(["answer", *["call"] * 100_000])
        await eventually(lambda: len(rig.heard.calls) >= 2)
        # One: a call asks for half of the slots.
        assert (await queue.get_job_counts()).active == 1
        assert rig.heard.jobs == []
        await end()
        assert await rig.settler.write_remains(lines, {}) == 1
    assert await queue.get_job_counts() == Counts(4, 0, 0, 0, 0, 0, 0)
    # In front, as it was before.
    assert await client.lindex("bull:q:wait", -1) == b"1"
    assert await client.exists("bull:q:1:lock") == 0


async def test_a_job_that_runs_is_not_handed_back_a_second_time_for_its_take(
    queue: Queue, lines: Lines, new_rig: Callable[..., Any]
) -> None:
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        # The end of job 1 and its own hand-back are both in this call: what ended goes first, and once.
        rig.line.plan = iter(["call"] * 100_000)
        rig.end(1)
        await eventually(lambda: not rig.heard.calls[-1][0])
        await end()
        assert await rig.settler.write_remains(lines, in_front(rig, 1)) == 4
        assert await rig.settler.write_remains(lines, in_front(rig, 1)) == 4
    assert await queue.get_job_counts() == Counts(3, 0, 0, 0, 0, completed=1, failed=0)


async def test_where_nothing_remains_nothing_is_sent(queue: Queue, new_rig: Callable[..., Any]) -> None:
    async with new_rig(4) as (rig, end):
        rig.heard.ends_at_once = True
        await eventually(lambda: len(rig.heard.settled_ids) == 4)
        await eventually(lambda: rig.settler.unwritten == 0)
        await end()
        async with Lines(make_pool(f"redis://127.0.0.1:{free_port()}")) as nowhere:
            assert await rig.settler.write_remains(nowhere, {}) == 0


async def test_that_redis_is_away_is_raised_and_the_remains_stay(queue: Queue, new_rig: Callable[..., Any]) -> None:
    async with new_rig(4) as (rig, end):
        await rig.taken(4)
        rig.line.plan = iter(["call"] * 100_000)
        rig.end(2)
        await eventually(lambda: not rig.heard.calls[-1][0])
        await end()
        async with Lines(make_pool(f"redis://127.0.0.1:{free_port()}")) as nowhere:
            with pytest.raises(RedisUnavailable):
                await rig.settler.write_remains(nowhere, in_front(rig, 2))
        assert rig.settler.unwritten > 0


async def test_damaged_keys_beside_a_job_are_told_to_the_receiver(
    queue: Queue, new_rig: Callable[..., Any], async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    await client.hset("bull:q:1", mapping={"parentKey": "bull:up:P", "parent": "{}"})
    await client.set("bull:up:P:dependencies", "text")
    async with new_rig(4) as (rig, _):
        rig.heard.ends_at_once = True
        await eventually(lambda: len(rig.heard.settled_ids) == 4)
    (trouble,) = rig.heard.troubles
    assert trouble.startswith("parent bull:up:P: WRONGTYPE")
    assert (await queue.get_job_counts()).completed == 4
