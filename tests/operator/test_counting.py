"""What the keys of a queue say: the reads sent to a real Redis, and held against what Node's BullMQ and Corral report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import Queue
from corral.address import make_pool
from corral.beat_record import Beat, BeatState, quiet_order
from corral.clock import now_ms
from corral.connection import Line
from corral_operator.active_jobs import closer_look
from corral_operator.causes import WRONG_TYPE
from corral_operator.counting import commands, count, listed
from corral_operator.observed import QueueReading, Reading, Unknown, WorkerReading
from node_driver import NodeDriver
from redis_secret import ask
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

    from corral_operator.counting import Ask

NOW = 1_800_000_000_000


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    line = Line(make_pool(redis_url))
    yield line
    await line.close()


@pytest.fixture
async def redis7_line(redis7_url: str) -> AsyncIterator[Line]:
    line = Line(make_pool(redis7_url))
    yield line
    await line.close()


async def _read(line: Line, asked: Ask, wall_ms: int) -> Reading:
    sent = commands(asked, wall_ms)
    return count(asked, sent, await line.call_each(sent))


async def _known(line: Line, asked: Ask, wall_ms: int = NOW) -> QueueReading:
    reading = await _read(line, asked, wall_ms)
    assert isinstance(reading, QueueReading), reading
    return reading


async def test_a_queue_that_nobody_touched_does_not_exist_and_is_zero(line: Line) -> None:
    assert await _known(line, ask("q", seen=False)) == QueueReading("q", exists=False, seen_before=False)
    assert (await _known(line, ask("q"))).seen_before


@pytest.mark.parametrize(
    "made",
    [
        ("HSET", "bull:q:meta", "version", "bullmq:6"),
        ("SET", "bull:q:id", 0),
        ("RPUSH", "bull:q:wait", "1"),
        ("RPUSH", "bull:q:paused", "1"),
        ("ZADD", "bull:q:prioritized", 1, "1"),
        ("ZADD", "bull:q:delayed", 1, "1"),
        ("RPUSH", "bull:q:active", "1"),
        ("ZADD", "bull:q:waiting-children", 1, "1"),
        ("ZADD", "bull:q:completed", 1, "1"),
        ("ZADD", "bull:q:failed", 1, "1"),
    ],
)
async def test_a_meta_or_any_key_of_jobs_makes_a_queue_exist(line: Line, made: tuple[Any, ...]) -> None:
    await line.call(*made)
    assert (await _known(line, ask("q"))).exists


async def test_what_workers_and_other_queues_leave_does_not_make_a_queue_exist(line: Line) -> None:
    await line.call("SET", "bull:q:stalled-check", 1)
    await line.call("RPUSH", "bull:other:wait", 1)
    await line.call("RPUSH", "other:q:wait", 1)
    assert not (await _known(line, ask("q"))).exists
    assert (await _known(line, ask("q", prefix="other"))).waiting == 1


async def test_delayed_jobs_are_split_at_now_and_at_the_horizon_to_the_millisecond(line: Line) -> None:
    for place, due in enumerate((NOW - 5, NOW, NOW + 1, NOW + 2000, NOW + 2001)):
        # Every slot is full to its end: score div 4096 is the due time.
        await line.call("ZADD", "bull:q:delayed", due * 4096, f"{place}a", due * 4096 + 4095, f"{place}b")
    reading = await _known(line, ask("q", horizon_s=2.0))
    assert (reading.due, reading.soon_due, reading.delayed) == (4, 4, 10)
    assert reading.next_due_ms == NOW - 5
    assert (reading.ready, reading.unfinished) == (4, 10)


async def test_without_a_horizon_nothing_is_soon_due(line: Line) -> None:
    await line.call("ZADD", "bull:q:delayed", (NOW + 1) * 4096, "1")
    reading = await _known(line, ask("q", horizon_s=0.0))
    assert (reading.due, reading.soon_due, reading.next_due_ms) == (0, 0, NOW + 1)


async def test_a_due_time_beyond_all_numbers_is_none(line: Line) -> None:
    await line.call("ZADD", "bull:q:delayed", "+inf", "1")
    reading = await _known(line, ask("q"))
    assert (reading.delayed, reading.due, reading.soon_due, reading.next_due_ms) == (1, 0, 0, None)


async def test_the_waiting_jobs_of_both_layouts_of_pause_are_added_up(line: Line) -> None:
    await line.call("RPUSH", "bull:q:wait", 1, 2)
    await line.call("RPUSH", "bull:q:paused", 3)
    reading = await _known(line, ask("q"))
    assert (reading.waiting, reading.paused) == (3, False)
    await line.call("HSET", "bull:q:meta", "paused", 1)
    assert (await _known(line, ask("q"))).paused


async def test_the_marker_that_versions_before_5_keep_in_an_idle_list_is_no_job(line: Line) -> None:
    await line.call("RPUSH", "bull:q:wait", "0:1800000000000")
    await line.call("RPUSH", "bull:q:paused", "job", "0:0")
    assert (await _known(line, ask("q"))).waiting == 1
    await line.call("RPUSH", "bull:q:wait", "0", "01")
    assert (await _known(line, ask("q"))).waiting == 4


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("5", 5),
        ("0", 0),
        ("2.9", 2),
        ("1e3", 1000),
        ("1e308", 10**15),  # a pool whose decision breaks is not served at all
        ("many", None),
        ("nan", None),
        ("inf", None),
    ],
)
async def test_limits_are_read_as_the_takes_read_them(line: Line, stored: str, read: int | None) -> None:
    await line.call("HSET", "bull:q:meta", "concurrency", stored, "max", stored, "duration", stored)
    reading = await _known(line, ask("q"))
    assert (reading.concurrency_limit, reading.rate_max, reading.rate_duration_ms) == (read, read, read)


async def test_a_queue_without_limits_has_none(line: Line) -> None:
    await line.call("HSET", "bull:q:meta", "version", "bullmq:6")
    reading = await _known(line, ask("q"))
    assert (reading.concurrency_limit, reading.rate_max, reading.rate_duration_ms) == (None, None, None)


KEYS_OF_ANOTHER_TYPE = (
    *("wait", "paused", "prioritized", "delayed", "active", "meta", "id"),
    *("waiting-children", "completed", "failed"),
    *("corral:beats", "corral:workers", "corral:orders"),
)


@pytest.mark.parametrize("key", KEYS_OF_ANOTHER_TYPE)
async def test_a_key_of_another_type_makes_the_queue_unknown_and_is_named(line: Line, key: str) -> None:
    await line.call("SADD", f"bull:q:{key}", "x")
    reading = await _read(line, ask("q", ages=True, workers=True), NOW)
    assert isinstance(reading, Unknown)
    assert (reading.queue, reading.cause) == ("q", WRONG_TYPE)
    assert reading.text.startswith(f"bull:q:{key} holds a value of another type (WRONGTYPE); is the prefix")


async def test_a_counter_that_is_no_number_is_not_taken_for_zero(line: Line) -> None:
    await line.call("SET", "bull:q:id", "seven")
    reading = await _read(line, ask("q"), NOW)
    assert isinstance(reading, Unknown)
    assert (reading.cause, reading.text.split(";")[0]) == (WRONG_TYPE, "bull:q:id holds no whole number")


async def test_the_list_of_active_jobs_is_read_only_when_ages_or_holders_are_asked(line: Line) -> None:
    lists = ("LRANGE", "bull:q:active")
    assert lists not in [command[:2] for command in commands(ask("q", workers=True), NOW)]
    assert lists in [command[:2] for command in commands(ask("q", ages=True), NOW)]
    assert lists in [command[:2] for command in commands(ask("q", holders=True), NOW)]


# --- workers ---


async def _beat(line: Line, beat: Beat, beat_ms: int = NOW, order: str | None = None) -> None:
    await line.call("ZADD", "bull:q:corral:beats", beat_ms, beat.worker)
    await line.call("HSET", "bull:q:corral:workers", beat.worker, beat.to_wire())
    if order is not None:
        await line.call("HSET", "bull:q:corral:orders", beat.worker, order)


async def test_a_workers_record_its_beat_and_its_order_are_read_together(line: Line) -> None:
    first = Beat("w1", BeatState.QUIET, busy=2, slots=4, taken=9, ended=7, seconds=1.5, every=3.0, pod="p", since=NOW)
    await _beat(line, first, order=quiet_order(NOW + 60_000))
    await _beat(line, Beat("w2"), NOW + 5)
    reading = await _known(line, ask("q", workers=True))
    assert reading.workers == (WorkerReading(first, NOW, NOW + 60_000), WorkerReading(Beat("w2"), NOW + 5))
    assert (reading.exists, reading.holders) == (False, None)


async def test_nobody_there_is_another_thing_than_nobody_asked(line: Line) -> None:
    assert (await _known(line, ask("q", workers=True))).workers == ()
    assert (await _known(line, ask("q"))).workers is None


async def test_a_record_of_a_newer_version_is_read_as_far_as_it_is_known(line: Line) -> None:
    record = '{"v": 7, "state": "taking", "busy": 2, "pod": "p", "mood": {"good": true}, "slots": "many"}'
    await line.call("ZADD", "bull:q:corral:beats", NOW, "w1")
    await line.call("HSET", "bull:q:corral:workers", "w1", record)
    reading = await _known(line, ask("q", workers=True))
    assert reading.workers == (WorkerReading(Beat("w1", busy=2, pod="p"), NOW),)


@pytest.mark.parametrize(
    "damage",
    [
        ("HSET", "bull:q:corral:workers", "w1", "{"),
        ("HSET", "bull:q:corral:workers", "w1", "[" * 100_000),
        ("HSET", "bull:q:corral:workers", "w1", b"\xff\xfe"),
        ("HSET", "bull:q:corral:workers", "w1", "7"),
        ("HSET", "bull:q:corral:workers", "w1", '{"state": ["taking"]}'),
        ("HDEL", "bull:q:corral:workers", "w1"),
        ("ZREM", "bull:q:corral:beats", "w1"),
        ("ZADD", "bull:q:corral:beats", "+inf", "w1"),
        ("ZADD", "bull:q:corral:beats", -1, "w1"),
    ],
)
async def test_a_corrupt_record_is_left_out_and_the_others_are_read(line: Line, damage: tuple[Any, ...]) -> None:
    await _beat(line, Beat("w1"))
    await _beat(line, Beat("w2"))
    await line.call(*damage)
    assert (await _known(line, ask("q", workers=True))).workers == (WorkerReading(Beat("w2"), NOW),)


@pytest.mark.parametrize("order", ["loud:7", "quiet:", "quiet:soon", "quiet:" + "9" * 99, b"\xff"])
async def test_an_order_that_nobody_here_knows_is_none(line: Line, order: str) -> None:
    await _beat(line, Beat("w1"), order=order)
    assert (await _known(line, ask("q", workers=True))).workers == (WorkerReading(Beat("w1"), NOW),)


# --- against others ---


async def test_all_states_are_counted_as_corral_reports_them(line: Line, redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        for number in range(5):
            await queue.add("w")
            await queue.add("p", priority=number % 3 + 1)
            await queue.add("d", delay=3600 + number)
        counts = await queue.get_job_counts()
        reading = await _known(line, ask("q", horizon_s=3602.5), now_ms())
        assert (counts.waiting, counts.prioritized, counts.delayed) == (5, 5, 5)
        assert (reading.waiting, reading.prioritized, reading.delayed) == (5, 5, 5)
        assert 2 <= reading.soon_due <= 3
        assert reading.unfinished == counts.unfinished
        assert reading.id_counter == 15
        await queue.pause()
        paused = await _known(line, ask("q"), now_ms())
        assert (paused.paused, paused.waiting) == (True, 5)
        await queue.resume()
        assert not (await _known(line, ask("q"), now_ms())).paused


@pytest.mark.interop
async def test_all_states_are_counted_as_node_reports_them(
    node_env: dict[str, str], bullmq: str, redis7_line: Line, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node:
        await node.queue("q", "setGlobalConcurrency", 2)
        ends = [{"name": "ok", "data": {}}, {"name": "ok", "data": {}}, {"name": "bad", "data": {"fail": "no"}}]
        runs = [{"name": "run", "data": {"sleep": 30_000}} for _ in range(2)]
        await node.add("q", *ends, *runs)
        before = now_ms()
        await node.work(["q"], concurrency=5, name="node-7")

        async def two_run() -> bool:
            counts = await node.queue("q", "getJobCounts")
            return (counts["active"], counts["completed"], counts["failed"]) == (2, 2, 1)

        await eventually(two_run)
        await node.call("flow", tree={"name": "p", "queueName": "q", "children": [{"name": "c", "queueName": "kids"}]})
        await node.add(
            "q",
            *({"name": "w", "data": {}} for _ in range(4)),
            *({"name": "p", "data": {}, "opts": {"priority": 3}} for _ in range(3)),
            {"name": "soon", "data": {}, "opts": {"delay": 60_000}},
            {"name": "later", "data": {}, "opts": {"delay": 3_600_000}},
        )
        for paused in (False, True):
            if paused:
                await node.queue("q", "pause")
                # BullMQ 5 adds to another list now, BullMQ 6 to the same one.
                await node.add("q", {"name": "w", "data": {}})
                assert await redis7_client.exists("bull:q:paused") == (bullmq == "5")
            theirs = await node.queue("q", "getJobCounts")
            now = now_ms()
            asked = ask("q", horizon_s=120.0, ages=True, holders=True)
            sent = commands(asked, now)
            replies = await redis7_line.call_each(sent)
            ours = count(asked, sent, replies)
            assert isinstance(ours, QueueReading)
            assert ours.waiting == theirs["waiting"] + theirs.get("paused", 0) == 4 + paused
            assert ours.prioritized == theirs["prioritized"] == 3
            assert (ours.delayed, ours.due, ours.soon_due) == (theirs["delayed"], 0, 1)
            assert ours.delayed == 2
            assert ours.active == theirs["active"] == 2
            assert ours.waiting_children == theirs["waiting-children"] == 1
            assert (ours.completed, ours.failed) == (theirs["completed"], theirs["failed"]) == (2, 1)
            assert ours.paused is paused
            assert (ours.concurrency_limit, ours.rate_max) == (2, None)
            assert ours.id_counter == 15 + paused
            assert ours.next_due_ms is not None
            assert 0 < ours.next_due_ms - now <= 60_000
            look = closer_look(asked, ours, listed(asked, replies))
            assert look is not None
            ours = look.seen(ours, await redis7_line.call_each(look.commands()), now)
            assert ours.running_age_s is not None
            assert 0 < ours.running_age_s <= 2 * (now - before) / 1000
            assert ours.holders == {"node-7": 2}
        await node.queue("q", "setGlobalRateLimit", 7, 1500)
        limited = await _known(redis7_line, ask("q"), now_ms())
        assert (limited.rate_max, limited.rate_duration_ms) == (7, 1500)
        # Two of its jobs run on for long.
        await node.process.kill()
