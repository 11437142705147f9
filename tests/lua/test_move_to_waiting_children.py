"""move_to_waiting_children: a running job waits for its open children by its own wish."""

from __future__ import annotations

import pytest

from corral import hold_scripts
from jobs import BASE, NOW, Px, Stage, active, job, released

CHILD = "bull:c:7"
OPEN = {"1:dependencies": {CHILD, "bull:c:8"}}


async def move(stage: Stage, child: str | None = None) -> int:
    return await hold_scripts.move_to_waiting_children(stage.caller, stage.keys, NOW, "1", "t:1", child)


@pytest.mark.parametrize("child", [None, CHILD])
async def test_a_job_waits_for_all_its_children_or_one(stage: Stage, child: str | None) -> None:
    await stage.lay(active("2", "1", atm=1), OPEN, {"stalled": {"1"}, "wait": ["3"]})
    assert await move(stage, child) == 0
    assert await stage.changed() == {
        **released("1", left=["2"]),
        "stalled": None,
        "waiting-children": {"1": NOW},
        "events": ["waiting-children jobId=1 prev=active"],
    }


@pytest.mark.parametrize(("keys", "child"), [({}, None), (OPEN, "bull:c:9"), ({}, CHILD)])
async def test_without_an_open_child_it_goes_on(stage: Stage, keys: dict, child: str | None) -> None:
    await stage.lay(active("1"), keys)
    assert await move(stage, child) == 1
    assert await stage.changed() == {}


async def test_a_child_that_failed_its_parent_forbids_to_wait(stage: Stage) -> None:
    await stage.lay(active("1"), OPEN, {"1:unsuccessful": {"bull:c:6": NOW}})
    assert await move(stage) == -9
    assert await stage.changed() == {}


@pytest.mark.parametrize(
    ("code", "before"),
    [(-1, {"1": None}), (-1, {"1": "text"}), (-2, {"1:lock": None}), (-6, {"1:lock": Px("other:1")})],
)
async def test_a_refused_move_changes_nothing(stage: Stage, code: int, before: dict) -> None:
    await stage.lay(active("1"), OPEN)
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    assert await move(stage) == code
    assert await stage.changed() == {}


async def test_a_job_that_is_not_active_is_refused_and_its_lock_dropped(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:lock": Px("t:1"), "wait": ["1"]}, OPEN)
    assert await move(stage) == -3
    assert await stage.changed() == {"1:lock": None}
