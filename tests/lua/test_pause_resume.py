"""pause and resume, in the layouts of BullMQ 5 and 6 and in every mixture of them: no job is lost, the order stays."""

from __future__ import annotations

import pytest

from corral import scripts
from jobs import NOW, Stage, ids_of, job, new_job

V5 = {"version": "bullmq:5.81.5", "opts.maxLenEvents": "10000"}
V6 = {"version": "bullmq:6.7.0", "opts.maxLenEvents": "10000"}


def meta(version: dict[str, str], **more: str) -> dict:
    return {"meta": {**version, **more}}


async def pause(stage: Stage, dialect: str = "") -> bool:
    return await scripts.pause_queue(stage.caller, stage.keys, dialect)


async def resume(stage: Stage) -> bool:
    return await scripts.resume_queue(stage.caller, stage.keys)


async def test_a_pause_sets_the_flag_and_takes_the_markers_away(stage: Stage) -> None:
    await stage.lay(meta(V6), {"wait": ["b", "a"], "prioritized": {"p": 2**32}, "marker": {"0": 0, "1": NOW}})
    assert await pause(stage)
    assert await stage.changed() == {"meta": {"paused": "1"}, "marker": None, "events": ["paused"]}


async def test_a_pause_in_the_layout_of_5_moves_what_waits(stage: Stage) -> None:
    await stage.lay(meta(V5), {"wait": ["c", "b", "a"], "prioritized": {"p": 2**32}, "marker": {"0": 0}})
    assert await pause(stage)
    assert await stage.changed() == {
        "meta": {"paused": "1"},
        "marker": None,
        "wait": None,
        "paused": ["c", "b", "a"],
        "events": ["paused"],
    }


async def test_what_waits_goes_behind_what_is_paused_already(stage: Stage) -> None:
    await stage.lay(meta(V6), {"wait": ["d", "c"], "paused": ["b", "a"]})
    await pause(stage)
    changed = await stage.changed()
    assert (changed["wait"], changed["paused"]) == (None, ["d", "c", "b", "a"])


@pytest.mark.parametrize(("dialect", "version", "moves"), [("v5", V6, True), ("v6", V5, False)])
async def test_a_given_dialect_overrides_what_the_keys_say(
    stage: Stage, dialect: str, version: dict, moves: bool
) -> None:
    await stage.lay(meta(version), {"wait": ["a"]})
    await pause(stage, dialect)
    assert ("paused" in await stage.changed()) is moves


async def test_a_second_pause_says_so_and_heals_what_was_added_beside(stage: Stage) -> None:
    await stage.lay(meta(V5, paused="1"), {"wait": ["b"], "paused": ["a"]})
    assert not await pause(stage)
    assert await stage.changed() == {"wait": None, "paused": ["b", "a"], "events": ["paused"]}


async def test_a_pause_of_a_queue_that_never_was_writes_only_the_flag(stage: Stage) -> None:
    await stage.lay()
    assert await pause(stage)
    assert await stage.changed() == {"meta": {"paused": "1"}, "events": ["paused"]}


async def test_a_resume_wakes_a_worker_for_what_waits(stage: Stage) -> None:
    await stage.lay(meta(V6, paused="1"), {"wait": ["a"], "delayed": {"d": (NOW + 9) * 4096}})
    assert await resume(stage)
    assert await stage.changed() == {"meta": {"paused": None}, "marker": {"0": 0}, "events": ["resumed"]}


async def test_a_resume_wakes_a_worker_for_a_priority(stage: Stage) -> None:
    await stage.lay(meta(V6, paused="1"), {"prioritized": {"p": 2**32}})
    await resume(stage)
    assert (await stage.changed())["marker"] == {"0": 0}


async def test_a_resume_with_nothing_to_run_names_the_next_delayed_job(stage: Stage) -> None:
    await stage.lay(meta(V6, paused="1"), {"delayed": {"d": (NOW + 9) * 4096}})
    await resume(stage)
    assert (await stage.changed())["marker"] == {"1": NOW + 9}


async def test_a_resume_of_an_empty_queue_wakes_nobody(stage: Stage) -> None:
    await stage.lay(meta(V6, paused="1"))
    assert await resume(stage)
    assert await stage.changed() == {"meta": {"paused": None}, "events": ["resumed"]}


async def test_a_resume_at_the_global_concurrency_leaves_the_marker_all_the_same(stage: Stage) -> None:
    await stage.lay(meta(V6, paused="1", concurrency="1"), {"wait": ["a"], "active": ["b"]})
    await resume(stage)
    assert (await stage.changed())["marker"] == {"0": 0}


async def test_a_resume_of_a_running_queue_says_so_and_heals_a_list_left_over(stage: Stage) -> None:
    await stage.lay(meta(V6), {"wait": ["b"], "paused": ["a"]})
    assert not await resume(stage)
    assert await stage.changed() == {
        "wait": ["b", "a"],
        "paused": None,
        "marker": {"0": 0},
        "events": ["resumed"],
    }


@pytest.mark.parametrize("version", [V5, V6], ids=["v5", "v6"])
async def test_a_resume_merges_both_layouts_the_paused_ones_first(stage: Stage, version: dict) -> None:
    await stage.lay(meta(version, paused="1"), {"wait": ["d", "c"], "paused": ["b", "a"], "delayed": {"x": 1}})
    await resume(stage)
    assert await stage.changed() == {
        "meta": {"paused": None},
        "wait": ["d", "c", "b", "a"],
        "paused": None,
        "marker": {"0": 0},
        "events": ["resumed"],
    }


async def test_a_long_list_comes_back_whole(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(15_000)]
    await stage.lay(meta(V5, paused="1"), {"paused": ids})
    await resume(stage)
    changed = await stage.changed()
    assert (changed["wait"], changed["paused"]) == (ids, None)


@pytest.mark.parametrize("pausing", ["v5", "v6"])
@pytest.mark.parametrize("adding", ["v5", "v6"])
@pytest.mark.parametrize("again", ["", "v5", "v6"])
async def test_every_mixture_of_layouts_loses_nothing(stage: Stage, pausing: str, adding: str, again: str) -> None:
    await stage.add(*[new_job() for _ in range(2)])
    await pause(stage, pausing)
    await stage.add(new_job(), new_job(lifo=True), dialect=adding)
    if again:
        await pause(stage, again)
    assert (await stage.take()).jobs == []
    await resume(stage)
    taken = ids_of(await stage.take())
    assert sorted(taken) == ["1", "2", "3", "4"]
    if pausing == adding:  # one layout keeps the order too; of two lists, the paused one comes first
        assert taken == ["4", "1", "2", "3"]


async def test_pausing_and_resuming_changes_no_job(stage: Stage) -> None:
    hashes = {"1": job(), "2": job(priority=1), "3": job(delay=9)}
    await stage.lay(
        meta(V5), hashes, {"wait": ["1"], "prioritized": {"2": 2**32 + 1}, "pc": "1", "delayed": {"3": NOW * 4096}}
    )
    await pause(stage)
    await resume(stage)
    assert await stage.changed() == {"marker": {"0": 0}, "events": ["paused", "resumed"]}
