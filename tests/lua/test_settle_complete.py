"""settle, complete: what a finished job leaves behind, and each reason why nothing is written."""

from __future__ import annotations

import pytest

from corral.lifecycle import Complete
from corral.retention import KEEP_ALL, Keep
from jobs import BASE, LOCK_MS, NOW, Px, Stage, active, ids_of, job, released

DONE = Complete("null", KEEP_ALL)
FINISHED = {"atm": "1", "returnvalue": "null", "finishedOn": str(NOW)}


def done(keep: Keep) -> Complete:
    return Complete("null", keep)


async def test_a_completed_job_lies_in_completed_with_its_value(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"stalled": {"1", "2"}})
    settled = await stage.settle(("1", Complete('{"ok":"é"}', KEEP_ALL)))
    assert (settled.codes, settled.jobs, settled.next_due_ms) == ([0], [], 0)
    assert await stage.changed() == {
        "1": {"atm": "1", "returnvalue": '{"ok":"é"}', "finishedOn": str(NOW)},
        **released("1", left=["2"]),
        "stalled": {"2"},
        "completed": {"1": NOW},
        "events": ['completed jobId=1 returnvalue={"ok":"é"} prev=active'],
    }


async def test_attempts_count_on(stage: Stage) -> None:
    await stage.lay(active("1", atm=2))
    await stage.settle(("1", DONE))
    assert (await stage.changed())["1"]["atm"] == "3"


@pytest.mark.parametrize(
    ("code", "before"),
    [
        (-1, {"bad": None}),
        (-1, {"bad": "text"}),
        (-2, {"bad:lock": None}),
        (-6, {"bad:lock": Px("other:1")}),
        (-4, {"bad:dependencies": {"bull:q:c"}}),
        (-4, {"bad:dependencies": {"bull:q:c"}, "bad:unsuccessful": {"bull:q:d": NOW}}),
        (-9, {"bad:unsuccessful": {"bull:q:d": NOW}}),
    ],
)
async def test_a_refused_job_is_left_as_it_is_and_the_others_finish(stage: Stage, code: int, before: dict) -> None:
    await stage.lay(active("2", "bad", "1", deid="d"), {"de:d": "bad"})
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    settled = await stage.settle(("1", DONE), ("bad", DONE), ("2", DONE))
    assert settled.codes == [0, code, 0]
    assert await stage.changed() == {
        "1": FINISHED,
        "2": FINISHED,
        **released("1", "2", left=["bad"]),
        "completed": {"1": NOW, "2": NOW},
        "events": [f"completed jobId={id} returnvalue=null prev=active" for id in ("1", "2")],
    }


async def test_a_job_that_is_not_active_any_more_only_loses_its_lock(stage: Stage) -> None:
    await stage.lay({"1": job(deid="d"), "1:lock": Px("t:1"), "stalled": {"1"}, "de:d": "1", "wait": ["1"]})
    assert (await stage.settle(("1", DONE))).codes == [-3]
    assert await stage.changed() == {"1:lock": None, "stalled": None}


async def test_a_step_said_twice_is_refused_the_second_time(stage: Stage) -> None:
    await stage.lay(active("1"))
    assert (await stage.settle(("1", DONE), ("1", DONE))).codes == [0, -2]
    assert (await stage.changed())["completed"] == {"1": NOW}


async def test_keep_none_deletes_the_job_and_all_that_is_its_own(stage: Stage) -> None:
    keys = {"1:logs": ["row"], "1:processed": {"bull:q:c": "1"}, "1:failed": {"bull:q:d": "no"}}
    await stage.lay(active("1"), keys, {"completed": {"old": 1}, "old": job()})
    await stage.settle(("1", done(Keep(0))))
    assert await stage.changed() == {
        "1": None,
        **released("1"),
        **dict.fromkeys(keys),
        "events": ["completed jobId=1 returnvalue=null prev=active", "drained"],
    }


async def test_keep_by_count_keeps_the_newest_of_the_whole_set(stage: Stage) -> None:
    old = {"a": NOW - 30, "b": NOW - 20, "c": NOW - 10}
    await stage.lay(active("1"), {"completed": old, "a:logs": ["row"]}, {id: job() for id in old})
    await stage.settle(("1", done(Keep(2))))
    changed = await stage.changed()
    assert changed["completed"] == {"c": NOW - 10, "1": NOW}
    assert {id for id, value in changed.items() if value is None} == {"a", "a:logs", "b", "1:lock", "active"}
    assert changed["events"] == ["completed jobId=1 returnvalue=null prev=active", "drained"]


async def test_keep_by_count_removes_a_thousand_at_once_the_oldest_first_and_the_rest_later(stage: Stage) -> None:
    old = {f"o{n}": n for n in range(2500)}
    await stage.lay(active("1", "2", "3"), {"completed": old, "o0": job(), "o999": job(), "o1000": job()})
    await stage.settle(("1", done(Keep(2))))
    changed = await stage.changed()
    assert set(changed["completed"]) == {"1", *(f"o{n}" for n in range(1000, 2500))}
    assert (changed["o0"], changed["o999"], "o1000" in changed) == (None, None, False)
    await stage.settle(("2", done(Keep(2))), ("3", done(Keep(2))))
    assert set((await stage.changed())["completed"]) == {"2", "3"}


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(age_s=10), {"young"}),
        (Keep(age_s=10, limit=1), {"oldest", "young"}),
        (Keep(age_s=10, count=1), set()),
        (Keep(age_s=100), {"oldest", "edge", "young"}),
    ],
    ids=["age", "age, one at a time, newest first", "age and count", "nothing so old"],
)
async def test_keep_by_age_counts_from_now(stage: Stage, keep: Keep, left: set[str]) -> None:
    old = {"oldest": NOW - 11_000, "edge": NOW - 10_000, "young": NOW - 9_999}
    await stage.lay(active("1"), {"completed": old}, {id: job() for id in old})
    await stage.settle(("1", done(keep)))
    assert (await stage.changed()).get("completed", {}).keys() == left | {"1"}


