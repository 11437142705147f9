"""A Redis that is killed and comes back: with all that it had, with what it had some time ago, or with nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from audit import audit
from corral import Job, JobSpec, Queue, RedisUnavailable, Worker
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import RedisServer

    NewServer = Callable[..., RedisServer]


class Gate:
    """A processor that holds its runs while it is closed."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.opened = asyncio.Event()

    async def __call__(self, job: Job) -> str:
        self.ran.append(job.id)
        await self.opened.wait()
        return job.id


async def completed(server: RedisServer, number: int) -> None:
    """Wait until so many jobs are completed and none is left, and see that the keyspace is sound."""
    async with Queue("q", redis=server.url) as queue:

        async def check() -> bool:
            counts = await queue.get_job_counts()
            assert (counts.completed, counts.unfinished) == (number, 0), counts
            return True

        await eventually(check, 25)
    async with redis.asyncio.from_url(server.url, protocol=2) as client:
        assert await audit(client) == []


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_no_add_that_was_answered_is_lost_and_none_that_is_repeated_comes_twice(
    new_server: NewServer, fsync: str
) -> None:
    server = new_server("redis", appendonly=True, extra=("--appendfsync", fsync))
    added: set[str] = set()
    errors: list[RedisUnavailable] = []
    ran: list[str] = []

    async def run(job: Job) -> str:
        ran.append(job.id)
        await asyncio.sleep(0.01)
        return job.id

    async def produce(queue: Queue, number: int) -> None:
        for job_id in (f"{number}-{each}" for each in range(60)):
            while job_id not in added:
                try:
                    await queue.add("n", job_id=job_id)
                    added.add(job_id)
                except RedisUnavailable as error:
                    errors.append(error)
                    await asyncio.sleep(0.05)

    async with (
        Queue("q", redis=server.url) as queue,
        running(Worker("q", run, redis=server.url, concurrency=5)),
        asyncio.TaskGroup() as producers,
    ):
        for number in range(5):
            producers.create_task(produce(queue, number))
        for some in (60, 150):
            await eventually(lambda some=some: len(added) > some)
            server.kill()
            server.start()
            await eventually(lambda some=some: len(added) > some + 20)
        await eventually(lambda: len(added) == 300, 20)
        await completed(server, 300)
    # Refused while it was loading its data; sent, and the connection broke; not sent.
    known = {("LOADING", False), ("broken", True), ("unreachable", False)}
    assert {(error.code, error.maybe_done) for error in errors} <= known
    assert any(error.maybe_done for error in errors)
    assert set(ran) == added
    with server.client() as client:
        told: list[Any] = client.xrange("bull:q:events")
    ends = [fields[b"jobId"] for _, fields in told if fields[b"event"] == b"completed"]
    assert len(ends) == len(set(ends)) == 300


async def test_what_was_sent_may_have_been_done_and_what_was_not_was_not(new_server: NewServer) -> None:
    server = new_server("redis", appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        await queue.add("first")
        with server.client() as client:
            # Redis has the call, and does not do it before it dies.
            client.client_pause(60_000, all=False)
            adding = asyncio.create_task(queue.add("second"))
            await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        server.kill()
        with pytest.raises(RedisUnavailable) as sent:
            await adding
        assert (sent.value.maybe_done, sent.value.code) == (True, "broken")
        with pytest.raises(RedisUnavailable) as unsent:
            await queue.add("third")
        assert (unsent.value.maybe_done, unsent.value.code) == (False, "unreachable")
        server.start()
        await queue.add("fourth")
        assert (await queue.get_job_counts()).waiting == 2


async def test_a_redis_that_comes_back_empty_is_worked_on_and_what_is_gone_is_told(
    new_server: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_server("redis")
    gate = Gate()
    async with Queue("q", redis=server.url) as queue:
        await queue.add_bulk([JobSpec("n", number) for number in range(6)])
    async with running(Worker("q", gate, redis=server.url, concurrency=3)):
        await eventually(lambda: len(gate.ran) == 3)
        server.kill()
        server.start()
        async with Queue("q", redis=server.url) as queue:
            assert (await queue.get_job_counts()).unfinished == 0
            gate.opened.set()
            for job_id in gate.ran:
                await eventually(lambda job_id=job_id: f"job {job_id} of queue q" in caplog.text, 20)
            assert "its hash is gone" in caplog.text or "whether it was written is not known" in caplog.text
            await queue.add_bulk([JobSpec("n", number) for number in range(4)])
            await completed(server, 4)
    # Their ids begin anew.
    assert sorted(gate.ran) == sorted(["1", "2", "3", "1", "2", "3", "4"])


async def test_a_redis_that_comes_back_as_it_was_some_time_ago_is_worked_on_from_there(new_server: NewServer) -> None:
    server = new_server("redis", rdb=True)
    gate = Gate()
    async with Queue("q", redis=server.url) as queue:
        await queue.add_bulk([JobSpec("old", number) for number in range(6)])
    worker = Worker("q", gate, redis=server.url, concurrency=3, lock_duration=1.0, stalled_interval=0.3)
    async with running(worker):
        await eventually(lambda: len(gate.ran) == 3)
        with server.client() as client:
            client.save()
        gate.opened.set()
        await completed(server, 6)
        async with Queue("q", redis=server.url) as queue:
            await queue.add("new")
            await eventually(lambda: len(gate.ran) == 7)
        gate.opened.clear()
        server.kill()
        server.start()
        gate.opened.set()
        # Three were active by then, in the hands of takes that are long over: recovered, they run again.
        await completed(server, 6)
    assert sorted(gate.ran) == sorted([*"123456", "7", *"123456"])
    with server.client() as client:
        for job_id in range(1, 7):
            assert json.loads(client.hget(f"bull:q:{job_id}", "returnvalue")) == str(job_id)
