"""delay: a delayed job gets another time."""

from __future__ import annotations

from corral import admin_scripts
from jobs import NOW, Stage, job


async def change(stage: Stage, job_id: str, delay_ms: int) -> int:
    return await admin_scripts.change_delay(stage.caller, stage.keys, NOW, job_id, delay_ms)


async def test_it_is_due_so_long_from_now_and_workers_look_again_for_the_earliest(stage: Stage) -> None:
    await stage.lay({"1": job(delay=60_000), "delayed": {"1": (NOW + 59_000) * 4096, "2": (NOW + 9000) * 4096}})
    assert await change(stage, "1", 5000) == 0
    assert await stage.changed() == {
        "1": {"delay": "5000"},
        "delayed": {"1": (NOW + 5000) * 4096, "2": (NOW + 9000) * 4096},
        "marker": {"1": NOW + 5000},
        "events": [f"delayed jobId=1 delay={NOW + 5000}"],
    }


async def test_behind_those_that_are_due_in_the_same_ms(stage: Stage) -> None:
    await stage.lay({"1": job(delay=1), "delayed": {"1": (NOW + 1) * 4096, "2": (NOW + 7) * 4096}})
    await change(stage, "1", 7)
    assert (await stage.changed())["delayed"]["1"] == (NOW + 7) * 4096 + 1


async def test_no_delay_means_due_now(stage: Stage) -> None:
    await stage.lay({"1": job(delay=9), "delayed": {"1": (NOW + 9) * 4096}})
    await change(stage, "1", 0)
    changed = await stage.changed()
    assert (changed["delayed"], changed["1"]) == ({"1": NOW * 4096}, {"delay": "0"})


async def test_a_job_that_is_not_delayed_stays_as_it_is(stage: Stage) -> None:
    await stage.lay({"1": job(), "wait": ["1"]})
    assert await change(stage, "1", 5) == -3
    assert await change(stage, "none", 5) == -1
    assert await stage.changed() == {}
