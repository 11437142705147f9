"""A worker tells Redis that it lives: what it says, when it says so, and what never stops it from working."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis.asyncio

from beating import Staff
from corral import Job, JobSpec, Queue, Worker, beats, pace, steadiness
from corral.beat_record import BEAT_S, IDLE_BEAT_S, BeatState
from corral.pace import span_s
from corral.settings import Settings
from corral.version import __version__
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import RedisServer


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats as often as a test likes."""
    monkeypatch.setattr(pace, "BEAT_S", 0.1)


class Gate:
    """A processor that holds its jobs until it is opened."""

    def __init__(self) -> None:
        self.inside = 0
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.inside += 1
        await self.open.wait()


@pytest.mark.parametrize(
    ("idle_s", "alert", "every"),
    [
        (0.0, False, BEAT_S),
        (9.9, False, BEAT_S),
        (10.0, False, IDLE_BEAT_S),
        (1e6, False, IDLE_BEAT_S),
        (1e6, True, BEAT_S),
    ],
)
def test_a_beat_every_3_s_while_a_job_is_held_or_an_order_stands_and_every_10_s_when_idle(
    idle_s: float, alert: bool, every: float
) -> None:
    assert (BEAT_S, IDLE_BEAT_S) == (3.0, 10.0)
    assert span_s(idle_s, alert=alert) == every


async def test_the_record_says_all_that_the_handshake_lists(staff: Staff, redis7_url: str) -> None:
    before = await staff.redis_ms()
    worker = Worker("q", Gate(), redis=redis7_url, concurrency=7)
    task = asyncio.create_task(worker.run(settings=Settings(pod="letters-1", namespace="post")))

    async def told() -> bool:
        return (await staff.beat()).since is not None

    try:
        await eventually(told)
        record = await staff.beat()
        assert worker.shift is not None
        assert (record.worker, record.pod, record.namespace) == (worker.shift.worker_id, "letters-1", "post")
        assert (record.host, record.pid, record.version) == (socket.gethostname(), os.getpid(), __version__)
        assert (record.slots, record.busy, record.taken, record.ended, record.seconds) == (7, 0, 0, 0, 0.0)
        assert (record.state, record.every) == (BeatState.TAKING, 3.0)
        assert record.since is not None
        assert before - 1000 <= record.since <= await staff.redis_ms()
    finally:
        await worker.close()
        await task


