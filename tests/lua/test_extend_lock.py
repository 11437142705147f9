"""extend_lock: one job is held for longer."""

from __future__ import annotations

from corral import hold_scripts
from jobs import Px, Stage, active

MINUTE = 60_000


async def extend(stage: Stage, token: str = "t:1") -> int:
    return await hold_scripts.extend_lock(stage.caller, stage.keys, "1", token, MINUTE)


async def test_a_lock_lasts_from_now_and_its_job_is_no_suspect(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"stalled": {"1", "2"}})
    assert await extend(stage) == 0
    assert await stage.changed() == {"stalled": {"2"}}
    assert MINUTE - 10_000 < await stage.left_ms("1:lock") <= MINUTE


async def test_no_lock_and_anothers_are_told_apart_and_left_alone(stage: Stage) -> None:
    await stage.lay({"stalled": {"1"}})
    assert await extend(stage) == -2
    await stage.lay({"1:lock": Px("other:1")})
    assert await extend(stage) == -6
    assert await stage.changed() == {}
    assert await stage.left_ms("1:lock") > MINUTE
