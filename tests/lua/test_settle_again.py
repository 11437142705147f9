"""settle, again: an active job that will run once more: retry, delay, hand back."""

from __future__ import annotations

import pytest

from corral.lifecycle import Complete, Delay, HandBack, Retry, Step
from corral.retention import KEEP_ALL
from jobs import BASE, NOW, Px, Stage, active, ids_of, job, released

RETRY = Retry("boom", ("trace",), False)
LIFO = Retry("boom", ("trace",), True)
DELAY = Delay("boom", ("trace",), 700)
BACK = HandBack()
ENDED = {"atm": "1", "failedReason": "boom", "stacktrace": '["trace"]'}
SAID = ["waiting jobId=1 prev=active"]
DUE = NOW + 700
CLASS = 3 * 2**32


async def test_a_retry_joins_the_end_of_the_queue(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"wait": ["b", "a"], "stalled": {"1"}})
    assert (await stage.settle(("1", RETRY))).codes == [0]
    assert await stage.changed() == {
        "1": ENDED,
        **released("1", left=["2"]),
        "stalled": None,
        "wait": ["1", "b", "a"],
        "marker": {"0": 0},
        "events": SAID,
    }


async def test_a_lifo_retry_is_next(stage: Stage) -> None:
    await stage.lay(active("1"), {"wait": ["b", "a"]})
    await stage.settle(("1", LIFO))
    assert (await stage.changed())["wait"] == ["b", "a", "1"]


@pytest.mark.parametrize("step", [RETRY, LIFO])
async def test_a_retry_with_a_priority_joins_the_end_of_its_class(stage: Stage, step: Retry) -> None:
    await stage.lay(active("1", priority=3), {"prioritized": {"a": CLASS + 8}, "pc": "8"})
    await stage.settle(("1", step))
    assert await stage.changed() == {
        "1": ENDED,
        **released("1"),
        "prioritized": {"a": CLASS + 8, "1": CLASS + 9},
        "pc": "9",
        "marker": {"0": 0},
        "events": SAID,
    }


async def test_a_retry_promotes_what_is_due_before_it(stage: Stage) -> None:
    await stage.lay(active("1"), {"delayed": {"d": NOW * 4096}, "d": job(delay=9)})
    await stage.settle(("1", RETRY))
    changed = await stage.changed()
    assert changed["wait"] == ["1", "d"]
    assert changed["d"] == {"delay": "0"}
    assert changed["events"] == ["waiting jobId=d prev=delayed", *SAID]


async def test_a_delay_counts_from_now(stage: Stage) -> None:
    await stage.lay(active("2", "1", priority=3), {"delayed": {"a": DUE * 4096}, "stalled": {"1"}})
    assert (await stage.settle(("1", DELAY))).codes == [0]
    assert await stage.changed() == {
        "1": {**ENDED, "delay": "700"},
        **released("1", left=["2"]),
        "stalled": None,
        "delayed": {"a": DUE * 4096, "1": DUE * 4096 + 1},
        "marker": {"1": DUE},
        "events": [f"delayed jobId=1 delay={DUE}"],
    }


async def test_a_delay_promotes_nothing(stage: Stage) -> None:
    await stage.lay(active("1"), {"delayed": {"d": NOW * 4096}, "d": job(delay=9)})
    await stage.settle(("1", DELAY))
    changed = await stage.changed()
    assert changed["delayed"] == {"d": NOW * 4096, "1": DUE * 4096}
    assert changed["marker"] == {"1": NOW}


async def test_a_job_handed_back_is_next_and_lost_no_attempt(stage: Stage) -> None:
    await stage.lay(active("2", "1", atm=1, stc=1), {"wait": ["b", "a"], "stalled": {"1"}})
    assert (await stage.settle(("1", BACK))).codes == [0]
    assert await stage.changed() == {
        **released("1", left=["2"]),
        "stalled": None,
        "wait": ["b", "a", "1"],
        "marker": {"0": 0},
        "events": SAID,
    }


async def test_a_job_handed_back_leads_its_class(stage: Stage) -> None:
    await stage.lay(active("1", priority=3), {"prioritized": {"a": CLASS + 1, "z": CLASS - 1}, "pc": "8"})
    await stage.settle(("1", BACK))
    assert await stage.changed() == {
        **released("1"),
        "prioritized": {"z": CLASS - 1, "1": CLASS, "a": CLASS + 1},
        "marker": {"0": 0},
        "events": SAID,
    }


