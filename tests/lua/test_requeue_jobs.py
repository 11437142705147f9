"""requeue: many finished or delayed jobs run again, some at a time."""

from __future__ import annotations

import pytest

from corral import RedisRefused, State, admin_scripts
from jobs import NOW, Stage, job

PARENT = "bull:up:p"


async def requeue(
    stage: Stage, state: State = State.FAILED, until_ms: int | None = NOW, most: int = 1000, dialect: str = ""
) -> int:
    return await admin_scripts.requeue_jobs(stage.caller, stage.keys, dialect, state, until_ms, most)


def ended(**fields: str | int) -> dict[str, str]:
    return job(finishedOn=NOW, processedOn=NOW, atm=1, ats=1, **fields)


async def test_failed_jobs_wait_again_in_the_order_in_which_they_failed(stage: Stage) -> None:
    await stage.lay({"failed": {"1": NOW - 2, "2": NOW - 1, "3": NOW + 1}, "wait": ["a"]})
    await stage.lay({id: ended(failedReason="why", priority=4) for id in "123"})
    assert await requeue(stage) == 2
    gone = {"finishedOn": None, "processedOn": None, "failedReason": None}
    assert await stage.changed() == {
        "1": gone,
        "2": gone,
        "failed": {"3": NOW + 1},
        "wait": ["2", "1", "a"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=failed", "waiting jobId=2 prev=failed"],
    }


async def test_completed_jobs_lose_their_values_and_children_are_open_again(stage: Stage) -> None:
    await stage.lay({"1": ended(returnvalue="7", parentKey=PARENT), "completed": {"1": NOW}, PARENT: job()})
    await stage.lay({f"{PARENT}:processed": {"bull:q:1": "7"}})
    assert await requeue(stage, State.COMPLETED) == 1
    changed = await stage.changed()
    assert changed["1"] == {"finishedOn": None, "processedOn": None, "returnvalue": None}
    assert (changed[f"{PARENT}:processed"], changed[f"{PARENT}:dependencies"]) == (None, {"bull:q:1"})
    assert changed["events"] == ["waiting jobId=1 prev=completed"]


async def test_delayed_jobs_run_whenever_they_are_due(stage: Stage) -> None:
    await stage.lay({"1": job(delay=9), "delayed": {"1": (NOW + 10**12) * 4096}})
    assert await requeue(stage, State.DELAYED, None) == 1
    assert await stage.changed() == {
        "delayed": None,
        "wait": ["1"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=delayed"],
    }


async def test_no_more_than_asked_for_at_a_time(stage: Stage) -> None:
    await stage.lay({"failed": {str(n): NOW - 9 + n for n in range(5)}})
    assert [await requeue(stage, most=2) for _ in range(4)] == [2, 2, 1, 0]
    assert (await stage.changed())["wait"] == ["4", "3", "2", "1", "0"]


async def test_more_than_lua_hands_over_at_once(stage: Stage) -> None:
    await stage.lay({"failed": {f"{n:05}": n for n in range(12_000)}})
    assert await requeue(stage, most=20_000) == 12_000
    changed = await stage.changed()
    assert (changed["failed"], len(changed["wait"]), changed["wait"][-1]) == (None, 12_000, "00000")


async def test_a_paused_queue_wakes_nobody_and_keeps_to_its_layout(stage: Stage) -> None:
    await stage.lay({"failed": {"1": 1}, "1": ended(), "meta": {"paused": "1"}})
    await requeue(stage, dialect="v5")
    changed = await stage.changed()
    assert changed["paused"] == ["1"]
    assert "marker" not in changed


async def test_a_hash_that_is_none_does_not_stop_the_others(stage: Stage) -> None:
    await stage.lay({"failed": {"1": 1, "2": 2}, "1": "text", "2": ended(failedReason="why")})
    assert await requeue(stage) == 2
    changed = await stage.changed()
    assert changed["wait"] == ["2", "1"]
    assert changed["2"]["failedReason"] is None


async def test_nothing_is_moved_into_a_key_that_is_no_list(stage: Stage) -> None:
    await stage.lay({"failed": {"1": 1}, "wait": "text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await requeue(stage)
    assert await stage.changed() == {}
