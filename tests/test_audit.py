"""The audit itself: a sound keyspace gives no sentence, and each kind of damage gives its own."""

from __future__ import annotations

import pytest
import redis.asyncio

from audit import audit
from corral import JobSpec, Queue, scripts
from corral.deduplication import Deduplication
from corral.lifecycle import Complete, Delay, Fail
from corral.options import JobOptions
from corral.parent_link import Parent
from corral.retention import KEEP_ALL
from corral.scripts import Settlement, Taking
from jobs import job

SOON = 2_000_000_000_000
"""Later than any clock of these tests."""


async def lay_sound(url: str) -> None:
    """Queue `q` with a job in each state, and `other`, where a parent waits for one of them."""
    async with Queue("q", redis=url) as queue:
        caller, keys = queue._lines, queue.keys
        await queue.add_bulk([JobSpec(name) for name in ("done", "failed", "again", "active")])
        taken = await scripts.settle_jobs(caller, keys, "", SOON - 9, [], Taking(4, "t", 60_000, "w"))
        assert len(taken.jobs) == 4
        ends = [
            Settlement("1", "t", Complete("null", KEEP_ALL)),
            Settlement("2", "t", Fail("why", (), KEEP_ALL, True)),
            Settlement("3", "t", Delay("why", (), 1000)),
        ]
        assert (await scripts.settle_jobs(caller, keys, "", SOON - 5, ends, Taking(0, "t", 1, ""))).codes == [0, 0, 0]
        await queue.add("waits")
        await queue.add("first", priority=3)
        await queue.add("late", delay=60)
        await queue.add("one", deduplication=Deduplication("d"))
        async with redis.asyncio.from_url(url) as client:
            await client.hset("bull:other:p", mapping=job())
            await client.zadd("bull:other:waiting-children", {"p": 5})
        await queue.add_bulk([JobSpec("child", opts=JobOptions(job_id="c", parent=Parent("p", "bull:other")))])


@pytest.fixture
async def sound(redis7_url: str, redis7_client: redis.asyncio.Redis) -> redis.asyncio.Redis:
    await lay_sound(redis7_url)
    return redis7_client


