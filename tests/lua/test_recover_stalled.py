"""recover: a job whose worker died is put back at the second look, and given up after too many."""

from __future__ import annotations

import pytest

from corral import scripts
from jobs import BASE, NOW, Px, Stage, active, job

INTERVAL = 3_600_000
LIMIT = "job stalled more than allowable limit"
GATE = {"stalled-check": Px(str(NOW))}


async def look(stage: Stage, most: int = 1, dialect: str = "") -> list[str]:
    return sorted(await scripts.recover_stalled(stage.caller, stage.keys, dialect, NOW, INTERVAL, most))


async def dead(stage: Stage, *ids: str, **fields: str | int) -> None:
    """Active jobs without a lock that an earlier look has seen already."""
    await stage.lay(active(*ids, **fields), {"stalled": set(ids)})
    await stage.client.delete(*[f"{BASE}{id}:lock" for id in ids])


async def test_two_looks_are_needed(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"wait": ["b", "a"]})
    await stage.client.delete(f"{BASE}1:lock")
    await stage.lay({})
    assert await look(stage) == []
    assert await stage.changed() == {"stalled": {"1", "2"}, **GATE}
    assert INTERVAL - 60_000 < await stage.left_ms("stalled-check") <= INTERVAL

    await stage.client.delete(f"{BASE}stalled-check")
    await stage.lay({})
    assert await look(stage) == ["1"]
    assert await stage.changed() == {
        "1": {"stc": "1"},
        "active": ["2"],
        "stalled": {"2"},
        "wait": ["b", "a", "1"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=active", "stalled jobId=1"],
        **GATE,
    }


async def test_a_look_within_the_interval_of_another_does_nothing(stage: Stage) -> None:
    await dead(stage, "1")
    await stage.lay({"stalled-check": Px("5")})
    assert await look(stage) == []
    assert await stage.changed() == {}


async def test_a_living_lock_keeps_a_job_from_being_touched(stage: Stage) -> None:
    await stage.lay(active("1"), {"stalled": {"1"}})
    assert await look(stage) == []
    assert await stage.changed() == GATE


async def test_a_suspect_that_ended_meanwhile_is_forgotten(stage: Stage) -> None:
    await stage.lay({"stalled": {"1"}, "1": job(), "completed": {"1": 5}})
    assert await look(stage) == []
    assert await stage.changed() == {"stalled": None, **GATE}


@pytest.mark.parametrize(("stalls", "most", "given_up"), [(0, 1, False), (1, 1, True), (0, 0, True), (1, 2, False)])
async def test_a_job_that_stalls_too_often_is_left_to_fail(
    stage: Stage, stalls: int, most: int, given_up: bool
) -> None:
    await dead(stage, "1", **({"stc": stalls} if stalls else {}))
    await stage.lay({})
    assert await look(stage, most) == ["1"]
    changed = await stage.changed()
    assert changed["1"] == {"stc": str(stalls + 1), **({"defa": LIMIT} if given_up else {})}
    assert changed["wait"] == ["1"]


@pytest.mark.parametrize("living", [True, False])
async def test_an_iteration_is_never_given_up_while_its_scheduler_lives(stage: Stage, living: bool) -> None:
    await dead(stage, "1", stc=9, rjk="nightly")
    if living:
        await stage.lay({"repeat": {"nightly": NOW}, "repeat:nightly": {"ic": "1"}})
    await stage.lay({})
    await look(stage)
    assert (await stage.changed())["1"] == {"stc": "10", **({} if living else {"defa": LIMIT})}


async def test_a_prioritized_job_comes_to_the_front_of_all(stage: Stage) -> None:
    await dead(stage, "1", priority=5)
    await stage.lay({"wait": ["a"], "prioritized": {"p": 2**32}})
    await look(stage)
    changed = await stage.changed()
    assert changed["wait"] == ["a", "1"]
    assert "prioritized" not in changed


async def test_an_active_id_without_a_job_is_dropped(stage: Stage) -> None:
    await dead(stage, "odd", "gone", "1")
    await stage.client.delete(f"{BASE}gone", f"{BASE}odd")
    await stage.lay({"odd": "text"})
    assert await look(stage) == ["1"]
    assert await stage.changed() == {
        "1": {"stc": "1"},
        "active": None,
        "stalled": None,
        "wait": ["1"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=active", "stalled jobId=1"],
        **GATE,
    }


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


async def test_thousands_of_active_jobs_are_all_remembered(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(10_001)]
    await stage.lay({"active": ids})
    assert await look(stage) == []
    assert (await stage.changed())["stalled"] == set(ids)


async def test_the_stream_is_trimmed_at_a_look(stage: Stage) -> None:
    await stage.lay({"meta": {"opts.maxLenEvents": "100"}})
    for _ in range(400):
        await stage.client.xadd(f"{BASE}events", {"event": "old"})
    await look(stage)
    assert await stage.client.xlen(f"{BASE}events") <= 200


@pytest.mark.parametrize(("late_ms", "looks"), [(6000, False), (1000, True)])
async def test_a_look_that_was_stuck_on_its_way_does_nothing(stage: Stage, late_ms: int, looks: bool) -> None:
    await dead(stage, "1")
    await stage.lay({})
    asked_ms = await scripts.redis_ms(stage.caller) - late_ms
    found = await scripts.recover_stalled(stage.caller, stage.keys, "", NOW, INTERVAL, 1, asked_ms=asked_ms)
    assert found == (["1"] if looks else [])
    assert bool(await stage.changed()) == looks
