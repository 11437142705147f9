"""remove: one job goes, from whatever state it is in."""

from __future__ import annotations

from typing import Any

import pytest

from corral import admin_scripts
from corral.errors import RedisRefused
from jobs import NOW, Px, Stage, active, job

PARENT = "bull:up:p"


async def remove(stage: Stage, job_id: str = "1", *, children: bool = True) -> int:
    return await admin_scripts.remove_job(stage.caller, stage.keys, "", NOW, job_id, children)


@pytest.mark.parametrize("state", ["completed", "failed", "delayed", "prioritized", "waiting-children"])
async def test_from_a_set(stage: Stage, state: str) -> None:
    await stage.lay({"1": job(), "1:logs": ["row"], state: {"1": 1, "2": 2}})
    assert await remove(stage) == 1
    assert await stage.changed() == {
        "1": None,
        "1:logs": None,
        state: {"2": 2},
        "events": [f"removed jobId=1 prev={state}"],
    }


@pytest.mark.parametrize("state", ["wait", "paused", "active"])
async def test_from_a_list(stage: Stage, state: str) -> None:
    await stage.lay({"1": job(), state: ["2", "1"]})
    assert await remove(stage) == 1
    assert await stage.changed() == {"1": None, state: ["2"], "events": [f"removed jobId=1 prev={state}"]}


async def test_a_job_in_no_state_goes_too(stage: Stage) -> None:
    await stage.lay({"1": job()})
    assert await remove(stage) == 1
    assert await stage.changed() == {"1": None, "events": ["removed jobId=1 prev=unknown"]}


async def test_where_there_is_none_nothing_happens(stage: Stage) -> None:
    await stage.lay()
    assert await remove(stage) == -1
    assert await stage.changed() == {}


async def test_a_running_job_stays(stage: Stage) -> None:
    await stage.lay(active("1"))
    assert await remove(stage) == 0
    assert await stage.changed() == {}


async def test_the_next_job_of_a_scheduler_stays_and_earlier_ones_go(stage: Stage) -> None:
    pending, old = f"repeat:s:{NOW}", f"repeat:s:{NOW - 9}"
    await stage.lay({"repeat": {"s": NOW}, pending: job(rjk="s"), old: job(rjk="s"), "delayed": {pending: 1, old: 2}})
    assert await remove(stage, pending) == -8
    assert await stage.changed() == {}
    assert await remove(stage, old) == 1
    assert (await stage.changed())["delayed"] == {pending: 1}


async def test_a_deduplication_id_that_it_owns_is_free(stage: Stage) -> None:
    await stage.lay({"1": job(deid="d"), "wait": ["1"], "de:d": Px("1"), "dn:d": {"name": "n"}})
    await remove(stage)
    changed = await stage.changed()
    assert (changed["de:d"], changed["dn:d"]) == (None, None)


async def test_one_that_another_owns_stays(stage: Stage) -> None:
    await stage.lay({"1": job(deid="d"), "wait": ["1"], "de:d": "2", "dn:d": {"name": "n"}})
    await remove(stage)
    assert {"de:d", "dn:d"}.isdisjoint(await stage.changed())


def family() -> dict[str, Any]:
    """p has children: a completed, b ignored, c failed, d open with a child e of its own; all in queue `down`."""
    return {
        "1": job(),
        "waiting-children": {"1": 1},
        "1:processed": {"bull:down:a": "1"},
        "1:failed": {"bull:down:b": "why"},
        "1:unsuccessful": {"bull:down:c": 1},
        "1:dependencies": {"bull:down:d"},
        **{f"bull:down:{id}": job(parentKey="bull:q:1") for id in "abcd"},
        "bull:down:e": job(parentKey="bull:down:d"),
        "bull:down:d:dependencies": {"bull:down:e"},
        "bull:down:completed": {"a": 1},
        "bull:down:failed": {"b": 1, "c": 1},
        "bull:down:waiting-children": {"d": 1},
        "bull:down:wait": ["e"],
    }


async def test_all_that_is_below_goes_too(stage: Stage) -> None:
    await stage.lay(family())
    assert await remove(stage) == 1
    changed = await stage.changed()
    events, below = changed.pop("events"), changed.pop("bull:down:events")
    assert (changed.pop("marker"), changed.pop("bull:down:marker")) == ({"0": 0}, {"0": 0})
    assert changed == dict.fromkeys(sorted(set(family())))
    # A parent loses its last open child before it goes itself.
    assert events == ["waiting jobId=1 prev=waiting-children", "removed jobId=1 prev=wait"]
    assert below == [
        "removed jobId=a prev=completed",
        "removed jobId=b prev=failed",
        "removed jobId=c prev=failed",
        "waiting jobId=d prev=waiting-children",
        "removed jobId=e prev=wait",
        "removed jobId=d prev=wait",
    ]