async def test_a_sound_keyspace_gives_no_sentence_on_either_server(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    assert await audit(async_client, wakes=True) == []
    await lay_sound(redis_url)
    assert await audit(async_client, now_ms=SOON, wakes=True) == []


DAMAGE = {
    "DEL {q}wait": "job 5 is in no state",
    "RPUSH {q}active 5": "job 5 is in wait and active",
    "LPUSH {q}wait 5": "job 5 is in wait and wait",
    "LPUSH {q}wait 99": "wait holds 99, which has no hash",
    "RENAME {q}wait {q}paused": "it is not paused, and jobs lie in its list paused",
    "SET {q}bogus 1": "nobody knows the key bull:q:bogus",
    "SET bull:nobody 1": "nobody knows the key bull:nobody",
    "DEL {q}3": "delayed holds 3, which has no hash",
    "HDEL {q}5 timestamp": "job 5: it has no timestamp",
    "HDEL {q}5 priority": "job 5: it has no priority",
    "HSET {q}5 delay soon": "job 5: its delay is no number",
    "HSET {q}5 data {{": "job 5: its data is not JSON",
    "HSET {q}5 parentKey bull:other:p": "job 5: it has only one of parent and parentKey",
    "HSET {q}5 finishedOn 7": "job 5 is wait, and it has finishedOn",
    "HDEL {q}1 returnvalue": "job 1 is completed, and it has no returnvalue",
    "HDEL {q}2 failedReason": "job 2 is failed, and it has no failedReason",
    "HSET {q}2 defa why": "job 2 is failed, and its deferred failure is still there",
    "ZADD {q}completed 77 1": "job 1 is completed, and finishedOn is 1999999999995, its score 77",
    "HDEL {q}4 ats": "job 4 is active, and it was never started",
    "HSET {q}6 priority 4": "job 6 is prioritized, and its score 12884901889 is of priority 3, not 4",
    "ZINCRBY {q}delayed 40960000000 3": "job 3 is delayed, and it is due at 2000010000995, with a delay of 1000 from",
    "SET {q}id 3": "id counts less than job 8",
    "SET {q}pc many": "pc is no number",
    "HSET {q}meta max many": "max of meta is no number",
    "ZADD {q}marker 5 0": "marker holds 0 at 5",
    "ZADD {q}marker 0 x": "marker holds x at 0",
    "SET {q}limiter 1": "limiter never runs out",
    "PEXPIRE {q}wait 99999": "wait runs out",
    "SADD {q}delayed-not x": "nobody knows the key bull:q:delayed-not",
    "SET {q}repeat x": "repeat is a string, not a zset",
    "SET {q}5:lock t PX 9999": "job 5 is locked and not active",
    "PERSIST {q}4:lock": "the lock of job 4 never runs out",
    "SADD {q}stalled 5": "stalled holds 5, which is not active",
    "RPUSH {q}gone:logs row": "logs of job gone is left, and the job is gone",
    "SET {q}5:logs row": "logs of job 5 is a string, not a list",
    "DEL {o}p:dependencies": "job p waits for children, and none is open",
    "SADD {o}p:dependencies bull:q:99": "job p waits for bull:q:99, which has no hash",
    "SADD {o}p:dependencies bull:q:5": "job p waits for bull:q:5, whose parent is None",
    "HSET {o}p:processed bull:q:c null": "job p has its child bull:q:c in dependencies and processed",
    "SET {q}de:e 99": "deduplication id e is held for ever by 99, which has no hash",
    "SET {q}de:e 1": "deduplication id e is held for ever by 1, which has finished",
    "HSET {q}dn:e name x": "a job is kept back for deduplication id e, which no living job holds",
    "ZADD {q}repeat 5 s": "job scheduler s has no record",
    "ZADD {q}corral:beats 5 w": "worker w has a beat and no record",
    "HSET {q}corral:workers w r": "worker w has a record and no beat",
    "HSET {q}corral:beats w 5": "corral:beats is a hash, not a zset",
    "SET {q}corral:look 1": "corral:look never runs out",
    "DEL {q}marker": "4 jobs can run, and no marker wakes a worker",
}


@pytest.mark.parametrize("command", DAMAGE)
async def test_a_damage_is_told(sound: redis.asyncio.Redis, command: str) -> None:
    await sound.execute_command(*command.format(q="bull:q:", o="bull:other:").split())
    told = await audit(sound, now_ms=SOON, wakes=True)
    assert any(DAMAGE[command] in sentence for sentence in told), told


async def test_an_open_child_that_is_completed_is_told(sound: redis.asyncio.Redis) -> None:
    await sound.lrem("bull:q:wait", 1, "c")
    await sound.zadd("bull:q:completed", {"c": 5})
    await sound.hset("bull:q:c", mapping={"finishedOn": 5, "returnvalue": "1"})
    assert await audit(sound) == ["queue other: job p waits for bull:q:c, which is completed"]


async def test_a_child_whose_end_is_noted_before_it_has_ended_is_told(sound: redis.asyncio.Redis) -> None:
    await sound.hset("bull:other:p:failed", "bull:q:c", "why")
    await sound.srem("bull:other:p:dependencies", "bull:q:c")
    assert "queue other: job p has its child bull:q:c in failed, and that has not ended" in await audit(sound)


async def test_a_scheduler_is_held_against_its_iteration(sound: redis.asyncio.Redis) -> None:
    await sound.zadd("bull:q:repeat", {"s": 500})
    await sound.hset("bull:q:repeat:s", mapping={"name": "n", "every": 5, "ic": 1, "limit": 2})
    assert await audit(sound) == ["queue q: the pending iteration repeat:s:500 does not exist"]
    await sound.hset("bull:q:repeat:s:500", mapping=job())
    await sound.rpush("bull:q:wait", "repeat:s:500")
    assert await audit(sound) == ["queue q: the pending iteration repeat:s:500 does not name its job scheduler"]
    await sound.hset("bull:q:repeat:s:500", "rjk", "s")
    assert await audit(sound) == []
    await sound.lrem("bull:q:wait", 1, "repeat:s:500")
    await sound.zadd("bull:q:completed", {"repeat:s:500": 5})
    await sound.hset("bull:q:repeat:s:500", mapping={"finishedOn": 5, "returnvalue": "1"})
    assert await audit(sound) == ["queue q: the pending iteration repeat:s:500 has finished"]
    await sound.hset("bull:q:repeat:s", "ic", 2)
    assert await audit(sound) == []


async def test_a_delayed_job_without_a_marker_is_told(redis7_url: str, redis7_client: redis.asyncio.Redis) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await queue.add("late", delay=60)
    await redis7_client.delete("bull:q:marker")
    assert await audit(redis7_client, wakes=True) == [
        "queue q: jobs are delayed, and no marker tells a worker until when"
    ]
    assert await audit(redis7_client) == []


async def test_only_the_queues_asked_for_are_told_of(sound: redis.asyncio.Redis) -> None:
    await sound.delete("bull:q:wait", "bull:other:waiting-children")
    assert await audit(sound, "other") == ["queue other: job p is in no state"]
    assert await audit(sound, prefix="elsewhere") == []
