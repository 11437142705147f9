"""renew: locks of running jobs are held for longer, and lost ones told."""

from __future__ import annotations

from corral import scripts
from jobs import LOCK_MS, Px, Stage, active


async def test_held_locks_are_prolonged_and_no_longer_suspected(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"1:lock": Px("t:1", 60_000), "stalled": {"1", "2"}})
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, [("1", "t:1")]) == []
    assert await stage.changed() == {"stalled": {"2"}}
    assert LOCK_MS - 60_000 < await stage.left_ms("1:lock") <= LOCK_MS


async def test_lost_locks_are_told_and_left_as_they_are(stage: Stage) -> None:
    await stage.lay(active("4", "3", "2", "1"), {"2:lock": Px("other:1", 60_000), "stalled": {"1", "2", "3", "4"}})
    await stage.client.delete("bull:q:3:lock")
    await stage.lay({})
    held = [("1", "t:1"), ("2", "t:1"), ("3", "t:1"), ("4", "t:1"), ("never", "t:1")]
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, held) == held[1:3] + held[4:]
    assert await stage.changed() == {"stalled": {"2", "3"}}
    assert await stage.left_ms("2:lock") <= 60_000


async def test_of_two_runs_of_one_job_only_the_lost_one_is_told(stage: Stage) -> None:
    await stage.lay(active("1", token="t:2"))
    held = [("1", "t:1"), ("1", "t:2")]
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, held) == [("1", "t:1")]
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, held[::-1]) == [("1", "t:1")]


async def test_nothing_held_changes_nothing(stage: Stage) -> None:
    await stage.lay(active("1"))
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, []) == []
    assert await stage.changed() == {}
