"""A worker is ordered quiet: it takes nothing, says so once that is certain, and takes again when the order is gone."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from beating import Staff
from corral import Job, JobSpec, Queue, Worker, beat_scripts, pace
from corral.beat_record import BeatState, quiet_order
from corral.controls import Controls
from corral.errors import RedisUnavailable
from corral_process import CorralProcess
from lossy import Rig
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from servers import RedisServer


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats as often as a test likes."""
    monkeypatch.setattr(pace, "BEAT_S", 0.2)


class Gate:
    """A processor that holds its jobs until it is opened, or lets one go."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.permits = asyncio.Semaphore(0)

    async def __call__(self, job: Job) -> None:
        self.ran.append(f"{job.queue_name}:{job.id}")
        await self.permits.acquire()

    def let_go(self, jobs: int = 1) -> None:
        for _ in range(jobs):
            self.permits.release()


def says(staff: Staff, state: BeatState, busy: int = 0) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        record = await staff.beat()
        assert (record.state, record.busy) == (state, busy)
        return True

    return check


def id_of(worker: Worker) -> str:
    assert worker.shift is not None
    return worker.shift.worker_id


async def test_an_order_at_any_queue_quiets_the_whole_worker_until_it_is_taken_back(
    often: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    a, b = Staff(redis7_client, "a"), Staff(redis7_client, "b")
    gate = Gate()
    gate.let_go(99)
    async with (
        Queue("a", redis=redis7_url) as qa,
        Queue("b", redis=redis7_url) as qb,
        running(worker := Worker(["a", "b"], gate, redis=redis7_url, concurrency=4)),
    ):
        await eventually(says(a, BeatState.TAKING))
        await b.order(id_of(worker))
        await eventually(says(a, BeatState.QUIET))
        await eventually(says(b, BeatState.QUIET))
        await qa.add("x")
        await qb.add("x")
        assert (await a.beat()).every == pace.BEAT_S
        first = await a.at_ms(id_of(worker))

        async def beaten_twice() -> bool:
            at_ms = await a.at_ms(id_of(worker))
            return at_ms is not None and first is not None and at_ms > first + 300

        await eventually(beaten_twice)
        assert gate.ran == []
        assert (await qa.get_job_counts()).waiting == 1
        await b.take_back(id_of(worker))
        await eventually(lambda: sorted(gate.ran) == ["a:1", "b:1"])
        await eventually(says(a, BeatState.TAKING))


async def test_quiet_is_told_while_jobs_run_and_busy_goes_down_as_their_ends_are_written(
    often: None, staff: Staff, queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    await queue.add_bulk([JobSpec("x")] * 5)
    async with running(worker := Worker("q", gate, redis=redis7_url, concurrency=3)):
        await eventually(lambda: len(gate.ran) == 3)
        await eventually(says(staff, BeatState.TAKING, 3))
        await staff.order(id_of(worker))
        await eventually(says(staff, BeatState.QUIET, 3))
        gate.let_go(2)
        await eventually(says(staff, BeatState.QUIET, 1))
        monkeypatch.setattr(pace, "BEAT_S", 20.0)

        async def seldom() -> bool:
            return (await staff.beat()).every == 20.0

        await eventually(seldom)
        gate.let_go(1)
        # The last one is told at once: somebody may wait for it.
        await eventually(says(staff, BeatState.QUIET, 0))
        counts = await queue.get_job_counts()
        assert (counts.completed, counts.active, counts.waiting) == (3, 0, 2)


class HeldLine:
    """A line whose answers are held back."""

    def __init__(self, line: Any) -> None:
        self._line = line
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def call(self, *command: Any, timeout: float = 10.0) -> Any:
        reply = await self._line.call(*command, timeout=timeout)
        self.asked.set()
        await self.go_on.wait()
        return reply


async def test_quiet_is_told_only_when_no_call_is_under_way_that_may_still_bring_a_job(redis7_url: str) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await queue.add_bulk([JobSpec("x")] * 2)
    rig = Rig(redis7_url, 2)
    held = HeldLine(rig.line)
    rig.settler._line = held  # type: ignore[assignment]
    work: Any = type("Work", (), {"settler": rig.settler})
    controls = Controls([work], held, asyncio.Event())
    loop = asyncio.create_task(rig.settler.run())
    rig.settler.look()
    await held.asked.wait()
    controls.obey()
    # It takes nothing more; but Redis has given it jobs that it does not know of yet.
    assert not rig.settler.taking
    assert not controls.quiet
    assert rig.heard.jobs == []
    held.go_on.set()
    await eventually(lambda: controls.quiet)
    assert len(rig.heard.jobs) == 1
    rig.end(1)
    # A call that only writes ends brings nothing.
    assert controls.quiet
    await eventually(lambda: rig.heard.settled_ids)
    assert len(rig.heard.jobs) == 1
    loop.cancel()
    await rig.line.close()


async def test_a_worker_whose_loop_is_blocked_is_not_quiet_however_long_it_takes_to_hear_of_the_order(
    often: None, staff: Staff, queue: Queue, redis7_url: str, redis7: RedisServer
) -> None:
    seen: list[str] = []

    async def block(job: Job) -> None:
        with redis7.client() as client:
            until = time.monotonic() + 10
            worker = client.hkeys("bull:q:corral:workers")[0]
            client.hset("bull:q:corral:orders", worker, quiet_order((client.time()[0] + 60) * 1000))
            while len(seen) < 6 and time.monotonic() < until:
                record = client.hvals("bull:q:corral:workers")[0]
                if record not in seen:
                    seen.append(record)
                time.sleep(0.05)  # noqa: ASYNC251  (what the test is about)

    async with running(Worker("q", block, redis=redis7_url, concurrency=2)):
        await eventually(staff.beat)
        await queue.add_bulk([JobSpec("x")] * 2)
        await eventually(says(staff, BeatState.QUIET), 15)
    assert len(seen) == 6
    assert {json.loads(record)["state"] for record in seen} == {"taking"}


@pytest.mark.parametrize("first", ["order", "user"])
async def test_an_order_and_a_pause_of_the_user_are_two_reasons_and_both_must_be_gone(
    often: None, staff: Staff, queue: Queue, redis7_url: str, first: str
) -> None:
    gate = Gate()
    gate.let_go(9)
    async with running(worker := Worker("q", gate, redis=redis7_url)):
        await eventually(staff.beat)
        await worker.pause()
        await staff.order(id_of(worker))
        await eventually(says(staff, BeatState.QUIET))
        await queue.add("x")
        if first == "order":
            await staff.take_back(id_of(worker))
            await eventually(says(staff, BeatState.TAKING))
            assert worker.shift is not None
            await eventually(lambda: worker.shift is not None and not worker.shift.controls.ordered)
            assert (gate.ran, worker.is_paused) == ([], True)
            worker.resume()
        else:
            worker.resume()
            assert not worker.is_paused
            assert worker.shift is not None
            assert not any(work.settler.taking for work in worker.shift.works)
            assert gate.ran == []
            await staff.take_back(id_of(worker))
        await eventually(lambda: gate.ran == ["q:1"])


async def test_a_pause_of_the_user_alone_is_not_told_as_quiet(often: None, staff: Staff, redis7_url: str) -> None:
    async with running(worker := Worker("q", Gate(), redis=redis7_url)):
        await eventually(staff.beat)
        await worker.pause()
        at_ms = await staff.at_ms(id_of(worker))
        await eventually(lambda: _later(staff, worker, at_ms))
        assert (await staff.beat()).state is BeatState.TAKING


async def _later(staff: Staff, worker: Worker, at_ms: float | None) -> bool:
    now = await staff.at_ms(id_of(worker))
    return now is not None and at_ms is not None and now > at_ms + 250


async def test_no_marker_is_swallowed_while_quiet(
    often: None, staff: Staff, queue: Queue, redis7_url: str, redis7_client: Any
) -> None:
    quiet, other = Gate(), Gate()
    other.let_go(99)
    async with running(worker := Worker("q", quiet, redis=redis7_url)):
        await eventually(staff.beat)
        await staff.order(id_of(worker))
        await eventually(says(staff, BeatState.QUIET))
        # One that it popped just before it heard of the order has been made good for.
        await eventually(lambda: redis7_client.exists("bull:q:marker"))
        async with running(Worker("q", other, redis=redis7_url)):
            await eventually(lambda: _two(staff))
            for number in range(1, 11):
                await queue.add("x")
                # Sooner than a worker that sleeps would look by itself.
                await eventually(lambda number=number: len(other.ran) == number, 3)  # type: ignore[misc]
    assert quiet.ran == []


async def _two(staff: Staff) -> bool:
    return len(await staff.beats()) == 2


async def test_an_order_is_void_after_its_time_so_that_a_dead_operator_uncordons_by_itself(
    often: None, staff: Staff, queue: Queue, redis7_url: str
) -> None:
    gate = Gate()
    async with running(worker := Worker("q", gate, redis=redis7_url)):
        await eventually(staff.beat)
        await staff.order(id_of(worker), seconds=1.0)
        await eventually(says(staff, BeatState.QUIET))
        await queue.add("x")
        await eventually(lambda: gate.ran == ["q:1"])
        assert await staff.ordered() == []
        gate.let_go()


async def test_an_order_is_void_after_its_time_though_redis_cannot_be_asked(
    often: None, new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis", appendonly=True)
    async with redis.asyncio.from_url(server.url) as client:
        staff = Staff(client)
        async with running(worker := Worker("q", Gate(), redis=server.url), grace=1.0):
            await eventually(staff.beat)
            await staff.order(id_of(worker), seconds=2.0)
            await eventually(says(staff, BeatState.QUIET))
            server.stop()
            shift = worker.shift
            assert shift is not None
            assert shift.controls.ordered
            await eventually(lambda: not shift.controls.ordered)


async def test_an_outage_in_the_midst_of_taking_back_does_not_leave_it_quiet_for_ever(
    often: None, staff: Staff, queue: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    async with running(worker := Worker("q", gate, redis=redis7_url)):
        await eventually(staff.beat)
        await staff.order(id_of(worker))
        await eventually(says(staff, BeatState.QUIET))
        await queue.add("x")
        whole, broken = beat_scripts.beat, []

        async def breaks(caller: Any, keys: Any, worker: str, record: str) -> Any:
            if '"taking"' in record and not broken:
                broken.append(record)
                raise RedisUnavailable("the line is cut just now", code="broken")
            return await whole(caller, keys, worker, record)

        monkeypatch.setattr(beat_scripts, "beat", breaks)
        await staff.take_back(id_of(worker))
        await eventually(lambda: gate.ran == ["q:1"])
        assert len(broken) == 1
        gate.let_go()


async def test_an_order_that_is_taken_back_ends_at_once_though_another_queue_refuses_the_beats(
    often: None, redis7_url: str, redis7_client: Any
) -> None:
    a, b = Staff(redis7_client, "a"), Staff(redis7_client, "b")
    gate = Gate()
    gate.let_go(9)
    async with (
        Queue("b", redis=redis7_url) as queue,
        running(worker := Worker(["a", "b"], gate, redis=redis7_url)),
    ):
        await eventually(says(a, BeatState.TAKING))
        await redis7_client.delete(a.keys.workers)
        await redis7_client.set(a.keys.workers, "text")
        await b.order(id_of(worker))
        await eventually(says(b, BeatState.QUIET))
        await queue.add("x")
        await b.take_back(id_of(worker))
        await eventually(lambda: gate.ran == ["b:1"])
        assert (await b.beat()).state is BeatState.TAKING
        await redis7_client.delete(a.keys.workers)


async def test_an_order_at_a_queue_that_refuses_the_beats_stands_until_its_time(
    often: None, redis7_url: str, redis7_client: Any
) -> None:
    a, b = Staff(redis7_client, "a"), Staff(redis7_client, "b")
    async with running(worker := Worker(["a", "b"], Gate(), redis=redis7_url)):
        await eventually(says(a, BeatState.TAKING))
        await a.order(id_of(worker), 3)
        await eventually(says(b, BeatState.QUIET))
        await redis7_client.delete(a.keys.workers)
        await redis7_client.set(a.keys.workers, "text")
        first = await b.at_ms(id_of(worker))

        async def beaten_twice() -> bool:
            at_ms = await b.at_ms(id_of(worker))
            return at_ms is not None and first is not None and at_ms > first + 500

        await eventually(beaten_twice)
        assert (await b.beat()).state is BeatState.QUIET
        await eventually(says(b, BeatState.TAKING))
        await redis7_client.delete(a.keys.workers)


async def test_taking_is_told_before_anything_is_taken(
    often: None,
    staff: Staff,
    queue: Queue,
    redis7_url: str,
    redis7: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[bytes] = []
    whole = beat_scripts.beat

    async def late(caller: Any, keys: Any, worker: str, record: str) -> Any:
        time.sleep(0.3)  # noqa: ASYNC251  (in the thread that beats)
        return await whole(caller, keys, worker, record)

    async def run(job: Job) -> None:
        with redis7.client() as client:
            told.extend(client.hvals("bull:q:corral:workers"))

    async with running(worker := Worker("q", run, redis=redis7_url)):
        await eventually(staff.beat)
        await staff.order(id_of(worker))
        await eventually(says(staff, BeatState.QUIET))
        await queue.add("x")
        monkeypatch.setattr(beat_scripts, "beat", late)
        await staff.take_back(id_of(worker))
        await eventually(lambda: told)
    assert b'"state": "taking"' in told[0]


async def test_an_order_that_is_renewed_keeps_it_quiet(
    often: None, staff: Staff, queue: Queue, redis7_url: str
) -> None:
    gate = Gate()
    async with running(worker := Worker("q", gate, redis=redis7_url)):
        await eventually(staff.beat)
        await staff.order(id_of(worker), 2)
        await eventually(says(staff, BeatState.QUIET))
        await queue.add("x")
        began = await staff.redis_ms()

        async def renewed_for_long() -> bool:
            await staff.order(id_of(worker), 2)
            assert (await staff.beat()).state is BeatState.QUIET
            return await staff.redis_ms() > began + 3000

        await eventually(renewed_for_long)
        assert gate.ran == []


async def test_of_two_workers_of_one_process_only_the_ordered_one_is_quiet(
    often: None, staff: Staff, queue: Queue, redis7_url: str
) -> None:
    one, other = Gate(), Gate()
    other.let_go(99)
    workers = Worker("q", one, redis=redis7_url), Worker("q", other, redis=redis7_url)
    async with running(*workers):
        await eventually(lambda: _two(staff))
        await staff.order(id_of(workers[0]))

        async def told() -> bool:
            states = {record.worker: record.state for record in await staff.beats()}
            return states == {id_of(workers[0]): BeatState.QUIET, id_of(workers[1]): BeatState.TAKING}

        await eventually(told)
        await queue.add_bulk([JobSpec("x")] * 5)
        await eventually(lambda: len(other.ran) == 5)
    assert one.ran == []


HOLDS = """
import asyncio, pathlib
from corral import Worker

