"""What our worker does beyond running jobs, beside Node's: each deed done by both, the keys and the events compared."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    DelayedError,
    Job,
    Parent,
    Queue,
    RateLimit,
    RateLimitError,
    WaitingChildrenError,
    WaitingError,
    Worker,
)
from keyspace import dump
from node_driver import NodeDriver
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

pytestmark = pytest.mark.interop

TIMES = {"timestamp", "processedOn", "finishedOn"}


@pytest.fixture
async def node(node_env: dict[str, str]) -> AsyncIterator[NodeDriver]:
    async with NodeDriver(node_env) as node:
        yield node


class Processor:
    """Grants the wishes of a job's data as `move` of driver.mjs does."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    async def __call__(self, job: Job) -> Any:
        wishes = job.data.get("move", {})
        if job.attempts_started == 1 or wishes.get("always"):
            await self._move(job, wishes)
        elif wishes.get("children") and await job.move_to_waiting_children():
            raise WaitingChildrenError
        if sleep := job.data.get("sleep"):
            await asyncio.sleep(sleep / 1000)
        if text := job.data.get("fail"):
            raise RuntimeError(text)
        return {"echo": job.data, "by": "corral"}

    async def _move(self, job: Job, wishes: dict[str, Any]) -> None:
        if delay := wishes.get("delay"):
            await job.move_to_delayed(delay / 1000)
            raise DelayedError
        if wishes.get("back"):
            await job.move_to_wait()
            raise WaitingError
        if name := wishes.get("children"):
            async with Queue(name, redis=self._redis_url) as children:
                for n in (1, 2):
                    await children.add("child", {"n": n}, parent=Parent(job.id, f"bull:{job.queue_name}"))
            if await job.move_to_waiting_children():
                raise WaitingChildrenError
        if limit := wishes.get("limit"):
            raise RateLimitError(limit / 1000)


def worker(redis_url: str, *queues: str, **options: Any) -> Worker:
    return Worker(list(queues), Processor(redis_url), redis=redis_url, metrics_points=0, **options)


async def keys_of(client: redis.asyncio.Redis, queue: str) -> dict[str, Any]:
    """A queue's keys without what differs from run to run: times, traces, who ran it, and who is woken next."""
    found: dict[str, Any] = {}
    for key, value in (await dump(client, f"bull:{queue}:*")).items():
        name = key.removeprefix(f"bull:{queue}:")
        if name in {"meta", "marker", "stalled-check", "stalled", "limiter"} or name.endswith(":lock"):
            continue
        if name.startswith("corral:"):  # ours alone
            continue
        if name == "events":
            found[name] = [_event(entry) for entry in value]
        elif isinstance(value, dict) and name in {"completed", "failed", "delayed", "waiting-children"}:
            found[name] = sorted(value)
        elif isinstance(value, dict):
            found[name] = {part: _plain(text, queue) for part, text in value.items() if part not in TIMES}
            found[name].pop("stacktrace", None)
        else:
            found[name] = value
    return found


def _plain(text: Any, queue: str) -> Any:
    return text.replace(f"bull:{queue}:", "P").replace(f"bull:{queue}", "Q").replace('"corral"', '"node"')


def _event(entry: dict[str, str]) -> str:
    return " ".join(
        entry[field] for field in ("event", "jobId", "prev", "failedReason", "attemptsMade") if field in entry
    )


