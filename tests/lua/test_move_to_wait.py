"""move_to_wait: a running job goes back to the front of its queue by its own wish."""

from __future__ import annotations

import pytest

from corral import hold_scripts
from jobs import BASE, Px, Stage, active, job, released

SAID = ["waiting jobId=1 prev=active"]
CLASS = 3 * 2**32


async def move(stage: Stage, dialect: str = "") -> int:
    return await hold_scripts.move_to_wait(stage.caller, stage.keys, dialect, "1", "t:1")


async def test_a_job_is_next_again_and_no_attempt_is_counted(stage: Stage) -> None:
    await stage.lay(active("2", "1", atm=1), {"wait": ["b", "a"], "stalled": {"1"}})
    assert await move(stage) == 0
    assert await stage.changed() == {
        **released("1", left=["2"]),
        "stalled": None,
        "wait": ["b", "a", "1"],
        "marker": {"0": 0},
        "events": SAID,
    }


async def test_it_leads_its_class_of_priority(stage: Stage) -> None:
    await stage.lay(active("1", priority=3), {"prioritized": {"a": CLASS + 1, "z": CLASS - 1}, "pc": "8"})
    assert await move(stage) == 0
    assert await stage.changed() == {
        **released("1"),
        "prioritized": {"z": CLASS - 1, "1": CLASS, "a": CLASS + 1},
        "marker": {"0": 0},
        "events": SAID,
    }


async def test_in_a_paused_queue_of_bullmq_5_it_goes_where_that_keeps_its_jobs(stage: Stage) -> None:
    await stage.lay(active("1"), {"meta": {"paused": "1", "version": "bullmq:5.81.5"}, "paused": ["a"]})
    assert await move(stage) == 0
    changed = await stage.changed()
    assert changed["paused"] == ["a", "1"]
    assert "marker" not in changed


@pytest.mark.parametrize(
    ("code", "before"),
    [(-1, {"1": None}), (-1, {"1": "text"}), (-2, {"1:lock": None}), (-6, {"1:lock": Px("other:1")})],
)
async def test_a_refused_move_changes_nothing(stage: Stage, code: int, before: dict) -> None:
    await stage.lay(active("1"))
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    assert await move(stage) == code
    assert await stage.changed() == {}


async def test_a_job_that_is_not_active_is_refused_and_its_lock_dropped(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:lock": Px("t:1"), "wait": ["1"]})
    assert await move(stage) == -3
    assert await stage.changed() == {"1:lock": None}
