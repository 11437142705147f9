"""reclaim: jobs of a take whose answer was lost are found by its token, as they were before, and held anew."""

from __future__ import annotations

import pytest

from corral import scripts
from jobs import LOCK_MS, Px, Stage, active, job


async def test_the_jobs_of_one_token_are_found_and_only_their_locks_last_anew(stage: Stage) -> None:
    old = 60_000
    await stage.lay(active("4", "3", "2", "1"), {"3:lock": Px("t:2", old), "2:lock": Px("t:10", old)})
    await stage.lay({"1:lock": Px("t:1", old), "elsewhere": job(), "elsewhere:lock": Px("t:1", old)})
    found = dict(await scripts.reclaim_jobs(stage.caller, stage.keys, "t:1", LOCK_MS))
    assert found.keys() == {"1", "4"}
    assert found["1"][b"name"] == b"n"
    assert found["1"][b"ats"] == b"0"
    assert await scripts.reclaim_jobs(stage.caller, stage.keys, "t:7", LOCK_MS) == []
    assert await stage.changed() == {}
    assert [await stage.left_ms(f"{id}:lock") > old for id in ("1", "4")] == [True, True]
    assert [await stage.left_ms(f"{id}:lock") <= old for id in ("2", "3", "elsewhere")] == [True, True, True]


async def test_what_a_take_gave_is_what_a_reclaim_finds(stage: Stage) -> None:
    await stage.lay({"wait": ["3", "2", "1"], "1": job(ats=2), "2": job(ats=1), "3": job()})
    taken = await stage.take(token="w:5")
    await stage.changed()
    found = dict(await scripts.reclaim_jobs(stage.caller, stage.keys, "w:5", LOCK_MS))
    assert found.keys() == dict(taken.jobs).keys() == {"1", "2", "3"}
    for id, before in taken.jobs:
        # A first take has written these two; `ats` is told as it was, the time of the take is told anew.
        found[id].pop(b"processedOn")
        assert found[id] == {b"ats": b"0", **before}
    assert await stage.changed() == {}


@pytest.mark.parametrize("ats", ["x", ""])
async def test_a_number_of_starts_that_is_none_is_no_obstacle(stage: Stage, ats: str) -> None:
    await stage.lay(active("1"), {"1": job(ats=ats)})
    ((id, fields),) = await scripts.reclaim_jobs(stage.caller, stage.keys, "t:1", LOCK_MS)
    assert (id, fields[b"ats"]) == ("1", b"0")