async def both_do(
    node: NodeDriver,
    redis_url: str,
    client: redis.asyncio.Redis,
    data: dict[str, Any],
    opts: dict[str, Any],
    *,
    ends_in: str = "completed",
    node_options: dict[str, Any] | None = None,
    **our_options: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One job of Node's worked by Node, the same worked by us; gives the keys of the two queues."""
    async with Queue("theirs", redis=redis_url) as theirs, Queue("ours", redis=redis_url) as ours:
        for name, queue in (("theirs", theirs), ("ours", ours)):
            await node.add(name, {"name": "x", "data": data, "opts": opts})
            if name == "theirs":
                await node.work([name], **(node_options or {}))
                await eventually(lambda: _ended(theirs, ends_in))
                await node.call("rest")
            else:
                async with running(worker(redis_url, name, **our_options)):
                    await eventually(lambda: _ended(ours, ends_in))
            assert (await queue.get_job_counts()).unfinished == (ends_in == "delayed")
    return await keys_of(client, "theirs"), await keys_of(client, "ours")


async def _ended(queue: Queue, state: str, number: int = 1) -> bool:
    counts = await queue.get_job_counts()
    assert getattr(counts, state) == number, counts
    return True


@pytest.mark.parametrize(
    "wish", [{"delay": 30}, {"back": True}, {"limit": 150}], ids=["delayed", "back to wait", "rate limited"]
)
@pytest.mark.parametrize("opts", [{}, {"priority": 3, "attempts": 2}], ids=["plain", "prioritized"])
async def test_a_job_that_moves_itself_leaves_the_same_keys_and_events(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis, wish: dict[str, Any], opts: dict[str, Any]
) -> None:
    theirs, ours = await both_do(node, redis7_url, redis7_client, {"move": wish}, opts)
    assert ours == theirs
    assert (ours["1"]["atm"], ours["1"]["ats"]) == ("1", "2")


async def test_a_step_job_that_waits_for_its_children_leaves_the_same_keys_and_events(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("theirs", redis=redis7_url) as theirs, Queue("ours", redis=redis7_url) as ours:
        await node.add("theirs", {"name": "x", "data": {"move": {"children": "kids"}}})
        await node.work(["theirs"])
        await eventually(lambda: _ended(theirs, "waiting_children"))
        before = await keys_of(redis7_client, "theirs")
        await node.work(["kids"])
        await eventually(lambda: _ended(theirs, "completed"))
        await node.call("rest")
        after = await keys_of(redis7_client, "theirs")
        for key in [key async for key in redis7_client.scan_iter(match="bull:kids:*")]:
            await redis7_client.delete(key)

        await node.add("ours", {"name": "x", "data": {"move": {"children": "kids"}}})
        async with running(worker(redis7_url, "ours")):
            await eventually(lambda: _ended(ours, "waiting_children"))
            assert await keys_of(redis7_client, "ours") == before
            async with running(worker(redis7_url, "kids")):
                await eventually(lambda: _ended(ours, "completed"))
        ended = await keys_of(redis7_client, "ours")
    # Whose child it was stands in what it returned.
    assert {**ended, "1:processed": None} == {**after, "1:processed": None}
    assert ended["1:processed"].keys() == after["1:processed"].keys() == {"bull:kids:1", "bull:kids:2"}


@pytest.mark.parametrize("first", ["node", "corral"])
async def test_a_step_job_is_begun_by_the_one_and_ended_by_the_other(
    node: NodeDriver, redis7_url: str, first: str
) -> None:
    async with Queue("q", redis=redis7_url) as queue, Queue("kids", redis=redis7_url) as kids:
        await node.add("q", {"name": "x", "data": {"move": {"children": "kids"}}})
        if first == "node":
            await node.work(["q"])
            await eventually(lambda: _ended(queue, "waiting_children"))
            await node.call("rest")
            async with running(worker(redis7_url, "q", "kids", concurrency=2)):
                await eventually(lambda: _ended(queue, "completed"))
        else:
            async with running(worker(redis7_url, "q")):
                await eventually(lambda: _ended(queue, "waiting_children"))
            await node.work(["q", "kids"])
            await eventually(lambda: _ended(queue, "completed"))
        await eventually(lambda: _ended(kids, "completed", 2))
        job = await queue.get_job("1")
    assert job is not None
    assert (job.attempts_made, job.attempts_started, job.failed_reason) == (1, 2, None)
    assert job.returnvalue["by"] == ("corral" if first == "node" else "node")


async def test_a_job_started_too_often_ends_the_same(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    theirs, ours = await both_do(
        node,
        redis7_url,
        redis7_client,
        {"move": {"delay": 1, "always": True}},
        {"attempts": 5},
        ends_in="failed",
        node_options={"maxStartedAttempts": 2},
        max_started_attempts=2,
    )
    assert ours == theirs
    assert ours["1"]["failedReason"] == "job started more than allowable limit"


async def test_a_failing_job_with_starts_left_or_not_ends_the_same(
    node: NodeDriver, bullmq: str, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    theirs, ours = await both_do(
        node,
        redis7_url,
        redis7_client,
        {"fail": "boom"},
        {"attempts": 5},
        ends_in="failed",
        node_options={"maxStartedAttempts": 2},
        max_started_attempts=2,
    )
    if bullmq == "6":
        assert ours == theirs
        assert (ours["1"]["failedReason"], ours["1"]["atm"]) == ("boom", "2")
    else:
        # BullMQ 5 starts it once more than it may, to fail it then.
        assert (theirs["1"]["failedReason"], theirs["1"]["atm"]) == ("job started more than allowable limit", "3")
        assert (ours["1"]["failedReason"], ours["1"]["atm"]) == ("boom", "2")


async def test_a_job_that_stalled_too_often_ends_the_same(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    async with Queue("theirs", redis=redis7_url) as theirs, Queue("ours", redis=redis7_url) as ours:
        for name in ("theirs", "ours"):
            await node.add(name, {"name": "x", "data": {}, "opts": {"attempts": 3}})
            await client.lmove(f"bull:{name}:wait", f"bull:{name}:active", "RIGHT", "LEFT")
            await client.sadd(f"bull:{name}:stalled", "1")
            await client.hset(f"bull:{name}:1", mapping={"stc": 1, "ats": 1})
        await node.work(["theirs"], stalledInterval=100, maxStalledCount=1)
        await eventually(lambda: _ended(theirs, "failed"))
        await node.call("rest")
        async with running(worker(redis7_url, "ours", stalled_interval=0.1, max_stalled_count=1)):
            await eventually(lambda: _ended(ours, "failed"))
    found = await keys_of(redis7_client, "ours")
    assert found == await keys_of(redis7_client, "theirs")
    assert found["1"]["failedReason"] == "job stalled more than allowable limit"


@pytest.mark.parametrize(("said", "ends_in"), [(3_600_000, "delayed"), (-1, "failed"), (0, "failed")])
async def test_a_strategy_of_ones_own_writes_the_same(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis, said: int, ends_in: str
) -> None:
    theirs, ours = await both_do(
        node,
        redis7_url,
        redis7_client,
        {"fail": "boom"},
        {"attempts": 2, "backoff": {"type": "lunar", "delay": 7}},
        ends_in=ends_in,
        node_options={"strategy": said},
        backoff_strategy=lambda *asked: None if said == -1 else said / 1000,
    )
    assert ours == theirs


async def test_jobs_taken_by_hand_are_held_and_ended_the_same(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    jobs = [{"name": "x", "data": {"n": n}, "opts": {"attempts": 2}} for n in (1, 2)]
    await node.add("theirs", *jobs)
    await node.add("ours", *jobs)
    by_hand = Worker("ours", redis=redis7_url, metrics_points=0)
    try:
        taken = []
        for job_id in ("1", "2"):
            assert await node.call("take", queue="theirs") == job_id
            job = await by_hand.get_next_job()
            assert job is not None
            taken.append(job)
        assert await keys_of(client, "ours") == await keys_of(client, "theirs")
        for name in ("theirs", "ours"):
            assert 25_000 < await client.pttl(f"bull:{name}:1:lock") <= 30_000
        await node.call("held", id="1", deed="extend", value=90_000)
        await taken[0].extend_lock(90)
        for name in ("theirs", "ours"):
            assert 80_000 < await client.pttl(f"bull:{name}:1:lock") <= 90_000
        await node.call("held", id="1", deed="complete", value={"done": 1})
        await taken[0].move_to_completed({"done": 1})
        await node.call("held", id="2", deed="fail", value="boom")
        await taken[1].move_to_failed(RuntimeError("boom"))
        assert await keys_of(client, "ours") == await keys_of(client, "theirs")
        # The second attempt is the last.
        assert await node.call("take", queue="theirs") == "2"
        again = await by_hand.get_next_job()
        assert again is not None
        await node.call("held", id="2", deed="fail", value="boom")
        await again.move_to_failed(RuntimeError("boom"))
    finally:
        await by_hand.close()
    found = await keys_of(client, "ours")
    assert found == await keys_of(client, "theirs")
    assert (found["completed"], found["failed"]) == (["1"], ["2"])


async def starts(client: Any, queue: str) -> list[int]:
    """When jobs were taken, by Redis' clock, in ms."""
    return [
        int(at.split(b"-")[0])
        for at, entry in await client.xrange(f"bull:{queue}:events")
        if entry[b"event"] == b"active"
    ]


async def test_a_rate_limit_is_counted_for_workers_of_both_kinds_together(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    async with Queue("q", redis=redis7_url) as queue:
        await node.work(["q"], concurrency=2, limiter={"max": 6, "duration": 700})
        ours = worker(redis7_url, "q", concurrency=2, limiter=RateLimit.per(6, 0.7))
        async with running(ours):
            await eventually(lambda: ours.shift is not None and ours.shift.unready is None)
            await node.add("q", *({"name": "x", "data": {"sleep": 20}} for _ in range(20)))
            await eventually(lambda: _ended(queue, "completed", 20), 30)
        await node.call("rest")
    taken = await starts(client, "q")
    assert len(taken) == 20
    # A window begins with its first job and holds six: whose they are is no matter.
    windows = [taken[first : first + 6] for first in range(0, 20, 6)]
    assert all(later[0] - sooner[0] >= 690 for sooner, later in pairwise(windows)), windows
    by = {b"node": 0, b"corral": 0}
    for number in range(1, 21):
        value = await client.hget(f"bull:q:{number}", "returnvalue")
        by[b"node" if b'"node"' in value else b"corral"] += 1
    assert min(by.values()) > 0, by


async def test_the_counter_of_a_window_is_the_same(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    found = []
    for name in ("theirs", "ours"):
        async with Queue(name, redis=redis7_url) as queue:
            await node.add(name, *({"name": "x", "data": {}} for _ in range(5)))
            if name == "theirs":
                await node.work([name], concurrency=10, limiter={"max": 3, "duration": 60_000})
                await eventually(lambda: _ended(queue, "completed", 3))
                await node.call("rest")
            else:
                async with running(worker(redis7_url, name, concurrency=10, limiter=RateLimit(3, 60_000))):
                    await eventually(lambda: _ended(queue, "completed", 3))
            assert 50_000 < await client.pttl(f"bull:{name}:limiter") <= 60_000
            assert (await queue.get_job_counts()).waiting == 2
            found.append(await client.get(f"bull:{name}:limiter"))
    assert found == [b"3", b"3"]


async def test_the_queues_own_concurrency_is_never_exceeded_by_both_together(
    node: NodeDriver, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    await node.queue("q", "setGlobalConcurrency", 3)
    async with Queue("q", redis=redis7_url) as queue:
        await node.work(["q"], concurrency=5)
        async with running(worker(redis7_url, "q", concurrency=5)):
            await node.add("q", *({"name": "x", "data": {"sleep": 15}} for _ in range(40)))
            await eventually(lambda: _ended(queue, "completed", 40), 30)
        await node.call("rest")
    active = peak = 0
    for _, entry in await client.xrange("bull:q:events"):
        active += {b"active": 1, b"completed": -1}.get(entry[b"event"], 0)
        peak = max(peak, active)
    assert (active, peak) == (0, 3)
