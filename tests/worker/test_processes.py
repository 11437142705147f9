"""`corral work` as a process: killed, asked to end, in whatever it is doing; its logs and numbers."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from corral import JobSpec, Queue
from corral_process import CorralProcess
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis.asyncio

    from servers import RedisServer

# How long an end may take beyond what it should: the machine may be busy with other things.
SLACK = 3.0

# Sleeps as long as the job says, or as the process was told to.
SLEEPER = """
import asyncio, os
from corral import Worker

async def run(job):
    await asyncio.sleep(float(os.environ.get("SLEEP") or job.data["seconds"]))
    return os.environ.get("POD_NAME")

worker = Worker("q", run, concurrency=5, lock_duration=1.0, stalled_interval=0.3)
"""

PATIENT = SLEEPER.replace("lock_duration=1.0, stalled_interval=0.3", "")

THREAD = """
import time
from corral import Worker

def run(job):
    time.sleep(job.data["seconds"])

worker = Worker("q", run, concurrency=5)
"""

BLOCKER = """
import time
from corral import Worker

async def run(job):
    if job.data["seconds"]:
        await job.log("blocks from now on")
    time.sleep(job.data["seconds"])

worker = Worker("q", run, concurrency=5)
"""

STUBBORN = """
import asyncio
from corral import Worker

async def run(job):
    while True:
        try:
            await asyncio.sleep(job.data["seconds"])
            return "finished"
        except asyncio.CancelledError:
            pass

