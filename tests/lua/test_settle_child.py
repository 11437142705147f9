"""settle, seen from the parent of the job: its books, and the moment it may run. The parent lives in queue `up`."""

from __future__ import annotations

import pytest

from corral import flow_scripts
from corral.lifecycle import Complete, Fail, Retry
from corral.retention import KEEP_ALL, Keep
from jobs import NOW, Stage, active, job, released

UP = "bull:up:"
P = "bull:up:P"
C1, C2 = "bull:q:1", "bull:q:2"
CHILD = {"parentKey": P, "parent": '{"id":"P","queueKey":"bull:up"}'}
DONE = Complete('{"v":1}', KEEP_ALL)
FAIL = Fail("boom", (), KEEP_ALL, False)
RELEASED = "waiting jobId=P prev=waiting-children"


def child(policy: str = "") -> dict[str, str]:
    flag = f',"{policy}":true' if policy else ""
    return {"parentKey": P, "parent": f'{{"id":"P","queueKey":"bull:up"{flag}}}'}


def family(*children: str, **parent: str | int) -> dict:
    """The parent, waiting for these children; another job waits in its queue."""
    waiting = {P: job(**parent), f"{UP}waiting-children": {"P": NOW - 9}, f"{UP}wait": ["w"]}
    return {**waiting, f"{P}:dependencies": set(children)}


async def ups(stage: Stage) -> dict:
    """What changed outside the child's queue."""
    return {name: value for name, value in (await stage.changed()).items() if name.startswith("bull:up:")}


async def test_a_completed_child_leaves_its_value_with_the_parent(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), family(C1, C2))
    await stage.settle(("1", DONE))
    assert await stage.changed() == {
        "1": {"atm": "1", "returnvalue": '{"v":1}', "finishedOn": str(NOW)},
        **released("1"),
        "completed": {"1": NOW},
        "events": ['completed jobId=1 returnvalue={"v":1} prev=active', "drained"],
        f"{P}:dependencies": {C2},
        f"{P}:processed": {C1: '{"v":1}'},
    }


RUNNABLE = {
    "in front": ({}, {f"{UP}wait": ["w", "P"], f"{UP}marker": {"0": 0}, f"{UP}events": [RELEASED]}),
    "by its priority": (
        {"priority": 3},
        {
            f"{UP}prioritized": {"P": 3 * 2**32 + 1},
            f"{UP}pc": "1",
            f"{UP}marker": {"0": 0},
            f"{UP}events": [RELEASED],
        },
    ),
    "after its delay": (
        {"delay": 700, "priority": 3},
        {
            f"{UP}delayed": {"P": (NOW + 700) * 4096},
            f"{UP}marker": {"1": NOW + 700},
            f"{UP}events": [f"delayed jobId=P delay={NOW + 700}"],
        },
    ),
}


@pytest.mark.parametrize(("parent", "changes"), RUNNABLE.values(), ids=RUNNABLE)
async def test_the_last_child_makes_the_parent_runnable(stage: Stage, parent: dict, changes: dict) -> None:
    await stage.lay(active("1", **CHILD), family(C1, **parent))
    await stage.settle(("1", DONE))
    assert await ups(stage) == {
        f"{P}:dependencies": None,
        f"{P}:processed": {C1: '{"v":1}'},
        f"{UP}waiting-children": None,
        **changes,
    }


async def test_a_paused_queue_of_the_parent_gets_it_without_a_marker(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), family(C1), {f"{UP}meta": {"paused": "1"}})
    await stage.settle(("1", DONE))
    changed = await ups(stage)
    assert changed[f"{UP}wait"] == ["w", "P"]
    assert f"{UP}marker" not in changed


async def test_a_paused_bullmq_5_queue_of_the_parent_gets_it_in_its_own_list(stage: Stage) -> None:
    paused = {f"{UP}meta": {"paused": "1", "version": "bullmq:5.81.5"}, f"{UP}paused": ["p"]}
    await stage.lay(active("1", **CHILD), family(C1), paused)
    await stage.settle(("1", DONE), dialect="v6")  # the dialect is the child's queue's
    changed = await ups(stage)
    assert changed[f"{UP}paused"] == ["p", "P"]
    assert f"{UP}wait" not in changed


