"""add: what a new job writes, in each of its kinds, and what it must not touch."""

from __future__ import annotations

import pytest

from corral.version import __version__
from jobs import BASE, NOW, Stage, job, new_job

DUE = NOW + 5000
SLOT = DUE * 4096
META = {"opts.maxLenEvents": "10000", "version": f"corral:{__version__}"}
V5 = {"opts.maxLenEvents": "10000", "version": "bullmq:5.81.5"}
V6 = {"opts.maxLenEvents": "10000", "version": "bullmq:6.7.0"}


def written(**fields: str | int) -> dict[str, str]:
    return job(timestamp=NOW, **fields)


async def test_a_standard_job_goes_to_the_head_of_wait(stage: Stage) -> None:
    await stage.lay({"wait": ["a"], "meta": V6, "id": "7"})
    data, opts = '{"s":"é","n":9007199254740991}', '{"attempts":3}'
    assert await stage.add(new_job(name="std", data=data, opts=opts)) == ["8"]
    assert await stage.changed() == {
        "8": written(name="std", data=data, opts=opts),
        "id": "8",
        "wait": ["8", "a"],
        "marker": {"0": 0},
        "events": ["added jobId=8 name=std", "waiting jobId=8"],
    }


async def test_the_first_add_writes_meta_and_a_later_one_leaves_it(stage: Stage) -> None:
    await stage.lay()
    assert await stage.add(new_job()) == ["1"]
    assert (await stage.changed())["meta"] == META
    await stage.add(new_job())
    assert "meta" not in await stage.changed()


async def test_meta_of_another_library_is_kept_field_by_field(stage: Stage) -> None:
    await stage.lay({"meta": {"version": "bullmq:6.7.0", "max": "5", "own": "x"}})
    await stage.add(new_job())
    assert (await stage.changed())["meta"] == {"opts.maxLenEvents": "10000"}


async def test_lifo_goes_to_the_tail_and_is_next(stage: Stage) -> None:
    await stage.lay({"wait": ["a"], "meta": V6})
    await stage.add(new_job(lifo=True))
    assert (await stage.changed())["wait"] == ["a", "1"]


async def test_a_delayed_job_waits_for_its_ms_and_wakes_nobody_before(stage: Stage) -> None:
    await stage.lay({"meta": V6})
    await stage.add(new_job(delay_ms=5000))
    assert await stage.changed() == {
        "1": written(delay=5000),
        "id": "1",
        "delayed": {"1": SLOT},
        "marker": {"1": DUE},
        "events": ["added jobId=1 name=n", f"delayed jobId=1 delay={DUE}"],
    }


async def test_jobs_due_in_the_same_ms_keep_their_order(stage: Stage) -> None:
    await stage.lay({"meta": V6, "delayed": {"before": SLOT - 1, "after": SLOT + 4096}})
    await stage.add(*[new_job(delay_ms=5000)] * 3)
    assert (await stage.changed())["delayed"] == {
        "before": SLOT - 1,
        "1": SLOT,
        "2": SLOT + 1,
        "3": SLOT + 2,
        "after": SLOT + 4096,
    }


async def test_a_full_ms_never_spills_into_the_next(stage: Stage) -> None:
    await stage.lay({"meta": V6, "delayed": {"last": SLOT + 4095}})
    await stage.add(new_job(delay_ms=5000))
    assert (await stage.changed())["delayed"] == {"last": SLOT + 4095, "1": SLOT + 4095}


async def test_the_delay_marker_names_the_earliest_job(stage: Stage) -> None:
    await stage.lay({"meta": V6, "delayed": {"sooner": (NOW + 10) * 4096}})
    await stage.add(new_job(delay_ms=5000))
    assert (await stage.changed())["marker"] == {"1": NOW + 10}


async def test_a_delay_counts_more_than_a_priority(stage: Stage) -> None:
    await stage.lay({"meta": V6})
    await stage.add(new_job(delay_ms=5000, priority=3))
    changed = await stage.changed()
    assert changed["1"] == written(delay=5000, priority=3)
    assert changed["delayed"] == {"1": SLOT}
    assert "prioritized" not in changed
    assert "pc" not in changed


async def test_a_priority_scores_by_class_then_arrival_and_ignores_lifo(stage: Stage) -> None:
    await stage.lay({"meta": V6})
    await stage.add(new_job(priority=5), new_job(priority=5, lifo=True))
    assert await stage.changed() == {
        "1": written(priority=5),
        "2": written(priority=5),
        "id": "2",
        "pc": "2",
        "prioritized": {"1": 21474836481, "2": 21474836482},
        "marker": {"0": 0},
        "events": ["added jobId=1 name=n", "waiting jobId=1", "added jobId=2 name=n", "waiting jobId=2"],
    }


async def test_the_largest_priority_keeps_its_whole_score(stage: Stage) -> None:
    await stage.lay({"meta": V6, "pc": "1"})
    await stage.add(new_job(priority=2097151))
    assert (await stage.changed())["prioritized"] == {"1": 9007194959773698}


async def test_the_counter_of_priorities_wraps_at_32_bits(stage: Stage) -> None:
    await stage.lay({"meta": V6, "pc": str(2**32 + 6)})
    await stage.add(new_job(priority=1))
    assert (await stage.changed())["prioritized"] == {"1": 2**32 + 7}


async def test_an_id_of_ones_own_raises_the_counter_too(stage: Stage) -> None:
    await stage.lay({"meta": V6, "id": "4"})
    assert await stage.add(new_job("mine"), new_job()) == ["mine", "6"]
    changed = await stage.changed()
    assert changed["id"] == "6"
    assert changed["wait"] == ["6", "mine"]