worker = Worker("q", run, concurrency=5)
"""


async def added(queue: Queue, *seconds: float) -> list[str]:
    return [job.id for job in await queue.add_bulk([JobSpec("sleep", {"seconds": each}) for each in seconds])]


async def active(queue: Queue, number: int, within: float = 20.0) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert counts.active == number, counts
        return True

    await eventually(check, within)


async def completed(queue: Queue, number: int, within: float = 20.0) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert counts.completed == number, counts
        return True

    await eventually(check, within)


async def assert_untouched(client: redis.asyncio.Redis, job_ids: list[str]) -> None:
    """The jobs wait in front of their queue, as if their run had not been: no attempt and no stall counted."""
    front = await client.lrange("bull:q:wait", -len(job_ids), -1)
    assert sorted(id.decode() for id in front) == sorted(job_ids)
    assert await client.llen("bull:q:active") == 0
    for job_id in job_ids:
        fields = await client.hgetall(f"bull:q:{job_id}")
        assert fields[b"ats"] == b"1"
        assert not {b"atm", b"stc", b"failedReason", b"finishedOn", b"defa"} & set(fields)
        assert await client.exists(f"bull:q:{job_id}:lock") == 0


# --- killed ---


async def test_jobs_of_a_killed_worker_run_again_elsewhere_and_none_is_lost(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    job_ids = await added(queue, *[0.01] * 12)
    with CorralProcess(tmp_path / "a", SLEEPER, redis7_url, {"POD_NAME": "a", "SLEEP": "1000"}) as first:
        await active(queue, 5)
        await first.kill()
    with CorralProcess(tmp_path / "b", SLEEPER, redis7_url, {"POD_NAME": "b"}) as second:
        await completed(queue, 12, within=30)
        stalls = []
        for job_id in job_ids:
            job = await queue.get_job(job_id)
            assert job is not None
            assert (job.returnvalue, job.processed_by, job.attempts_made) == ("b", "b", 1)
            assert job.attempts_started == 1 + job.stalled_counter
            stalls.append(job.stalled_counter)
        assert sorted(stalls) == [0] * 7 + [1] * 5
        assert len(second.said("lost its worker and was put back", "WARNING")) == 5
    events = [fields[b"event"] for _, fields in await redis7_client.xrange("bull:q:events")]
    assert events.count(b"stalled") == 5
    assert events.count(b"completed") == 12


async def test_a_job_that_kills_its_workers_is_failed_in_the_end(tmp_path: Path, redis7_url: str, queue: Queue) -> None:
    poison = SLEEPER.replace("await", "os._exit(1) if job.name == 'poison' else await")
    job = await queue.add("poison", {"seconds": 0})
    codes = []
    for life in "abc":
        with CorralProcess(tmp_path / life, poison, redis7_url) as process:

            async def over(process: CorralProcess = process) -> bool:
                return not process.running or (await queue.get_job_counts()).failed == 1

            await eventually(over, 30)
            codes.append(process.running)
    # Two lives end by it, which is one stall more than allowed; the third worker fails it without running it.
    assert codes == [False, False, True]
    failed = await queue.get_job(job.id)
    assert failed is not None
    assert failed.failed_reason == "job stalled more than allowable limit"
    assert (failed.stalled_counter, failed.attempts_started, failed.attempts_made) == (2, 3, 1)


# --- asked to end ---


async def test_sigterm_lets_finish_what_can_and_hands_back_the_rest(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    short = await added(queue, 1.0, 1.0)
    long = await added(queue, 1000, 1000, 1000)
    waiting = await added(queue, 0, 0)
    with CorralProcess(tmp_path, PATIENT, redis7_url, {"CORRAL_GRACE": "5"}) as process:
        await active(queue, 5)
        process.signal(signal.SIGTERM)
        assert await process.wait(5 + SLACK) == 0
        ends = {line["job_id"]: line["outcome"] for line in process.job_ends}
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.waiting, counts.failed, counts.delayed) == (2, 5, 0, 0)
    assert {job_id: await queue.get_job_state(job_id) for job_id in short} == dict.fromkeys(short, "completed")
    await assert_untouched(redis7_client, long)
    behind = await redis7_client.lrange("bull:q:wait", 0, 1)
    assert [id.decode() for id in reversed(behind)] == waiting
    assert ends == dict.fromkeys(short, "completed") | dict.fromkeys(long, "handed_back")


async def test_a_job_handed_back_runs_to_its_end_in_the_next_worker(
    tmp_path: Path, redis7_url: str, queue: Queue
) -> None:
    (job_id,) = await added(queue, 0.05)
    with CorralProcess(tmp_path / "a", PATIENT, redis7_url, {"CORRAL_GRACE": "0", "SLEEP": "1000"}) as process:
        await active(queue, 1)
        process.signal(signal.SIGTERM)
        assert await process.wait(5 + SLACK) == 0
    with CorralProcess(tmp_path / "b", PATIENT, redis7_url, {"POD_NAME": "b"}):
        await completed(queue, 1)
    job = await queue.get_job(job_id)
    assert job is not None
    assert (job.returnvalue, job.attempts_made, job.attempts_started, job.stalled_counter) == ("b", 1, 2, 0)


async def test_a_second_signal_hands_back_at_once(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    job_ids = await added(queue, 1000, 1000)
    with CorralProcess(tmp_path, PATIENT, redis7_url, {"CORRAL_GRACE": "300"}) as process:
        await active(queue, 2)
        process.signal(signal.SIGTERM)
        await eventually(lambda: process.said("shutting down"))
        process.signal(signal.SIGTERM)
        assert await process.wait(4 + SLACK) == 0
    await assert_untouched(redis7_client, job_ids)


async def test_ctrl_c_ends_like_sigterm(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    job_ids = await added(queue, 1000)
    with CorralProcess(tmp_path, PATIENT, redis7_url, {"CORRAL_GRACE": "0"}) as process:
        await active(queue, 1)
        process.signal(signal.SIGINT)
        assert await process.wait(4 + SLACK) == 0
        assert "Traceback" not in process.output
    await assert_untouched(redis7_client, job_ids)


async def test_a_thread_that_never_ends_is_left_and_its_job_handed_back(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    (short,) = await added(queue, 0.5)
    long = await added(queue, 1000, 1000)
    with CorralProcess(tmp_path, THREAD, redis7_url, {"CORRAL_GRACE": "5"}) as process:
        await active(queue, 3)
        process.signal(signal.SIGTERM)
        assert await process.wait(5 + SLACK) == 0
    assert await queue.get_job_state(short) == "completed"
    await assert_untouched(redis7_client, long)


async def test_jobs_of_a_blocked_event_loop_are_handed_back_from_outside(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    (blocking,) = await added(queue, 1000)
    with CorralProcess(tmp_path, BLOCKER, redis7_url, {"CORRAL_GRACE": "5"}) as process:

        async def blocked() -> bool:
            return bool(await queue.get_job_logs(blocking))

        await eventually(blocked, 20)
        process.signal(signal.SIGTERM)
        assert await process.wait(5 + SLACK) == 0
        assert process.said("the process did not end in time", "ERROR")
    await assert_untouched(redis7_client, [blocking])


async def test_a_second_signal_ends_even_a_blocked_event_loop(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    (blocking,) = await added(queue, 1000)
    with CorralProcess(tmp_path, BLOCKER, redis7_url, {"CORRAL_GRACE": "300"}) as process:

        async def blocked() -> bool:
            return bool(await queue.get_job_logs(blocking))

        await eventually(blocked, 20)
        process.signal(signal.SIGTERM)
        # Again and again: Python may sit on one that comes while it answers another, until the call that blocks is over.
        await eventually(lambda: not process.running or process.signal(signal.SIGINT), 8 + SLACK)
        assert await process.wait() == 0
    await assert_untouched(redis7_client, [blocking])


async def test_a_processor_that_swallows_its_cancellation_is_handed_back_all_the_same(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis, queue: Queue
) -> None:
    job_ids = await added(queue, 1000, 1000)
    with CorralProcess(tmp_path, STUBBORN, redis7_url, {"CORRAL_GRACE": "4"}) as process:
        await active(queue, 2)
        process.signal(signal.SIGTERM)
        assert await process.wait(4 + SLACK) == 0
    await assert_untouched(redis7_client, job_ids)


@pytest.mark.parametrize("source", [SLEEPER, THREAD], ids=["async", "thread"])
async def test_sigterm_while_redis_is_away_ends_within_the_grace(
    tmp_path: Path, source: str, new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis", appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        await added(queue, 1000, 1.5)
        with CorralProcess(tmp_path, source, server.url, {"CORRAL_GRACE": "5"}) as process:
            await active(queue, 2)
            server.kill()
            process.signal(signal.SIGTERM)
            assert await process.wait(5 + SLACK) == 0
            assert process.said("another worker recovers the jobs", "ERROR")
    server.start()
    async with Queue("q", redis=server.url) as queue:
        # The locks of what could not be written run out; nothing is lost.
        assert (await queue.get_job_counts()).active == 2


async def test_an_idle_worker_ends_at_once(tmp_path: Path, redis7_url: str, queue: Queue) -> None:
    await added(queue, 0)
    with CorralProcess(tmp_path, SLEEPER, redis7_url) as process:
        await completed(queue, 1)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert await process.wait() == 0
        # Less than the 5 s that it blocks on the marker.
        assert time.monotonic() - began < 4
        assert not process.said(".", "ERROR")


async def test_sigterm_while_it_still_looks_for_redis_ends_at_once(
    tmp_path: Path, new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis")
    server.stop()
    with CorralProcess(tmp_path, SLEEPER, server.url) as process:
        await eventually(lambda: process.said("cannot be reached", "ERROR"), 20)
        process.signal(signal.SIGTERM)
        assert await process.wait(4 + SLACK) == 0


# --- several queues ---

COUNTER = """
import asyncio
from corral import Worker

