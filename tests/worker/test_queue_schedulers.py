"""Job schedulers through Queue and Worker: one pending iteration, gone on with, healed after a crash."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    InvalidJob,
    JobOfScheduler,
    JobOptions,
    Keep,
    Queue,
    Repeat,
    SchedulerConflict,
    State,
    Worker,
    scripts,
)
from corral.clock import now_ms
from corral.lifecycle import Complete
from corral.repeat import Schedule
from corral.scheduler_work import produce_next
from corral.scripts import Settlement, Taking
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

    from corral import Job

FAR = datetime(2100, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


async def iterations(client: redis.asyncio.Redis, scheduler: str = "s") -> dict[str, str]:
    """Where each iteration of a scheduler lies that has not ended."""
    found: dict[str, str] = {}
    start = f"repeat:{scheduler}:".encode()
    for name in ("wait", "paused", "active"):
        rows: Any = await client.lrange(f"bull:q:{name}", 0, -1)  # type: ignore[misc]
        found |= {id.decode(): name for id in rows if id.startswith(start)}
    for name in ("delayed", "prioritized"):
        rows = await client.zrange(f"bull:q:{name}", 0, -1)
        found |= {id.decode(): name for id in rows if id.startswith(start)}
    return found


async def take(queue: Queue, token: str = "t:1", now: int | None = None) -> list[Job]:
    """What a worker takes, as jobs; nothing runs them."""
    taking = Taking(10, token, 60_000, "w")
    taken = await scripts.settle_jobs(queue._lines, queue.keys, "", now or now_ms(), [], taking)
    return [job for id, _ in taken.jobs if (job := await queue.get_job(id)) is not None]


async def test_upsert_gives_the_next_iteration_and_get_gives_the_scheduler(queue: Queue) -> None:
    opts = JobOptions.checked(attempts=2, remove_on_complete=Keep(count=5))
    job = await queue.upsert_job_scheduler("s", every=HOUR, limit=5, name="tick", data={"t": 1}, opts=opts)
    assert job is not None
    stored = await queue.get_job(job.id)
    assert stored is not None
    for name in ("id", "name", "data", "opts", "delay", "timestamp", "scheduler_id"):
        assert getattr(job, name) == getattr(stored, name), name
    assert (stored.name, stored.data, stored.opts.attempts, stored.scheduler_id) == ("tick", {"t": 1}, 2, "s")
    found = await queue.get_job_scheduler("s")
    assert found is not None
    assert (found.id, found.name, found.every_ms, found.limit, found.iterations) == ("s", "tick", 3_600_000, 5, 1)
    assert (found.data, found.opts, job.id) == ({"t": 1}, opts, f"repeat:s:{found.next_ms}")


async def test_without_a_name_the_iterations_are_called_like_the_scheduler(queue: Queue) -> None:
    job = await queue.upsert_job_scheduler("s", every=HOUR)
    assert job is not None
    assert (job.name, job.data) == ("s", {})


async def test_schedulers_are_listed_by_when_they_are_due_counted_and_removed(queue: Queue) -> None:
    for days in (2, 1, 3):
        await queue.upsert_job_scheduler(f"s{days}", every=HOUR, start_date=FAR + timedelta(days=days))
    assert [each.id for each in await queue.get_job_schedulers()] == ["s3", "s2", "s1"]
    assert [each.id for each in await queue.get_job_schedulers(0, 1, ascending=True)] == ["s1", "s2"]
    assert await queue.get_job_schedulers_count() == 3
    assert (await queue.remove_job_scheduler("s1"), await queue.remove_job_scheduler("s1")) == (True, False)
    assert (await queue.get_job_scheduler("s1"), await queue.get_job_schedulers_count()) == (None, 2)
    assert (await queue.get_job_counts()).delayed == 2


async def test_a_pattern_that_does_not_come_before_the_end_changes_nothing(queue: Queue) -> None:
    await queue.upsert_job_scheduler("s", every=HOUR)
    soon = datetime.now(UTC) + timedelta(seconds=30)
    pattern = f"0 0 {(soon + timedelta(days=3)).day} * *"
    assert await queue.upsert_job_scheduler("s", pattern=pattern, end_date=soon) is None
    found = await queue.get_job_scheduler("s")
    assert found is not None
    assert found.every_ms == 3_600_000


async def test_immediately_makes_the_first_iteration_of_a_pattern_due_now(queue: Queue) -> None:
    job = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *", tz="UTC", immediately=True)
    assert job is not None
    (taken,) = await take(queue)
    following = await produce_next(queue._lines, queue.keys, "", taken)
    assert following is not None
    new_year = datetime(datetime.now(UTC).year + 1, 1, 1, tzinfo=UTC)
    assert following == f"repeat:s:{round(new_year.timestamp() * 1000)}"


@pytest.mark.parametrize("option", ["job_id", "delay", "timestamp"])
async def test_what_the_schedule_decides_is_no_option_of_the_iterations(queue: Queue, option: str) -> None:
    given: dict[str, Any] = {"job_id": "x", "delay": 5, "timestamp": 5}
    with pytest.raises(InvalidJob, match=f"take no {option}"):
        await queue.upsert_job_scheduler("s", every=HOUR, opts=JobOptions.checked(**{option: given[option]}))


@pytest.mark.parametrize("scheduler_id", ["", 5, "\ud800"])
async def test_an_id_that_is_no_text_is_refused(queue: Queue, scheduler_id: Any) -> None:
    with pytest.raises(InvalidJob):
        await queue.upsert_job_scheduler(scheduler_id, every=HOUR)


async def test_default_options_of_the_queue_reach_the_iterations(redis_url: str) -> None:
    defaults = JobOptions.checked(attempts=7, delay=5)
    async with Queue("q", redis=redis_url, default_job_options=defaults) as queue:
        job = await queue.upsert_job_scheduler("s", every=HOUR)
        assert job is not None
        assert (job.opts.attempts, job.delay) == (7, 0)


async def test_a_slot_that_another_job_holds_is_told(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    job = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *")
    assert job is not None
    await async_client.zrem("bull:q:repeat", "s")
    with pytest.raises(SchedulerConflict, match="'s' of queue 'q' was not changed"):
        await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *")


async def test_a_scheduler_is_not_called_like_the_iteration_of_another(queue: Queue) -> None:
    job = await queue.upsert_job_scheduler("s", every=HOUR)
    assert job is not None
    with pytest.raises(SchedulerConflict, match="a job has the key of its record; use another id"):
        await queue.upsert_job_scheduler(job.id.removeprefix("repeat:"), every=HOUR)


async def test_a_pattern_is_upserted_again_after_its_iteration_was_promoted(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    job = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *")
    assert job is not None
    await job.promote()
    (taken,) = await take(queue)
    following = await produce_next(queue._lines, queue.keys, "", taken)
    for data in (1, 2):
        again = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *", data=data)
        assert again is not None
        assert (again.id, again.data, again.opts.to_wire()["prevMillis"]) == (following, data, int(again.id[-13:]))
        assert len(await iterations(async_client)) == 2
    end = int(again.id[-13:]) / 1000 - 1
    assert await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *", end_date=end) is None


async def test_a_schedule_goes_on_past_jobs_that_were_promoted(queue: Queue) -> None:
    ahead = (now_ms() // 1000 + 3 * 3600 + 1800) | 1
    first = await queue.upsert_job_scheduler("s", every=24 * HOUR, offset=ahead % 86400)
    assert (first and first.id) == f"repeat:s:{ahead * 1000}"
    await first.promote()
    (taken,) = await take(queue)
    assert await produce_next(queue._lines, queue.keys, "", taken) is not None
    await queue.upsert_job_scheduler("s", every=HOUR, offset=ahead % 3600)
    for hour in (-3, -2, -1, 1, 2):
        due = (ahead + hour * 3600) * 1000
        (taken,) = await take(queue, now=due)
        assert taken.id == f"repeat:s:{due}"
        assert await produce_next(queue._lines, queue.keys, "", taken) is not None


async def test_a_pattern_goes_on_past_jobs_that_hold_its_next_times(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    job = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *")
    assert job is not None
    await job.promote()
    (taken,) = await take(queue)
    due = int(job.id[-13:])
    years = []
    for _ in range(40):
        due = Schedule(pattern="0 0 1 1 *").next_by_pattern(due) or 0
        years.append(due)
    for due in years[:3]:
        await async_client.hset(f"bull:q:repeat:s:{due}", "name", "n")
    following = await produce_next(queue._lines, queue.keys, "", taken)
    assert following == f"repeat:s:{years[3]}"
    found = await queue.get_job(following)
    assert found is not None
    assert found.opts.to_wire()["prevMillis"] == years[3]
    await async_client.zadd("bull:q:repeat", {"s": int(job.id[-13:])})
    for due in years:
        await async_client.hset(f"bull:q:repeat:s:{due}", "name", "n")
    with pytest.raises(SchedulerConflict, match="job scheduler 's' of queue 'q' has ended"):
        await produce_next(queue._lines, queue.keys, "", taken)


@pytest.mark.parametrize("dialect", ["v5", "v6"])
@pytest.mark.parametrize("paused", [False, True])
async def test_however_often_it_is_upserted_one_iteration_is_pending(
    redis_url: str, async_client: redis.asyncio.Redis, dialect: Any, paused: bool
) -> None:
    async with Queue("q", redis=redis_url, dialect=dialect) as queue:
        if paused:
            await queue.pause()
        for _ in range(3):
            await queue.upsert_job_scheduler("s", every=HOUR)
            await queue.upsert_job_scheduler("s", every=HOUR, data=1)
            await queue.upsert_job_scheduler("s", every=2 * HOUR, opts=JobOptions.checked(priority=2))
            await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *")
            await queue.upsert_job_scheduler("s", every=HOUR, start_date=FAR)
            assert len(await iterations(async_client)) == 1
        await queue.upsert_job_scheduler("s", every=timedelta(hours=3))
        await queue.upsert_job_scheduler("s", every=timedelta(hours=3), data=2)
        place = "paused" if paused and dialect == "v5" else "wait"
        assert list((await iterations(async_client)).values()) == [place]


async def test_what_was_paused_in_one_layout_and_upserted_in_the_other_has_one_iteration(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis_url, dialect="v5") as five, Queue("q", redis=redis_url, dialect="v6") as six:
        await five.upsert_job_scheduler("s", every=HOUR)
        await five.pause()
        await six.upsert_job_scheduler("s", every=HOUR, data=1)
        await five.upsert_job_scheduler("s", every=HOUR, data=2)
        assert len(await iterations(async_client)) == 1
        await six.resume()
        assert [job.data for job in await take(six)] == [2]


async def test_many_upserts_at_once_leave_one_iteration(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    await asyncio.gather(*[queue.upsert_job_scheduler("s", every=HOUR, data=number) for number in range(50)])
    assert len(await iterations(async_client)) == 1


async def test_a_worker_goes_on_with_what_it_takes(redis_url: str, queue: Queue) -> None:
    seen: list[Job] = []

    async def run(job: Job) -> None:
        seen.append(job)

    await queue.upsert_job_scheduler("s", every=0.02, limit=5, name="tick", data={"t": 1})
    async with running(Worker("q", run, redis=redis_url, concurrency=2)):
        await eventually(lambda: len(seen) == 5)
        await eventually(lambda: _is_empty(queue))
    assert {(job.name, job.data["t"], job.scheduler_id) for job in seen} == {("tick", 1, "s")}
    times = [int(job.id.rsplit(":", 1)[1]) for job in seen]
    assert all((later - earlier) % 20 == 0 for earlier, later in pairwise(times))
    found = await queue.get_job_scheduler("s")
    assert found is not None
    assert found.iterations == 5


async def _is_empty(queue: Queue) -> bool:
    return (await queue.get_job_counts()).unfinished == 0


async def test_a_retry_makes_no_second_branch(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    await queue.upsert_job_scheduler("s", every=HOUR)
    (job,) = await take(queue)
    assert await produce_next(queue._lines, queue.keys, "", job) is not None
    assert await produce_next(queue._lines, queue.keys, "", job) is None
    assert sorted((await iterations(async_client)).values()) == ["active", "delayed"]


async def test_a_crash_between_the_take_and_the_next_iteration_is_healed(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    made = await queue.upsert_job_scheduler("s", every=HOUR)
    assert made is not None
    (lost,) = await take(queue, "dead:1")
    # The worker dies here. More than one stall is allowed to it: the schedule hangs on this job.
    for _ in range(4):
        await async_client.delete(f"bull:q:{lost.id}:lock", "bull:q:stalled-check")
        await scripts.recover_stalled(queue._lines, queue.keys, "", now_ms(), 1, 1)
    assert list((await iterations(async_client)).values()) == ["wait"]
    (again,) = await take(queue, "alive:1")
    assert (again.id, again.deferred_failure) == (made.id, None)
    following = await produce_next(queue._lines, queue.keys, "", again)
    assert following is not None
    await scripts.settle_jobs(
        queue._lines,
        queue.keys,
        "",
        now_ms(),
        [Settlement(again.id, "alive:1", Complete("null", Keep()))],
        Taking(0, "t", 1, ""),
    )
    assert await iterations(async_client) == {following: "delayed"}


async def test_a_scheduler_removed_while_its_iteration_runs_ends_there(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await queue.upsert_job_scheduler("s", every=HOUR)
    (job,) = await take(queue)
    assert await queue.remove_job_scheduler("s")
    assert await produce_next(queue._lines, queue.keys, "", job) is None
    assert await iterations(async_client) == {job.id: "active"}


async def test_changed_while_its_iteration_runs_it_goes_on_as_changed(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await queue.upsert_job_scheduler("s", every=HOUR)
    (job,) = await take(queue)
    changed = await queue.upsert_job_scheduler("s", every=2 * HOUR, start_date=FAR)
    assert changed is not None
    assert await produce_next(queue._lines, queue.keys, "", job) is None
    assert await iterations(async_client) == {job.id: "active", changed.id: "delayed"}


async def test_an_ordinary_job_makes_nothing(queue: Queue) -> None:
    job = await queue.add("n")
    assert await produce_next(queue._lines, queue.keys, "", job) is None


async def test_a_schedule_that_cannot_be_read_is_told(queue: Queue, async_client: redis.asyncio.Redis) -> None:
    made = await queue.upsert_job_scheduler("s", pattern="0 0 1 1 *", immediately=True)
    assert made is not None
    opts = b'{"repeat":{"pattern":"H H * * *","count":1}}'
    await async_client.hset(f"bull:q:{made.id}", "opts", opts)  # type: ignore[arg-type,misc]
    (job,) = await take(queue)
    with pytest.raises(InvalidJob, match="'H H"):
        await produce_next(queue._lines, queue.keys, "", job)


async def test_add_with_repeat_makes_a_scheduler_under_an_id_of_its_settings(queue: Queue) -> None:
    first = await queue.add("tick", {"t": 1}, repeat=Repeat(every=HOUR), attempts=3)
    again = await queue.add("tick", {"t": 2}, repeat=Repeat(every=HOUR))
    assert (first.scheduler_id, again.id) == (again.scheduler_id, first.id)
    (scheduler,) = await queue.get_job_schedulers()
    assert (scheduler.id, scheduler.name, scheduler.data) == (first.scheduler_id, "tick", {"t": 2})
    assert first.opts.attempts == 3


async def test_add_with_repeat_takes_an_id(queue: Queue) -> None:
    assert (await queue.add("n", repeat=Repeat(every=HOUR, key="k"))).scheduler_id == "k"
    assert (await queue.add("n", repeat=Repeat(pattern="@daily", key="k"), job_id="mine")).scheduler_id == "mine"


async def test_add_with_repeat_refuses_what_makes_no_job(queue: Queue) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    pattern = f"0 0 {(soon + timedelta(days=3)).day} * *"
    with pytest.raises(InvalidJob, match="does not come before"):
        await queue.add("n", repeat=Repeat(pattern=pattern, end_date=soon))
    with pytest.raises(InvalidJob, match="takes a Repeat"):
        await queue.add("n", repeat={"every": 5})  # type: ignore[typeddict-item]
    with pytest.raises(InvalidJob, match=r"Queue\.add alone"):
        JobOptions.checked(repeat=Repeat(every=1))
    assert await queue.get_job_schedulers_count() == 0


async def test_the_pending_iteration_is_not_removed_drained_or_cleaned(
    queue: Queue, async_client: redis.asyncio.Redis
) -> None:
    await queue.upsert_job_scheduler("s", every=HOUR)
    (taken,) = await take(queue)
    following = await produce_next(queue._lines, queue.keys, "", taken)
    assert following is not None
    pending = await queue.get_job(following)
    assert pending is not None
    with pytest.raises(JobOfScheduler):
        await pending.remove()
    await queue.drain(delayed=True)
    await queue.clean(0, state=State.DELAYED)
    assert (await iterations(async_client))[following] == "delayed"
    await queue.remove_job_scheduler("s")
    assert list(await iterations(async_client)) == [taken.id]