async def test_an_id_that_exists_is_given_back_and_its_job_left_alone(stage: Stage) -> None:
    await stage.lay({"meta": V6, "mine": written(data='"old"'), "completed": {"mine": NOW}})
    assert await stage.add(new_job("mine", data='"new"', delay_ms=5000)) == ["mine"]
    assert await stage.changed() == {"id": "1", "events": ["duplicated jobId=mine"]}


async def test_a_batch_lands_in_order_with_one_script(stage: Stage) -> None:
    await stage.add(new_job())  # from now on the server knows the script
    before = await stage.client.info("commandstats")
    await stage.lay({})
    ids = await stage.add(*[new_job(delay_ms=delay, priority=p) for delay, p in ((0, 0), (9, 0), (0, 2), (0, 0))])
    assert ids == ["2", "3", "4", "5"]
    changed = await stage.changed()
    assert changed["wait"] == ["5", "2", "1"]
    assert changed["delayed"] == {"3": (NOW + 9) * 4096}
    assert changed["prioritized"] == {"4": 2 * 2**32 + 1}
    assert changed["marker"] == {"0": 0, "1": NOW + 9}
    after = await stage.client.info("commandstats")
    assert after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"] == 1
    assert after.get("cmdstat_eval") == before.get("cmdstat_eval")


async def test_a_server_that_forgot_the_script_gets_its_text_again(stage: Stage) -> None:
    await stage.add(new_job())
    await stage.client.script_flush()
    await stage.lay({})
    assert await stage.add(new_job()) == ["2"]
    assert (await stage.changed())["wait"] == ["2", "1"]


async def test_a_job_added_while_paused_wakes_nobody(stage: Stage) -> None:
    await stage.lay({"meta": {**V6, "paused": "1"}})
    await stage.add(new_job(), new_job(priority=1), new_job(delay_ms=5000))
    changed = await stage.changed()
    assert changed["wait"] == ["1"]
    assert changed["prioritized"] == {"2": 2**32 + 1}
    assert changed["marker"] == {"1": DUE}  # of the delayed one: whoever pops it only promotes


@pytest.mark.parametrize(
    ("meta", "others"),
    [(V5, {}), (V6, {"wait": ["w"], "paused": ["a"]}), ({}, {"wait": ["w"], "paused": ["a"]})],
    ids=["version of bullmq 5", "list and version 6", "list and no version"],
)
async def test_a_queue_paused_by_bullmq_5_collects_in_its_own_list(stage: Stage, meta: dict, others: dict) -> None:
    await stage.lay({"meta": {**meta, "paused": "1"}, **others})
    await stage.add(new_job(), new_job(lifo=True))
    changed = await stage.changed()
    assert changed["paused"] == ["1", *others.get("paused", []), "2"]
    assert changed.keys() - {"meta"} == {"1", "2", "id", "paused", "events"}


async def test_a_queue_of_bullmq_5_that_was_paused_the_way_of_6_goes_on_in_wait(stage: Stage) -> None:
    # BullMQ 5 would have left no `wait`; at its resume it would rename a `paused` of ours over this one.
    await stage.lay({"meta": {**V5, "paused": "1"}, "wait": ["w"]})
    await stage.add(new_job())
    changed = await stage.changed()
    assert changed["wait"] == ["1", "w"]
    assert "paused" not in changed


@pytest.mark.parametrize("dialect", ["v5", "v6"])
async def test_a_given_dialect_overrides_what_the_keys_say(stage: Stage, dialect: str) -> None:
    meta, list_name = (V6, "paused") if dialect == "v5" else (V5, "wait")
    await stage.lay({"meta": {**meta, "paused": "1"}})
    await stage.add(new_job(), dialect=dialect)
    assert await stage.changed() == {
        "1": written(),
        "id": "1",
        list_name: ["1"],
        "events": ["added jobId=1 name=n", "waiting jobId=1"],
    }


async def test_a_bullmq_5_queue_that_runs_collects_in_wait(stage: Stage) -> None:
    await stage.lay({"meta": V5})
    await stage.add(new_job())
    assert (await stage.changed())["wait"] == ["1"]


async def test_at_the_global_concurrency_nobody_is_woken(stage: Stage) -> None:
    await stage.lay({"meta": {**V6, "concurrency": "2"}, "active": ["a", "b"]})
    await stage.add(new_job(), new_job(priority=1))
    changed = await stage.changed()
    assert changed["wait"] == ["1"]
    assert "marker" not in changed


async def test_below_the_global_concurrency_one_is_woken(stage: Stage) -> None:
    await stage.lay({"meta": {**V6, "concurrency": "2"}, "active": ["a"]})
    await stage.add(new_job())
    assert (await stage.changed())["marker"] == {"0": 0}


@pytest.mark.parametrize("settled", ["waiting", "delayed", "duplicated"])
async def test_the_stream_is_trimmed_near_its_target(stage: Stage, settled: str) -> None:
    await stage.lay({"meta": {"opts.maxLenEvents": "100"}, "mine": written()})
    for _ in range(400):
        await stage.client.xadd(f"{BASE}events", {"event": "old"})
    await stage.lay({})
    one = {"waiting": new_job(), "delayed": new_job(delay_ms=5000), "duplicated": new_job("mine")}
    await stage.add(one[settled])
    assert await stage.client.xlen(f"{BASE}events") <= 210  # whole nodes of 100 entries are dropped


async def test_a_version_that_begins_with_5_is_not_yet_bullmq_5(stage: Stage) -> None:
    await stage.lay({"meta": {**V6, "version": "bullmq:50.0.0", "paused": "1"}})
    await stage.add(new_job())
    assert (await stage.changed())["wait"] == ["1"]