running = most = 0

async def run(job):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.005)
    running -= 1
    return most

worker = Worker(run)
"""


async def test_two_queues_share_one_budget_and_a_full_one_does_not_starve_the_other(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("full", redis=redis7_url) as full, Queue("small", redis=redis7_url) as small:
        await full.add_bulk([JobSpec("n", number) for number in range(1000)])
        env = {"CORRAL_QUEUES": "full, small", "CORRAL_CONCURRENCY": "3"}
        with CorralProcess(tmp_path, COUNTER, redis7_url, env):

            async def begun() -> bool:
                return (await full.get_job_counts()).completed > 50

            await eventually(begun, 20)
            await small.add_bulk([JobSpec("n", number) for number in range(20)])
            await completed(small, 20, within=20)
            left = (await full.get_job_counts()).unfinished
            assert left > 500, f"the small queue waited until the full one had {left} jobs left"
            await completed(full, 1000, within=30)
    most = 0
    for queue, number in (("full", 1000), ("small", 20)):
        for index in range(1, number + 1):
            most = max(most, int(await redis7_client.hget(f"bull:{queue}:{index}", "returnvalue")))
    assert most == 3


# --- what it tells ---

TALKER = """
from corral import UnrecoverableError, Worker

async def run(job):
    match job.name:
        case "again" if job.attempts_made == 0:
            raise RuntimeError("first try")
        case "fails":
            raise ValueError("it went wrong")
        case "never":
            raise UnrecoverableError("not possible")
    return {"private": "value-3141"}

