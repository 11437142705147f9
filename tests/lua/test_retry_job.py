"""retry: one finished job runs again, and is its parent's open child again."""

from __future__ import annotations

from typing import Any

import pytest

from corral import State, admin_scripts
from jobs import NOW, Stage, job

PARENT = "bull:up:p"


async def retry(
    stage: Stage,
    job_id: str = "1",
    state: State = State.FAILED,
    *,
    lifo: bool = False,
    made: bool = False,
    started: bool = False,
    dialect: str = "",
) -> int:
    return await admin_scripts.retry_job(stage.caller, stage.keys, dialect, job_id, state, lifo, made, started)


def failed(**fields: str | int) -> dict[str, Any]:
    ended = {"finishedOn": NOW - 9, "processedOn": NOW - 99, "atm": 2, "ats": 3, "stacktrace": '["s"]'}
    return {"1": job(**ended, failedReason="why", **fields), "failed": {"1": NOW - 9}}


async def test_a_failed_job_waits_again_and_its_attempts_count_on(stage: Stage) -> None:
    await stage.lay(failed(), {"wait": ["a"], "failed": {"2": NOW}})
    assert await retry(stage) == 0
    assert await stage.changed() == {
        "1": {"finishedOn": None, "processedOn": None, "failedReason": None},
        "failed": {"2": NOW},
        "wait": ["1", "a"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=failed"],
    }


async def test_a_completed_job_loses_its_value(stage: Stage) -> None:
    await stage.lay({"1": job(finishedOn=NOW, processedOn=NOW, atm=1, returnvalue="7"), "completed": {"1": NOW}})
    assert await retry(stage, state=State.COMPLETED) == 0
    assert await stage.changed() == {
        "1": {"finishedOn": None, "processedOn": None, "returnvalue": None},
        "completed": None,
        "wait": ["1"],
        "marker": {"0": 0},
        "events": ["waiting jobId=1 prev=completed"],
    }


async def test_lifo_puts_it_in_front(stage: Stage) -> None:
    await stage.lay(failed(), {"wait": ["b", "a"]})
    await retry(stage, lifo=True)
    assert (await stage.changed())["wait"] == ["b", "a", "1"]


async def test_a_priority_is_kept(stage: Stage) -> None:
    await stage.lay(failed(priority=2))
    await retry(stage, lifo=True)
    changed = await stage.changed()
    assert changed["prioritized"] == {"1": 2 * 2**32 + 1}
    assert "wait" not in changed


async def test_attempts_and_starts_are_reset_on_request(stage: Stage) -> None:
    await stage.lay(failed())
    await retry(stage, made=True)
    assert (await stage.changed())["1"] == {"finishedOn": None, "processedOn": None, "failedReason": None, "atm": None}
    await stage.client.flushall()
    await stage.lay(failed())
    await retry(stage, started=True)
    assert (await stage.changed())["1"] == {"finishedOn": None, "processedOn": None, "failedReason": None, "ats": None}


@pytest.mark.parametrize(
    "noted",
    [{f"{PARENT}:unsuccessful": {"bull:q:1": NOW}}, {f"{PARENT}:failed": {"bull:q:1": "why"}}],
    ids=["fails its parent", "ignored"],
)
async def test_a_failed_child_is_open_again(stage: Stage, noted: dict[str, Any]) -> None:
    await stage.lay(failed(parentKey=PARENT), {PARENT: job()}, noted)
    await retry(stage)
    changed = await stage.changed()
    assert changed[next(iter(noted))] is None
    assert changed[f"{PARENT}:dependencies"] == {"bull:q:1"}
    assert PARENT not in changed


async def test_a_completed_child_is_open_again(stage: Stage) -> None:
    await stage.lay(
        {"1": job(returnvalue="7", parentKey=PARENT), "completed": {"1": NOW}, PARENT: job()},
        {f"{PARENT}:processed": {"bull:q:1": "7", "bull:q:2": "8"}},
    )
    await retry(stage, state=State.COMPLETED)
    changed = await stage.changed()
    assert changed[f"{PARENT}:processed"] == {"bull:q:1": None}
    assert changed[f"{PARENT}:dependencies"] == {"bull:q:1"}


async def test_a_parent_that_is_gone_or_does_not_know_the_child_gets_none(stage: Stage) -> None:
    await stage.lay(failed(parentKey=PARENT))
    await retry(stage)
    assert [name for name in await stage.changed() if name.startswith(PARENT)] == []
    await stage.lay(failed(parentKey=PARENT), {f"{PARENT}:unsuccessful": {"bull:q:1": NOW}})
    await retry(stage)
    assert [name for name in await stage.changed() if name.startswith(PARENT)] == []
    await stage.client.flushall()
    await stage.lay(failed(parentKey=PARENT), {PARENT: job()})
    await retry(stage)
    assert [name for name in await stage.changed() if name.startswith(PARENT)] == []


async def test_a_paused_queue_in_the_layout_of_5_gets_it_into_its_list(stage: Stage) -> None:
    await stage.lay(failed(), {"meta": {"paused": "1"}})
    await retry(stage, dialect="v5")
    changed = await stage.changed()
    assert changed["paused"] == ["1"]
    assert "marker" not in changed


async def test_a_job_in_another_state_stays_as_it_is(stage: Stage) -> None:
    await stage.lay(failed())
    assert await retry(stage, state=State.COMPLETED) == -3
    assert await retry(stage, state=State.WAITING) == -3
    assert await retry(stage, "none") == -1
    assert await stage.changed() == {}
