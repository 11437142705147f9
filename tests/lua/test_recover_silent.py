"""silent: the jobs of a worker that beats no more run again at once, and nobody else's are touched."""

from __future__ import annotations

from typing import Any

import pytest

from corral import scripts
from corral.errors import RedisRefused
from jobs import BASE, BEATS_ON, NOW, Px, Stage, active, job

LIMIT = "job stalled more than allowable limit"
LOOKED = {"corral:look": Px("looker")}
ALIVE = {"looker": BEATS_ON}


async def redis_ms(stage: Stage) -> int:
    return await scripts.redis_ms(stage.caller)


async def look(
    stage: Stage, most: int = 1, dialect: str = "", *, by: str = "looker", asked_ms: int | None = None
) -> list[str]:
    ids, next_ms = await scripts.recover_silent(stage.caller, stage.keys, dialect, by, most, asked_ms=asked_ms)
    assert 0 <= next_ms <= 4000
    return ids


async def dead(stage: Stage, *ids: str, **fields: str | int) -> None:
    """Active jobs whose worker `t` was heard of for the last time a minute ago."""
    await stage.lay(
        active(*ids, **fields),
        {"corral:beats": {**ALIVE, "t": await redis_ms(stage) - 60_000}, "corral:workers": {"t": '{"v":1,"every":3}'}},
    )


async def test_the_jobs_of_a_silent_worker_go_back_to_the_front_and_its_locks_are_gone(stage: Stage) -> None:
    await dead(stage, "3", "2", "1")
    await stage.lay({"wait": ["b", "a"], "2:lock": Px("u:9"), "stalled": {"1", "2"}})
    assert await look(stage) == ["3", "1"]
    assert await stage.changed() == {
        "1": {"stc": "1"},
        "3": {"stc": "1"},
        "1:lock": None,
        "3:lock": None,
        "active": ["2"],
        "stalled": {"2"},
        "wait": ["b", "a", "3", "1"],
        "marker": {"0": 0},
        "events": [
            "waiting jobId=3 prev=active",
            "stalled jobId=3",
            "waiting jobId=1 prev=active",
            "stalled jobId=1",
        ],
        **LOOKED,
    }


async def test_one_look_is_made_in_four_seconds_whoever_makes_it(stage: Stage) -> None:
    await stage.lay({"corral:beats": {**ALIVE, "other": BEATS_ON}})
    assert await scripts.recover_silent(stage.caller, stage.keys, "", "looker", 1) == ([], 4000)
    assert await stage.changed() == LOOKED
    assert 3000 < await stage.left_ms("corral:look") <= 4000
    await dead(stage, "1")
    ids, next_ms = await scripts.recover_silent(stage.caller, stage.keys, "", "other", 1)
    assert ids == []
    assert 0 < next_ms <= 4000
    assert await stage.changed() == {}


async def test_a_look_of_before_redis_clock_was_set_back_keeps_nobody_from_looking(stage: Stage) -> None:
    await dead(stage, "1")
    await stage.client.set(f"{BASE}corral:look", "other", px=3_600_000)
    assert await look(stage) == ["1"]
    assert 3000 < await stage.left_ms("corral:look") <= 4000


@pytest.mark.parametrize(
    ("record", "silent_s", "is_dead"),
    [
        ('{"v":1,"every":3}', 9, False),
        ('{"v":1,"every":3}', 11, True),
        ('{"v":2,"every":0.5}', 11, True),
        ('{"v":1,"every":10}', 29, False),
        ('{"v":1,"every":10}', 31, True),
        (None, 29, False),
        (None, 31, True),
        ("{", 31, True),
        ("[]", 31, True),
        ('{"every":"often"}', 29, False),
        ('{"every":null}', 31, True),
        ('{"every":-9}', 11, True),
    ],
)
async def test_a_worker_is_silent_after_three_of_its_own_spans_and_ten_seconds_at_least(
    stage: Stage, record: str | None, silent_s: int, is_dead: bool
) -> None:
    await stage.lay(active("1"), {"corral:beats": {**ALIVE, "t": await redis_ms(stage) - silent_s * 1000}})
    if record is not None:
        await stage.lay({"corral:workers": {"t": record}})
    assert await look(stage) == (["1"] if is_dead else [])


async def test_workers_that_never_beat_are_never_touched_and_neither_are_jobs_without_a_lock(stage: Stage) -> None:
    await dead(stage, "5", "4", "3", "2", "1")
    node = {"1:lock": Px("0b9c1c1e-0000-4000-8000-000000000000:7"), "2:lock": Px("t"), "3:lock": Px("t:1:x")}
    await stage.lay(node, {"5:lock": Px("tt:1")})
    await stage.client.delete(f"{BASE}4:lock")
    await stage.lay({})
    assert await look(stage) == []
    assert await stage.changed() == LOOKED


async def test_a_worker_that_is_heard_of_again_keeps_its_jobs(stage: Stage) -> None:
    await dead(stage, "1")
    await stage.lay({"corral:beats": {"t": await redis_ms(stage)}})
    assert await look(stage) == []
    assert await stage.changed() == LOOKED


