"""What Bull Board does to queues that Corral made: after each button our workers go on as they should, and our queue
tells what was done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from audit import audit
from board import Board
from corral import Counts, Queue, RateLimit, State, Worker
from running import running
from waiting import eventually
from workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

pytestmark = pytest.mark.interop

HOUR = 3600


@pytest.fixture
async def board(node_env: dict[str, str]) -> AsyncIterator[Board]:
    """A board on the queue `q`."""
    async with Board(node_env, "q") as board:
        yield board


@pytest.fixture
async def queue(redis7_url: str) -> AsyncIterator[Queue]:
    """Our view of the queue `q`."""
    async with Queue("q", redis=redis7_url) as queue:
        yield queue


@pytest.fixture(autouse=True)
async def _sound(redis7_client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """Nothing is out of place at the end of any of these tests."""
    yield
    assert await audit(redis7_client) == []


async def holds(queue: Queue, **wanted: int) -> bool:
    """Whether the queue has so many jobs in these states, and none in others."""
    counts = await queue.get_job_counts()
    assert counts == Counts(**(dict.fromkeys(Counts.__dataclass_fields__, 0) | wanted)), counts
    return True


async def test_jobs_are_retried_one_by_one_and_all_together(board: Board, queue: Queue, redis7_url: str) -> None:
    workshop = Workshop()
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        wrong = await queue.add("wrong", {"fail": "no luck"})
        unlucky = [await queue.add(name, {"fail_first": 1}) for name in ("a", "b")]
        await eventually(lambda: holds(queue, failed=3))

        await board.press("PATCH", "q", wrong.id, "update-data", body={"jobData": {"better": True}})
        await board.press("PUT", "q", wrong.id, "retry")
        await eventually(lambda: holds(queue, failed=2, completed=1))
        repaired = await queue.get_job(wrong.id)
        assert repaired is not None
        assert (repaired.data, repaired.returnvalue) == ({"better": True}, {"echo": {"better": True}})
        assert (repaired.attempts_made, repaired.failed_reason) == (2, None)

        assert await board.press("PUT", "q", "retry", "failed") == {"retried": 2, "skipped": 0}
        await eventually(lambda: holds(queue, completed=3))
        assert [(await board.job("q", job.id))["attempts"] for job in unlucky] == [2, 2]

        assert await board.press("PUT", "q", "retry", "completed") == {"retried": 3, "skipped": 0}
        await eventually(lambda: len(workshop.ran) == 9)
        await eventually(lambda: holds(queue, completed=3))
    await queue.add("fresh")
    refused = await board.ask("PUT", "queues", "q", (await board.ids("q", "waiting"))[0], "retry")
    assert (refused.status, refused.error) == (400, "ERRORS.JOB_NOT_RETRIABLE")


async def test_delayed_jobs_are_promoted_and_rescheduled(board: Board, queue: Queue, redis7_url: str) -> None:
    workshop = Workshop()
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        names = ("now", "sooner", "much later", "urgent")
        jobs = {name: await queue.add(name, delay=HOUR, priority=5 * (name == "urgent")) for name in names}
        await eventually(lambda: holds(queue, delayed=4))

        await board.press("PUT", "q", jobs["now"].id, "promote")
        await eventually(lambda: holds(queue, delayed=3, completed=1))
        soon = round(time.time() * 1000) + 50
        await board.press("PATCH", "q", jobs["sooner"].id, "delay", body={"runAt": soon})
        await eventually(lambda: holds(queue, delayed=2, completed=2))
        await board.press("PUT", "q", "promote")
        await eventually(lambda: holds(queue, completed=4))
    assert workshop.ran[:2] == ["now", "sooner"]
    assert sorted(workshop.ran[2:]) == ["much later", "urgent"]


async def test_a_priority_that_is_changed_changes_the_order(board: Board, queue: Queue, redis7_url: str) -> None:
    jobs = {name: await queue.add(name, priority=priority) for name, priority in [("a", 0), ("b", 3), ("c", 7)]}
    for name, priority in [("a", 9), ("c", 1)]:
        await board.press("PATCH", "q", jobs[name].id, "priority", body={"priority": priority})
    assert await board.ids("q", "prioritized") == [jobs[name].id for name in "abc"]
    assert [job.priority for job in await queue.get_jobs(State.PRIORITIZED, ascending=True)] == [1, 3, 9]
    workshop = Workshop()
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        await eventually(lambda: holds(queue, completed=3))
    assert workshop.ran == ["c", "b", "a"]


@pytest.mark.parametrize("paused_by", ["us", "the board", "the board, all queues"])
async def test_a_pause_holds_our_workers_until_it_is_lifted(
    board: Board, queue: Queue, redis7_url: str, bullmq: str, paused_by: str
) -> None:
    workshop = Workshop()
    first = await queue.add("first")
    if paused_by == "us":
        await queue.pause()
    else:
        await board.press("PUT", *(["q"] if paused_by == "the board" else []), "pause")
    second = await queue.add("second")
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        assert (await board.page("q"))["isPaused"] is True
        assert await queue.is_paused() is True
        assert await board.ids("q", "paused" if bullmq == "5" else "waiting") == [second.id, first.id]
        assert await holds(queue, waiting=2)
        # It has looked, has taken nothing, and waits.
        await eventually(lambda: idle(board))
        assert workshop.ran == []
        if paused_by == "the board":
            await queue.resume()
        else:
            await board.press("PUT", *(["q"] if paused_by == "us" else []), "resume")
        await eventually(lambda: holds(queue, completed=2))
    assert (await board.page("q"))["isPaused"] is False
    assert workshop.ran == ["first", "second"]


async def idle(board: Board) -> bool:
    return await board.blocked() == 1


async def test_the_board_adds_jobs_and_duplicates_and_removes_them(board: Board, queue: Queue, redis7_url: str) -> None:
    workshop = Workshop()
    wishes = {"data": {"fail_first": 1}, "options": {"attempts": 2, "backoff": 1}}
    added = await board.press("POST", "q", "add", body={"name": "added", **wishes})
    assert added["status"] == "waiting"
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        await eventually(lambda: holds(queue, completed=1))
        # Duplicating is adding what the job's page shows.
        shown = await board.job("q", added["job"]["id"])
        twin = {"name": shown["name"], "data": shown["data"], "options": shown["opts"]}
        again = (await board.press("POST", "q", "add", body=twin))["job"]["id"]
        await eventually(lambda: holds(queue, completed=2))
        await board.press("PUT", "q", added["job"]["id"], "clean")
        assert await board.ids("q") == [again]
        assert await queue.get_job(added["job"]["id"]) is None

        held = await queue.add("held", {"hold": True})
        await eventually(lambda: workshop.running == 1)
        refused = await board.ask("PUT", "queues", "q", held.id, "clean")
        assert (refused.status, refused.error) == (409, "ERRORS.JOB_IS_ACTIVE")
        workshop.let_go()
        await eventually(lambda: holds(queue, completed=2))
    assert workshop.ran == ["added"] * 4 + ["held"]


async def test_what_is_older_than_five_seconds_is_cleaned(
    board: Board, queue: Queue, redis7_client: redis.asyncio.Redis, redis7_url: str
) -> None:
    async with running(Worker("q", Workshop().run, redis=redis7_url)):
        for name in ("old", "old", "young"):
            await queue.add(name, {"fail": "no luck"})
            await queue.add(name)
        await eventually(lambda: holds(queue, completed=3, failed=3))
    for state in ("completed", "failed"):
        await age(redis7_client, queue, state)
    long_ago = time.time() - 60
    for name, timestamp in [("old", long_ago), ("young", time.time())]:
        await queue.add(name, timestamp=timestamp)
        await queue.add(name, timestamp=timestamp, priority=2)
        await queue.add(name, timestamp=timestamp, delay=HOUR)

    for done, state in enumerate(["completed", "failed", "waiting", "prioritized", "delayed"], 1):
        left = (await queue.get_job_counts()).unfinished
        await board.press("PUT", "q", "clean", state)
        assert [job["name"] for job in (await board.page("q", state))["jobs"]] == ["young"], state
        assert (await queue.get_job_counts()).unfinished == left - (done > 2)
    await holds(queue, completed=1, failed=1, waiting=1, prioritized=1, delayed=1)


async def age(client: redis.asyncio.Redis, queue: Queue, state: str) -> None:
    """Let the jobs called `old` have ended a minute earlier."""
    key = f"{queue.keys.base}{state}"
    for job_id, ended_ms in await client.zrange(key, 0, -1, withscores=True):
        job = queue.keys.job(job_id.decode())
        if await client.hget(job, "name") == b"old":
            await client.zadd(key, {job_id: ended_ms - 60_000})
            await client.hset(job, "finishedOn", int(ended_ms) - 60_000)


async def test_a_queue_is_emptied_and_its_worker_goes_on(board: Board, queue: Queue, redis7_url: str) -> None:
    workshop = Workshop()
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        await queue.add("held", {"hold": True})
        await eventually(lambda: workshop.running == 1)
        for priority in (0, 0, 4):
            await queue.add("unwanted", priority=priority)
        await queue.add("later", delay=HOUR)
        await board.press("PUT", "q", "empty")
        await holds(queue, active=1, delayed=1)
        workshop.let_go()
        await queue.add("next")
        await eventually(lambda: holds(queue, completed=2, delayed=1))
    assert workshop.ran == ["held", "next"]


async def test_a_queue_is_obliterated_only_while_it_is_paused_and_its_worker_goes_on(
    board: Board, queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    workshop = Workshop()
    async with running(Worker("q", workshop.run, redis=redis7_url)):
        await queue.add("done")
        await queue.add("bad", {"fail": "no luck", "log": ["a row"]})
        held = await queue.add("held", {"hold": True})
        await eventually(lambda: workshop.running == 1)
        await queue.add("later", delay=HOUR)
        await queue.add("urgent", priority=3)
        refused = await board.ask("PUT", "queues", "q", "obliterate")
        assert (refused.status, refused.error) == (400, "ERRORS.QUEUE_NOT_PAUSED")
        await queue.pause()
        refused = await board.ask("PUT", "queues", "q", "obliterate")
        assert (refused.status, refused.error) == (409, "ERRORS.QUEUE_HAS_ACTIVE_JOBS")
        await holds(queue, completed=1, failed=1, active=1, delayed=1, prioritized=1)

        await board.press("PUT", "q", "obliterate", body={"force": True})
        await holds(queue)
        assert await queue.get_job(held.id) is None
        # What is left is at most what a worker or a look writes anew, and what workers say of themselves.
        left = {key.decode().removeprefix("bull:q:") for key in await redis7_client.keys("bull:q:*")}
        assert left <= {"meta", "marker", "stalled-check", "corral:beats", "corral:workers", "corral:look"}
        workshop.let_go()
        await queue.add("next")
        await eventually(lambda: holds(queue, completed=1))
    assert workshop.ran == ["done", "bad", "held", "next"]


async def test_a_global_concurrency_of_the_board_binds_our_worker(board: Board, queue: Queue, redis7_url: str) -> None:
    workshop = Workshop()
    await board.press("PUT", "q", "concurrency", body={"concurrency": 2})
    assert (await board.page("q"))["globalConcurrency"] == 2
    assert await queue.get_global_concurrency() == 2
    async with running(Worker("q", workshop.run, redis=redis7_url, concurrency=4)):
        for number in range(6):
            await queue.add(f"job {number}", {"hold": True})
        await eventually(lambda: holds(queue, active=2, waiting=4))
        assert await queue.is_maxed()
        workshop.let_go(3)
        await eventually(lambda: holds(queue, completed=3, active=2, waiting=1))
        assert workshop.most_at_once == 2
        await board.press("PUT", "q", "concurrency", body={"concurrency": 0})
        assert await queue.get_global_concurrency() is None
        workshop.let_go(1)
        await eventually(lambda: holds(queue, completed=4, active=2))
        for number in range(2):
            await queue.add(f"more {number}", {"hold": True})
        await eventually(lambda: holds(queue, completed=4, active=4))
        workshop.let_go(4)
        await eventually(lambda: holds(queue, completed=8))


async def test_a_rate_limit_of_the_board_binds_our_worker(
    board: Board, queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody wakes a worker that waits for the end of a limit: it looks again every half minute, as Node's does.
    monkeypatch.setattr("corral.settler.LONGEST_LIMIT_MS", 100)
    limit = {"max": 2, "duration": HOUR * 1000}
    await board.press("PUT", "q", "rate-limit", body=limit)
    assert await board.look("queues", "q", "rate-limit") == {"supported": True, "rateLimit": limit}
    assert await queue.get_global_rate_limit() == RateLimit.per(2, HOUR)
    async with running(Worker("q", Workshop().run, redis=redis7_url)):
        for number in range(5):
            await queue.add(f"job {number}")
        await eventually(lambda: holds(queue, completed=2, waiting=3))
        left_ms = (await board.page("q"))["activeRateLimitTtl"]
        assert left_ms / 1000 == pytest.approx(await queue.get_rate_limit_ttl(), abs=60)
        await board.press("PUT", "q", "rate-limit", "release")
        await eventually(lambda: holds(queue, completed=4, waiting=1))
        await board.press("PUT", "q", "rate-limit", body={"max": None})
        assert await queue.get_global_rate_limit() is None
        await eventually(lambda: holds(queue, completed=5))
    refused = await board.ask("PUT", "queues", "q", "rate-limit", body={"max": 0, "duration": 1})
    assert (refused.status, refused.error) == (400, "ERRORS.INVALID_RATE_LIMIT")
