"""take under a rate limit, the queue's own or the worker's: `max` jobs in `duration` ms."""

from __future__ import annotations

from corral import Keep, RateLimit
from corral.lifecycle import Complete
from jobs import LOCK_MS, NOW, Px, Stage, active, ids_of, job

HOUR = 3_600_000
LIMIT = {"max": "3", "duration": str(HOUR)}


def waiting(*ids: str) -> dict:
    return {"wait": list(ids), **{id: job() for id in ids}}


async def test_the_first_jobs_open_a_window(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"), {"meta": LIMIT})
    assert ids_of(await stage.take()) == ["1", "2"]
    assert (await stage.changed())["limiter"] == Px("2")
    assert HOUR - 60_000 < await stage.left_ms("limiter") <= HOUR


async def test_a_window_gives_its_rest_and_is_not_prolonged(stage: Stage) -> None:
    await stage.lay(waiting("3", "2", "1"), {"meta": LIMIT, "limiter": Px("1", 2 * HOUR)})
    settled = await stage.take()
    assert (ids_of(settled), settled.limited_ms) == (["1", "2"], 0)
    changed = await stage.changed()
    assert (changed["limiter"], changed["wait"]) == (Px("3"), ["3"])
    assert await stage.left_ms("limiter") > HOUR


async def test_a_spent_window_gives_nothing_but_the_time_left(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": LIMIT, "limiter": Px("3", HOUR), "delayed": {"2": (NOW + 9) * 4096}})
    settled = await stage.take()
    assert (settled.jobs, settled.next_due_ms) == ([], 0)
    assert HOUR - 60_000 < settled.limited_ms <= HOUR
    assert await stage.changed() == {}


async def test_a_limited_queue_still_promotes(stage: Stage) -> None:
    await stage.lay({"meta": LIMIT, "limiter": Px("3"), "delayed": {"1": NOW * 4096}, "1": job(delay=1)})
    assert (await stage.take()).limited_ms > 0
    changed = await stage.changed()
    assert (changed["wait"], changed["1"]) == (["1"], {"delay": "0"})


async def test_a_limit_set_by_hand_holds_the_queue(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": LIMIT, "limiter": Px("9007199254740991")})
    assert (await stage.take()).limited_ms > LOCK_MS - 60_000
    assert await stage.changed() == {}


async def test_a_limited_and_paused_queue_says_limited(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": {**LIMIT, "paused": "1"}, "limiter": Px("3")})
    assert (await stage.take()).limited_ms > 0


async def test_without_a_max_nothing_reads_or_writes_the_limiter(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": {"duration": "1000"}, "limiter": Px("9007199254740991")})
    assert ids_of(await stage.take()) == ["1"]
    assert "limiter" not in await stage.changed()


async def test_a_window_without_an_end_counts_as_over(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": LIMIT, "limiter": "3"})
    assert ids_of(await stage.take()) == ["1"]


async def test_a_job_that_only_fails_does_not_count(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"), {"meta": LIMIT, "limiter": Px("1")})
    await stage.lay({"1": {"defa": "child bull:q:c failed"}})
    assert ids_of(await stage.take()) == ["1", "2"]
    assert (await stage.changed())["limiter"] == Px("2")


async def test_a_take_of_nothing_opens_no_window(stage: Stage) -> None:
    await stage.lay({"meta": LIMIT})
    await stage.take()
    assert await stage.changed() == {}


async def test_a_worker_brings_a_limit_to_a_queue_that_has_none(stage: Stage) -> None:
    await stage.lay(waiting("3", "2", "1"))
    limit = RateLimit(2, HOUR)
    assert ids_of(await stage.take(limit=limit)) == ["1", "2"]
    assert (await stage.changed())["limiter"] == Px("2")
    assert HOUR - 60_000 < await stage.left_ms("limiter") <= HOUR
    settled = await stage.take(limit=limit)
    assert settled.jobs == []
    assert HOUR - 60_000 < settled.limited_ms <= HOUR


async def test_the_queues_limit_decides_how_many_and_the_workers_for_how_long(stage: Stage) -> None:
    await stage.lay(waiting("3", "2", "1"), {"meta": {"max": "1", "duration": str(HOUR)}})
    assert ids_of(await stage.take(limit=RateLimit(2, 2 * HOUR))) == ["1"]
    assert HOUR < await stage.left_ms("limiter") <= 2 * HOUR


async def test_a_worker_without_a_limit_ignores_one_set_by_hand(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"limiter": Px("9007199254740991")})
    assert ids_of(await stage.take()) == ["1"]
    assert "limiter" not in await stage.changed()


async def test_a_worker_with_a_limit_keeps_to_one_set_by_hand(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"limiter": Px("9007199254740991", HOUR)})
    settled = await stage.take(limit=RateLimit(5, 1000))
    assert (settled.jobs, settled.limited_ms > HOUR - 60_000) == ([], True)
    assert await stage.changed() == {}


async def test_the_worker_that_settles_keeps_to_its_limit_too(stage: Stage) -> None:
    await stage.lay(waiting("2"), active("1"), {"limiter": Px("1", HOUR)})
    settled = await stage.settle(("1", Complete("null", Keep())), want=1, limit=RateLimit(1, HOUR))
    assert (settled.codes, settled.jobs, settled.limited_ms > 0) == ([0], [], True)