async def test_a_parent_released_before_the_take_is_taken_in_the_same_call(stage: Stage) -> None:
    own = {"parentKey": "bull:q:P", "parent": '{"id":"P","queueKey":"bull:q"}'}
    await stage.lay(active("1", **own), {"P": job(), "waiting-children": {"P": 1}, "P:dependencies": {C1}})
    settled = await stage.settle(("1", DONE), want=1)
    assert [id for id, _ in settled.jobs] == ["P"]
    changed = await stage.changed()
    assert changed["active"] == ["P"]
    assert changed["events"] == [
        RELEASED,
        'completed jobId=1 returnvalue={"v":1} prev=active',
        "active jobId=P prev=waiting",
    ]


async def test_a_parent_that_runs_already_only_gets_the_value(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), {P: job(), f"{UP}active": ["P"], f"{P}:dependencies": {C1}})
    await stage.settle(("1", DONE))
    assert await ups(stage) == {f"{P}:dependencies": None, f"{P}:processed": {C1: '{"v":1}'}}


@pytest.mark.parametrize("step", [DONE, FAIL], ids=["complete", "fail"])
async def test_a_child_whose_parent_knows_it_no_more_writes_nothing_there(stage: Stage, step: Complete | Fail) -> None:
    await stage.lay(active("1", **child("fpof")), family(C2))
    assert (await stage.settle(("1", step))).codes == [0]
    assert await ups(stage) == {}


async def test_a_completed_child_that_is_not_kept_leaves_its_value_all_the_same(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), family(C1))
    await stage.settle(("1", Complete("7", Keep(0))))
    assert (await ups(stage))[f"{P}:processed"] == {C1: "7"}


async def test_without_a_policy_a_failed_child_holds_its_parent(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), family(C1))
    await stage.settle(("1", FAIL))
    assert await ups(stage) == {}


BOOKS = {
    "idof": {f"{P}:failed": {C1: "boom"}},
    "rdof": {},
    "cpof": {f"{P}:failed": {C1: "boom"}},
    "fpof": {f"{P}:unsuccessful": {C1: NOW}, P: {"defa": f"child {C1} failed"}},
}
RUNS = {
    f"{UP}waiting-children": None,
    f"{UP}wait": ["w", "P"],
    f"{UP}marker": {"0": 0},
    f"{UP}events": [RELEASED],
}


@pytest.mark.parametrize("policy", BOOKS)
async def test_the_last_child_that_fails_with_a_policy_releases_the_parent(stage: Stage, policy: str) -> None:
    await stage.lay(active("1", **child(policy)), family(C1))
    await stage.settle(("1", FAIL))
    assert await ups(stage) == {f"{P}:dependencies": None, **BOOKS[policy], **RUNS}


@pytest.mark.parametrize("policy", BOOKS)
async def test_with_other_children_open_only_cpof_and_fpof_release_the_parent(stage: Stage, policy: str) -> None:
    await stage.lay(active("1", **child(policy)), family(C1, C2))
    await stage.settle(("1", FAIL))
    runs = RUNS if policy in ("cpof", "fpof") else {}
    assert await ups(stage) == {f"{P}:dependencies": {C2}, **BOOKS[policy], **runs}


@pytest.mark.parametrize("policy", BOOKS)
async def test_a_retry_is_no_failure_for_the_parent(stage: Stage, policy: str) -> None:
    await stage.lay(active("1", **child(policy)), family(C1))
    await stage.settle(("1", Retry("boom", (), False)))
    assert await ups(stage) == {}


async def test_fpof_calls_a_delayed_parent_in_to_fail_now(stage: Stage) -> None:
    delayed = {P: job(delay=900), f"{UP}delayed": {"P": (NOW + 900) * 4096}, f"{UP}wait": ["w"]}
    await stage.lay(active("1", **child("fpof")), delayed, {f"{P}:dependencies": {C1}})
    await stage.settle(("1", FAIL))
    assert await ups(stage) == {
        P: {"defa": f"child {C1} failed", "delay": "0"},
        f"{P}:dependencies": None,
        f"{P}:unsuccessful": {C1: NOW},
        f"{UP}delayed": None,
        f"{UP}wait": ["w", "P"],
        f"{UP}marker": {"0": 0},
        f"{UP}events": [RELEASED],
    }


