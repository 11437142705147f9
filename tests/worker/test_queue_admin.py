"""Looking after a queue's jobs on real servers: remove, retry, promote, drain, clean, obliterate; many of them, in steps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    ConfigurationError,
    Deduplication,
    InvalidJob,
    JobLocked,
    JobNotFound,
    JobNotInState,
    JobOfScheduler,
    JobOptions,
    JobSpec,
    PayloadNotJSON,
    Queue,
    QueueInUse,
    State,
    Worker,
)
from keyspace import dump
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from corral import Job

BASE = "bull:mail:"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("mail", redis=redis_url) as queue:
        yield queue


@pytest.fixture
def client(async_client: Any) -> Any:
    """redis-py's types mix its blocking and its async answers."""
    return async_client


async def work_off(queue: Queue, redis_url: str, run: Any) -> None:
    """Let a worker run everything that is runnable now."""

    async def idle() -> bool:
        counts = await queue.get_job_counts()
        return counts.waiting + counts.prioritized + counts.active == 0

    worker = Worker(queue.name, run, redis=redis_url)
    task = asyncio.create_task(worker.run())
    await eventually(idle)
    await worker.close()
    await task


async def fail(job: Job) -> None:
    raise RuntimeError("no")


async def test_a_failed_job_is_retried_and_completes(queue: Queue, redis_url: str) -> None:
    job = await queue.add("send")
    await work_off(queue, redis_url, fail)
    found = await queue.get_job(job.id)
    assert found is not None
    await found.retry()
    assert await found.get_state() == State.WAITING
    with pytest.raises(JobNotInState, match=f"job {job.id} of queue 'mail' was not retried"):
        await found.retry()

    async def succeed(job: Job) -> int:
        return job.attempts_made

    await work_off(queue, redis_url, succeed)
    again = await queue.get_job(job.id)
    assert again is not None
    assert (again.returnvalue, again.attempts_made, again.failed_reason) == (1, 2, None)
    await again.retry(State.COMPLETED, reset_attempts_made=True, reset_attempts_started=True)
    await work_off(queue, redis_url, succeed)
    last = await queue.get_job(job.id)
    assert last is not None
    assert (last.returnvalue, last.attempts_made, last.attempts_started) == (0, 1, 1)


async def test_what_is_asked_of_a_job_itself(queue: Queue) -> None:
    job = await queue.add("send", delay=60)
    await job.change_delay(timedelta(seconds=5))
    await job.change_priority(7)
    await job.update_data({"a": "ü"})
    await job.log("one")
    await job.log("two")
    await job.clear_logs(1)
    found = await queue.get_job(job.id)
    assert found is not None
    assert (found.delay, found.priority, found.data) == (5000, 7, {"a": "ü"})
    assert await job.get_logs() == ["two"]
    await job.promote()
    assert await job.get_state() == State.PRIORITIZED
    await job.change_priority(0)
    assert await job.get_state() == State.WAITING
    await job.remove()
    assert await job.get_state() == State.UNKNOWN
    for call in (job.promote, lambda: job.update_data(1), job.remove, lambda: job.change_delay(1), job.retry):
        with pytest.raises(JobNotFound, match=f"job {job.id} of queue 'mail' was not"):
            await call()
    with pytest.raises(InvalidJob, match="priority"):
        await job.change_priority(-1)
    with pytest.raises(PayloadNotJSON):
        await job.update_data(float("nan"))


async def test_a_job_is_removed_unless_it_runs(queue: Queue, client: Any) -> None:
    job = await queue.add("send")
    await client.set(f"{BASE}{job.id}:lock", "x")
    with pytest.raises(JobLocked, match=f"job {job.id} of queue 'mail' was not removed: a worker runs it"):
        await queue.remove(job.id)
    await client.delete(f"{BASE}{job.id}:lock")
    assert await queue.remove(job.id)
    assert not await queue.remove(job.id)