async def test_a_locks_token_names_the_worker_of_the_beat(
    staff: Staff, queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    gate = Gate()
    await queue.add("x")
    async with running(Worker("q", gate, redis=redis7_url)):
        await eventually(lambda: gate.inside == 1)
        record = await eventually(staff.beat)
        token = await redis7_client.get("bull:q:1:lock")
        gate.open.set()
    assert token is not None
    assert bytes(token).startswith(f"{record.worker}:".encode())


async def test_taken_ended_and_seconds_count_up_for_each_queue_by_itself(
    often: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async def run(job: Job) -> None:
        if job.name == "fails" and job.attempt == 1:
            raise RuntimeError("boom")
        await asyncio.sleep(0.1)

    a, b = Staff(redis7_client, "a"), Staff(redis7_client, "b")
    async with Queue("a", redis=redis7_url) as qa, Queue("b", redis=redis7_url) as qb:
        await qa.add_bulk([JobSpec("x")] * 3)
        await qb.add("fails", attempts=2)
        async with running(Worker(["a", "b"], run, redis=redis7_url, concurrency=2)):

            async def told() -> bool:
                one, other = await a.beat(), await b.beat()
                assert (one.taken, one.ended, one.busy) == (3, 3, 0)
                assert (other.taken, other.ended, other.busy) == (2, 2, 0)  # a failed attempt is one too
                return True

            await eventually(told)
            one, other = await a.beat(), await b.beat()
            assert one.worker == other.worker
            assert 0.3 <= one.seconds < 3.0
            assert 0.1 <= other.seconds < one.seconds


async def test_seconds_hold_those_of_running_jobs_up_to_the_beat(
    often: None, staff: Staff, queue: Queue, redis7_url: str
) -> None:
    gate = Gate()
    await queue.add_bulk([JobSpec("x")] * 2)
    async with running(Worker("q", gate, redis=redis7_url, concurrency=2)):
        seen: list[float] = []

        async def grows() -> bool:
            record = await staff.beat()
            assert record.busy == 2
            if record.seconds not in seen:
                seen.append(record.seconds)
            return len(seen) > 3

        await eventually(grows)
        assert seen == sorted(seen)
        gate.open.set()


async def test_a_job_is_busy_until_its_end_is_written_in_redis(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", appendonly=True)
    gate = Gate()
    ended: list[Job] = []
    worker = Worker("q", gate, redis=server.url)
    worker.on("completed", lambda job, value: ended.append(job))
    async with Queue("q", redis=server.url) as queue:
        await queue.add("x")
        async with running(worker):
            await eventually(lambda: gate.inside == 1)
            assert worker.shift is not None
            (work,) = worker.shift.works
            server.stop()
            gate.open.set()
            await eventually(lambda: not work.running and work.settler.unwritten)
            assert (work.tally.attempts, work.tally.busy) == (1, 1)
            server.start()
            await eventually(lambda: ended)
            assert (work.tally.attempts, work.tally.busy) == (1, 0)


async def test_a_job_that_comes_back_untouched_is_no_attempt(queue: Queue, redis7_url: str) -> None:
    gate = Gate()
    worker = Worker("q", gate, redis=redis7_url)
    await queue.add("x")
    async with running(worker, grace=0.2):
        await eventually(lambda: gate.inside == 1)
        assert worker.shift is not None
        (work,) = worker.shift.works
    assert (work.tally.taken, work.tally.attempts, work.tally.busy) == (1, 0, 0)


async def test_beats_come_from_a_thread_that_the_processor_cannot_block_and_tell_the_loops_delay(
    often: None, staff: Staff, queue: Queue, redis7_url: str, redis7: RedisServer
) -> None:
    heard: list[Any] = []

    async def block(job: Job) -> None:
        with redis7.client() as client:
            until = time.monotonic() + 10
            while len(heard) < 3 and time.monotonic() < until:
                record = client.hvals("bull:q:corral:workers")
                if record and b'"busy": 1' in record[0] and record[0] not in heard:
                    heard.append(record[0])
                time.sleep(0.02)  # noqa: ASYNC251  (what the test is about)

    await queue.add("x")
    async with running(Worker("q", block, redis=redis7_url)):

        async def done() -> bool:
            return (await queue.get_job_counts()).completed == 1

        await eventually(done, 15)
        assert len(heard) == 3

        async def prompt_again() -> bool:
            return (await staff.beat()).lag_ms < 50

        await eventually(prompt_again)
    lags = [json.loads(record)["lag_ms"] for record in heard]
    assert lags[-1] > 100


async def test_an_idle_worker_that_gets_a_job_says_so_at_once(
    staff: Staff, queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "IDLE_BEAT_S", 60.0)
    gate = Gate()
    worker = Worker("q", gate, redis=redis7_url)
    async with running(worker):
        await eventually(staff.beat)
        assert worker.shift is not None
        worker.shift.beats._pace._busy_at -= 100
        worker.shift.beats._wake.set()

        async def idle() -> bool:
            return (await staff.beat()).every == 60.0

        await eventually(idle)
        worker.shift.beats._steadiness._answered -= 30
        steady = worker.shift.beats.steady_s()
        assert steady > 0
        await queue.add("x")

        async def busy() -> bool:
            record = await staff.beat()
            return record.busy == 1 and record.every == BEAT_S

        await eventually(busy)
        assert worker.shift.beats.steady_s() > steady
        # It tells of the next ones every 3 s: a worker that flaps beats no more often than one that is busy.
        assert all(work.tally.on_busy is None for work in worker.shift.works)
        gate.open.set()


async def test_draining_is_told_at_once_and_a_clean_end_removes_the_records(
    staff: Staff,
    queue: Queue,
    redis7_url: str,
    redis7_client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "BEAT_S", 60.0)
    gate = Gate()
    worker = Worker("q", gate, redis=redis7_url)
    await queue.add("x")
    async with running(worker):
        await eventually(lambda: gate.inside == 1)
        await eventually(staff.beat)
        worker.stop(20)

        async def draining() -> bool:
            record = await staff.beat()
            return (record.state, record.busy) == (BeatState.DRAINING, 1)

        await eventually(draining)
        await staff.order(worker.shift.worker_id if worker.shift else "")
        gate.open.set()
    assert await redis7_client.keys("*corral*") == []


async def test_a_worker_whose_jobs_are_taken_by_hand_does_not_beat(
    queue: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    worker = Worker("q", redis=redis7_url)
    await queue.add("x")
    job = await worker.get_next_job()
    assert job is not None
    assert await redis7_client.keys("*corral*") == []
    await job.move_to_completed(None)
    await worker.close()


async def test_a_worker_that_never_started_ends_without_a_beat(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis")
    server.stop()
    async with running(worker := Worker("q", Gate(), redis=server.url)):
        await eventually(lambda: worker.shift is not None)
    assert worker.shift is not None
    assert worker.shift.beats.steady_s() == 0.0


@pytest.mark.parametrize(("ahead_ms", "word"), [(5000, "5.0 s ahead of"), (-5000, "5.0 s behind"), (300, None)])
async def test_a_host_clock_off_by_more_than_1_s_is_reported_once(
    often: None,
    staff: Staff,
    redis7_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ahead_ms: int,
    word: str | None,
) -> None:
    monkeypatch.setattr(beats, "now_ms", lambda: time.time_ns() // 1_000_000 + ahead_ms)
    async with running(worker := Worker("q", Gate(), redis=redis7_url)):
        await eventually(lambda: worker.shift is not None and worker.shift.beats.steady_s() > 0.5)
        # The time of a beat is Redis', never the host's.
        at_ms = await staff.at_ms((await staff.beat()).worker)
        assert at_ms is not None
        assert abs(at_ms - await staff.redis_ms()) < 2500
    told = [record.getMessage() for record in caplog.records if "the clock of this host is" in record.getMessage()]
    assert len(told) == (1 if word else 0)
    assert word is None or word in told[0]


async def test_a_refused_beat_is_told_once_and_the_worker_works_on(
    queue: Queue, redis7: RedisServer, redis7_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await redis7_client.execute_command("ACL", "SETUSER", "half", "on", ">pw", "~*", "&*", "+@all", "-hrandfield")
    url = f"redis://half:pw@127.0.0.1:{redis7.port}/0"
    try:
        await queue.add("x")
        async with running(worker := Worker("q", Gate(), redis=url)):
            assert worker.shift is not None
            gone = worker.shift.beats
            await eventually(lambda: gone._failures == 1)
            gone._wake.set()
            await eventually(lambda: gone._failures == 2)
            assert worker.shift.unready is None

            async def taken() -> bool:
                return (await queue.get_job_counts()).active == 1

            await eventually(taken)
            # Redis is there, and answers: that these jobs have no beats is no outage.
            assert gone.steady_s() > 0.0
            worker.cancel_all_jobs()
    finally:
        await redis7_client.execute_command("ACL", "DELUSER", "half")
    told = [record for record in caplog.records if "cannot tell so, and hears no orders" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert "pw" not in told[0].getMessage()


async def test_damaged_keys_stop_the_beats_and_not_the_worker_until_they_are_mended(
    staff: Staff, queue: Queue, redis7_url: str, redis7_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await redis7_client.set(staff.keys.beats, "text")
    gate = Gate()
    await queue.add("x")
    async with running(worker := Worker("q", gate, redis=redis7_url)):
        await eventually(lambda: gate.inside == 1)
        await eventually(lambda: "is the prefix shared with another program" in caplog.text)
        await redis7_client.delete(staff.keys.beats)
        assert worker.shift is not None
        worker.shift.beats._wake.set()
        await eventually(lambda: "beats are answered again" in caplog.text)
        gate.open.set()


async def test_damaged_keys_of_one_queue_do_not_make_the_worker_look_dead_at_the_others(
    often: None, redis7_url: str, redis7_client: Any
) -> None:
    a, b = Staff(redis7_client, "a"), Staff(redis7_client, "b")
    async with running(worker := Worker(["a", "b"], Gate(), redis=redis7_url)):
        await eventually(b.beat)
        assert worker.shift is not None
        await redis7_client.delete(a.keys.workers)
        await redis7_client.set(a.keys.workers, "text")
        began = await b.redis_ms()

        async def beats_on() -> bool:
            at_ms = await b.at_ms((await b.beat()).worker)
            return at_ms is not None and at_ms > began + 500

        await eventually(beats_on)
        await b.order(worker.shift.worker_id)
        shift = worker.shift
        await eventually(lambda: shift.controls.quiet)
    assert await redis7_client.keys("bull:b:corral*") == []


async def test_after_an_outage_a_worker_beats_again_within_10_s(new_server: Callable[..., RedisServer]) -> None:
    server = new_server("redis", appendonly=True)
    async with running(worker := Worker("q", Gate(), redis=server.url)):
        assert worker.shift is not None
        steady = worker.shift.beats.steady_s
        await eventually(lambda: steady() > 0)
        server.kill()
        worker.shift.beats._wake.set()
        await eventually(lambda: steady() == 0.0)
        server.start()
        async with redis.asyncio.from_url(server.url) as client:
            staff = Staff(client)
            began = await staff.redis_ms()

            async def beaten() -> bool:
                at_ms = await staff.at_ms((await staff.beat()).worker)
                assert at_ms is not None
                return at_ms >= began

            await eventually(beaten, 10)
        await eventually(lambda: steady() > 0)


async def test_beats_are_not_steady_while_redis_is_frozen_nor_right_after(
    new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BEAT_S", 0.2)
    monkeypatch.setattr(steadiness, "PROMPT_S", 0.4)
    server = new_server("redis")
    async with running(worker := Worker("q", Gate(), redis=server.url)):
        assert worker.shift is not None
        steady = worker.shift.beats.steady_s
        await eventually(lambda: steady() > 1)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: steady() == 0.0)
            await asyncio.sleep(0.5)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await eventually(lambda: steady() > 0)
        assert steady() < 1


async def test_a_connection_made_anew_begins_the_steadiness_anew(
    often: None, redis7_url: str, redis7_client: Any
) -> None:
    async with running(worker := Worker("q", Gate(), redis=redis7_url)):
        assert worker.shift is not None
        steady = worker.shift.beats.steady_s
        await eventually(lambda: steady() > 1)
        await redis7_client.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: steady() < 1)
        await eventually(lambda: steady() > 0)


async def test_where_redis_allows_no_connection_more_a_worker_beats_and_hears_orders_over_those_it_has(
    often: None, new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis")
    worker = Worker("q", Gate(), redis=server.url)
    async with redis.asyncio.from_url(server.url) as client, running(worker):
        staff, admin = Staff(client), cast("Any", client)
        await eventually(staff.beat)
        shift = worker.shift
        assert shift is not None

        async def cut() -> bool:
            (connections,) = shift.beats._lines._unused.values()
            connection = cast("Any", connections[0])
            await admin.config_set("maxclients", len(await admin.client_list()) - 1)
            host, port = connection._sock.getsockname()[:2]
            return bool(await admin.client_kill_filter(addr=f"{host}:{port}"))

        await eventually(cut)
        await staff.order(shift.worker_id)
        began = await staff.redis_ms()

        async def heard() -> bool:
            at_ms = await staff.at_ms(shift.worker_id)
            assert at_ms is not None
            return at_ms > began + 1000 and (await staff.beat()).state is BeatState.QUIET

        await eventually(heard)
        # It judges nobody by that: its own beats have no connection that lasts.
        assert shift.beats.steady_s() < 1.0
        await admin.config_set("maxclients", 1000)
        await eventually(lambda: shift.beats.steady_s() > 1.0)


async def test_two_workers_of_one_process_beat_by_themselves(staff: Staff, redis7_url: str) -> None:
    workers = [Worker("q", Gate(), redis=redis7_url) for _ in range(2)]
    async with running(*workers):

        async def both() -> bool:
            return len(await staff.beats()) == 2

        await eventually(both)
        ids = {worker.shift.worker_id for worker in workers if worker.shift}
        assert {record.worker for record in await staff.beats()} == ids
    assert await staff.beats() == []
