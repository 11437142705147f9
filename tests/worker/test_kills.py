"""Processes that are killed (SIGKILL) at each of their calls to Redis, one after the other: no job is lost, and none is
done twice.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from mortal import JOBS, Nursery, Order, add, worker_of
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import redis.asyncio

    from mortal import Life, Moment

KILLED = -signal.SIGKILL

AT_ONCE = 8
"""Lives at the same time. They sleep most of it."""

MOMENTS: tuple[Moment, ...] = ("before", "after")

AT_WORK = (
    "take_jobs",
    "settle_jobs",
    "renew_locks",
    "recover_stalled",
    "BZPOPMIN",
    "update_progress",
    "add_log",
    "update_data",
    "move_to_delayed",
    "advance_scheduler",
)
"""What a worker's life calls."""

TOGETHER = ({"again", "reports", "slow", "steps", "last"}, {"next", "part 1", "part 2"})
"""The jobs that one call adds."""

RUNS = dict.fromkeys(JOBS, 1) | {"again": 2, "steps": 2}
"""How often each job is taken when nothing goes wrong."""


@dataclass
class Lives:
    """Many lives on one Redis, each under a prefix of its own."""

    url: str
    client: Any
    folder: Path
    nurseries: asyncio.Queue[Nursery]

    def order(self, life: Life, at: str = "", when: Moment = "before") -> Order:
        return Order(life, self.url, f"{life} {when} {at}", str(self.folder), at, when)

    async def live(self, order: Order) -> int:
        nursery = await self.nurseries.get()
        try:
            return await nursery.live(order)
        finally:
            self.nurseries.put_nowait(nursery)

    async def mend(self, order: Order) -> None:
        """A worker that nobody kills does what is left: each job ends well, and once, and the schedule goes on."""
        ticks = await self.client.zcard(f"{order.prefix}:s:completed")
        parts = sum(job_id.startswith("part") for job_id in JOBS)
        async with running(worker_of(self.url, order.prefix, 30.0), grace=0):
            await eventually(lambda: self.has_completed(order, q=len(JOBS) - parts, r=parts, s=ticks + 1), 20)
        assert await audit(self.client, prefix=order.prefix) == [], order
        ended = await self.completed(order, "q") + await self.completed(order, "r")
        assert sorted(ended) == sorted(JOBS), order
        await self.completed(order, "s")
        for job_id, key in keys_of(order).items():
            starts, made = await self.client.hmget(key, "ats", "atm")
            # One run more at most, cut short by the kill.
            assert 0 <= int(starts) - RUNS[job_id] <= 1, (order, job_id)
            assert int(made) == (2 if job_id == "again" else 1), (order, job_id)

    async def has_completed(self, order: Order, **numbers: int) -> bool:
        """Whether each of these queues has completed so many jobs."""
        sizes = [await self.client.zcard(f"{order.prefix}:{queue}:completed") for queue in numbers]
        return all(size >= number for size, number in zip(sizes, numbers.values(), strict=True))

    async def completed(self, order: Order, queue: str) -> list[str]:
        """The ids of a queue's jobs that have ended, all of them well and once."""
        ended: list[str] = []
        for _, fields in await self.client.xrange(f"{order.prefix}:{queue}:events"):
            assert fields[b"event"] != b"failed", (order, fields)
            if fields[b"event"] == b"completed":
                ended.append(fields[b"jobId"].decode())
        assert len(ended) == len(set(ended)), (order, ended)
        return ended


def is_one_more(call: str) -> bool:
    """Whether a call is one of a loop that has been seen often: a wait for a marker, a look for jobs."""
    name, number = call.split()
    return name in ("BZPOPMIN", "take_jobs", "recover_stalled") and int(number) > 8


def keys_of(order: Order) -> dict[str, str]:
    return {id: f"{order.prefix}:{'r' if id.startswith('part') else 'q'}:{id}" for id in JOBS}


@pytest.fixture
async def lives(redis7_url: str, redis7_client: redis.asyncio.Redis, tmp_path: Path) -> Any:
    async with AsyncExitStack() as stack:
        nurseries: asyncio.Queue[Nursery] = asyncio.Queue()
        for _ in range(AT_ONCE):
            nurseries.put_nowait(await stack.enter_async_context(Nursery()))
        yield Lives(redis7_url, redis7_client, tmp_path, nurseries)


@pytest.mark.timeout(180)
async def test_a_worker_killed_at_any_of_its_calls_loses_no_job_and_repeats_little(lives: Lives) -> None:
    whole = lives.order("work")
    await add(whole.url, whole.prefix)
    assert await lives.live(whole) == 0, whole.output.read_text()
    assert await lives.client.lrange(f"{whole.prefix}:q:wait", 0, -1) == [b"last"]
    await lives.mend(whole)

    async def killed(order: Order) -> bool:
        async with at_once:
            await add(order.url, order.prefix)
            code = await lives.live(order)
            assert code in (0, KILLED), order.output.read_text()
            await lives.mend(order)
            return code == KILLED

    at_once = asyncio.Semaphore(AT_ONCE)
    orders = [lives.order("work", at, when) for at in whole.calls for when in MOMENTS if not is_one_more(at)]
    outcomes = await asyncio.gather(*(killed(order) for order in orders))
    # How many calls of a kind there are is not always the same; the first one always is.
    died_at = {(order.at, order.when) for order, died in zip(orders, outcomes, strict=True) if died}
    assert died_at >= {(f"{name} 1", when) for name in AT_WORK for when in MOMENTS}
    assert len(died_at) > len(orders) / 2


@pytest.mark.timeout(120)
async def test_a_producer_killed_at_any_of_its_calls_leaves_each_call_done_or_not_and_never_half(lives: Lives) -> None:
    # A Redis that does not know the scripts is asked twice. From here on it does.
    assert await lives.live(lives.order("add", "nowhere")) == 0
    whole = lives.order("add")
    assert await lives.live(whole) == 0, whole.output.read_text()
    assert {call.split()[0] for call in whole.calls} == {"add_jobs", "add_flow", "upsert_scheduler"}
    for order in [lives.order("add", at, when) for at in whole.calls for when in MOMENTS]:
        assert await lives.live(order) == KILLED, order
        assert await audit(lives.client, prefix=order.prefix) == []
        there = {id for id, key in keys_of(order).items() if await lives.client.exists(key)}
        for together in TOGETHER:
            assert there & together in (set(), together), order
        # It begins anew, with the same ids.
        assert await lives.live(replace(order, at="")) == 0
        await lives.mend(order)
