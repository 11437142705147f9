"""clean: old jobs of one state are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import admin_scripts
from jobs import NOW, Px, Stage, job

if TYPE_CHECKING:
    from corral.admin_scripts import Place

PARENT = "bull:up:p"


async def clean(
    stage: Stage, place: Place, newest: int = NOW - 100, *, most: int = 1000, look: int = 1000, skip: int = 0
) -> tuple[list[str], int]:
    return await admin_scripts.clean_jobs(stage.caller, stage.keys, NOW, place, newest, most, look, skip)


@pytest.mark.parametrize("place", ["completed", "failed"])
async def test_finished_jobs_go_by_the_time_of_their_end(stage: Stage, place: Place) -> None:
    await stage.lay({place: {"1": NOW - 101, "2": NOW - 100, "3": NOW - 99}, "1": job(), "2": job(), "3": job()})
    await stage.lay({"1:logs": ["row"]})
    assert await clean(stage, place) == (["1", "2"], 2)
    assert await stage.changed() == {
        place: {"3": NOW - 99},
        "1": None,
        "1:logs": None,
        "2": None,
        "events": ["cleaned count=2"],
    }


@pytest.mark.parametrize("place", ["wait", "paused", "active"])
async def test_jobs_of_a_list_go_by_their_last_run_or_their_adding_the_oldest_first(stage: Stage, place: Place) -> None:
    await stage.lay({place: ["new", "b", "again", "a"], "a": job(timestamp=NOW - 300), "b": job(timestamp=NOW - 200)})
    await stage.lay({"again": job(timestamp=NOW - 300, processedOn=NOW - 50), "new": job(timestamp=NOW - 1)})
    assert await clean(stage, place) == (["a", "b"], 4)
    assert await stage.changed() == {place: ["new", "again"], "a": None, "b": None, "events": ["cleaned count=2"]}


async def test_delayed_jobs_too_and_prioritized_ones_by_their_adding_alone(stage: Stage) -> None:
    old = {"timestamp": NOW - 300}
    await stage.lay({"delayed": {"1": 1, "2": 2}, "1": job(**old), "2": job(**old, processedOn=NOW)})
    await stage.lay({"prioritized": {"3": 1, "4": 2}, "3": job(**old, processedOn=NOW), "4": job(timestamp=NOW)})
    assert await clean(stage, "delayed") == (["1"], 2)
    assert await clean(stage, "prioritized") == (["3"], 2)
    changed = await stage.changed()
    assert (changed["delayed"], changed["prioritized"]) == ({"2": 2}, {"4": 2})


async def test_a_running_job_stays(stage: Stage) -> None:
    await stage.lay({"active": ["1", "2"], "1": job(timestamp=1), "2": job(timestamp=1), "1:lock": Px("t")})
    assert await clean(stage, "active") == (["2"], 2)
    assert await stage.changed() == {"active": ["1"], "2": None, "events": ["cleaned count=1"]}


@pytest.mark.parametrize("place", ["wait", "delayed"])
async def test_the_next_job_of_a_scheduler_stays(stage: Stage, place: Place) -> None:
    pending, old = f"repeat:s:{NOW}", f"repeat:s:{NOW - 9}"
    await stage.lay({"repeat": {"s": NOW}, pending: job(rjk="s", timestamp=1), old: job(rjk="s", timestamp=1)})
    await stage.lay({place: [pending, old] if place == "wait" else {pending: 1, old: 2}})
    assert await clean(stage, place) == ([old], 2)
    assert (await stage.changed())[place] == ([pending] if place == "wait" else {pending: 1})


@pytest.mark.parametrize("place", ["wait", "delayed", "completed"])
async def test_it_looks_at_so_many_after_those_that_stayed(stage: Stage, place: Place) -> None:
    jobs = {str(n): job(timestamp=NOW if n % 2 else 1) for n in range(6)}
    await stage.lay(jobs, {place: list(reversed(jobs)) if place == "wait" else {id: int(id) for id in jobs}})
    assert await clean(stage, place, look=3) == ((["0", "2"], 3) if place != "completed" else (["0", "1", "2"], 3))
    rest = 1 if place != "completed" else 0
    gone, looked = await clean(stage, place, look=2, skip=rest)
    assert (gone, looked) == ((["4"], 2) if place != "completed" else (["3", "4"], 2))


async def test_only_what_it_chose_leaves_a_list_also_when_it_was_said_to_skip_some(stage: Stage) -> None:
    ages = [1, NOW, 1, 1, NOW, 1, NOW]
    jobs = {f"j{n}": job(timestamp=age) for n, age in enumerate(ages)}
    await stage.lay(jobs, {"wait": [*reversed(jobs), "j2"]})
    assert await clean(stage, "wait", skip=2, most=2) == (["j2", "j3"], 3)
    assert (await stage.changed())["wait"] == ["j6", "j5", "j4", "j1", "j0", "j2"]


async def test_it_removes_no_more_than_asked_and_tells_how_far_it_looked(stage: Stage) -> None:
    await stage.lay({"wait": ["4", "3", "2", "1"], **{id: job(timestamp=1) for id in "124"}, "3": job(timestamp=NOW)})
    assert await clean(stage, "wait", most=2) == (["1", "2"], 2)
    assert await clean(stage, "wait", most=1) == (["4"], 2)
    assert (await stage.changed())["wait"] == ["3"]


async def test_a_look_that_finds_nothing_is_told_once(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "1": job(timestamp=NOW)})
    await clean(stage, "wait")
    await clean(stage, "wait", skip=1)
    assert await stage.changed() == {"events": ["cleaned count=0"]}


async def test_an_id_without_a_job_goes_and_a_foreign_value_stays(stage: Stage) -> None:
    await stage.lay({"wait": ["1", "2"], "2": "text"})
    assert await clean(stage, "wait") == (["1"], 2)
    assert (await stage.changed())["wait"] == ["2"]


async def test_a_failed_child_that_is_cleaned_no_longer_holds_its_parent(stage: Stage) -> None:
    await stage.lay({"failed": {"1": 1}, "1": job(parentKey=PARENT, deid="d"), "de:d": "1", PARENT: job()})
    await stage.lay({f"{PARENT}:dependencies": {"bull:q:1"}, "bull:up:waiting-children": {"p": 1}})
    await clean(stage, "failed")
    changed = await stage.changed()
    assert (changed["bull:up:wait"], changed["de:d"]) == (["p"], None)
