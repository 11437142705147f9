"""A place below the queue's global concurrency that is free again wakes a worker for what was added meanwhile."""

from __future__ import annotations

import pytest

from corral import hold_scripts
from corral.lifecycle import Complete
from corral.retention import KEEP_ALL
from jobs import NOW, Stage, active, job

BUSY = {"meta": {"concurrency": "1"}, "wait": ["w"], "w": job()}


async def let_go(stage: Stage, how: str) -> None:
    if how == "settled":
        await stage.settle(("1", Complete("null", KEEP_ALL)))
    elif how == "delayed":
        await hold_scripts.move_to_delayed(stage.caller, stage.keys, "", NOW, "1", "t:1", NOW + 5000)
    else:
        await hold_scripts.move_to_waiting_children(stage.caller, stage.keys, NOW, "1", "t:1", None)


WAYS = ["settled", "delayed", "waiting for children"]


@pytest.mark.parametrize("how", WAYS)
async def test_the_job_that_leaves_wakes_a_worker_for_one_that_waits(stage: Stage, how: str) -> None:
    children = {"1:dependencies": {"bull:q:c"}} if how == "waiting for children" else {}
    await stage.lay(active("1"), BUSY, children)
    await let_go(stage, how)
    assert (await stage.changed())["marker"]["0"] == 0


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    "still",
    [
        {"meta": {"concurrency": "1"}},
        {**BUSY, "meta": {"concurrency": "1", "paused": "1"}},
        {**BUSY, "meta": {"opts.maxLenEvents": "5"}},
    ],
    ids=["nothing waits", "paused", "no limit"],
)
async def test_it_wakes_nobody_in_vain(stage: Stage, how: str, still: dict) -> None:
    children = {"1:dependencies": {"bull:q:c"}} if how == "waiting for children" else {}
    await stage.lay(active("1"), still, children)
    await let_go(stage, how)
    assert "0" not in ((await stage.changed()).get("marker") or {})