async def test_the_next_job_of_a_scheduler_is_not_removed(queue: Queue) -> None:
    job = await queue.upsert_job_scheduler("s", every=3600)
    assert job is not None
    with pytest.raises(JobOfScheduler, match="remove the scheduler instead"):
        await queue.remove(job.id)


async def test_removing_a_parent_takes_its_children_along_or_not(queue: Queue, client: Any) -> None:
    await queue.add("parent", job_id="p")
    await queue.add("child", job_id="c")
    await client.sadd(f"{BASE}p:dependencies", f"{BASE}c")
    assert await queue.remove("p", remove_children=False)
    assert await queue.get_job_state("c") == State.WAITING
    await queue.add("parent", job_id="p")
    await client.sadd(f"{BASE}p:dependencies", f"{BASE}c")
    assert await queue.remove("p")
    assert await queue.get_job_state("c") == State.UNKNOWN


async def test_all_failed_jobs_are_retried_that_had_failed_by_then(queue: Queue, client: Any) -> None:
    for id in "abc":
        await queue.add("send", job_id=id)
    await client.delete(f"{BASE}wait")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await client.zadd(f"{BASE}failed", {"a": 1, "b": long_ago.timestamp() * 1000, "c": long_ago.timestamp() * 1000 + 1})
    assert await queue.retry_jobs(until=long_ago) == 2
    assert (await queue.get_job_counts()).failed == 1
    assert await queue.retry_jobs(count=1) == 1
    assert [job.id for job in await queue.get_jobs(State.WAITING)] == ["c", "b", "a"]
    assert await queue.retry_jobs(state=State.COMPLETED) == 0
    with pytest.raises(ConfigurationError, match="retry_jobs takes"):
        await queue.retry_jobs(state=State.DELAYED)
    with pytest.raises(ConfigurationError, match="from 1 up; got 0"):
        await queue.promote_jobs(count=0)


async def test_all_delayed_jobs_are_promoted(queue: Queue) -> None:
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked(delay=3600 - n)) for n in range(25)])
    assert await queue.promote_jobs(count=10) == 25
    jobs = await queue.get_jobs(State.WAITING)
    assert [job.data for job in jobs] == list(range(25))


async def test_a_drain_leaves_what_runs_has_ended_or_waits_for_its_time(queue: Queue, client: Any) -> None:
    for options in ({}, {"priority": 3}, {"delay": 60}):
        await queue.add("send", **options)  # type: ignore[arg-type]
    await client.lpush(f"{BASE}active", "a")
    await client.zadd(f"{BASE}failed", {"f": 1})
    assert await queue.drain() == 2
    counts = await queue.get_job_counts()
    assert (counts.waiting, counts.prioritized, counts.delayed, counts.active, counts.failed) == (0, 0, 1, 1, 1)
    assert await queue.drain(delayed=True) == 1
    assert (await queue.get_job_counts()).delayed == 0


async def test_clean_removes_what_is_older_than_its_grace(queue: Queue, client: Any) -> None:
    now = datetime.now(UTC).timestamp()
    for state in ("completed", "failed"):
        await client.zadd(f"{BASE}{state}", {f"{state}{n}": (now - n * 60) * 1000 for n in range(5)})
    assert await queue.clean(timedelta(seconds=90), limit=2) == ["completed4", "completed3"]
    assert await queue.clean(90) == ["completed2"]
    assert await queue.clean(0, state=State.FAILED) == [f"failed{n}" for n in (4, 3, 2, 1, 0)]
    await queue.add("send", timestamp=1)
    assert await queue.clean(3600, state=State.WAITING) == ["1"]
    for state in (State.WAITING_CHILDREN, State.UNKNOWN):
        with pytest.raises(ConfigurationError, match="clean takes one of waiting, prioritized"):
            await queue.clean(0, state=state)
    with pytest.raises(InvalidJob, match="not negative"):
        await queue.clean(-1)


async def test_clean_finds_old_jobs_behind_many_young_ones(queue: Queue) -> None:
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked()) for n in range(2500)])
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked(timestamp=1)) for n in range(10)])
    assert len(await queue.clean(3600, state=State.WAITING, limit=7)) == 7
    assert len(await queue.clean(3600, state=State.WAITING)) == 3
    assert (await queue.get_job_counts()).waiting == 2500


