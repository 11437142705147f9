"""Workers and producers whose clocks are 5 s ahead or behind: nothing is lost, run twice, or asked for without a pause."""

from __future__ import annotations

import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from corral import JobOptions, JobSpec, Queue
from corral_process import CorralProcess
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import redis.asyncio

SOURCE = """
import asyncio, os, time

real, shift = time.time_ns, int(os.environ["SHIFT"]) * 10**9
time.time_ns = lambda: real() + shift

from corral import RateLimit, Worker

async def run(job):
    await asyncio.sleep(job.data if isinstance(job.data, float) else 0)
    return os.environ["SHIFT"]

limiter = RateLimit.per(10, 0.3) if os.environ.get("LIMITED") else None
worker = Worker("q", run, concurrency=4, lock_duration=1.0, stalled_interval=0.3, limiter=limiter)
"""

SHIFTS = (5, -5)
"""Seconds by which the clocks of the two workers are wrong; the producers' are so in turn, and right."""


@contextmanager
def clock(shift: int) -> Iterator[None]:
    """This process' clock, wrong by so many seconds."""
    real = time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + shift * 10**9)
        yield


@asynccontextmanager
async def workers(folder: Path, url: str, *shifts: int, **env: str) -> AsyncIterator[list[CorralProcess]]:
    """A worker of each of these clocks, default both."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(CorralProcess(folder / f"{shift}", SOURCE, url, {"SHIFT": str(shift), **env}))
            for shift in shifts or SHIFTS
        ]
        for process in processes:
            await process.serving()
        yield processes


async def completed(queue: Queue, number: int, within: float = 30.0) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert (counts.completed, counts.unfinished) == (number, 0), counts
        return True

    await eventually(check, within)


async def calls(client: Any) -> int:
    """How many scripts Redis has run, and how often somebody has waited for a marker."""
    stats = await client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval", "bzpopmin"))


async def each_ran_once(client: Any, number: int) -> set[bytes]:
    """Every job was taken once and never stalled; gives who ran them."""
    by = set()
    for job_id in range(1, number + 1):
        starts, stalls, value = await client.hmget(f"bull:q:{job_id}", "ats", "stc", "returnvalue")
        assert (starts, stalls) == (b"1", None), job_id
        by.add(value)
    return by


async def test_jobs_are_run_once_by_both_and_no_living_worker_loses_one(
    tmp_path: Path, queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with workers(tmp_path, redis7_url) as both:
        for shift in (*SHIFTS, 0):
            with clock(shift):
                # Longer than a lock lasts, and than several looks for stalled jobs are apart.
                await queue.add_bulk([JobSpec("long", 2.5), *(JobSpec("short", 0.05) for _ in range(20))])
        await completed(queue, 63)
        assert not any(process.said("lost its worker|lock .* is lost") for process in both)
    assert await each_ran_once(redis7_client, 63) == {b'"5"', b'"-5"'}
    assert await audit(redis7_client) == []


@pytest.mark.parametrize(
    ("shifts", "producers"), [(SHIFTS, (*SHIFTS, 0)), ((-5,), (-5, 0))], ids=["both", "the one behind alone"]
)
async def test_delayed_jobs_are_run_once_and_nobody_spins_until_they_are_due(
    tmp_path: Path,
    queue: Queue,
    redis7_url: str,
    redis7_client: redis.asyncio.Redis,
    shifts: tuple[int, ...],
    producers: tuple[int, ...],
) -> None:
    async with workers(tmp_path, redis7_url, *shifts):
        before = await calls(redis7_client)
        for shift in producers:
            with clock(shift):
                delays = [JobOptions.checked(delay=delay) for delay in (0.1, 0.5, 0.7, 1, 1, 2)]
                await queue.add_bulk([JobSpec("late", 0.0, opts) for opts in delays])
        await completed(queue, 6 * len(producers), within=40)
        asked = await calls(redis7_client) - before
    await each_ran_once(redis7_client, 6 * len(producers))
    assert await audit(redis7_client) == []
    assert asked < 400


async def test_a_rate_limit_ends_for_both(
    tmp_path: Path, queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    await queue.add_bulk([JobSpec("n", 0.0) for _ in range(60)])
    before = await calls(redis7_client)
    async with workers(tmp_path, redis7_url, LIMITED="1"):
        await completed(queue, 60)
        asked = await calls(redis7_client) - before
    await each_ran_once(redis7_client, 60)
    assert await audit(redis7_client) == []
    assert asked < 400


async def test_a_scheduler_has_one_pending_iteration_at_any_time_and_makes_no_more_than_it_should(
    tmp_path: Path, queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    for shift in (*SHIFTS, 0):
        with clock(shift):
            await queue.upsert_job_scheduler("s", every=0.25, name="tick")
    pending: set[int] = set()

    async def ticked() -> bool:
        assert await audit(client) == []
        counts = await queue.get_job_counts()
        pending.add(counts.unfinished)
        return counts.completed >= 6

    async with workers(tmp_path, redis7_url):
        began = time.monotonic()
        await eventually(ticked, 40)
        seconds = time.monotonic() - began
    # One that runs beside the next one.
    assert pending <= {1, 2}
    ids = [id.decode() for id in await client.zrange("bull:q:completed", 0, -1)]
    due = sorted(int(id.rpartition(":")[2]) for id in ids)
    # The clocks are 10 s apart, and so many seconds have passed.
    assert due[-1] - due[0] <= (seconds + 11) * 1000
    assert len(ids) <= (seconds + 11) * 4