@pytest.mark.parametrize("step", [RETRY, DELAY, BACK], ids=["retry", "delay", "hand back"])
@pytest.mark.parametrize(
    ("code", "before"),
    [(-1, {"bad": None}), (-1, {"bad": "text"}), (-2, {"bad:lock": None}), (-6, {"bad:lock": Px("other:1")})],
)
async def test_a_refused_step_is_left_out_and_the_others_go_on(
    stage: Stage, step: Step, code: int, before: dict
) -> None:
    await stage.lay(active("1", "bad"))
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    assert (await stage.settle(("bad", step), ("1", BACK))).codes == [code, 0]
    assert await stage.changed() == {
        **released("1", left=["bad"]),
        "wait": ["1"],
        "marker": {"0": 0},
        "events": SAID,
    }


@pytest.mark.parametrize("step", [RETRY, DELAY, BACK], ids=["retry", "delay", "hand back"])
async def test_a_job_that_is_not_active_only_loses_its_lock(stage: Stage, step: Step) -> None:
    await stage.lay({"1": job(), "1:lock": Px("t:1"), "stalled": {"1"}, "wait": ["1"]})
    assert (await stage.settle(("1", step))).codes == [-3]
    assert await stage.changed() == {"1:lock": None, "stalled": None}


@pytest.mark.parametrize("version", ["bullmq:5.81.5", "bullmq:6.7.0"])
@pytest.mark.parametrize(
    ("step", "expected"),
    [(RETRY, ["1", "a"]), (LIFO, ["a", "1"]), (BACK, ["a", "1"])],
    ids=["retry", "lifo", "hand back"],
)
async def test_while_paused_a_job_joins_the_list_of_its_fleet_and_wakes_nobody(
    stage: Stage, version: str, step: Step, expected: list[str]
) -> None:
    collects = "paused" if version.startswith("bullmq:5") else "wait"
    await stage.lay(active("1"), {"meta": {"paused": "1", "version": version}, collects: ["a"]})
    await stage.settle(("1", step))
    changed = await stage.changed()
    changed.pop("1", None)
    assert changed == {**released("1"), collects: expected, "events": SAID}


async def test_at_the_global_concurrency_the_freed_place_wakes_one(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"meta": {"concurrency": "2"}})
    await stage.settle(("1", BACK))
    assert (await stage.changed())["marker"] == {"0": 0}


async def test_above_the_global_concurrency_nobody_is_woken(stage: Stage) -> None:
    await stage.lay(active("3", "2", "1"), {"meta": {"concurrency": "1"}})
    await stage.settle(("1", BACK), ("2", RETRY))
    assert "marker" not in await stage.changed()


async def test_all_kinds_of_step_share_one_call_with_a_take(stage: Stage) -> None:
    await stage.lay(active("4", "3", "2", "1"), {"wait": ["w"], "w": job()})
    steps = [("1", RETRY), ("2", DELAY), ("3", BACK), ("4", Complete("1", KEEP_ALL))]
    settled = await stage.settle(*steps, want=2)
    assert (settled.codes, ids_of(settled)) == ([0, 0, 0, 0], ["3", "w"])
    changed = await stage.changed()
    assert (changed["active"], changed["wait"]) == (["w", "3"], ["1"])
    assert (changed["delayed"], changed["completed"]) == ({"2": DUE * 4096}, {"4": NOW})
    assert changed["marker"]["0"] == 0
    assert changed["events"] == [
        "waiting jobId=1 prev=active",
        f"delayed jobId=2 delay={DUE}",
        "waiting jobId=3 prev=active",
        "completed jobId=4 returnvalue=1 prev=active",
        "active jobId=3 prev=waiting",
        "active jobId=w prev=waiting",
    ]


async def test_a_queue_left_by_retries_alone_is_not_drained(stage: Stage) -> None:
    await stage.lay(active("1"))
    await stage.settle(("1", DELAY))
    assert "drained" not in (await stage.changed())["events"]


@pytest.mark.parametrize("step", [RETRY, DELAY, BACK], ids=["retry", "delay", "hand back"])
async def test_the_stream_is_trimmed_near_its_target(stage: Stage, step: Step) -> None:
    await stage.lay(active("1"), {"meta": {"opts.maxLenEvents": "100"}})
    for _ in range(400):
        await stage.client.xadd(f"{BASE}events", {"event": "old"})
    await stage.settle(("1", step))
    assert await stage.client.xlen(f"{BASE}events") <= 210
