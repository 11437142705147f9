"""Dead letters as a user sees them: one by one, by the hundred, and on the way to a worker."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from audit import audit
from corral import ConfigurationError, JobNotFound, JobNotInState, JobSpec, Queue, State, scripts
from corral.address import make_pool
from corral.clock import now_ms
from corral.connection import Lines
from corral.dead_letter import DeadLetter
from corral.dead_letter_work import Burials
from corral.keys import Keys
from corral.lifecycle import Fail
from corral.retention import KEEP_ALL
from corral.scripts import Settlement, Taking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("emails", redis=redis_url) as queue:
        yield queue


@pytest.fixture
async def dead(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("emails-dead", redis=redis_url) as dead:
        yield dead


async def fail_all(queue: Queue, now: int | None = None) -> None:
    """Every waiting job is taken and fails for good."""
    now = now_ms() if now is None else now
    taken = await scripts.settle_jobs(queue._lines, queue.keys, "", now, [], Taking(100_000, "t", 60_000, "w"))
    ends = [Settlement(id, "t", Fail(f"why {id}", ("rows",), KEEP_ALL, True)) for id, _ in taken.jobs]
    settled = await scripts.settle_jobs(queue._lines, queue.keys, "", now, ends, Taking(0, "t", 1, ""))
    assert set(settled.codes) == {0}


async def test_a_failed_job_goes_there_and_back(queue: Queue, dead: Queue, async_client: redis.asyncio.Redis) -> None:
    added = await queue.add("send", {"to": "é"}, attempts=5, priority=2, job_id="order-5", timestamp=1_700_000_000)
    await fail_all(queue)
    letter = await queue.move_to_dead_letters("order-5", to="emails-dead")
    assert (letter.id, letter.name, letter.data) == ("emails.order-5", "send", {"to": "é"})
    assert (letter.queue_name, await letter.get_state()) == ("emails-dead", State.WAITING)
    past = letter.dead_letter
    assert isinstance(past, DeadLetter)
    assert (past.queue, past.job_id, past.reason) == ("emails", "order-5", "why order-5")
    assert (past.attempts_made, past.attempts_started, past.stacktrace) == (1, 1, ("rows",))
    assert past.timestamp == 1_700_000_000_000
    assert past.processed_on is not None
    assert past.finished_on is not None
    assert past.moved_on is not None
    assert past.processed_on <= past.finished_on <= past.moved_on
    assert await queue.get_job("order-5") is None

    back = await dead.replay(letter.id)
    assert (back.id, back.queue_name, back.dead_letter) == ("order-5", "emails", None)
    assert back.opts == added.opts
    assert (back.attempts_made, back.attempts_started, back.timestamp) == (0, 0, 1_700_000_000_000)
    assert await back.get_state() == State.PRIORITIZED
    assert await dead.get_job(letter.id) is None
    assert await audit(async_client) == []


async def test_moving_a_second_time_gives_the_same_letter(queue: Queue, dead: Queue) -> None:
    job = await queue.add("send")
    await fail_all(queue)
    first = await queue.move_to_dead_letters(job.id, to="emails-dead")
    assert (await queue.move_to_dead_letters(job.id, to="emails-dead")).id == first.id
    assert await dead.get_job_state(first.id) == State.WAITING


async def test_a_refusal_names_the_job_and_the_reason(queue: Queue, dead: Queue) -> None:
    job = await queue.add("send")
    with pytest.raises(JobNotInState, match=rf"job {job.id} of queue 'emails' was not moved .*: it is not failed"):
        await queue.move_to_dead_letters(job.id, to="emails-dead")
    with pytest.raises(JobNotFound, match="it does not exist"):
        await queue.move_to_dead_letters("none", to="emails-dead")
    with pytest.raises(ConfigurationError, match="cannot be its own dead-letter queue"):
        await queue.move_to_dead_letters(job.id, to="emails")
    with pytest.raises(JobNotInState, match="it is no dead letter"):
        await queue.replay(job.id)
    with pytest.raises(JobNotFound, match="was not replayed"):
        await dead.replay("none")


async def test_many_go_there_and_back_in_order(queue: Queue, dead: Queue, async_client: redis.asyncio.Redis) -> None:
    await queue.add_bulk([JobSpec("send", number) for number in range(250)])
    await fail_all(queue)
    assert (await queue.move_failed_to_dead_letters(to="emails-dead", count=120)).moved == 120
    swept = await queue.move_failed_to_dead_letters(to="emails-dead")
    assert (swept.moved, swept.left) == (130, {})
    assert await audit(async_client) == []
    assert (await dead.replay_all(count=1)).moved == 1
    assert (await dead.replay_all()).moved == 249
    assert await audit(async_client) == []
    taken = await scripts.settle_jobs(queue._lines, queue.keys, "", now_ms(), [], Taking(1000, "t", 60_000, "w"))
    assert sorted(int(fields[b"data"]) for _, fields in taken.jobs) == list(range(250))


async def test_only_what_failed_until_then_is_moved(queue: Queue) -> None:
    await queue.add("old")
    await fail_all(queue, now=1_700_000_000_500)
    await queue.add("new")
    await fail_all(queue)
    until = datetime.fromtimestamp(1_700_000_000, UTC)
    assert (await queue.move_failed_to_dead_letters(to="emails-dead", until=until)).moved == 0
    assert (await queue.move_failed_to_dead_letters(to="emails-dead", until=1_700_000_001)).moved == 1
    assert await queue.get_job_state("2") == State.FAILED


async def test_what_cannot_move_is_left_and_told_and_does_not_hold_up_the_others(
    queue: Queue, dead: Queue, async_client: redis.asyncio.Redis
) -> None:
    await queue.add_bulk([JobSpec("send") for _ in range(150)])
    await fail_all(queue)
    for id in range(1, 121):
        await async_client.sadd(f"bull:emails:{id}:dependencies", "bull:emails:149")
    swept = await queue.move_failed_to_dead_letters(to="emails-dead")
    assert swept.moved == 30
    assert len(swept.left) == 120
    assert set(swept.left.values()) == {"it has open children, which would lose it; remove them first"}

    await queue.add("other", job_id="x")
    await async_client.hset("bull:emails:150", mapping={"name": "n"})
    replayed = await dead.replay_all()
    assert replayed.moved == 29
    assert list(replayed.left) == ["emails.150"]


async def test_letters_of_a_paused_queue_of_bullmq_5_are_replayed_too(queue: Queue, redis_url: str) -> None:
    await queue.add_bulk([JobSpec("send") for _ in range(3)])
    await fail_all(queue)
    async with Queue("emails-dead", redis=redis_url, dialect="v5") as dead:
        await queue.move_to_dead_letters("1", to="emails-dead")
        await dead.pause()
        await queue.move_failed_to_dead_letters(to="emails-dead")
        assert (await dead.replay_all()).moved == 3


async def bury(lines: Lines, keys: Keys, letters: Keys, job_id: str) -> None:
    """As a worker does it, to its end."""
    burials = Burials(lines, keys, letters, "")
    burials.begin(job_id)
    await burials.close(within=5)


async def test_a_worker_buries_what_it_has_just_failed(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    job = await queue.add("send")
    letters = Keys("emails-dead")
    async with Lines(make_pool(redis_url)) as lines:
        with caplog.at_level(logging.WARNING, "corral.worker"):
            await bury(lines, queue.keys, letters, job.id)
            assert "stays where it is" in caplog.text
            await fail_all(queue)
            caplog.clear()
            await bury(lines, queue.keys, letters, job.id)
            await bury(lines, queue.keys, letters, "removed by retention")
            assert caplog.text == ""
        assert await async_client.lrange("bull:emails-dead:wait", 0, -1) == [f"emails.{job.id}".encode()]


async def test_a_worker_goes_on_when_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async with Lines(make_pool("redis://127.0.0.1:1")) as lines:
        await bury(lines, Keys("emails"), Keys("emails-dead"), "1")
    assert "stays failed, not moved to emails-dead" in caplog.text