@pytest.mark.parametrize(("place", "told"), [("active", True), ("wait", True), ("failed", False)])
async def test_fpof_tells_a_parent_elsewhere_unless_it_has_failed(stage: Stage, place: str, told: bool) -> None:
    there = {"P": NOW - 1} if place == "failed" else ["P"]
    await stage.lay(active("1", **child("fpof")), {P: job(), f"{UP}{place}": there, f"{P}:dependencies": {C1, C2}})
    await stage.settle(("1", FAIL))
    defa = {P: {"defa": f"child {C1} failed"}} if told else {}
    assert await ups(stage) == {f"{P}:dependencies": {C2}, f"{P}:unsuccessful": {C1: NOW}, **defa}


@pytest.mark.parametrize("keep", [Keep(1), Keep(age_s=1)], ids=["count", "age"])
async def test_a_child_trimmed_away_no_longer_holds_its_parent(stage: Stage, keep: Keep) -> None:
    await stage.lay(active("2"), {"failed": {"1": NOW - 5000}, "1": job(**CHILD)}, family(C1))
    await stage.settle(("2", Fail("boom", (), keep, False)))
    changed = await stage.changed()
    assert changed["1"] is None
    assert {name: value for name, value in changed.items() if name.startswith(UP)} == {
        f"{P}:dependencies": None,
        **RUNS,
    }


async def test_a_trimmed_child_leaves_the_parent_to_its_other_children(stage: Stage) -> None:
    await stage.lay(active("2"), {"failed": {"1": 5}, "1": job(**CHILD)}, family(C1, "bull:q:3"))
    await stage.settle(("2", Fail("boom", (), Keep(1), False)))
    assert await ups(stage) == {f"{P}:dependencies": {"bull:q:3"}}


async def test_a_failed_child_that_is_not_kept_no_longer_holds_its_parent(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), family(C1))
    await stage.settle(("1", Fail("boom", (), Keep(0), False)))
    assert await ups(stage) == {f"{P}:dependencies": None, **RUNS}


async def test_a_prefix_with_colons_is_read_from_the_right(stage: Stage) -> None:
    parent = "bull:a:b:up:P"
    known = {parent: job(), "bull:a:b:up:waiting-children": {"P": 1}, f"{parent}:dependencies": {C1}}
    await stage.lay(active("1", parentKey=parent, parent='{"id":"P","queueKey":"bull:a:b:up"}'), known)
    await stage.settle(("1", DONE))
    assert (await stage.changed())["bull:a:b:up:wait"] == ["P"]


async def test_a_parent_field_that_is_no_json_spoils_nothing(stage: Stage) -> None:
    await stage.lay(active("1", parentKey=P, parent="{"), family(C1))
    assert (await stage.settle(("1", FAIL))).codes == [0]
    assert (await stage.changed())["failed"] == {"1": NOW}


@pytest.mark.parametrize("policy", ["", "fpof", "cpof", "idof", "rdof"])
@pytest.mark.parametrize("name", ["wait", "prioritized", "delayed", "marker", "events"])
async def test_a_parent_whose_queue_is_damaged_waits_until_it_is_repaired_and_the_child_untied(
    stage: Stage, policy: str, name: str
) -> None:
    await stage.lay(active("1", **child(policy)), family(C1))
    await stage.client.delete(f"{UP}{name}")
    await stage.lay({f"{UP}{name}": "a text"})
    settled = await stage.settle(("1", Fail("boom", (), KEEP_ALL, False) if policy else DONE))
    assert settled.codes == [0]
    assert [f"key {UP}{name} is a string" in trouble for trouble in settled.troubles] == [True]
    note = {} if policy else {f"{P}:processed": {C1: '{"v":1}'}}
    assert await ups(stage) == note
    await stage.client.delete(f"{UP}{name}")
    await stage.lay()
    assert await flow_scripts.remove_child_dependency(stage.caller, stage.keys, "", NOW, "1") == 1
    changed = await ups(stage)
    assert (changed[f"{UP}waiting-children"], changed[f"{UP}wait"][-1]) == (None, "P")