async def test_or_stays_if_that_is_wished(stage: Stage) -> None:
    await stage.lay(family())
    assert await remove(stage, children=False) == 1
    changed = await stage.changed()
    assert [name for name in changed if name.startswith("bull:down")] == []
    assert changed["1:dependencies"] is None


async def test_nothing_goes_while_a_worker_runs_one_that_is_open_below(stage: Stage) -> None:
    await stage.lay(family(), {"bull:down:e:lock": Px("t")})
    assert await remove(stage) == 0
    assert await stage.changed() == {}
    assert await remove(stage, children=False) == 1


async def test_the_last_open_child_releases_its_parent(stage: Stage) -> None:
    await stage.lay({"1": job(parentKey=PARENT), "2": job(parentKey=PARENT), "wait": ["1", "2"], PARENT: job()})
    await stage.lay({f"{PARENT}:dependencies": {"bull:q:1", "bull:q:2"}, "bull:up:waiting-children": {"p": 1}})
    await remove(stage)
    assert (await stage.changed())[f"{PARENT}:dependencies"] == {"bull:q:2"}
    await remove(stage, "2")
    changed = await stage.changed()
    assert changed["bull:up:wait"] == ["p"]
    assert changed["bull:up:events"] == ["waiting jobId=p prev=waiting-children"]


DAMAGED = ["wait", "paused", "active", "prioritized", "delayed", "waiting-children", "completed", "failed", "stalled"]


@pytest.mark.parametrize("damaged", [*DAMAGED, "events", "bull:up:wait", "bull:up:prioritized", "bull:up:marker"])
async def test_beside_a_key_of_another_type_nothing_is_changed(stage: Stage, damaged: str) -> None:
    keys: dict[str, Any] = {"1": job(parentKey=PARENT), "delayed": {"1": 5}, PARENT: job()}
    await stage.lay(keys, {f"{PARENT}:dependencies": {"bull:q:1"}, "bull:up:waiting-children": {"p": 1}})
    await stage.client.delete(damaged if damaged.startswith("bull:") else f"bull:q:{damaged}")
    await stage.lay({damaged: "a text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await remove(stage)
    assert await stage.changed() == {}


def wide(children: int) -> dict[str, Any]:
    """p waits for many children in the lists of its own queue, some with a child of their own, among other jobs."""
    ids = [f"c{number}" for number in range(children)]
    middle, leaves = ids[::10], [id for number, id in enumerate(ids) if number % 10]
    keys: dict[str, Any] = {"1": job(), "waiting-children": {"1": 1} | dict.fromkeys(middle, 1)}
    keys["1:dependencies"] = {f"bull:q:{id}" for id in ids}
    keys |= {id: job(parentKey="bull:q:1") for id in ids}
    for id in middle:
        keys |= {f"{id}:dependencies": {f"bull:q:{id}-low"}, f"{id}-low": job(parentKey=f"bull:q:{id}")}
    waiting = [f"{id}-low" for id in middle] + leaves
    # Some jobs of others between them.
    rows = [part for number, id in enumerate(waiting) for part in ([id, f"other{number}"] if number % 7 == 0 else [id])]
    return keys | {"wait": rows[::2], "paused": rows[1::4], "active": rows[3::4]}


@pytest.mark.parametrize("children", [46, 60, 150])
async def test_of_many_children_each_goes_and_others_keep_their_order(stage: Stage, children: int) -> None:
    keys = wide(children)
    await stage.lay(keys)
    assert await remove(stage) == 1
    changed = await stage.changed()
    events = changed.pop("events")
    lists = {name: [id for id in keys[name] if "other" in id] for name in ("wait", "paused", "active")}
    assert {name: changed.pop(name) or [] for name in lists} == lists
    changed.pop("marker")
    assert changed == dict.fromkeys(sorted(keys.keys() - lists.keys()))
    gone = {event.split()[1] for event in events if event.startswith("removed")}
    assert gone == {f"jobId={id}" for id in keys if "name" in keys[id]}
    for name in lists:
        told = {event.split()[1] for event in events if event.startswith("removed") and event.endswith(f"prev={name}")}
        assert told >= {f"jobId={id}" for id in keys[name] if "other" not in id}


async def test_many_children_are_not_searched_for_one_by_one(stage: Stage) -> None:
    # Each search reads the list: Redis would stand still for as long as the square of their number asks.
    await stage.lay(wide(300))
    before = await stage.client.info("commandstats")
    assert await remove(stage) == 1
    after = await stage.client.info("commandstats")
    searches = after["cmdstat_lrem"]["calls"] - before.get("cmdstat_lrem", {"calls": 0})["calls"]
    # The parents among them have just been released to the end of the list, where they are found at once.
    assert searches < 50 * 3 + 31 + 3