@pytest.mark.parametrize("looker", ["silent", "unknown"])
async def test_a_looker_that_was_not_heard_of_itself_sees_nothing(stage: Stage, looker: str) -> None:
    await dead(stage, "1")
    await stage.lay({"corral:beats": {"silent": await redis_ms(stage) - 31_000}})
    assert await look(stage, by=looker) == []
    assert await stage.changed() == {}


@pytest.mark.parametrize(("late_ms", "looks"), [(6000, False), (1000, True), (-600_000, True)])
async def test_a_look_that_was_stuck_on_its_way_does_nothing(stage: Stage, late_ms: int, looks: bool) -> None:
    await dead(stage, "1")
    assert await look(stage, asked_ms=await redis_ms(stage) - late_ms) == (["1"] if looks else [])
    assert bool(await stage.changed()) == looks


@pytest.mark.parametrize(("stalls", "most", "given_up"), [(0, 1, False), (1, 1, True), (0, 0, True), (1, 2, False)])
async def test_a_job_that_stalls_too_often_is_left_to_fail(
    stage: Stage, stalls: int, most: int, given_up: bool
) -> None:
    await dead(stage, "1", **({"stc": stalls} if stalls else {}))
    assert await look(stage, most) == ["1"]
    assert (await stage.changed())["1"] == {"stc": str(stalls + 1), **({"defa": LIMIT} if given_up else {})}


@pytest.mark.parametrize("schedulers", ["living", "gone", "damaged"])
async def test_an_iteration_is_never_given_up_while_its_scheduler_lives(stage: Stage, schedulers: str) -> None:
    await dead(stage, "1", stc=9, rjk="nightly")
    keys: dict[str, Any] = {"living": {"repeat": {"nightly": NOW}}, "damaged": {"repeat": "text"}, "gone": {}}
    await stage.lay(keys[schedulers])
    assert await look(stage) == ["1"]
    assert (await stage.changed())["1"] == {"stc": "10", **({"defa": LIMIT} if schedulers == "gone" else {})}


@pytest.mark.parametrize(
    ("dialect", "version", "collects"),
    [("", "bullmq:5.81.5", "paused"), ("", "bullmq:6.7.0", "wait"), ("v5", "bullmq:6.7.0", "paused")],
)
async def test_while_paused_a_job_joins_the_list_of_its_fleet_and_wakes_nobody(
    stage: Stage, dialect: str, version: str, collects: str
) -> None:
    await dead(stage, "1")
    await stage.lay({"meta": {"paused": "1", "version": version}})
    assert await look(stage, dialect=dialect) == ["1"]
    changed = await stage.changed()
    assert changed[collects] == ["1"]
    assert "marker" not in changed


async def test_one_corrupt_job_or_record_stops_no_other(stage: Stage) -> None:
    await dead(stage, "gone", "odd", "count", "list", "1")
    await stage.client.delete(f"{BASE}gone", f"{BASE}odd", f"{BASE}list:lock", f"{BASE}corral:workers")
    await stage.lay({"odd": "text", "count": {"stc": "x"}, "list:lock": ["t:1"], "corral:workers": "text"})
    assert await look(stage) == ["count", "1"]
    changed = await stage.changed()
    assert (changed["active"], changed["wait"]) == (["list"], ["count", "1"])
    assert (changed["count"], changed["1"]) == ({"stc": "1"}, {"stc": "1"})
    assert changed["gone:lock"] is None


@pytest.mark.parametrize(
    "name", ["wait", "paused", "active", "prioritized", "stalled", "marker", "events", "corral:beats"]
)
async def test_a_key_of_the_queue_of_another_type_is_refused_by_name_before_anything_is_written(
    stage: Stage, name: str
) -> None:
    await dead(stage, "1")
    await stage.client.delete(BASE + name)
    await stage.lay({name: "text"})
    with pytest.raises(RedisRefused, match=r"\(WRONGTYPE\): .*is the prefix shared"):
        await look(stage)
    assert await stage.changed() == {}


async def test_thousands_of_jobs_are_put_back_in_steps_the_oldest_in_front(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(2500, 0, -1)]
    await stage.lay({"active": ids}, {"corral:beats": {**ALIVE, "t": 1}})
    await stage.client.mset({f"{BASE}{id}:lock": "t:1" for id in ids})
    for id in ids:
        await stage.client.hset(f"{BASE}{id}", mapping=job(ats=1))
    answers = [await scripts.recover_silent(stage.caller, stage.keys, "", "looker", 1) for _ in range(3)]
    assert [(len(found), next_ms) for found, next_ms in answers] == [(1000, 0), (1000, 0), (500, 4000)]
    assert await stage.client.llen(f"{BASE}active") == 0
    assert (await stage.client.lrange(f"{BASE}wait", -1, -1)) == [b"j1"]
    assert await stage.client.lrange(f"{BASE}wait", 0, 0) == [b"j2500"]


async def test_nothing_of_active_is_read_while_nobody_is_silent(stage: Stage) -> None:
    # What cannot be read there is not even seen.
    await stage.lay({"active": "text", "corral:beats": ALIVE})
    assert await look(stage) == []
    assert await stage.changed() == LOOKED