async def hold(job):
    while not pathlib.Path("open").exists():
        await asyncio.sleep(0.02)

worker = Worker("q", hold)
"""


async def test_in_a_process_readyz_stays_as_it_is_while_quiet_and_while_draining_and_sigterm_is_told_at_once(
    tmp_path: Path, staff: Staff, queue: Queue, redis7_url: str, redis7_client: Any
) -> None:
    env = {"POD_NAME": "letters-1", "POD_NAMESPACE": "post"}
    with CorralProcess(tmp_path, HOLDS, redis7_url, env) as process:
        await process.serving()
        await queue.add("x")
        await eventually(says(staff, BeatState.TAKING, 1), 15)
        record = await staff.beat()
        assert (record.pod, record.namespace, record.pid) == ("letters-1", "post", process.pid)
        await staff.order(record.worker)
        await eventually(says(staff, BeatState.QUIET, 1))
        assert (await process.get("/readyz"))[0] == 200
        process.signal(signal.SIGTERM)
        await eventually(says(staff, BeatState.DRAINING, 1))
        assert (await process.get("/readyz"))[0] == 200
        (tmp_path / "open").touch()
        assert await process.wait() == 0
        assert (await queue.get_job_counts()).completed == 1
        assert await redis7_client.keys("*corral*") == []


BLOCKS = """
import time
from corral import Worker

