"""add, for a child: one more for a parent that is there. The parent lives in queue `up`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import add_scripts
from jobs import NOW, Stage, job, new_job

if TYPE_CHECKING:
    from corral.job_spec import NewJob

UP = "bull:up:"
P = f"{UP}P"
C1 = "bull:q:mine"
META = {"opts.maxLenEvents": "10000", "version": "bullmq:6.7.0"}
LINK = {"parentKey": P, "parent": '{"id":"P","queueKey":"bull:up","idof":true}'}
MORE = json.dumps({"parent": {"key": P, "json": LINK["parent"]}})
WAITING = {P: job(), f"{UP}waiting-children": {"P": 5}}
RELEASED = {
    f"{UP}waiting-children": None,
    f"{UP}wait": ["P"],
    f"{UP}marker": {"0": 0},
    f"{UP}events": ["waiting jobId=P prev=waiting-children"],
}


def child(job_id: str = "", **fields: Any) -> NewJob:
    return new_job(job_id, more=MORE, **fields)


async def lay(stage: Stage, *parts: dict[str, Any]) -> None:
    await stage.lay({"meta": META}, *parts)


async def refusal(stage: Stage, *jobs: NewJob) -> Any:
    return await add_scripts.add_jobs(stage.caller, stage.keys, "", NOW, jobs)


@pytest.mark.parametrize("parent", [WAITING, {P: job(), f"{UP}active": ["P"]}], ids=["waits", "runs"])
async def test_a_child_is_added_and_its_parent_knows_of_it(stage: Stage, parent: dict) -> None:
    await lay(stage, parent)
    assert await stage.add(child()) == ["1"]
    assert await stage.changed() == {
        "1": job(timestamp=NOW, **LINK),
        "id": "1",
        "wait": ["1"],
        "marker": {"0": 0},
        "events": ["added jobId=1 name=n", "waiting jobId=1"],
        f"{P}:dependencies": {"bull:q:1"},
    }


async def test_a_child_whose_parent_is_not_there_is_refused_with_its_whole_batch(stage: Stage) -> None:
    await lay(stage)
    assert await refusal(stage, new_job(), child()) == add_scripts.Refused(-5, 1)
    assert await stage.changed() == {}


async def test_a_child_of_another_parent_that_lives_is_refused(stage: Stage) -> None:
    await lay(stage, WAITING, {"mine": job(parentKey="bull:q:other"), "other": job(), "wait": ["mine"]})
    assert await refusal(stage, child("mine")) == add_scripts.Refused(-7, 0)
    assert await stage.changed() == {}


@pytest.mark.parametrize("held", [{}, {"parentKey": "bull:q:gone"}, {"parentKey": P}], ids=["none", "gone", "same"])
async def test_a_job_that_is_there_becomes_the_child(stage: Stage, held: dict) -> None:
    await lay(stage, WAITING, {"mine": job(**held), "wait": ["mine"]})
    assert await stage.add(child("mine", data='"new"')) == ["mine"]
    assert await stage.changed() == {
        "mine": {name: value for name, value in LINK.items() if held.get(name) != value},
        "id": "1",
        "events": ["duplicated jobId=mine"],
        f"{P}:dependencies": {C1},
    }


async def test_a_job_that_was_completed_before_leaves_its_value_and_releases_a_parent_without_others(
    stage: Stage,
) -> None:
    await lay(stage, WAITING, {"mine": job(returnvalue="7"), "completed": {"mine": 5}})
    await stage.add(child("mine"))
    assert await stage.changed() == {
        "mine": LINK,
        "id": "1",
        "events": ["duplicated jobId=mine"],
        f"{P}:processed": {C1: "7"},
        **RELEASED,
    }


NOTED = {
    "fails its parent": {f"{P}:unsuccessful": {C1: 5}},
    "lets it go on": {f"{P}:failed": {C1: "boom"}},
}


@pytest.mark.parametrize("noted", NOTED.values(), ids=NOTED)
@pytest.mark.parametrize("others", [{f"{P}:dependencies": {"bull:q:2"}}, {}], ids=["others", "alone"])
async def test_a_child_whose_failure_its_parent_has_noted_already_is_not_waited_for(
    stage: Stage, noted: dict, others: dict
) -> None:
    await lay(stage, WAITING if others else {P: job(), f"{UP}active": ["P"]}, others, noted)
    await stage.lay({"mine": job(failedReason="boom", **LINK), "failed": {"mine": 5}})
    assert await stage.add(child("mine")) == ["mine"]
    assert await stage.changed() == {"id": "1", "events": ["duplicated jobId=mine"]}


async def test_a_failed_job_whose_parent_lets_go_of_failed_children_is_not_waited_for(stage: Stage) -> None:
    await lay(stage, WAITING, {"mine": job(), "failed": {"mine": 5}})
    link = {"key": P, "json": '{"id":"P","queueKey":"bull:up","rdof":true}'}
    await stage.add(new_job("mine", more=json.dumps({"parent": link})))
    assert await stage.changed() == {
        "mine": {"parentKey": P, "parent": link["json"]},
        "id": "1",
        "events": ["duplicated jobId=mine"],
        **RELEASED,
    }


@pytest.mark.parametrize("failed", [{"failed": {"mine": 5}}, {"failed": "text"}], ids=["failed", "damaged"])
async def test_a_failed_job_that_its_parent_does_not_know_is_waited_for_until_it_is_retried(
    stage: Stage, failed: dict
) -> None:
    await lay(stage, WAITING, {"mine": job()}, failed)
    await stage.add(child("mine"))
    assert (await stage.changed())[f"{P}:dependencies"] == {C1}


async def test_a_child_that_runs_once_more_is_waited_for_whatever_its_parent_has_noted(stage: Stage) -> None:
    await lay(stage, WAITING, {f"{P}:failed": {C1: "boom"}, "mine": job(**LINK), "wait": ["mine"]})
    await stage.add(child("mine"))
    assert (await stage.changed())[f"{P}:dependencies"] == {C1}


async def test_a_parent_with_other_children_waits_on(stage: Stage) -> None:
    await lay(stage, WAITING, {f"{P}:dependencies": {"bull:q:2", C1}})
    await stage.lay({"mine": job(returnvalue="7"), "completed": {"mine": 5}})
    await stage.add(child("mine"))
    changed = await stage.changed()
    assert changed[f"{P}:dependencies"] == {"bull:q:2"}
    assert changed[f"{P}:processed"] == {C1: "7"}
    assert f"{UP}waiting-children" not in changed


async def test_a_known_id_without_a_parent_leaves_the_tie_that_is_there(stage: Stage) -> None:
    await lay(stage, WAITING, {"mine": job(**LINK), "wait": ["mine"]})
    await stage.add(new_job("mine"))
    assert await stage.changed() == {"id": "1", "events": ["duplicated jobId=mine"]}


async def test_one_id_under_two_parents_is_refused_with_its_whole_batch(stage: Stage) -> None:
    other = json.dumps({"parent": {"key": f"{UP}O", "json": '{"id":"O","queueKey":"bull:up"}'}})
    await lay(stage, WAITING, {f"{UP}O": job()})
    batch = [new_job(), child("mine"), new_job("mine", more=other)]
    assert await refusal(stage, *batch) == add_scripts.Refused(-7, 2)
    assert await stage.changed() == {}


async def test_one_id_twice_under_one_parent_is_one_child(stage: Stage) -> None:
    await lay(stage, WAITING)
    assert await stage.add(child("mine"), child("mine"), child(), child()) == ["mine", "mine", "3", "4"]
    assert (await stage.changed())[f"{P}:dependencies"] == {C1, "bull:q:3", "bull:q:4"}