worker = Worker("q", run, concurrency=2)
"""

PASSWORD = "hunter2-very-secret"


async def test_each_end_of_a_job_is_one_line_and_one_count(tmp_path: Path, redis7_url: str, queue: Queue) -> None:
    private = {"card": "payload-2718"}
    await queue.add("fine", private, correlation_id="trace-1")
    await queue.add("again", private, attempts=2)
    await queue.add("later", private, attempts=2, delay=0.1)
    await queue.add("fails", private)
    await queue.add("never", private, attempts=5)
    with CorralProcess(tmp_path, TALKER, redis7_url, {"POD_NAME": "pod-1"}) as process:
        await process.serving()

        async def over() -> bool:
            counts = await queue.get_job_counts()
            return (counts.completed, counts.failed) == (3, 2)

        await eventually(over, 20)
        await eventually(lambda: len(process.job_ends) == 6)
        status, page = await process.get("/metrics")
        assert status == 200
        process.signal()
        assert await process.wait() == 0
        output, ends = process.output, process.job_ends
        losses = process.said("failed for good", "ERROR")
    assert sorted((line["name"], line["attempt"], line["outcome"]) for line in ends) == [
        ("again", 1, "retried"),
        ("again", 2, "completed"),
        ("fails", 1, "failed"),
        ("fine", 1, "completed"),
        ("later", 1, "completed"),
        ("never", 1, "failed"),
    ]
    for line in ends:
        assert line["queue"] == "q"
        assert line["job_id"].isdecimal()
        assert line["run_ms"] >= 0
        assert line["level"] == ("WARNING" if line["outcome"] == "failed" else "INFO")
        if line["attempt"] == 1:
            assert line["wait_ms"] >= 0
    fine = next(line for line in ends if line["name"] == "fine")
    assert fine["correlation_id"] == "trace-1"
    reasons = {line["name"]: line["reason"] for line in ends if line["outcome"] == "failed"}
    assert reasons == {"fails": "it went wrong", "never": "not possible"}
    assert len(losses) == 2
    assert "payload-2718" not in output
    assert "value-3141" not in output
    found = {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "corral_jobs_total" and sample.labels["queue"] == "q"
    }
    assert found == {"completed": 3, "failed": 2, "retried": 1, "delayed": 0, "handed_back": 0, "moved": 0, "lost": 0}


async def test_the_password_of_redis_is_in_no_output(tmp_path: Path, new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", password=PASSWORD, appendonly=True)
    async with Queue("q", redis=server.url) as queue:
        with CorralProcess(tmp_path, TALKER, server.url, {"CORRAL_LOG_LEVEL": "debug"}) as process:
            await queue.add("fine")
            await completed(queue, 1)
            await process.serving()
            server.stop()

            async def not_ready() -> bool:
                return (await process.get("/readyz"))[0] == 503

            await eventually(not_ready, 20)
            _, reason = await process.get("/readyz")
            _, page = await process.get("/metrics")
            process.signal()
            assert await process.wait() == 0
            assert reason
            assert PASSWORD not in process.output + reason + page
