"""remove: a job scheduler ends, with the iteration that was to come."""

from __future__ import annotations

from typing import Any

from corral import scheduler_scripts
from jobs import NOW, Stage, job
from schedulers import pending, record

DUE = NOW + 5000
ID = f"repeat:s:{DUE}"
SCHEDULER: dict[str, Any] = {"repeat": {"s": DUE, "other": 1}, "repeat:s": record()}


async def remove(stage: Stage, scheduler: str = "s") -> bool:
    return await scheduler_scripts.remove_scheduler(stage.caller, stage.keys, scheduler)


async def test_a_delayed_iteration_goes_with_it(stage: Stage) -> None:
    delayed = {"delayed": {ID: DUE * 4096, "a": DUE * 4096 + 1}, f"{ID}:logs": ["row"]}
    await stage.lay(SCHEDULER, delayed, pending("s", DUE))
    assert await remove(stage)
    assert await stage.changed() == {
        "repeat": {"other": 1},
        "repeat:s": None,
        "delayed": {"a": DUE * 4096 + 1},
        ID: None,
        f"{ID}:logs": None,
        "events": [f"removed jobId={ID} prev=delayed"],
    }


async def test_an_iteration_that_waits_already_is_left_to_run_once(stage: Stage) -> None:
    await stage.lay(SCHEDULER, {"wait": [ID]}, pending("s", DUE))
    assert await remove(stage)
    assert await stage.changed() == {"repeat": {"other": 1}, "repeat:s": None}


async def test_the_iteration_of_the_oldest_kind_is_found_by_its_ms(stage: Stage) -> None:
    key, id = "tick::::0 3 * * *", f"repeat:0123456789abcdef:{DUE}"
    await stage.lay(
        {"repeat": {key: DUE}, "delayed": {id: DUE * 4096 + 1, "a": DUE * 4096}, id: job(rjk=key), "a": job()}
    )
    assert await remove(stage, key)
    changed = await stage.changed()
    assert (changed[id], changed["delayed"], changed["repeat"]) == (None, {"a": DUE * 4096}, None)


async def test_a_retry_that_is_due_in_the_same_ms_is_not_the_pending_one(stage: Stage) -> None:
    key, id, old = "tick::::0 3 * * *", f"repeat:0123456789abcdef:{DUE}", f"repeat:0123456789abcdef:{NOW}"
    delayed = {"delayed": {old: DUE * 4096, id: DUE * 4096 + 1}}
    await stage.lay({"repeat": {key: DUE}, id: job(rjk=key), old: job(rjk=key)}, delayed)
    assert await remove(stage, key)
    assert (await stage.changed())["delayed"] == {old: DUE * 4096}


async def test_what_is_not_there_changes_nothing(stage: Stage) -> None:
    await stage.lay(SCHEDULER)
    assert not await remove(stage, "t")
    assert await stage.changed() == {}
