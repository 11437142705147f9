"""obliterate: a paused queue is deleted with all that belongs to it."""

from __future__ import annotations

from typing import Any

import pytest

from corral import admin_scripts
from jobs import NOW, Px, Stage, active, job

PAUSED = {"meta": {"paused": "1"}}


async def obliterate(stage: Stage, *, force: bool = False, most: int = 1000) -> int:
    return await admin_scripts.obliterate_queue(stage.caller, stage.keys, "", NOW, force, most)


def everything() -> dict[str, Any]:
    ids = ["w1", "w2", "p1", "d1", "c1", "f1", f"repeat:s:{NOW}"]
    return {
        **{id: job(deid=f"d-{id}") for id in ids},
        **{f"de:d-{id}": id for id in ids},
        "w1:logs": ["row"],
        "wait": ["w1"],
        "paused": ["w2"],
        "prioritized": {"p1": 2**32},
        "delayed": {"d1": 1, f"repeat:s:{NOW}": 2},
        "completed": {"c1": 1},
        "failed": {"f1": 1},
        "repeat": {"s": NOW},
        "repeat:s": {"name": "n", "ic": "1"},
        "waiting-children": {"up": 1},
        "up": job(),
        "up:dependencies": {"bull:q:w1", "bull:other:c"},
        "bull:other:c": job(parentKey="bull:q:up", parent="{}"),
        "id": "9",
        "pc": "1",
        "marker": {"1": 5},
        "stalled": {"x"},
        "stalled-check": Px("1"),
        "limiter": Px("3"),
        "metrics:completed": {"count": "1"},
        "metrics:completed:data": ["1"],
        "metrics:failed": {"count": "1"},
        "metrics:failed:data": ["1"],
        "corral:beats": {"w": 5},
        "corral:workers": {"w": "{}"},
        "corral:orders": {"w": "quiet:5"},
        "corral:look": Px("1"),
    }


async def test_nothing_of_the_queue_is_left_and_a_child_elsewhere_forgets_its_parent(stage: Stage) -> None:
    await stage.client.xadd("bull:q:events", {"event": "added"})
    await stage.lay(PAUSED, everything(), {"bull:q2:wait": ["1"]})
    assert await obliterate(stage) == 0
    left = [name async for name in stage.client.scan_iter("*")]
    assert sorted(left) == [b"bull:other:c", b"bull:q2:wait"]
    assert (await stage.changed())["bull:other:c"] == {"parentKey": None, "parent": None}


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_it_comes_to_its_end_in_steps(stage: Stage, most: int) -> None:
    await stage.lay(PAUSED, everything())
    steps = 1
    while await obliterate(stage, most=most) == 1:
        steps += 1
        assert steps < 20
        assert await stage.client.hexists("bull:q:meta", "paused")
    assert steps > 10 / most
    assert [name async for name in stage.client.scan_iter("*")] == [b"bull:other:c"]


async def test_a_queue_that_is_not_paused_stays(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "1": job()})
    assert await obliterate(stage, force=True) == -1
    assert await stage.changed() == {}


async def test_active_jobs_stay_unless_forced(stage: Stage) -> None:
    await stage.lay(PAUSED, active("1"), {"wait": ["2"], "2": job()})
    assert await obliterate(stage) == -2
    assert await stage.changed() == {}
    assert await obliterate(stage, force=True) == 0
    assert await stage.changed() == {"1": None, "1:lock": None, "2": None, "active": None, "meta": None, "wait": None}


async def test_it_can_be_asked_first(stage: Stage) -> None:
    await stage.lay(PAUSED, everything())
    assert await obliterate(stage, most=0) == 1
    assert await stage.changed() == {}


async def test_a_parent_elsewhere_is_released_by_its_last_child(stage: Stage) -> None:
    await stage.lay(PAUSED, {"failed": {"1": 1}, "1": job(parentKey="bull:up:p"), "bull:up:p": job()})
    await stage.lay({"bull:up:p:dependencies": {"bull:q:1"}, "bull:up:waiting-children": {"p": 1}})
    assert await obliterate(stage) == 0
    changed = await stage.changed()
    assert changed["bull:up:wait"] == ["p"]
    assert changed["bull:up:events"] == ["waiting jobId=p prev=waiting-children"]


async def test_a_child_that_has_found_another_parent_keeps_it(stage: Stage) -> None:
    await stage.lay(PAUSED, {"waiting-children": {"p": 1}, "p": job(), "p:dependencies": {"bull:other:c"}})
    await stage.lay({"bull:other:c": job(parentKey="bull:new:p", parent="{}")})
    assert await obliterate(stage) == 0
    assert "bull:other:c" not in await stage.changed()


async def test_damaged_children_do_not_hold_it_up(stage: Stage) -> None:
    await stage.lay(PAUSED, {"waiting-children": {"p": 1, "r": 2}, "p:dependencies": "text"})
    await stage.lay({"r:dependencies": {"bull:other:c"}, "bull:other:c": "text"})
    assert await obliterate(stage) == 0
    changed = await stage.changed()
    assert (changed["waiting-children"], changed["p:dependencies"], changed["meta"]) == (None, None, None)
