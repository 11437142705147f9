"""A script of somebody else that does not end: Redis answers BUSY to everybody until it is killed, and then all goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import redis
import redis.asyncio

from audit import audit
from corral import Job, JobSpec, Queue, RedisRefused, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import RedisServer

ENDLESS = "while true do end"
ENDLESS_AND_DIRTY = "redis.call('SET', 'dirty', 1) while true do end"


@pytest.fixture(params=["redis", "valkey"])
def blockable(request: pytest.FixtureRequest, new_server: Callable[..., RedisServer]) -> RedisServer:
    """A server that calls itself busy after 50 ms."""
    return new_server(request.param, appendonly=True, extra=("--lua-time-limit", "50"))


@contextmanager
def blocking(server: RedisServer, script: str) -> Iterator[None]:
    """Run a script that does not end; whoever uses it ends it."""

    def evaluate() -> None:
        with server.client() as client, suppress(redis.RedisError):  # it is killed
            client.eval(script, 0)

    thread = threading.Thread(target=evaluate)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def is_busy(server: RedisServer) -> bool:
    with server.client() as client:
        try:
            client.ping()
        except redis.RedisError as error:
            return "BUSY" in str(error)
        return False


def end_script(server: RedisServer) -> None:
    with server.client() as client:
        client.script_kill()


async def completed(queue: Queue, number: int) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert (counts.completed, counts.unfinished) == (number, 0), counts
        return True

    await eventually(check, 20)


async def sound(server: RedisServer) -> None:
    async with redis.asyncio.from_url(server.url, protocol=2) as client:
        assert await audit(client) == []


async def test_a_producer_is_told_that_a_script_blocks_redis_and_adds_when_it_is_killed(blockable: RedisServer) -> None:
    async with Queue("q", redis=blockable.url) as queue:
        await queue.add("before")
        with blocking(blockable, ENDLESS):
            await eventually(lambda: is_busy(blockable))
            with pytest.raises(RedisRefused, match=r"a script blocks it.*SCRIPT KILL") as refused:
                await queue.add("meanwhile")
            assert (refused.value.code, refused.value.maybe_done) == ("BUSY", False)
            end_script(blockable)
        await queue.add("after")
        assert (await queue.get_job_counts()).waiting == 2
        await sound(blockable)


class Gate:
    """A processor that holds its first runs until it is opened."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.opened = asyncio.Event()

    async def __call__(self, job: Job) -> str:
        self.ran.append(job.id)
        await self.opened.wait()
        return job.name


async def test_a_worker_waits_while_a_script_blocks_redis_and_goes_on(
    blockable: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    async with Queue("q", redis=blockable.url) as queue:
        await queue.add_bulk([JobSpec("n", number) for number in range(20)])
        worker = Worker("q", gate, redis=blockable.url, concurrency=4)
        async with running(worker):
            await eventually(lambda: len(gate.ran) == 4)
            with blocking(blockable, ENDLESS):
                await eventually(lambda: is_busy(blockable))
                gate.opened.set()
                await eventually(lambda: "a script blocks it" in caplog.text)
                await eventually(lambda: worker.shift is not None and "BUSY" in str(worker.shift.unready))
                end_script(blockable)
            await completed(queue, 20)
            await eventually(lambda: worker.shift is not None and worker.shift.unready is None)
    assert sorted(gate.ran, key=int) == [str(number) for number in range(1, 21)]
    await sound(blockable)


async def test_locks_that_run_out_while_a_script_blocks_redis_lose_no_job(blockable: RedisServer) -> None:
    gate = Gate()
    async with Queue("q", redis=blockable.url) as queue:
        await queue.add_bulk([JobSpec("n", number) for number in range(4)])
        worker = Worker("q", gate, redis=blockable.url, concurrency=4, lock_duration=0.3, stalled_interval=0.2)
        async with running(worker):
            await eventually(lambda: len(gate.ran) == 4)
            with blocking(blockable, ENDLESS):
                await eventually(lambda: is_busy(blockable))
                # Redis lets nothing run out while a script runs: the time is over when it ends.
                over = time.monotonic() + 0.5
                await eventually(lambda: time.monotonic() > over)
                end_script(blockable)
            gate.opened.set()
            await completed(queue, 4)
    assert set(gate.ran) == {"1", "2", "3", "4"}
    assert all(gate.ran.count(job_id) <= 2 for job_id in gate.ran)
    await sound(blockable)


async def test_a_script_that_has_written_is_ended_with_redis_and_undone(blockable: RedisServer) -> None:
    gate = Gate()
    async with Queue("q", redis=blockable.url) as queue:
        await queue.add_bulk([JobSpec("n", number) for number in range(8)])
        async with running(Worker("q", gate, redis=blockable.url, concurrency=4)):
            await eventually(lambda: len(gate.ran) == 4)
            with blocking(blockable, ENDLESS_AND_DIRTY):
                await eventually(lambda: is_busy(blockable))
                gate.opened.set()
                with pytest.raises(redis.RedisError, match=r"UNKILLABLE|write commands"):
                    end_script(blockable)
                blockable.kill()
            blockable.start()
            async with Queue("q", redis=blockable.url) as fresh:
                await completed(fresh, 8)
    with blockable.client() as client:
        assert not client.exists("dirty")
    assert sorted(gate.ran, key=int) == [str(number) for number in range(1, 9)]
    await sound(blockable)