async def block(job):
    time.sleep(60)

worker = Worker("q", block)
"""


async def test_a_blocked_process_says_that_it_drains_and_its_records_go_with_the_last_call(
    tmp_path: Path, staff: Staff, queue: Queue, redis7_url: str, redis7_client: Any
) -> None:
    with CorralProcess(tmp_path, BLOCKS, redis7_url, {"CORRAL_GRACE": "8"}) as process:
        await process.serving()
        await queue.add("x")
        await eventually(says(staff, BeatState.TAKING, 1), 15)
        process.signal(signal.SIGTERM)
        await eventually(says(staff, BeatState.DRAINING, 1))
        assert await process.wait() == 0
        assert (await queue.get_job_counts()).waiting == 1
        assert await redis7_client.keys("*corral*") == []


async def test_a_killed_process_leaves_its_records_to_those_who_judge_its_silence(
    tmp_path: Path, staff: Staff, queue: Queue, redis7_url: str
) -> None:
    with CorralProcess(tmp_path, HOLDS, redis7_url) as process:
        await process.serving()
        await queue.add("x")
        await eventually(says(staff, BeatState.TAKING, 1), 15)
        await process.kill()
    record = await staff.beat()
    assert (record.busy, record.silent_after_s) == (1, 10.0)
    assert await staff.at_ms(record.worker) is not None
