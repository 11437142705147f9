"""A worker that dies, hangs, or is cut off: others run its jobs soon, and what it still says of them is refused."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from corral import DelayedError, Job, JobSpec, Queue, RateLimitError, Worker
from corral.beat_record import SILENT_S
from corral.looks import JITTER_S, LOOK_S
from corral_process import CorralProcess
from relay import Relay
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import redis.asyncio

    from servers import RedisServer

WITHIN_S = 15.0
"""From the last beat of a dead worker until its jobs run again: 10 s of silence, a look every 4 s."""

# It notes each run: the job, who runs it, when. A job ends at once, or when its worker is told to.
SOURCE = """
import asyncio, os, time
from pathlib import Path
from corral import Worker

folder, me = Path(os.environ["FOLDER"]), os.environ["POD_NAME"]

async def run(job):
    with (folder / "runs").open("a") as runs:
        runs.write(f"{job.id} {me} {time.time_ns() // 1_000_000}\\n")
    while "HOLDS" in os.environ and not (folder / "go").exists():
        await asyncio.sleep(0.1)
    return me

# Its locks outlast the test: only a look can put its jobs back.
worker = Worker("q", run, concurrency=3, lock_duration=300)
"""


def runs(folder: Path) -> list[tuple[str, str, int]]:
    """Each run so far: the job, the worker, when it began (epoch ms)."""
    path = folder / "runs"
    rows = [row.split() for row in path.read_text().splitlines()] if path.exists() else []
    return [(job, worker, int(when)) for job, worker, when in rows]


async def beats(client: Any) -> dict[str, float]:
    """When each worker was heard of last, by the name of its pod."""
    found = {}
    for worker, when in await client.zrange("bull:q:corral:beats", 0, -1, withscores=True):
        record = (await client.hget("bull:q:corral:workers", worker)).decode()
        found[next(pod for pod in ("dead", "frozen", "third") if f'"{pod}"' in record)] = when
    return found


@pytest.mark.timeout(120)
async def test_jobs_of_a_killed_and_of_a_frozen_worker_run_again_within_fifteen_seconds(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client

    def process(name: str, **env: str) -> CorralProcess:
        return CorralProcess(tmp_path, SOURCE, redis7_url, {"FOLDER": str(tmp_path), "POD_NAME": name, **env})

    async with Queue("q", redis=redis7_url) as queue:
        await queue.add_bulk([JobSpec("n", each) for each in range(6)])
        with process("dead", HOLDS="1") as dead, process("frozen", HOLDS="1") as frozen:
            await eventually(lambda: len(runs(tmp_path)) == 6, 30)
            with process("third") as third:
                # A job of Node's: its worker never beats.
                await client.hset("bull:q:node", mapping={"name": "n", "data": "{}", "ats": 1, "timestamp": 1})
                await client.set("bull:q:node:lock", "0b9c1c1e-0000-4000-8000-000000000000:1", px=600_000)
                await client.rpush("bull:q:active", "node")
                assert SILENT_S + LOOK_S + JITTER_S < WITHIN_S
                # It looks; all live.
                await eventually(lambda: client.exists("bull:q:corral:look"), 30)
                assert len(runs(tmp_path)) == 6
                last = await beats(client)
                dead.signal(signal.SIGKILL)
                frozen.signal(signal.SIGSTOP)
                last = await beats(client)
                await eventually(lambda: len(runs(tmp_path)) == 12, 40)
                again = runs(tmp_path)[6:]
                assert {worker for _, worker, _ in again} == {"third"}
                assert {job for job, _, _ in again} == {str(n + 1) for n in range(6)}
                first_of = {job: worker for job, worker, _ in runs(tmp_path)[:6]}
                for job, _, began in again:
                    assert began - last[first_of[job]] >= SILENT_S * 1000, job
                await eventually(lambda: client.zcard("bull:q:completed"), 10)
                (tmp_path / "go").touch()
                frozen.signal(signal.SIGCONT)
                # What it believed to hold has ended elsewhere.
                await eventually(
                    lambda: len(frozen.said("the end of job . of queue q was not written", "ERROR")) == 3, 30
                )
                assert len(third.said("lost its worker and was put back", "WARNING")) == 6
        assert len(runs(tmp_path)) == 12
        for n in range(6):
            job = await queue.get_job(str(n + 1))
            assert job is not None
            facts = (job.returnvalue, job.attempts_made, job.attempts_started, job.stalled_counter)
            assert facts == ("third", 1, 2, 1)
        ended = [
            fields[b"jobId"] for _, fields in await client.xrange("bull:q:events") if fields[b"event"] == b"completed"
        ]
        assert len(ended) == len(set(ended)) == 6
        assert await client.lrange("bull:q:active", 0, -1) == [b"node"]
        assert await client.hexists("bull:q:node", "stc") is False
        await client.lrem("bull:q:active", 1, "node")
        await client.delete("bull:q:node", "bull:q:node:lock")
        assert await audit(redis7_client) == []


@pytest.mark.timeout(120)
async def test_a_worker_that_is_cut_off_learns_that_its_jobs_are_taken_and_its_ends_are_refused(
    redis7: RedisServer, redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing broke before.
    monkeypatch.setattr("corral.footing.FIRM_S", 0.5)
    client: Any = redis7_client
    began: list[str] = []
    told: list[str] = []
    stalled: list[str] = []
    errors: list[str] = []
    let_go = asyncio.Event()

    async def hold(job: Job) -> str:
        began.append("cut off")
        told.append(await job.signal.wait())
        await let_go.wait()
        return "cut off"

    async def run(job: Job) -> str:
        began.append("other")
        return "other"

    async with Relay(redis7.port) as relay, Queue("q", redis=redis7_url) as queue:
        alone = Worker("q", hold, redis=relay.url)
        alone.on("error", lambda error: errors.append(str(error)))
        await queue.add("x")
        async with running(alone):
            await eventually(lambda: began == ["cut off"])
            other = Worker("q", run, redis=redis7_url)
            other.on("stalled", stalled.append)
            async with running(other):
                await eventually(lambda: client.exists("bull:q:corral:look"), 30)
                relay.shut()
                await eventually(lambda: began == ["cut off", "other"], WITHIN_S + 10)
                assert (told, stalled) == ([], ["1"])
                relay.open = True
                await eventually(lambda: told, 30)
                assert told[0].startswith("the lock of job 1 of queue q is lost")
                let_go.set()
                await eventually(lambda: any("the end of job 1 of queue q was not written" in one for one in errors))
        job = await queue.get_job("1")
        assert job is not None
        assert (job.returnvalue, job.attempts_made, job.stalled_counter) == ("other", 1, 1)
    assert began == ["cut off", "other"]
    assert await audit(redis7_client) == []


async def test_hand_backs_rate_limits_and_delays_never_count_as_stalls(
    redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    client: Any = redis7_client
    starts: list[str] = []

    async def run(job: Job) -> None:
        starts.append(job.name)
        if starts.count(job.name) > 3:
            return
        if job.name == "limited":
            raise RateLimitError(0.02)
        if job.name == "delayed":
            await job.move_to_delayed(0.02)
            raise DelayedError
        await asyncio.sleep(60)

    async with Queue("q", redis=redis7_url) as queue:
        ids = [(await queue.add(name)).id for name in ("limited", "delayed", "handed back")]
        for _ in range(3):
            before = starts.count("handed back")
            async with running(Worker("q", run, redis=redis7_url, concurrency=3, stalled_interval=0.1), grace=0.0):
                await eventually(lambda before=before: starts.count("handed back") > before)
        async with running(Worker("q", run, redis=redis7_url, concurrency=3, stalled_interval=0.1)):
            await eventually(lambda: client.zcard("bull:q:completed"))

            async def all_ended() -> bool:
                return int(await client.zcard("bull:q:completed")) == 3

            await eventually(all_ended)
    for id in ids:
        started, made, stalls = await client.hmget(f"bull:q:{id}", "ats", "atm", "stc")
        assert int(started) >= 4
        assert (made, stalls) == (b"1", None)
