"""A Redis that is a replica: it refuses every write. Nothing is half done, the cure is said, and all goes on when it is
promoted, or when the address leads to the new primary.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from audit import audit
from corral import Job, JobSpec, Queue, RedisRefused, Worker
from corral.address import make_pool
from corral.connection import Lines
from corral_process import CorralProcess
from failover import Switch, caught_up, follow, promote
from jobs import Stage
from running import running
from script_calls import CALLS, READING
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from servers import RedisServer

SOURCE = """
from corral import Worker

async def run(job):
    return job.name

worker = Worker("q", run)
"""


@pytest.fixture
def primary(new_server: Callable[..., RedisServer]) -> RedisServer:
    return new_server("redis")


@pytest.fixture
async def replica(primary: RedisServer, new_server: Callable[..., RedisServer]) -> RedisServer:
    server = new_server("redis")
    await follow(server, primary)
    return server


def client_of(server: RedisServer) -> Any:
    return redis.asyncio.from_url(server.url, protocol=2, decode_responses=False)


@pytest.fixture
async def stage(primary: RedisServer) -> AsyncIterator[Stage]:
    async with Lines(make_pool(primary.url)) as caller, client_of(primary) as client:
        yield Stage(client, caller)


async def test_every_script_that_writes_is_refused_and_leaves_no_trace(
    stage: Stage, primary: RedisServer, replica: RedisServer
) -> None:
    async with Lines(make_pool(replica.url)) as caller, client_of(replica) as client:
        theirs = Stage(client, caller)
        for call in CALLS:
            await stage.client.flushall()
            await stage.lay(*call.keys)
            await caught_up(replica, primary)
            await theirs.lay()
            if call in READING:
                assert await call.act(caller, theirs.keys)
                continue
            with pytest.raises(RedisRefused, match="it is a replica; point REDIS_URL at the primary") as refused:
                await call.act(caller, theirs.keys)
            assert (refused.value.code, refused.value.maybe_done) == ("READONLY", False), call
            assert await theirs.changed() == {}, call


async def test_a_producer_is_refused_by_a_replica_and_adds_when_it_is_promoted(replica: RedisServer) -> None:
    async with Queue("q", redis=replica.url) as queue:
        with pytest.raises(RedisRefused, match="it is a replica; point REDIS_URL at the primary"):
            await queue.add("early")
        assert (await queue.get_job_counts()).unfinished == 0
        promote(replica)
        await queue.add("later")
        assert (await queue.get_job_counts()).waiting == 1


async def test_a_worker_at_a_replica_says_so_and_works_when_it_is_promoted(
    tmp_path: Path, primary: RedisServer, replica: RedisServer
) -> None:
    async with Queue("q", redis=primary.url) as queue:
        await queue.add_bulk([JobSpec("n", number) for number in range(5)])
    await caught_up(replica, primary)
    with CorralProcess(tmp_path, SOURCE, replica.url) as process:
        await process.serving()
        await eventually(lambda: process.said("READONLY.*it is a replica; point REDIS_URL at the primary", "ERROR"), 20)

        async def unready() -> bool:
            status, reason = await process.get("/readyz")
            return status == 503 and "it is a replica" in reason

        await eventually(unready, 20)
        assert (await process.get("/livez"))[0] == 200
        promote(replica)
        async with Queue("q", redis=replica.url) as queue, client_of(replica) as client:
            await completed(queue, 5)
            assert await audit(client) == []
        process.signal()
        assert await process.wait() == 0


async def test_jobs_that_run_during_a_failover_are_settled_on_the_new_primary(
    primary: RedisServer, replica: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    failed_over = asyncio.Event()

    async def run(job: Job) -> str:
        ran.append(job.id)
        await failed_over.wait()
        return job.name

    async with Switch(primary) as switch, Queue("q", redis=switch.url) as queue, client_of(replica) as client:
        await queue.add_bulk([JobSpec("n", number) for number in range(3)])
        async with running(Worker("q", run, redis=switch.url, concurrency=3)):
            await eventually(lambda: len(ran) == 3)
            await caught_up(replica, primary)
            promote(replica)
            # The old primary follows the new one, while the connections to it are still there.
            await follow(primary, replica)
            failed_over.set()
            await eventually(lambda: "it is a replica" in caplog.text)
            assert await client.zcard("bull:q:completed") == 0
            switch.to = replica
            await completed_on(client, 3)
            async with Queue("q", redis=switch.url) as again:
                await again.add("n", 3)
            await completed_on(client, 4)
            assert await audit(client) == []
    assert sorted(ran) == ["1", "2", "3", "4"]


async def completed(queue: Queue, number: int) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert (counts.completed, counts.unfinished) == (number, 0), counts
        return True

    await eventually(check, 25)


async def completed_on(client: Any, number: int) -> None:
    async def check() -> bool:
        return bool(await client.zcard("bull:q:completed") == number)

    await eventually(check, 25)
