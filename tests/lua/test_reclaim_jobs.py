"""reclaim: jobs of a take whose answer was lost are found by its token."""

from __future__ import annotations

from corral import scripts
from jobs import Px, Stage, active, job


async def test_the_jobs_of_one_token_are_found_and_nothing_is_written(stage: Stage) -> None:
    await stage.lay(active("4", "3", "2", "1"), {"3:lock": Px("t:2"), "2:lock": Px("t:10")})
    await stage.lay({"elsewhere": job(), "elsewhere:lock": Px("t:1")})
    found = dict(await scripts.reclaim_jobs(stage.caller, stage.keys, "t:1"))
    assert found.keys() == {"1", "4"}
    assert found["1"][b"name"] == b"n"
    assert found["1"][b"ats"] == b"1"
    assert await scripts.reclaim_jobs(stage.caller, stage.keys, "t:7") == []
    assert await stage.changed() == {}


async def test_what_a_take_took_is_what_a_reclaim_finds(stage: Stage) -> None:
    await stage.lay({"wait": ["2", "1"], "1": job(), "2": job()})
    taken = await stage.take(token="w:5")
    await stage.changed()
    found = await scripts.reclaim_jobs(stage.caller, stage.keys, "w:5")
    assert {id for id, _ in found} == {id for id, _ in taken.jobs} == {"1", "2"}
    assert await stage.changed() == {}
