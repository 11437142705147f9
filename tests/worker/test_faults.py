"""`corral work` while Redis goes away and comes back: nothing is lost, nothing hangs, the worker goes on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue, RedisRefused
from corral_process import CorralProcess
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import RedisServer

    NewServer = Callable[..., RedisServer]

SOURCE = """
import asyncio, os, time
from corral import Worker

async def run(job):
    await asyncio.sleep(job.data["seconds"])
    return job.name

def in_thread(job):
    time.sleep(job.data["seconds"])
    return job.name

worker = Worker("q", in_thread if os.environ.get("THREAD") else run, concurrency=10)
"""

# A second to notice, at most 5 s between two tries to connect, and a machine that is busy.
BACK_WITHIN = 25.0


async def passed(seconds: float) -> None:
    """Until an outage has lasted so long."""
    until = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() > until, seconds + 10)


async def probe(process: CorralProcess, path: str, status: int, what: str = "", within: float = 20.0) -> str:
    async def answers() -> str:
        found, text = await process.get(path)
        assert found == status, f"{path} {found}: {text}"
        assert what in text
        return text

    return await eventually(answers, within)


async def completed(url: str, number: int, within: float = BACK_WITHIN) -> None:
    async with Queue("q", redis=url) as queue:

        async def check() -> bool:
            counts = await queue.get_job_counts()
            assert (counts.completed, counts.unfinished) == (number, 0), counts
            return True

        await eventually(check, within)


async def some_completed(url: str, number: int) -> None:
    async with Queue("q", redis=url) as queue:

        async def check() -> bool:
            return (await queue.get_job_counts()).completed >= number

        await eventually(check, 20)


def runs_of_each_job(server: RedisServer, number: int) -> list[tuple[int, int, int]]:
    """Takes, attempts and stalls of each job."""
    found = []
    with server.client() as client:
        for job_id in range(1, number + 1):
            ats, atm, stc, name, value = client.hmget(f"bull:q:{job_id}", "ats", "atm", "stc", "name", "returnvalue")
            assert json.loads(value) == name.decode(), job_id
            found.append((int(ats), int(atm), int(stc or 0)))
    return found


async def outage(folder: Path, server: RedisServer, seconds: float, *, crash: bool, env: dict[str, str]) -> None:
    """Jobs are worked, Redis is away for some seconds in the middle, and in the end each job has run once."""
    number = 60
    async with Queue("q", redis=server.url) as queue:
        await queue.add_bulk(JobSpec(f"job {n}", {"seconds": 0.2 if n % 2 else 0.5}) for n in range(number))
        # Ends, or becomes due, while Redis is away.
        await queue.add("long", {"seconds": seconds / 2})
        await queue.add("due meanwhile", {"seconds": 0}, delay=seconds / 2)
        await queue.add("due later", {"seconds": 0}, delay=seconds + 2)
    with CorralProcess(folder, SOURCE, server.url, env) as process:
        await some_completed(server.url, 15)
        await process.serving()
        await probe(process, "/readyz", 200)
        if crash:
            server.kill()
        else:
            server.stop()
        await asyncio.gather(passed(seconds), probe(process, "/readyz", 503))
        _, reason = await process.get("/readyz")
        assert "Redis" in reason
        assert str(server.port) in reason
        assert (await process.get("/livez"))[0] == (await process.get("/startupz"))[0] == 200
        assert process.running
        server.start()
        await completed(server.url, number + 3)
        await probe(process, "/readyz", 200)
        assert process.said("Redis answers again", "INFO")
        assert process.said("connection to Redis .* broke|cannot be reached", "ERROR")
        # Told now and then, not at every try.
        assert len(process.said(".", "ERROR")) <= 2 + seconds / 5
        process.signal()
        assert await process.wait() == 0
    # The locks outlive the outage, so none was recovered, and no answer that was lost led to a second run.
    assert runs_of_each_job(server, number + 3) == [(1, 1, 0)] * (number + 3)
    with server.client() as client:
        assert not client.exists("bull:q:active", "bull:q:wait", "bull:q:delayed")


async def test_jobs_survive_a_redis_that_is_killed_and_started_again(tmp_path: Path, new_server: NewServer) -> None:
    await outage(tmp_path, new_server("redis", appendonly=True), 4, crash=True, env={})


async def test_jobs_in_threads_survive_a_valkey_that_is_stopped_and_started_again(
    tmp_path: Path, new_server: NewServer
) -> None:
    await outage(tmp_path, new_server("valkey", appendonly=True), 4, crash=False, env={"THREAD": "1"})


@pytest.mark.timeout(120)
async def test_jobs_survive_a_redis_that_is_away_for_twenty_seconds(tmp_path: Path, new_server: NewServer) -> None:
    await outage(tmp_path, new_server("redis", appendonly=True), 20, crash=True, env={})


async def test_a_redis_that_restarts_again_and_again_loses_nothing(tmp_path: Path, new_server: NewServer) -> None:
    server = new_server("redis", appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        await queue.add_bulk(JobSpec(f"job {n}", {"seconds": 0.05}) for n in range(800))
    with CorralProcess(tmp_path, SOURCE, server.url) as process:
        for round_ in range(1, 6):
            await some_completed(server.url, round_ * 40)
            server.kill()
            server.start()
        await completed(server.url, 800, within=40)
        assert process.running
    assert all(attempts == 1 for _, attempts, _ in runs_of_each_job(server, 800))


async def test_a_worker_waits_for_a_redis_that_is_not_up_yet(tmp_path: Path, new_server: NewServer) -> None:
    server = new_server("redis", appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        await queue.add("early", {"seconds": 0})
    server.stop()
    with CorralProcess(tmp_path, SOURCE, server.url) as process:
        await process.serving()
        await eventually(lambda: process.said("cannot be reached", "ERROR"), 20)
        await probe(process, "/readyz", 503, "cannot be reached")
        assert (await process.get("/livez"))[0] == 200
        await passed(2)
        assert process.running
        # One line in 10 s, however often it tried.
        assert len(process.said("cannot be reached")) == 1
        server.start()
        await completed(server.url, 1)
        await probe(process, "/readyz", 200)


async def test_a_full_redis_refuses_new_jobs_and_those_it_has_are_still_worked(
    tmp_path: Path, new_server: NewServer
) -> None:
    server = new_server("redis", appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        await queue.add_bulk(JobSpec(f"job {n}", {"seconds": 0.1}) for n in range(20))
        with server.client() as client:
            client.config_set("maxmemory", "1")
            before = client.dbsize()
            with pytest.raises(RedisRefused, match="memory is full") as refused:
                await queue.add("one more")
            assert refused.value.code == "OOM"
            assert client.dbsize() == before
            with CorralProcess(tmp_path, SOURCE, server.url) as process:
                await process.serving()
                await completed(server.url, 20)
                client.config_set("maxmemory", "0")
                await queue.add("one more", {"seconds": 0})
                await completed(server.url, 21)
    assert runs_of_each_job(server, 21) == [(1, 1, 0)] * 21


async def test_a_worker_survives_a_redis_that_hangs(tmp_path: Path, redis7: RedisServer, redis7_url: str) -> None:
    with CorralProcess(tmp_path, SOURCE, redis7_url) as process:
        async with Queue("q", redis=redis7_url) as queue:
            await process.serving()
            await queue.add_bulk(JobSpec(f"job {n}", {"seconds": 0.2}) for n in range(40))
            await some_completed(redis7_url, 5)
            with redis7.client() as client:
                client.execute_command("CLIENT", "PAUSE", 4000, "ALL")
            await completed(redis7_url, 40)
            await probe(process, "/readyz", 200)
    assert runs_of_each_job(redis7, 40) == [(1, 1, 0)] * 40


async def test_a_worker_survives_the_end_of_its_connections(
    tmp_path: Path, redis7: RedisServer, redis7_url: str
) -> None:
    with CorralProcess(tmp_path, SOURCE, redis7_url) as process:
        async with Queue("q", redis=redis7_url) as queue:
            await queue.add_bulk(JobSpec(f"job {n}", {"seconds": 0.02}) for n in range(400))
        with redis7.client() as client:
            for number in range(20, 400, 60):
                await some_completed(redis7_url, number)
                client.client_kill_filter(_type="normal", skipme=True)
        await completed(redis7_url, 400)
        assert process.running
    assert all(attempts == 1 for _, attempts, _ in runs_of_each_job(redis7, 400))


async def test_a_worker_survives_the_loss_of_the_scripts(tmp_path: Path, redis7: RedisServer, redis7_url: str) -> None:
    with CorralProcess(tmp_path, SOURCE, redis7_url) as process, redis7.client() as client:
        async with Queue("q", redis=redis7_url) as queue:
            for round_ in range(1, 4):
                await queue.add("n", {"seconds": 0})
                await completed(redis7_url, round_)
                client.script_flush()
        assert not process.said(".", "ERROR")


async def test_a_producer_whose_connection_died_while_it_was_idle_adds_at_the_first_try(
    redis7: RedisServer, redis7_url: str
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await queue.add("before")
        with redis7.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            # A service that adds a job now and then: by the next one its loop has seen the end of the connection.
            await eventually(lambda: client.info("clients")["connected_clients"] == 1)
        await passed(0.1)
        await queue.add("after")
        assert (await queue.get_job_counts()).waiting == 2


async def test_a_server_at_a_port_where_nobody_is_costs_no_time_at_the_end(tmp_path: Path) -> None:
    with CorralProcess(tmp_path, SOURCE, f"redis://127.0.0.1:{free_port()}/0") as process:
        await eventually(lambda: process.said("cannot be reached"), 20)
        began = time.monotonic()
        process.signal()
        assert await process.wait() == 0
        assert time.monotonic() - began < 6
