"""priority: a job gets another one, and the place that goes with it."""

from __future__ import annotations

import pytest

from corral import InvalidJob, admin_scripts
from jobs import NOW, Stage, active, job

MARKED = {"marker": {"0": 0}}


async def change(stage: Stage, priority: int, *, lifo: bool = False, job_id: str = "1", dialect: str = "") -> int:
    return await admin_scripts.change_priority(stage.caller, stage.keys, dialect, job_id, priority, lifo)


async def test_a_waiting_job_goes_among_the_prioritized(stage: Stage) -> None:
    await stage.lay(MARKED, {"1": job(), "wait": ["b", "1", "a"]})
    assert await change(stage, 5) == 0
    assert await stage.changed() == {
        "1": {"priority": "5"},
        "wait": ["b", "a"],
        "prioritized": {"1": 5 * 2**32 + 1},
        "pc": "1",
    }


async def test_without_a_priority_it_goes_behind_those_that_wait_or_in_front(stage: Stage) -> None:
    await stage.lay(MARKED, {"1": job(priority=5), "prioritized": {"1": 5 * 2**32 + 1}, "wait": ["b", "a"]})
    await change(stage, 0)
    assert await stage.changed() == {"1": {"priority": "0"}, "prioritized": None, "wait": ["1", "b", "a"]}
    await change(stage, 0, lifo=True)
    assert await stage.changed() == {"wait": ["b", "a", "1"]}


async def test_lifo_puts_it_in_front_of_its_class(stage: Stage) -> None:
    await stage.lay(MARKED, {"1": job(priority=5), "prioritized": {"1": 5 * 2**32 + 1, "2": 7 * 2**32 + 2}})
    await change(stage, 7, lifo=True)
    assert await stage.changed() == {
        "1": {"priority": "7"},
        "prioritized": {"1": 7 * 2**32, "2": 7 * 2**32 + 2},
    }


async def test_a_worker_is_woken(stage: Stage) -> None:
    await stage.lay({"1": job(), "wait": ["1"]})
    await change(stage, 1)
    assert (await stage.changed())["marker"] == {"0": 0}


async def test_a_job_kept_in_the_paused_list_of_5_moves_too(stage: Stage) -> None:
    await stage.lay({"1": job(), "paused": ["b", "1"], "meta": {"paused": "1", "version": "bullmq:5.0.0"}})
    await change(stage, 3)
    changed = await stage.changed()
    assert (changed["paused"], changed["prioritized"]) == (["b"], {"1": 3 * 2**32 + 1})


async def test_a_job_that_waits_for_nothing_yet_only_remembers_it(stage: Stage) -> None:
    await stage.lay({"1": job(delay=9), "delayed": {"1": (NOW + 9) * 4096}}, active("2"))
    assert await change(stage, 3) == 0
    assert await change(stage, 4, job_id="2") == 0
    assert await stage.changed() == {"1": {"priority": "3"}, "2": {"priority": "4"}}


async def test_a_job_that_is_gone_and_a_number_that_is_no_priority_are_told(stage: Stage) -> None:
    await stage.lay()
    assert await change(stage, 3) == -1
    with pytest.raises(InvalidJob, match="priority must be a whole number from 0 to 2097151, got 2097152"):
        await change(stage, 2_097_152)
    assert await stage.changed() == {}
