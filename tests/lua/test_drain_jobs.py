"""drain: jobs that wait are removed, and what hangs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import admin_scripts
from jobs import NOW, Px, Stage, job

if TYPE_CHECKING:
    from corral.admin_scripts import Place

PARENT = "bull:up:p"
LISTS: list[Place] = ["wait", "paused"]
SETS: list[Place] = ["prioritized", "delayed"]


async def drain(stage: Stage, place: Place = "wait", most: int = 1000) -> int:
    return await admin_scripts.drain_jobs(stage.caller, stage.keys, "", NOW, place, most)


@pytest.mark.parametrize("place", LISTS)
async def test_a_list_is_emptied_with_everything_of_its_jobs_but_a_lock(stage: Stage, place: Place) -> None:
    sub_keys = {"1:logs": ["a"], "1:processed": {"k": "1"}, "1:failed": {"k": "x"}, "1:unsuccessful": {"k": 1}}
    await stage.lay({place: ["2", "1"], "1": job(), "2": job(), "1:lock": Px("t"), "3": job(), "active": ["3"]})
    await stage.lay(sub_keys, {"1:dependencies": {"c"}})
    assert await drain(stage, place) == 2
    gone = [place, "1", "2", "1:dependencies", *sub_keys]
    assert await stage.changed() == dict.fromkeys(sorted(gone))


@pytest.mark.parametrize("place", SETS)
async def test_so_is_a_set(stage: Stage, place: Place) -> None:
    await stage.lay({place: {"1": 1, "2": 2}, "1": job(), "2": job()})
    assert await drain(stage, place) == 2
    assert await stage.changed() == {place: None, "1": None, "2": None}


@pytest.mark.parametrize("place", LISTS)
async def test_the_oldest_of_a_list_go_first_some_at_a_time(stage: Stage, place: Place) -> None:
    await stage.lay({place: [str(n) for n in range(5)]})
    assert await drain(stage, place, 2) == 2
    assert await stage.changed() == {place: ["0", "1", "2"]}
    assert [await drain(stage, place, 2) for _ in range(3)] == [2, 1, 0]


def scheduled(*ids: str) -> dict:
    """Pending iterations of schedulers, each by its id."""
    keys: dict = {"repeat": dict.fromkeys(ids, NOW)}
    for id in ids:
        keys[f"repeat:{id}"] = {"name": "n", "ic": "1"}
        keys[f"repeat:{id}:{NOW}"] = job(rjk=id)
    return keys


@pytest.mark.parametrize("place", [*LISTS, *SETS])
async def test_the_next_jobs_of_schedulers_stay_in_their_places_and_hide_nothing_behind_them(
    stage: Stage, place: Place
) -> None:
    first, second, old = f"repeat:a:{NOW}", f"repeat:b:{NOW}", f"repeat:a:{NOW - 60_000}"
    await stage.lay(scheduled("a", "b"), {"1": job(), "2": job(), old: job(rjk="a")})
    order = ["2", old, second, "1", first]
    await stage.lay({place: order if place in LISTS else {id: 5 - at for at, id in enumerate(order)}})
    assert [await drain(stage, place, 1) for _ in range(4)] == [1, 1, 1, 0]
    left = [second, first] if place in LISTS else {first: 1, second: 3}
    assert await stage.changed() == {place: left, "1": None, "2": None, old: None}


async def test_schedulers_whose_next_jobs_are_elsewhere_make_no_step_longer(stage: Stage) -> None:
    await stage.lay(scheduled("a", "b"), {"wait": [str(n) for n in range(5)]})
    assert await drain(stage, most=2) == 2
    assert await stage.changed() == {"wait": ["0", "1", "2"]}


async def test_an_owned_deduplication_id_is_free_again_and_nothing_is_kept_back(stage: Stage) -> None:
    await stage.lay({"wait": ["1", "2"], "1": job(deid="d"), "2": job(deid="e")})
    await stage.lay({"de:d": "1", "dn:d": {"name": "n"}, "de:e": "9", "dn:e": {"name": "n"}})
    await drain(stage)
    assert await stage.changed() == {"wait": None, "1": None, "2": None, "de:d": None, "dn:d": None}


async def test_a_parent_of_another_queue_is_released_by_its_last_child(stage: Stage) -> None:
    await stage.lay({"wait": ["1", "2"], "1": job(parentKey=PARENT), "2": job(parentKey=PARENT)})
    await stage.lay({PARENT: job(), f"{PARENT}:dependencies": {"bull:q:1", "bull:q:2"}})
    await stage.lay({"bull:up:waiting-children": {"p": 1}})
    await drain(stage, most=1)
    assert await stage.changed() == {"2": None, "wait": ["1"], f"{PARENT}:dependencies": {"bull:q:1"}}
    await drain(stage)
    assert await stage.changed() == {
        "1": None,
        "wait": None,
        f"{PARENT}:dependencies": None,
        "bull:up:waiting-children": None,
        "bull:up:wait": ["p"],
        "bull:up:marker": {"0": 0},
        "bull:up:events": ["waiting jobId=p prev=waiting-children"],
    }


async def test_a_parent_of_this_queue_goes_with_its_last_child_and_so_does_its_own(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "1": job(parentKey="bull:q:p"), "p": job(parentKey="bull:q:g"), "g": job(deid="d")})
    await stage.lay({"p:dependencies": {"bull:q:1"}, "g:dependencies": {"bull:q:p"}, "g:processed": {"x": "1"}})
    await stage.lay({"waiting-children": {"p": 1, "g": 1}, "de:d": "g"})
    assert await drain(stage) == 1
    gone = ["1", "wait", "p", "g", "p:dependencies", "g:dependencies", "g:processed", "waiting-children", "de:d"]
    assert await stage.changed() == dict.fromkeys(sorted(gone))


async def test_a_parent_of_this_queue_with_other_open_children_stays(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "1": job(parentKey="bull:q:p"), "p": job(), "waiting-children": {"p": 1}})
    await stage.lay({"p:dependencies": {"bull:q:1", "bull:other:2"}})
    await drain(stage)
    assert await stage.changed() == {"wait": None, "1": None, "p:dependencies": {"bull:other:2"}}


async def test_a_parent_of_this_queue_that_is_in_use_stays(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "1": job(parentKey="bull:q:p"), "p": job(), "active": ["p"]})
    await stage.lay({"p:dependencies": {"bull:q:1"}})
    await drain(stage)
    assert await stage.changed() == {"wait": None, "1": None, "p:dependencies": None}


async def test_ids_without_a_job_and_damaged_keys_do_not_stop_it(stage: Stage) -> None:
    await stage.lay({"wait": ["1", "2", "3", "4"], "2": "text", "3": job(parentKey=PARENT), "4": job(deid="d")})
    await stage.lay({f"{PARENT}:dependencies": "text", "de:d": ["no", "string"]})
    assert await drain(stage) == 4
    assert await stage.changed() == {"wait": None, "2": None, "3": None, "4": None}


async def test_an_empty_queue_stays_empty(stage: Stage) -> None:
    await stage.lay()
    assert await drain(stage) == 0
    assert await stage.changed() == {}
