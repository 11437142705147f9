"""settle and take on keys that another program damaged: no job is lost, and what is wrong is told."""

from __future__ import annotations

from typing import Any

import pytest

from corral import scripts
from corral.errors import RedisRefused
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry, Step
from corral.retention import KEEP_ALL, Keep
from jobs import BASE, NOW, Stage, active, ids_of, job, new_job, released

DONE = Complete("null", KEEP_ALL)
FAIL = Fail("boom", (), KEEP_ALL, False)
RETRY = Retry("boom", (), False)
FINISHED = {"atm": "1", "returnvalue": "null", "finishedOn": str(NOW)}
P = "bull:up:P"
CHILD = {"parentKey": P, "parent": '{"id":"P","queueKey":"bull:up","fpof":true}'}


async def lay_broken(stage: Stage) -> None:
    """Three active jobs; the second has a priority, and the counter of priorities cannot count on."""
    await stage.lay(active("3", "2", "1"), {"2": job(priority=3, ats=1), "pc": str(2**63 - 1)})


async def test_a_step_that_breaks_off_harms_no_other_and_its_job_is_active_without_a_lock(stage: Stage) -> None:
    await lay_broken(stage)
    settled = await stage.settle(("1", DONE), ("2", RETRY), ("3", DONE))
    assert settled.codes == [0, -99, 0]
    (trouble,) = settled.troubles
    assert trouble.startswith("retry of job 2: ")
    assert "overflow" in trouble
    changed = await stage.changed()
    assert {name: changed[name] for name in ("1", "3", "active", "completed")} == {
        "1": FINISHED,
        "3": FINISHED,
        "active": ["2"],
        "completed": {"1": NOW, "3": NOW},
    }
    assert [changed[f"{id}:lock"] for id in "123"] == [None, None, None]
    assert -99 in scripts.CODES


async def test_a_job_whose_step_broke_off_is_recovered(stage: Stage) -> None:
    await lay_broken(stage)
    await stage.settle(("2", RETRY))
    await stage.lay({"stalled": {"2"}})
    assert await scripts.recover_stalled(stage.caller, stage.keys, "", NOW, 30_000, 1) == ["2"]
    changed = await stage.changed()
    assert (changed["wait"], changed["active"]) == (["2"], ["3", "1"])


async def test_a_step_that_breaks_off_leaves_the_take_of_its_call_as_it_is(stage: Stage) -> None:
    await lay_broken(stage)
    await stage.lay({"wait": ["4"], "4": job()})
    settled = await stage.settle(("2", HandBack()), want=1)
    assert (settled.codes, ids_of(settled)) == ([0], ["4"])
    await lay_broken(stage)
    await stage.lay({"wait": ["5"], "5": job()})
    settled = await stage.settle(("2", RETRY), want=1)
    assert (settled.codes, ids_of(settled)) == ([-99], ["5"])


PARENTS: dict[str, tuple[Step, dict[str, Any]]] = {
    "open children": (DONE, {f"{P}:dependencies": "text"}),
    "values": (DONE, {f"{P}:dependencies": {"bull:q:1"}, f"{P}:processed": "text"}),
    "waiting children": (DONE, {f"{P}:dependencies": {"bull:q:1"}, P: job(), "bull:up:waiting-children": "text"}),
    "failed ones": (FAIL, {f"{P}:dependencies": {"bull:q:1"}, f"{P}:unsuccessful": "text"}),
    "hash": (FAIL, {f"{P}:dependencies": {"bull:q:1"}, P: "text"}),
}


@pytest.mark.parametrize(("step", "damage"), PARENTS.values(), ids=PARENTS)
async def test_a_child_ends_whatever_state_its_parents_keys_are_in(
    stage: Stage, step: Step, damage: dict[str, Any]
) -> None:
    await stage.lay(active("1", **CHILD), damage)
    settled = await stage.settle(("1", step))
    assert settled.codes == [0]
    (trouble,) = settled.troubles
    assert trouble.startswith(f"parent {P}: ")
    assert "WRONGTYPE" in trouble
    changed = await stage.changed()
    assert changed["completed" if step is DONE else "failed"] == {"1": NOW}
    assert (changed["active"], changed["1:lock"]) == (None, None)


@pytest.mark.parametrize(
    ("damage", "trouble"),
    [
        ({"de:d": ["text"]}, "deduplication id d: "),
        ({"de:d": "1", "dn:d": "text"}, "job kept back by d: "),
        ({"de:d": "1", "dn:d": {"name": "n", "data": "{}", "opts": "{}"}, "id": "text"}, "job kept back by d: "),
    ],
    ids=["owner", "kept back", "counter"],
)
async def test_a_job_ends_whatever_state_its_deduplication_is_in(
    stage: Stage, damage: dict[str, Any], trouble: str
) -> None:
    await stage.lay(active("1", deid="d"), damage)
    settled = await stage.settle(("1", DONE))
    assert settled.codes == [0]
    assert [text.startswith(trouble) for text in settled.troubles] == [True]
    changed = await stage.changed()
    assert (changed["1"], changed["completed"]) == (FINISHED, {"1": NOW})


async def test_a_trimmed_job_goes_whatever_state_its_parents_keys_are_in(stage: Stage) -> None:
    old = {"completed": {"1": NOW - 5}, "1": job(**CHILD), f"{P}:dependencies": "text"}
    await stage.lay(active("2"), old)
    settled = await stage.settle(("2", Complete("null", Keep(1))))
    assert settled.codes == [0]
    assert [text.startswith(f"parent {P}: ") for text in settled.troubles] == [True]
    assert await stage.changed() == {
        "1": None,
        "2": FINISHED,
        **released("2"),
        "completed": {"2": NOW},
        "events": ["completed jobId=2 returnvalue=null prev=active", "drained"],
    }


