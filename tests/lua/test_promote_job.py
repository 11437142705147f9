"""promote: one delayed job runs now."""

from __future__ import annotations

import pytest

from corral import RedisRefused, admin_scripts
from jobs import NOW, Stage, job

DUE = (NOW + 60_000) * 4096


async def promote(stage: Stage, job_id: str = "1", dialect: str = "") -> int:
    return await admin_scripts.promote_job(stage.caller, stage.keys, dialect, job_id)


async def test_a_delayed_job_waits_behind_the_others_and_a_worker_is_woken(stage: Stage) -> None:
    await stage.lay({"1": job(delay=60_000), "delayed": {"1": DUE, "2": DUE + 1}, "wait": ["a"]})
    assert await promote(stage) == 0
    assert await stage.changed() == {
        "1": {"delay": "0"},
        "delayed": {"2": DUE + 1},
        "wait": ["1", "a"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=delayed"],
    }


async def test_a_priority_is_kept(stage: Stage) -> None:
    await stage.lay({"1": job(delay=9, priority=3), "delayed": {"1": DUE}, "pc": "4"})
    assert await promote(stage) == 0
    assert await stage.changed() == {
        "1": {"delay": "0"},
        "delayed": None,
        "prioritized": {"1": 3 * 2**32 + 5},
        "pc": "5",
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=delayed"],
    }


@pytest.mark.parametrize(("dialect", "where"), [("v6", "wait"), ("v5", "paused")])
async def test_in_a_paused_queue_it_lands_where_that_layout_keeps_it_and_wakes_nobody(
    stage: Stage, dialect: str, where: str
) -> None:
    await stage.lay({"1": job(delay=9), "delayed": {"1": DUE}, "meta": {"paused": "1"}})
    await promote(stage, dialect=dialect)
    changed = await stage.changed()
    assert changed[where] == ["1"]
    assert "marker" not in changed


async def test_only_a_delayed_job_can_be_promoted(stage: Stage) -> None:
    await stage.lay({"1": job(), "wait": ["1"]})
    assert await promote(stage) == -3
    assert await promote(stage, "none") == -1
    assert await stage.changed() == {}


async def test_a_foreign_value_stops_it_before_anything_is_written(stage: Stage) -> None:
    await stage.lay({"1": job(delay=9), "delayed": {"1": DUE}, "events": "text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await promote(stage)
    assert await stage.changed() == {}