async def test_clean_reaches_the_list_of_bullmq_5(redis_url: str) -> None:
    async with Queue("mail", redis=redis_url, dialect="v5") as queue:
        await queue.add("send", job_id="a", timestamp=1)
        await queue.pause()
        await queue.add("send", job_id="b", timestamp=1)
        assert await queue.clean(60, state=State.WAITING) == ["a", "b"]


async def test_obliterate_leaves_nothing(queue: Queue, client: Any) -> None:
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked(delay=n % 2 * 60)) for n in range(30)])
    await queue.add("once", deduplication=Deduplication("x"))
    await client.set(f"{BASE}de:throttled", "gone", px=3_600_000)
    await client.hset(f"{BASE}dn:kept", "name", "n")
    await client.set("bull:other:de:throttled", "1")
    with pytest.raises(QueueInUse, match="queue 'mail' is not paused; call pause"):
        await queue.obliterate()
    await queue.pause()
    await client.lpush(f"{BASE}active", "a")
    with pytest.raises(QueueInUse, match="queue 'mail' has active jobs"):
        await queue.obliterate()
    assert len(await dump(client)) > 30
    await queue.obliterate(force=True, count=7)
    assert await dump(client) == {"bull:other:de:throttled": "1"}


async def test_a_queue_whose_prefix_holds_signs_of_patterns_is_obliterated_alone(redis_url: str, client: Any) -> None:
    async with Queue("mail", redis=redis_url, prefix="b*[l]?") as queue:
        await queue.pause()
        await client.mset({"b*[l]?:mail:de:x": "1", "bull:mail:de:x": "1", "b_l_:mail:de:x": "1"})
        await queue.obliterate()
    assert set(await dump(client)) == {"bull:mail:de:x", "b_l_:mail:de:x"}


async def test_a_queue_below_its_keys_that_is_called_like_a_deduplication_key_survives(
    queue: Queue, redis_url: str, client: Any
) -> None:
    await client.hset(f"{BASE}dn:meta", mapping={"name": "kept back", "data": "{}", "opts": "{}"})
    await client.mset({f"{BASE}de:user:1": "1", f"{BASE}de:meta:1": "1"})
    await client.hset(f"{BASE}dn:user:1", "name", "n")
    async with (
        Queue("de", redis=redis_url, prefix=BASE[:-1]) as theirs,
        Queue("z", redis=redis_url, prefix=f"{BASE}dn:x") as deeper,
    ):
        for other in (theirs, deeper):
            await other.add("job")
        before = {name: value for name, value in (await dump(client)).items() if ":z:" in name}
        await queue.pause()
        await queue.obliterate()
        assert [await other.get_job_state("1") for other in (theirs, deeper)] == [State.WAITING, State.WAITING]
        assert {name: value for name, value in (await dump(client)).items() if ":z:" in name} == before
        assert not await client.exists(f"{BASE}dn:meta", f"{BASE}dn:user:1")


async def test_deduplication_ids_are_looked_up_and_freed(queue: Queue, client: Any) -> None:
    job = await queue.add("send", deduplication=Deduplication("x"))
    assert await queue.get_deduplication_job_id("x") == job.id
    assert await queue.get_deduplication_job_id("y") is None
    twin = await queue.add("send", deduplication=Deduplication("x"))
    assert twin.id == job.id
    assert await job.remove_deduplication_key()
    assert not await job.remove_deduplication_key()
    await client.set(f"{BASE}de:x", "stale")
    assert await queue.remove_deduplication_key("x")
    assert not await queue.remove_deduplication_key("x")


async def test_events_are_trimmed(queue: Queue, client: Any) -> None:
    await queue.add_bulk([JobSpec("send", n, JobOptions.checked()) for n in range(500)])
    assert await queue.trim_events(0) == 1000
    assert await client.xlen(f"{BASE}events") == 0