async def test_where_nothing_is_wrong_there_is_no_trouble(stage: Stage) -> None:
    await stage.lay(active("1", **CHILD), {P: job(), f"{P}:dependencies": {"bull:q:1"}})
    assert (await stage.settle(("1", FAIL))).troubles == []
    assert (await stage.take()).troubles == []


ADD = ["wait", "prioritized", "delayed", "marker", "events"]
RECOVER = ["wait", "active", "prioritized", "stalled", "marker", "events"]


@pytest.mark.parametrize(("script", "name"), [*(("add", n) for n in ADD), *(("recover", n) for n in RECOVER)])
async def test_a_key_of_the_queue_of_another_type_is_refused_by_name_before_anything_is_written(
    stage: Stage, script: str, name: str
) -> None:
    # What is active while the list is damaged cannot be told; the others keep theirs.
    await stage.lay(active("1"), {"wait": ["2"], "2": job(), "stalled": {"1"}})
    await stage.client.delete(BASE + name)
    await stage.lay({name: "text"})
    calls = {
        "add": lambda: stage.add(new_job(delay_ms=5), new_job()),
        "recover": lambda: scripts.recover_stalled(stage.caller, stage.keys, "", NOW, 30_000, 1),
    }
    with pytest.raises(RedisRefused, match=r"\(WRONGTYPE\): .*is the prefix shared") as caught:
        await calls[script]()
    assert caught.value.code == "WRONGTYPE"
    assert await stage.changed() == {}


OWN = [
    "wait",
    "active",
    "prioritized",
    "delayed",
    "completed",
    "failed",
    "stalled",
    "marker",
    "events",
    "pc",
    "limiter",
]


@pytest.mark.parametrize("name", OWN)
async def test_a_settle_beside_a_key_of_another_type_leaves_every_other_job_where_it_can_be_found(
    stage: Stage, name: str
) -> None:
    places = {"1": "active", "2": "wait", "3": "prioritized", "4": "delayed"}
    lists = {
        "wait": ["2"],
        "prioritized": {"3": 2**32 + 1},
        "delayed": {"4": 4096},
        "meta": {"max": "9", "duration": "9"},
    }
    await stage.lay(active("1"), {**lists, "2": job(), "3": job(priority=1), "4": job(delay=5, priority=2)})
    await stage.client.delete(BASE + name)
    await stage.lay({name: {"text"} if name != "stalled" else "text"})
    told = ""
    try:
        settled = await stage.settle(("1", DONE), want=9)
        told = " ".join(settled.troubles)
    except RedisRefused as error:
        told = str(error)
    try:
        await stage.take(want=9)
    except RedisRefused as error:
        told += str(error)
    await stage.client.delete(BASE + name)
    for id, place in places.items():
        if place != name:
            assert await scripts.job_state(stage.caller, stage.keys, id) != "unknown", told
    assert "WRONGTYPE" in told or name == "failed"  # which nothing here touches


@pytest.mark.parametrize(
    "step", [DONE, FAIL, RETRY, Delay("boom", (), 700)], ids=["complete", "fail", "retry", "delay"]
)
@pytest.mark.parametrize(("stored", "counted"), [("x", "1"), ("", "1"), ("2.0", "3"), ("1e1", "11")])
async def test_a_number_of_attempts_that_is_no_whole_number_ends_no_step_half_way(
    stage: Stage, step: Step, stored: str, counted: str
) -> None:
    await stage.lay(active("1", atm=stored))
    settled = await stage.settle(("1", step))
    assert (settled.codes, settled.troubles) == ([0], [])
    changed = await stage.changed()
    assert (changed["1"]["atm"], changed["active"]) == (counted, None)


@pytest.mark.parametrize(("stored", "counted"), [("x", "1"), ("", "1"), ("1.0", "2")])
async def test_a_number_of_stalls_that_is_no_whole_number_holds_up_no_recovery(
    stage: Stage, stored: str, counted: str
) -> None:
    await stage.lay(active("2", "1"), {"1": {"stc": stored}, "stalled": {"1", "2"}})
    await stage.client.delete(f"{BASE}1:lock", f"{BASE}2:lock")
    await stage.lay({})
    assert sorted(await scripts.recover_stalled(stage.caller, stage.keys, "", NOW, 30_000, 5)) == ["1", "2"]
    changed = await stage.changed()
    assert (changed["1"]["stc"], changed["2"]["stc"], changed["active"]) == (counted, "1", None)


async def test_a_delayed_job_with_a_negative_score_is_promoted(stage: Stage) -> None:
    await stage.lay({"delayed": {"1": -4096, "2": float("-inf")}, "1": job(delay=5), "2": job(delay=5)})
    assert ids_of(await stage.take()) == ["2", "1"]
    assert (await stage.changed())["delayed"] is None


@pytest.mark.parametrize("score", [1e300, float("inf"), 2.0**70])
async def test_a_due_time_beyond_all_numbers_is_told_as_the_largest_there_is(stage: Stage, score: float) -> None:
    await stage.lay({"delayed": {"1": score}, "1": job(delay=5)})
    settled = await stage.take()
    assert (settled.jobs, settled.next_due_ms) == ([], 2**53 - 1)
