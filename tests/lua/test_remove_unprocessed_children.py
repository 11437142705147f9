"""remove_unprocessed_children: the children that a parent still waits for go, except those that run or have failed.

The parent P lives in queue `q`, its children in queue `kids`.
"""

from __future__ import annotations

from typing import Any

import pytest

from corral import flow_scripts
from corral.errors import RedisRefused
from jobs import LOCK_MS, NOW, Px, Stage, job

K = "bull:kids:"
RELEASED = {
    "waiting-children": None,
    "wait": ["P"],
    "marker": {"0": 0},
    "events": ["waiting jobId=P prev=waiting-children"],
}


def link(parent: str = "bull:q:P") -> dict[str, str]:
    queue, id = parent.rsplit(":", 1)
    return {"parentKey": parent, "parent": f'{{"id":"{id}","queueKey":"{queue}"}}'}


def parent(*children: str, **fields: str | int) -> dict[str, Any]:
    return {"P": job(**fields), "waiting-children": {"P": 5}, "P:dependencies": set(children)}


async def remove(stage: Stage) -> None:
    await flow_scripts.remove_unprocessed_children(stage.caller, stage.keys, "", NOW, "P")


PLACES: dict[str, tuple[str, Any]] = {
    "wait": (f"{K}wait", ["1"]),
    "paused": (f"{K}paused", ["1"]),
    "prioritized": (f"{K}prioritized", {"1": 5}),
    "delayed": (f"{K}delayed", {"1": 5}),
    "waiting-children": (f"{K}waiting-children", {"1": 5}),
    "active": (f"{K}active", ["1"]),  # its lock has run out: no worker has it any more
}


@pytest.mark.parametrize(("place", "laid"), PLACES.items(), ids=PLACES)
async def test_an_open_child_goes_from_wherever_it_is(stage: Stage, place: str, laid: tuple[str, Any]) -> None:
    name, value = laid
    child = {f"{K}1": job(**link()), f"{K}1:logs": ["a row"], name: value}
    await stage.lay(parent(f"{K}1"), child)
    await remove(stage)
    assert await stage.changed() == {
        **dict.fromkeys(child),
        f"{K}events": [f"removed jobId=1 prev={place}"],
        "P:dependencies": None,
        **RELEASED,
    }


async def test_one_that_runs_and_one_that_failed_stay_and_hold_the_parent(stage: Stage) -> None:
    held = {f"{K}runs": job(**link()), f"{K}runs:lock": Px("t:1", LOCK_MS), f"{K}active": ["runs"]}
    failed = {f"{K}failed": {"bad": 5}, f"{K}bad": job(**link())}
    open_one = {f"{K}1": job(**link()), f"{K}wait": ["1"]}
    await stage.lay(parent(f"{K}runs", f"{K}bad", f"{K}1"), held, failed, open_one)
    await remove(stage)
    assert await stage.changed() == {
        **dict.fromkeys(open_one),
        f"{K}events": ["removed jobId=1 prev=wait"],
        "P:dependencies": {f"{K}runs", f"{K}bad"},
    }


async def test_those_that_have_ended_stay(stage: Stage) -> None:
    books = {"P:processed": {f"{K}a": "1"}, "P:failed": {f"{K}b": "no"}, "P:unsuccessful": {f"{K}c": 5}}
    ended = {f"{K}{id}": job(**link()) for id in "abc"}
    await stage.lay(parent(f"{K}1"), books, ended, {f"{K}1": job(**link()), f"{K}wait": ["1"]})
    await remove(stage)
    changed = await stage.changed()
    assert changed.keys().isdisjoint({*books, *ended})
    assert changed["P:dependencies"] is None


async def test_what_is_below_a_child_goes_with_it_unless_it_runs(stage: Stage) -> None:
    middle: dict[str, Any] = {f"{K}M": job(**link()), f"{K}waiting-children": {"M": 5}}
    first = {"bull:q:here": job(**link(f"{K}M")), "prioritized": {"here": 5}}
    runs = {"bull:q:runs": job(**link(f"{K}M")), "bull:q:runs:lock": Px("t:1"), "active": ["runs"]}
    middle[f"{K}M:dependencies"] = {"bull:q:here", "bull:q:runs"}
    await stage.lay(parent(f"{K}M"), middle, first, runs)
    await remove(stage)
    assert await stage.changed() == {
        **dict.fromkeys(middle),
        "here": None,
        "prioritized": None,
        f"{K}events": ["removed jobId=M prev=waiting-children"],
        "P:dependencies": None,
        **RELEASED,
        "events": [*RELEASED["events"], "removed jobId=here prev=prioritized"],
    }


async def test_a_parent_that_runs_is_not_put_among_the_waiting(stage: Stage) -> None:
    await stage.lay({"P": job(), "active": ["P"], "P:lock": Px("t:1"), "P:dependencies": {f"{K}1"}})
    await stage.lay({f"{K}1": job(**link()), f"{K}wait": ["1"]})
    await remove(stage)
    changed = await stage.changed()
    assert changed["P:dependencies"] is None
    assert changed.keys().isdisjoint({"wait", "active", "events", "P:lock"})


async def test_a_deduplication_id_that_a_child_owns_goes_with_it(stage: Stage) -> None:
    mine = {f"{K}1": job(deid="d", **link()), f"{K}de:d": "1", f"{K}dn:d": {"name": "kept"}, f"{K}wait": ["1"]}
    anothers = {f"{K}2": job(deid="e", **link()), f"{K}de:e": "9", f"{K}delayed": {"2": 5}}
    await stage.lay(parent(f"{K}1", f"{K}2"), mine, anothers)
    await remove(stage)
    changed = await stage.changed()
    assert {name for name, value in changed.items() if value is None} >= {*mine, f"{K}2", f"{K}delayed"}
    assert f"{K}de:e" not in changed


async def test_flows_that_are_tied_into_a_ring_have_an_end(stage: Stage) -> None:
    ring = {"P": job(**link(f"{K}1")), "waiting-children": {"P": 5}, "P:dependencies": {f"{K}1"}}
    await stage.lay(
        ring, {f"{K}1": job(**link()), f"{K}1:dependencies": {"bull:q:P"}, f"{K}waiting-children": {"1": 5}}
    )
    await remove(stage)
    changed = await stage.changed()
    assert changed[f"{K}1"] is None
    assert changed["wait"] == ["P"]


async def test_a_child_without_a_hash_is_struck_off(stage: Stage) -> None:
    await stage.lay(parent(f"{K}gone"))
    await remove(stage)
    assert await stage.changed() == {"P:dependencies": None, **RELEASED}


async def test_without_children_nothing_happens(stage: Stage) -> None:
    await stage.lay({"P": job(), "waiting-children": {"P": 5}})
    await remove(stage)
    assert await stage.changed() == {}


async def test_a_key_that_is_not_the_queues_own_stops_it_before_anything_is_written(stage: Stage) -> None:
    await stage.lay(parent(f"{K}1"), {f"{K}1": job(**link()), f"{K}wait": ["1"], "marker": "a text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await remove(stage)
    assert await stage.changed() == {}


async def test_many_open_children_go_and_others_keep_their_order(stage: Stage) -> None:
    ids = [str(number) for number in range(120)]
    await stage.lay(parent(*(f"{K}{id}" for id in ids)), {f"{K}{id}": job(**link()) for id in ids})
    await stage.lay({f"{K}wait": ["a", *ids[:60], "b", *ids[60:], "c"]})
    await remove(stage)
    changed = await stage.changed()
    assert (changed[f"{K}wait"], changed["P:dependencies"], changed["wait"]) == (["a", "b", "c"], None, ["P"])