async def test_progress_and_log_rows_by_id(queue: Queue) -> None:
    job = await queue.add("send")
    await queue.update_job_progress(job.id, {"half": True})
    assert [await queue.add_job_log(job.id, row, keep=2) for row in "abc"] == [1, 2, 2]
    found = await queue.get_job(job.id)
    assert found is not None
    assert found.progress == {"half": True}
    assert await queue.get_job_logs(job.id) == ["b", "c"]
    with pytest.raises(JobNotFound, match="its progress was not stored"):
        await queue.update_job_progress("none", 1)
    with pytest.raises(JobNotFound, match="the log row was not stored"):
        await queue.add_job_log("none", "row")


async def test_a_worker_survives_that_its_queue_is_obliterated_under_it(
    queue: Queue, redis_url: str, client: Any
) -> None:
    running, go = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def hold(job: Job) -> None:
        running.set()
        await go.wait()
        done.append(job.name)

    worker = Worker("mail", hold, redis=redis_url)
    task = asyncio.create_task(worker.run())
    await queue.add("lost")
    await running.wait()
    await queue.pause()
    await queue.obliterate(force=True)
    go.set()
    await queue.add("next")

    async def both_ran() -> bool:
        return done == ["lost", "next"] and (await queue.get_job_counts()).completed == 1

    await eventually(both_ran)
    await worker.close()
    await task
    assert (await queue.get_job_counts()).unfinished == 0


MANY = 100_000


LAY = """
for id = ARGV[1], ARGV[2] do
  redis.call('HSET', KEYS[1] .. id, 'name', 'n', 'data', '{}', 'timestamp', 1, 'delay', 0, 'priority', 0)
  if ARGV[3] == 'wait' then
    redis.call('LPUSH', KEYS[1] .. 'wait', id)
  else
    redis.call('ZADD', KEYS[1] .. ARGV[3], id, id)
  end
end
"""


async def many(client: Any, state: str) -> None:
    """A queue of a hundred thousand jobs, laid down faster than they could be added."""
    for first in range(1, MANY + 1, 10_000):
        await client.eval(LAY, 1, BASE, first, first + 9_999, state)


class Steps:
    """A queue's door to Redis that notes how many jobs of a list or set each call of a script changed."""

    def __init__(self, queue: Queue, client: Any, key: str, *, as_list: bool) -> None:
        self._call, self._client, self._key, self._as_list = queue._lines.call, client, key, as_list
        self.sizes: list[int] = []

    async def call(self, *command: Any, **more: Any) -> Any:
        before = await self._size()
        try:
            return await self._call(*command, **more)
        finally:
            if command[0] in ("EVALSHA", "EVAL"):
                self.sizes.append(before - await self._size())

    async def _size(self) -> int:
        return int(await (self._client.llen(self._key) if self._as_list else self._client.zcard(self._key)))


@pytest.mark.parametrize("deed", ["drain", "clean", "retry_jobs", "obliterate"])
async def test_a_hundred_thousand_jobs_are_dealt_with_in_steps(
    redis7_url: str, redis7_client: Any, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_list = deed != "retry_jobs"
    key = BASE + ("wait" if as_list else "failed")
    await many(redis7_client, key.removeprefix(BASE))
    async with Queue("mail", redis=redis7_url) as queue:
        steps = Steps(queue, redis7_client, key, as_list=as_list)
        monkeypatch.setattr(queue._lines, "call", steps.call)
        if deed == "drain":
            assert await queue.drain() == MANY
        elif deed == "clean":
            assert len(await queue.clean(60, state=State.WAITING)) == MANY
        elif deed == "retry_jobs":
            assert await queue.retry_jobs() == MANY
        else:
            await queue.pause()
            await queue.obliterate()
        assert sum(steps.sizes) == MANY
        assert max(steps.sizes) <= 1000
        left = await redis7_client.dbsize()
        assert left == (
            MANY + 3 if deed == "retry_jobs" else 0 if deed == "obliterate" else (1 if deed == "clean" else 0)
        )
