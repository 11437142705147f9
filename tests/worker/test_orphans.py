"""Jobs between the states are found, put back where they belong, or removed; jobs in motion never are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from corral import JobSpec, Orphan, OrphanKind, Queue, State, orphan_scripts, scripts
from corral.clock import now_ms
from corral.lifecycle import Complete
from corral.retention import Keep
from corral.scripts import Settlement, Taking
from jobs import job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


def lost(*ids: str) -> list[Orphan]:
    return [Orphan(id, OrphanKind.NO_STATE) for id in ids]


async def test_a_sound_queue_has_none(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    await queue.add_bulk([JobSpec("n") for _ in range(3)])
    await queue.add("late", delay=60, deduplication="d")
    await scripts.settle_jobs(queue._lines, queue.keys, "", now_ms(), [], Taking(1, "t", 60_000, "w"))
    await async_client.hset("bull:q:repeat:s", mapping={"name": "n", "data": "{}", "opts": "{}", "ic": 1})
    await async_client.hset("bull:q:p:processed", mapping={"name": "1", "timestamp": "2"})
    await async_client.hset("bull:q:dn:d", mapping={"name": "n", "data": "{}", "opts": "{}", "jid": "9"})
    await async_client.hset("bull:other:5", mapping=job())
    assert await queue.find_orphans() == []
    await async_client.delete("bull:q:1:lock")  # its worker died: recovered, never an orphan
    assert await queue.find_orphans() == []


@pytest.mark.parametrize(
    ("fields", "more", "state", "events"),
    [
        ({}, {}, State.WAITING, ["waiting"]),
        ({"priority": 3}, {}, State.PRIORITIZED, ["waiting"]),
        ({"delay": 10**12}, {}, State.DELAYED, ["delayed"]),
        ({"delay": 5, "timestamp": 1000}, {}, State.WAITING, ["waiting"]),
        ({"finishedOn": 77, "returnvalue": "1", "failedReason": "once"}, {}, State.COMPLETED, []),
        ({"finishedOn": 77, "failedReason": "why"}, {}, State.FAILED, []),
        ({}, {"x:dependencies": "c"}, State.WAITING_CHILDREN, ["waiting-children"]),
    ],
)
async def test_a_lost_job_goes_where_its_hash_says(
    queue: Queue,
    async_client: redis.asyncio.Redis,
    fields: dict[str, Any],
    more: dict[str, str],
    state: State,
    events: list[str],
) -> None:
    await async_client.hset("bull:q:x", mapping=job(**fields))
    for key, child in more.items():
        await async_client.sadd(f"bull:q:{key}", f"bull:q:{child}")
        await async_client.hset(f"bull:q:{child}", mapping=job(parentKey="bull:q:x", parent='{"id":"x"}'))
        await async_client.rpush("bull:q:wait", child)
    assert await queue.find_orphans() == lost("x")
    assert await queue.put_back_orphans() == 1
    assert await queue.get_job_state("x") == state
    assert await queue.find_orphans() == []
    heard = [fields[b"event"].decode() for _, fields in await async_client.xrange("bull:q:events")]
    assert heard == events
    assert await audit(async_client, now_ms=now_ms(), wakes=not more) == []


async def test_a_job_that_somebody_holds_is_none_until_its_lock_has_run_out(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await async_client.hset("bull:q:x", mapping=job())
    await async_client.set("bull:q:x:lock", "t", px=60_000)
    assert await queue.find_orphans() == []
    assert await queue.put_back_orphans() == 0
    await async_client.delete("bull:q:x:lock")
    assert await queue.find_orphans() == lost("x")


async def test_an_id_without_a_job_is_told_and_dropped(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    await queue.add("n", job_id="a")
    await async_client.rpush("bull:q:wait", "gone", "0:5")
    await async_client.zadd("bull:q:failed", {"old": 5})
    expected = [Orphan("gone", OrphanKind.NO_JOB, "wait"), Orphan("old", OrphanKind.NO_JOB, "failed")]
    assert await queue.find_orphans() == expected
    assert await queue.put_back_orphans() == 0
    assert await queue.remove_orphaned_jobs() == 2
    assert await async_client.lrange("bull:q:wait", 0, -1) == [b"a", b"0:5"]
    assert await queue.find_orphans() == []


async def test_removal_takes_everything_of_a_job_and_tells_its_parent(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await async_client.hset("bull:up:p", mapping=job())
    await async_client.sadd("bull:up:p:dependencies", "bull:q:x")
    await async_client.zadd("bull:up:waiting-children", {"p": 5})
    tie = {"parentKey": "bull:up:p", "parent": '{"id":"p","queueKey":"bull:up"}'}
    await async_client.hset("bull:q:x", mapping=job(deid="d", **tie))
    await async_client.set("bull:q:de:d", "x")
    await async_client.rpush("bull:q:x:logs", "row")
    assert await queue.remove_orphaned_jobs() == 1
    assert await async_client.keys("bull:q:x*") == []
    assert await async_client.lrange("bull:up:wait", 0, -1) == [b"p"]
    assert await audit(async_client) == []


async def test_the_next_iteration_of_a_scheduler_is_put_back_and_never_removed(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await async_client.zadd("bull:q:repeat", {"s": 500})
    await async_client.hset("bull:q:repeat:s", mapping={"name": "n", "every": "5", "ic": "1"})
    await async_client.hset("bull:q:repeat:s:500", mapping=job(rjk="s"))
    assert await queue.remove_orphaned_jobs() == 0
    assert await queue.put_back_orphans() == 1
    assert await audit(async_client) == []


async def test_a_limit_bounds_the_removal(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    for number in range(5):
        await async_client.hset(f"bull:q:{number}x", mapping=job())
    assert await queue.remove_orphaned_jobs(limit=2) == 2
    assert await queue.remove_orphaned_jobs() == 3


async def test_jobs_that_a_resume_of_bullmq_5_would_lose_are_told_and_saved(
    redis_url: str, queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await async_client.hset("bull:q:meta", "version", "bullmq:5.81.5")
    await queue.add("first", job_id="first")
    await queue.pause()
    async with Queue("q", redis=redis_url, dialect="v6") as six:
        await six.add("second", job_id="second")
        await six.add("third", job_id="third")
    at_risk = [orphan for orphan in await queue.find_orphans() if orphan.kind is OrphanKind.AT_RISK]
    assert [orphan.job_id for orphan in at_risk] == ["third", "second"]
    assert await queue.put_back_orphans() == 2
    assert await queue.find_orphans() == []
    assert await async_client.lrange("bull:q:wait", 0, -1) == []
    # What BullMQ 5 does at resume.
    await async_client.rename("bull:q:paused", "bull:q:wait")
    await async_client.hdel("bull:q:meta", "paused")
    assert {*await async_client.lrange("bull:q:wait", 0, -1)} == {b"first", b"second", b"third"}


async def test_a_queue_that_was_resumed_meanwhile_is_not_paused_again(
    queue: Queue, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.pause()
    await async_client.hset("bull:q:x", mapping=job())
    await async_client.hset("bull:q:y", mapping=job())
    await async_client.rpush("bull:q:paused", "x")
    await async_client.rpush("bull:q:wait", "y")
    find = queue.find_orphans

    async def found_before_the_resume() -> list[Orphan]:
        orphans = await find()
        await queue.resume()
        return orphans

    monkeypatch.setattr(queue, "find_orphans", found_before_the_resume)
    assert await queue.put_back_orphans() == 0
    assert not await async_client.hexists("bull:q:meta", "paused")
    assert {*await async_client.lrange("bull:q:wait", 0, -1)} == {b"x", b"y"}


@pytest.mark.parametrize(
    ("prefix", "name", "job_id"),
    [("bull:q", "z", "k"), ("bull:q", "z", "a:b:c"), ("bull:q:x", "z", "k"), ("bull:q", "z", None)],
)
async def test_jobs_of_a_queue_whose_prefix_begins_as_this_ones_keys_are_left_alone(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, prefix: str, name: str, job_id: str | None
) -> None:
    await queue.add("mine")
    async with Queue(name, redis=redis_url, prefix=prefix) as other:
        theirs = await other.add("theirs", job_id=job_id)
        scheduled = await other.upsert_job_scheduler("s", every=60)
        assert scheduled is not None
        await async_client.hset("bull:q:repeat:meta", mapping={"name": "of a scheduler called meta", "every": "5"})
        await async_client.hset("bull:q:repeat:meta:500", mapping=job())
        assert await queue.find_orphans() == lost("repeat:meta:500")
        assert await queue.remove_orphaned_jobs() == 1
        assert await queue.put_back_orphans() == 0
        assert await other.get_job_state(theirs.id) == State.WAITING
        assert await other.get_job_state(scheduled.id) == State.WAITING


@pytest.mark.parametrize("count", [1, 9, 600])
async def test_many_are_put_back_and_removed_as_few_are(
    queue: Queue, async_client: redis.asyncio.Redis, count: int
) -> None:
    ids = [f"o{number}" for number in range(count)]
    await queue.add_bulk([JobSpec("n") for _ in range(1500)])
    for id in ids:
        await async_client.hset(f"bull:q:{id}", mapping=job())
    await async_client.rpush("bull:q:wait", *[f"gone{number}" for number in range(count)])
    found = await queue.find_orphans()
    assert {(orphan.job_id, orphan.kind) for orphan in found} == {
        *((id, OrphanKind.NO_STATE) for id in ids),
        *((f"gone{number}", OrphanKind.NO_JOB) for number in range(count)),
    }
    assert await queue.put_back_orphans() == count
    assert await async_client.llen("bull:q:wait") == 1500 + 2 * count
    assert await queue.remove_orphaned_jobs() == count
    assert await async_client.llen("bull:q:wait") == 1500 + count
    await async_client.ltrim("bull:q:wait", 1, 0)
    assert await queue.remove_orphaned_jobs(limit=count) == count


async def test_an_id_that_is_told_twice_is_put_back_once(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    ids = [f"o{number}" for number in range(20)]
    for id in ids:
        await async_client.hset(f"bull:q:{id}", mapping=job())
    assert await orphan_scripts.put_back_orphans(queue._lines, queue.keys, "", 5, [*ids, *ids]) == 20
    assert await async_client.llen("bull:q:wait") == 20


async def test_jobs_in_motion_are_never_taken_for_orphans(queue: Queue) -> None:
    done = False

    async def work() -> int:
        ids: list[str] = []
        ended = 0
        while not done:
            await queue.add_bulk([JobSpec("n") for _ in range(5)])
            ends = [Settlement(id, "t", Complete("1", Keep(20))) for id in ids]
            taking = Taking(5, "t", 60_000, "w")
            ids = [id for id, _ in (await scripts.settle_jobs(queue._lines, queue.keys, "", 5, ends, taking)).jobs]
            ended += len(ends)
        return ended

    working = asyncio.create_task(work())
    for _ in range(30):
        assert await queue.find_orphans() == []
    done = True
    assert await working > 30


async def test_a_hundred_thousand_jobs_are_looked_through(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    fields = job()
    for start in range(0, 100_000, 5000):
        ids = [f"j{number}" for number in range(start, start + 5000)]
        async with async_client.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hset(f"bull:q:{id}", mapping=fields)
            pipeline.rpush("bull:q:wait", *ids)
            await pipeline.execute()
    await async_client.lrem("bull:q:wait", 1, "j7")
    await async_client.lrem("bull:q:wait", 1, "j99999")
    assert sorted(orphan.job_id for orphan in await queue.find_orphans()) == ["j7", "j99999"]
    assert await queue.put_back_orphans() == 2
    assert await async_client.llen("bull:q:wait") == 100_000
