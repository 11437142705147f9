"""add, for whole flows: what a tree writes in each of its queues, and that it is all or nothing.

The root lies in queue `q`, children in `q` or in `kids`; `n` is the name of all jobs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import add_scripts
from corral.errors import RedisRefused
from corral.keys import Keys
from corral.version import __version__
from jobs import NOW, Stage, job, new_job

if TYPE_CHECKING:
    from corral.job_spec import NewJob

META = {"opts.maxLenEvents": "10000", "version": f"corral:{__version__}"}
Q, KIDS = Keys("q"), Keys("kids")
K = "bull:kids:"
RELEASED = "waiting jobId=P prev=waiting-children"


def link(parent: Keys = Q, parent_id: str = "P", policy: str = "") -> dict[str, str]:
    stored = {"id": parent_id, "queueKey": parent.base[:-1]} | ({policy: True} if policy else {})
    return {"parentKey": parent.job(parent_id), "parent": json.dumps(stored)}


def child(job_id: str, above: dict[str, str] | None = None, **fields: Any) -> NewJob:
    above = above or link()
    return new_job(job_id, **fields, more=json.dumps({"parent": {"key": above["parentKey"], "json": above["parent"]}}))


async def add(stage: Stage, *jobs: tuple[Keys, NewJob], dialect: str = "") -> Any:
    return await add_scripts.add_flow(stage.caller, dialect, NOW, jobs)


def written(**fields: str | int) -> dict[str, str]:
    return job(timestamp=NOW, **fields)


async def test_a_parent_waits_for_its_children_who_know_it(stage: Stage) -> None:
    jobs = [(Q, new_job("P")), (KIDS, child("1st", link(policy="fpof"))), (Q, child("2nd"))]
    assert await add(stage, *jobs) == ["P", "1st", "2nd"]
    assert await stage.changed() == {
        "P": written(),
        "P:dependencies": {"bull:kids:1st", "bull:q:2nd"},
        "waiting-children": {"P": NOW},
        "2nd": written(**link()),
        "wait": ["2nd"],
        "marker": {"0": 0},
        "id": "2",
        "meta": META,
        "events": [
            "added jobId=P name=n",
            "waiting-children jobId=P",
            "added jobId=2nd name=n",
            "waiting jobId=2nd",
        ],
        f"{K}1st": written(**link(policy="fpof")),
        f"{K}wait": ["1st"],
        f"{K}marker": {"0": 0},
        f"{K}id": "1",
        f"{K}meta": META,
        f"{K}events": ["added jobId=1st name=n", "waiting jobId=1st"],
    }


async def test_a_parents_delay_and_priority_are_kept_for_its_release(stage: Stage) -> None:
    await add(stage, (Q, new_job("P", delay_ms=700, priority=3, lifo=True)), (KIDS, child("c")))
    changed = await stage.changed()
    assert changed["P"] == written(delay=700, priority=3)
    assert changed["waiting-children"] == {"P": NOW}
    assert changed.keys().isdisjoint({"delayed", "prioritized", "wait", "marker"})


async def test_a_child_takes_the_place_that_its_options_say(stage: Stage) -> None:
    kinds = {"late": {"delay_ms": 700}, "soon": {"priority": 3}, "plain": {}, "front": {"lifo": True}}
    await add(stage, (Q, new_job("P")), *[(KIDS, child(id, **fields)) for id, fields in kinds.items()])
    changed = await stage.changed()
    assert changed[f"{K}delayed"] == {"late": (NOW + 700) * 4096}
    assert changed[f"{K}prioritized"] == {"soon": 3 * 2**32 + 1}
    assert changed[f"{K}wait"] == ["plain", "front"]
    assert changed[f"{K}marker"] == {"0": 0, "1": NOW + 700}


async def test_what_is_between_waits_for_its_own_children(stage: Stage) -> None:
    jobs = [(Q, new_job("P")), (KIDS, child("M")), (Keys("x", "a:b"), child("leaf", link(KIDS, "M")))]
    await add(stage, *jobs)
    changed = await stage.changed()
    assert changed["P:dependencies"] == {f"{K}M"}
    assert changed[f"{K}M:dependencies"] == {"a:b:x:leaf"}
    assert changed[f"{K}waiting-children"] == {"M": NOW}
    assert changed["a:b:x:wait"] == ["leaf"]


async def test_a_root_may_be_the_child_of_a_job_that_is_there(stage: Stage) -> None:
    await stage.lay({"G": job(), "active": ["G"]})
    assert await add(stage, (KIDS, child("P", link(Q, "G"))), (Q, child("c", link(KIDS)))) == ["P", "c"]
    changed = await stage.changed()
    assert changed["G:dependencies"] == {f"{K}P"}
    assert changed[f"{K}P"] == written(**link(Q, "G"))
    assert changed[f"{K}waiting-children"] == {"P": NOW}
    assert changed[f"{K}P:dependencies"] == {"bull:q:c"}
    assert changed.keys().isdisjoint({"active", "G"})


async def test_flows_of_one_call_are_independent(stage: Stage) -> None:
    jobs = [(Q, new_job("A")), (Q, new_job("B")), (KIDS, child("a", link(Q, "A"))), (KIDS, child("b", link(Q, "B")))]
    assert await add(stage, *jobs, (Q, new_job("C"))) == ["A", "B", "a", "b", "C"]
    changed = await stage.changed()
    assert changed["A:dependencies"] == {f"{K}a"}
    assert changed["B:dependencies"] == {f"{K}b"}
    assert changed["waiting-children"] == {"A": NOW, "B": NOW}
    assert changed["wait"] == ["C"]


DONE = {f"{K}done": job(returnvalue='{"v":1}', atm=1), f"{K}completed": {"done": 5}}
RELEASED_KEYS = {"wait": ["P"], "marker": {"0": 0}}


async def test_a_child_that_was_completed_before_leaves_its_value(stage: Stage) -> None:
    await stage.lay(DONE)
    assert await add(stage, (Q, new_job("P")), (KIDS, child("done"))) == ["P", "done"]
    assert await stage.changed() == {
        "P": written(),
        "P:processed": {f"{K}done": '{"v":1}'},
        **RELEASED_KEYS,
        "id": "1",
        "meta": META,
        "events": ["added jobId=P name=n", "waiting-children jobId=P", RELEASED],
        f"{K}done": link(),
        f"{K}id": "1",
        f"{K}meta": META,
        f"{K}events": ["duplicated jobId=done"],
    }


@pytest.mark.parametrize("first", ["done", "open"])
async def test_a_parent_is_not_released_before_all_its_children_are_there(stage: Stage, first: str) -> None:
    await stage.lay(DONE)
    children = [(KIDS, child("done")), (KIDS, child("open"))]
    await add(stage, (Q, new_job("P")), *(children if first == "done" else children[::-1]))
    changed = await stage.changed()
    assert changed["P:dependencies"] == {f"{K}open"}
    assert changed["P:processed"] == {f"{K}done": '{"v":1}'}
    assert changed["waiting-children"] == {"P": NOW}
    assert changed["events"] == ["added jobId=P name=n", "waiting-children jobId=P"]


async def test_a_parent_released_at_once_minds_its_delay(stage: Stage) -> None:
    await stage.lay(DONE)
    await add(stage, (Q, new_job("P", delay_ms=700)), (KIDS, child("done")))
    changed = await stage.changed()
    assert changed["delayed"] == {"P": (NOW + 700) * 4096}
    assert changed["events"][-1] == f"delayed jobId=P delay={NOW + 700}"
    assert "wait" not in changed


@pytest.mark.parametrize("place", ["wait", "active", "delayed", "failed"])
async def test_a_child_that_is_there_and_not_completed_is_waited_for(stage: Stage, place: str) -> None:
    there: Any = {"c": 5} if place in ("delayed", "failed") else ["c"]
    await stage.lay({f"{K}c": job(data='"old"'), f"{K}{place}": there})
    await add(stage, (Q, new_job("P")), (KIDS, child("c", data='"new"')))
    changed = await stage.changed()
    assert changed["P:dependencies"] == {f"{K}c"}
    assert changed["waiting-children"] == {"P": NOW}
    assert changed[f"{K}c"] == link()
    assert f"{K}{place}" not in changed


TOLD = {
    "fpof": {"P:unsuccessful": {f"{K}c": 5}},
    "cpof": {"P:failed": {f"{K}c": "boom"}},
    "idof": {"P:failed": {f"{K}c": "boom"}},
    "rdof": {},
}


@pytest.mark.parametrize("policy", TOLD)
async def test_a_flow_that_is_added_again_does_not_wait_for_a_child_whose_failure_was_dealt_with(
    stage: Stage, policy: str
) -> None:
    await stage.lay({"P": job(), "waiting-children": {"P": 5}, "P:dependencies": {f"{K}open"}}, TOLD[policy])
    await stage.lay({f"{K}c": job(**link(policy=policy)), f"{K}failed": {"c": 5}})
    await stage.lay({f"{K}open": job(**link()), f"{K}wait": ["open"]})
    flow = [(Q, new_job("P")), (KIDS, child("c", link(policy=policy))), (KIDS, child("open"))]
    assert await add(stage, *flow) == ["P", "c", "open"]
    changed = await stage.changed()
    assert changed["events"] == ["duplicated jobId=P"]
    assert changed[f"{K}events"] == ["duplicated jobId=c", "duplicated jobId=open"]
    assert changed.keys() == {"events", "id", "meta", f"{K}events", f"{K}id", f"{K}meta"}


async def test_a_child_whose_parent_is_gone_gets_this_one(stage: Stage) -> None:
    await stage.lay({f"{K}c": job(**link(Q, "gone")), f"{K}wait": ["c"]})
    await add(stage, (Q, new_job("P")), (KIDS, child("c")))
    changed = await stage.changed()
    assert changed[f"{K}c"] == link()
    assert changed["P:dependencies"] == {f"{K}c"}


async def test_an_existing_root_is_left_as_it_is_and_gets_the_children(stage: Stage) -> None:
    await stage.lay({"P": job(), "waiting-children": {"P": 5}, "P:dependencies": {f"{K}old"}})
    await add(stage, (Q, new_job("P", data='"new"')), (KIDS, child("c")))
    changed = await stage.changed()
    assert changed["P:dependencies"] == {f"{K}old", f"{K}c"}
    assert changed["events"] == ["duplicated jobId=P"]
    assert changed.keys().isdisjoint({"P", "waiting-children", "wait"})


REFUSED = {
    "a parent that is not there": ([(KIDS, child("P", link(Q, "G"))), (Q, child("c", link(KIDS)))], (-5, 0)),
    "a child of another parent": ([(Q, new_job("P")), (KIDS, child("new")), (KIDS, child("taken"))], (-7, 2)),
}


@pytest.mark.parametrize(("jobs", "why"), REFUSED.values(), ids=REFUSED)
async def test_a_flow_that_is_refused_writes_nothing(stage: Stage, jobs: Any, why: tuple[int, int]) -> None:
    await stage.lay({f"{K}taken": job(**link(Q, "other")), f"{K}wait": ["taken"], "other": job()})
    assert await add(stage, *jobs) == add_scripts.Refused(*why)
    assert await stage.changed() == {}


@pytest.mark.parametrize("damaged", ["waiting-children", f"{K}wait", f"{K}events"])
async def test_a_key_that_is_not_a_queues_own_stops_it_before_anything_is_written(stage: Stage, damaged: str) -> None:
    await stage.lay({damaged: "a text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await add(stage, (Q, new_job("P")), (KIDS, child("c")))
    assert await stage.changed() == {}


async def test_each_queue_is_paused_in_its_own_layout(stage: Stage) -> None:
    paused = {"opts.maxLenEvents": "10000", "paused": "1"}
    await stage.lay({"meta": {**paused, "version": "bullmq:6.7.0"}}, DONE)
    await stage.lay({f"{K}meta": {**paused, "version": "bullmq:5.81.5"}})
    await add(stage, (Q, new_job("P")), (KIDS, child("done")), (KIDS, child("c", link(Q, "P"))), (Q, child("own")))
    changed = await stage.changed()
    assert changed[f"{K}paused"] == ["c"]
    assert changed["wait"] == ["own"]
    assert changed.keys().isdisjoint({"marker", f"{K}marker"})


async def test_a_job_alone_may_be_turned_away_by_its_deduplication_id(stage: Stage) -> None:
    await stage.lay({"1": job(deid="d"), "wait": ["1"], "de:d": "1", "meta": META})
    assert await add(stage, (Q, new_job("mine", more='{"de":{"id":"d"}}'))) == ["1"]
    assert await stage.changed() == {
        "id": "1",
        "events": ["deduplicated jobId=1 deduplicationId=d deduplicatedJobId=mine"],
    }
