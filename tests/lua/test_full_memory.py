"""A Redis whose memory is full: nothing new comes in, by halves least of all, and running jobs still end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import scripts
from corral.errors import RedisRefused
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry, Step
from corral.retention import KEEP_ALL, Keep
from jobs import LOCK_MS, NOW, Px, Stage, active, ids_of, job, new_job, released

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
async def fill(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Call it when everything is laid out: from then on the server is full."""
    assert (await stage.client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"

    async def filled() -> None:
        await stage.client.config_set("maxmemory", 1)

    yield filled
    await stage.client.config_set("maxmemory", 0)


WRITES: dict[str, Callable[[Stage], Awaitable[Any]]] = {
    "add": lambda stage: stage.add(new_job()),
    "add several": lambda stage: stage.add(new_job(delay_ms=9), new_job(priority=1), new_job("1")),
    "progress": lambda stage: scripts.update_progress(stage.caller, stage.keys, "1", "50"),
    "log": lambda stage: scripts.add_log(stage.caller, stage.keys, "1", "row", 5),
    "pause": lambda stage: scripts.pause_queue(stage.caller, stage.keys, "v5"),
    "recover": lambda stage: scripts.recover_stalled(stage.caller, stage.keys, "", NOW, 1000, 1),
}


async def is_refused(stage: Stage, name: str) -> bool:
    """Refused as full, and without a trace."""
    with pytest.raises(RedisRefused) as refused:
        await WRITES[name](stage)
    return refused.value.code == "OOM" and not await stage.changed()


@pytest.mark.parametrize("name", WRITES)
async def test_what_can_wait_is_refused_and_nothing_written(stage: Stage, fill: Callable, name: str) -> None:
    await stage.lay(active("1"), {"wait": ["2"], "2": job(), "stalled": {"1"}, "marker": {"0": 0}})
    await fill()
    assert await is_refused(stage, name)


@pytest.mark.parametrize("name", ["add", "add several", "pause", "recover"])
async def test_a_queue_that_never_was_is_not_begun(stage: Stage, fill: Callable, name: str) -> None:
    await fill()
    assert await is_refused(stage, name)


async def test_a_completed_job_is_written_and_the_next_taken(stage: Stage, fill: Callable) -> None:
    await stage.lay(active("1"), {"wait": ["2"], "2": job(), "delayed": {"3": NOW * 4096}, "3": job(delay=9)})
    await fill()
    settled = await stage.settle(("1", Complete("7", KEEP_ALL)), want=2)
    assert (settled.codes, ids_of(settled)) == ([0], ["2", "3"])
    changed = await stage.changed()
    assert changed["1"] == {"atm": "1", "returnvalue": "7", "finishedOn": str(NOW)}
    assert (changed["completed"], changed["active"]) == ({"1": NOW}, ["3", "2"])
    assert changed["2:lock"] == changed["3:lock"] == Px("t:2")


STEPS = {
    "complete and keep none": (Complete("7", Keep(0)), "1"),
    "fail": (Fail("boom", (), KEEP_ALL, True), "failed"),
    "retry": (Retry("boom", (), False), "wait"),
    "delay": (Delay("boom", (), 700), "delayed"),
    "hand back": (HandBack(), "wait"),
}


@pytest.mark.parametrize("name", STEPS)
async def test_every_step_of_a_running_job_is_written(stage: Stage, fill: Callable, name: str) -> None:
    step: Step
    step, written = STEPS[name]
    await stage.lay(active("1"))
    await fill()
    assert (await stage.settle(("1", step))).codes == [0]
    changed = await stage.changed()
    assert changed.items() >= released("1").items()
    assert written in changed


async def test_the_last_child_still_releases_its_parent(stage: Stage, fill: Callable) -> None:
    child = {"parentKey": "bull:up:P", "parent": '{"id":"P","queueKey":"bull:up"}'}
    await stage.lay(active("1", **child), {"bull:up:P": job(), "bull:up:waiting-children": {"P": 1}})
    await stage.lay({"bull:up:P:dependencies": {"bull:q:1"}})
    await fill()
    await stage.settle(("1", Complete("7", KEEP_ALL)))
    changed = await stage.changed()
    assert (changed["bull:up:wait"], changed["bull:up:P:processed"]) == (["P"], {"bull:q:1": "7"})


@pytest.mark.parametrize("priority", [0, 2])
async def test_what_is_due_is_promoted_and_taken(stage: Stage, fill: Callable, priority: int) -> None:
    await stage.lay({"delayed": {"1": 4096}, "1": job(delay=5, priority=priority)})
    await fill()
    assert ids_of(await stage.take()) == ["1"]


async def test_what_waits_is_taken(stage: Stage, fill: Callable) -> None:
    await stage.lay({"prioritized": {"1": 2**32}, "1": job(priority=1)})
    await fill()
    assert ids_of(await stage.take()) == ["1"]
    assert (await stage.changed())["1:lock"] == Px("t:1")


async def test_locks_of_running_jobs_are_held_on(stage: Stage, fill: Callable) -> None:
    await stage.lay(active("1"), {"1:lock": Px("t:1", 60_000), "stalled": {"1"}})
    await fill()
    assert await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, [("1", "t:1")]) == []
    assert await stage.changed() == {"stalled": None}
    assert await stage.left_ms("1:lock") > 60_000


async def test_a_paused_queue_can_be_resumed(stage: Stage, fill: Callable) -> None:
    await stage.lay({"meta": {"paused": "1"}, "paused": ["2"], "wait": ["1"]})
    await fill()
    assert await scripts.resume_queue(stage.caller, stage.keys)
    assert (await stage.changed())["wait"] == ["1", "2"]