async def test_keep_of_one_kind_leaves_the_other_alone(stage: Stage) -> None:
    await stage.lay(active("1"), {"failed": {"old": 1}, "old": job()})
    await stage.settle(("1", done(Keep(1, age_s=1))))
    assert "failed" not in await stage.changed()


async def test_a_trimmed_job_leaves_its_deduplication_id_alone(stage: Stage) -> None:
    await stage.lay(active("1"), {"completed": {"old": 1}, "old": job(deid="d"), "de:d": "old"})
    await stage.settle(("1", done(Keep(1))))
    assert "de:d" not in await stage.changed()


@pytest.mark.parametrize(
    ("owner", "freed"),
    [("1", True), ("other", False), (Px("1"), False)],
    ids=["ours", "another's", "ours for a time"],
)
async def test_the_deduplication_id_is_freed_by_its_owner_unless_a_time_decides(
    stage: Stage, owner: str | Px, freed: bool
) -> None:
    await stage.lay(active("1", deid="d"), {"de:d": owner})
    await stage.settle(("1", DONE))
    changed = await stage.changed()
    assert ("de:d" in changed) is freed
    assert changed.get("de:d") is None


async def test_the_last_job_says_that_the_queue_is_drained(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"delayed": {"d": (NOW + 9) * 4096}})
    await stage.settle(("1", DONE))
    assert (await stage.changed())["events"] == ["completed jobId=1 returnvalue=null prev=active"]
    await stage.settle(("2", DONE))
    assert (await stage.changed())["events"] == ["completed jobId=2 returnvalue=null prev=active", "drained"]


@pytest.mark.parametrize(
    "others",
    [
        {"delayed": {"d": (NOW + 9) * 4096}},
        {"meta": {"paused": "1"}},
        {"meta": {"max": "1", "duration": "9"}, "limiter": Px("1")},
        {"wait": ["w"], "w": job()},
        {"prioritized": {"w": 2**32}, "w": job(priority=1)},
    ],
    ids=["a delayed job", "paused", "limited", "a waiting job", "a prioritized job"],
)
async def test_a_finish_that_looks_for_the_next_job_is_not_drained_while_there_is_something(
    stage: Stage, others: dict
) -> None:
    await stage.lay(active("1"), others)
    await stage.settle(("1", DONE), want=1)
    assert "drained" not in (await stage.changed())["events"]


async def test_a_finish_that_looks_and_finds_nothing_is_drained(stage: Stage) -> None:
    await stage.lay(active("1"))
    await stage.settle(("1", DONE), want=1)
    assert (await stage.changed())["events"][-1] == "drained"


async def test_a_take_or_a_refused_step_alone_never_says_drained(stage: Stage) -> None:
    await stage.lay()
    await stage.settle(("gone", DONE), want=1)
    await stage.take()
    assert await stage.changed() == {}


async def test_several_finish_and_the_next_are_taken_in_one_call(stage: Stage) -> None:
    waiting = {"wait": ["4", "3"], "3": job(), "4": job()}
    await stage.lay(active("2", "1"), waiting, {"meta": {"concurrency": "2"}})
    settled = await stage.settle(("1", DONE), ("2", DONE), want=5, token="t:9", worker="w")
    assert (settled.codes, ids_of(settled)) == ([0, 0], ["3", "4"])
    taken = {"processedOn": str(NOW), "pb": "w", "ats": "1"}
    assert await stage.changed() == {
        "1": FINISHED,
        "2": FINISHED,
        "3": taken,
        "4": taken,
        **released("1", "2", left=["4", "3"]),
        "3:lock": Px("t:9"),
        "4:lock": Px("t:9"),
        "wait": None,
        "completed": {"1": NOW, "2": NOW},
        "marker": {"0": 0},
        "events": [
            *(f"completed jobId={id} returnvalue=null prev=active" for id in ("1", "2")),
            *(f"active jobId={id} prev=waiting" for id in ("3", "4")),
        ],
    }
    assert await stage.left_ms("3:lock") > LOCK_MS - 60_000


async def test_ten_thousand_jobs_finish_in_one_call(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(10_000)]
    await stage.lay({"active": ids})
    pipeline = stage.client.pipeline(transaction=False)
    for id in ids:
        pipeline.hset(BASE + id, mapping=job())
        pipeline.set(f"{BASE}{id}:lock", "t:1", px=LOCK_MS)
    await pipeline.execute()
    assert (await stage.settle(*[(id, DONE) for id in ids])).codes == [0] * 10_000
    assert await stage.client.zcard(f"{BASE}completed") == 10_000


async def test_the_stream_is_trimmed_at_a_finish(stage: Stage) -> None:
    await stage.lay(active("1"), {"meta": {"opts.maxLenEvents": "100"}})
    for _ in range(400):
        await stage.client.xadd(f"{BASE}events", {"event": "old"})
    await stage.settle(("1", DONE))
    assert await stage.client.xlen(f"{BASE}events") <= 210


async def test_the_trim_spares_what_the_finish_itself_says(stage: Stage) -> None:
    await stage.lay(active("1"), {"meta": {"opts.maxLenEvents": "0"}})
    await stage.settle(("1", DONE))
    assert (await stage.changed())["events"] == ["completed jobId=1 returnvalue=null prev=active", "drained"]
