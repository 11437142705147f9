"""remove_child_dependency: a parent waits no longer for one of its children. The parent lives in queue `up`."""

from __future__ import annotations

from typing import Any

import pytest

from corral import flow_scripts
from jobs import NOW, Stage, job

UP = "bull:up:"
P = f"{UP}P"
CHILD = job(parentKey=P, parent='{"id":"P","queueKey":"bull:up"}')
UNTIED = {"1": {"parentKey": None, "parent": None}}


def parent(*children: str, **fields: str | int) -> dict[str, Any]:
    return {P: job(**fields), f"{UP}waiting-children": {"P": 5}, f"{P}:dependencies": set(children)}


async def untie(stage: Stage) -> int:
    return await flow_scripts.remove_child_dependency(stage.caller, stage.keys, "", NOW, "1")


async def test_a_child_that_is_untied_is_a_job_like_any_other(stage: Stage) -> None:
    await stage.lay({"1": CHILD, "wait": ["1"]}, parent("bull:q:1", "bull:q:2"))
    assert await untie(stage) == 1
    assert await stage.changed() == {**UNTIED, f"{P}:dependencies": {"bull:q:2"}}


async def test_the_last_one_releases_the_parent(stage: Stage) -> None:
    await stage.lay({"1": CHILD, "wait": ["1"]}, parent("bull:q:1"))
    assert await untie(stage) == 1
    assert await stage.changed() == {
        **UNTIED,
        f"{P}:dependencies": None,
        f"{UP}waiting-children": None,
        f"{UP}wait": ["P"],
        f"{UP}marker": {"0": 0},
        f"{UP}events": ["waiting jobId=P prev=waiting-children"],
    }


async def test_a_parent_that_runs_is_only_told(stage: Stage) -> None:
    await stage.lay({"1": CHILD, "wait": ["1"]}, {P: job(), f"{UP}active": ["P"], f"{P}:dependencies": {"bull:q:1"}})
    assert await untie(stage) == 1
    assert await stage.changed() == {**UNTIED, f"{P}:dependencies": None}


NOT_UNTIED: dict[str, tuple[dict[str, Any], int]] = {
    "no such job": (parent("bull:q:1"), -1),
    "its parent is gone": ({"1": CHILD}, -5),
    "it has no parent": ({"1": job()}, 0),
    "its parent waits for others": ({"1": CHILD, **parent("bull:q:2")}, 0),
}


@pytest.mark.parametrize(("keys", "code"), NOT_UNTIED.values(), ids=NOT_UNTIED)
async def test_otherwise_nothing_is_written(stage: Stage, keys: dict[str, Any], code: int) -> None:
    await stage.lay(keys)
    assert await untie(stage) == code
    assert await stage.changed() == {}
