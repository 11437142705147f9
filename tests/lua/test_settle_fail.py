"""settle, fail: a job's final failure."""

from __future__ import annotations

import pytest

from corral.lifecycle import Complete, Fail
from corral.retention import KEEP_ALL, Keep
from jobs import BASE, NOW, Px, Stage, active, ids_of, job, released

STACK = ("first\nline", "é")
FAIL = Fail("boom", STACK, KEEP_ALL, True)
FAILED = {
    "atm": "1",
    "failedReason": "boom",
    "stacktrace": '["first\\nline","é"]',
    "finishedOn": str(NOW),
}
SAID = ["failed jobId=1 failedReason=boom prev=active", "retries-exhausted jobId=1 attemptsMade=1"]


def fail(keep: Keep = KEEP_ALL, *, exhausted: bool = True) -> Fail:
    return Fail("boom", STACK, keep, exhausted)


async def test_a_failed_job_lies_in_failed_with_its_reason(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"stalled": {"1"}})
    assert (await stage.settle(("1", FAIL))).codes == [0]
    assert await stage.changed() == {
        "1": FAILED,
        **released("1", left=["2"]),
        "stalled": None,
        "failed": {"1": NOW},
        "events": SAID,
    }


async def test_an_unrecoverable_failure_has_not_exhausted_its_attempts(stage: Stage) -> None:
    await stage.lay(active("1"))
    await stage.settle(("1", fail(exhausted=False)))
    assert (await stage.changed())["events"] == [SAID[0], "drained"]


async def test_the_number_of_attempts_made_is_told(stage: Stage) -> None:
    await stage.lay(active("1", atm=4))
    await stage.settle(("1", FAIL))
    changed = await stage.changed()
    assert changed["1"]["atm"] == "5"
    assert changed["events"][1] == "retries-exhausted jobId=1 attemptsMade=5"


async def test_a_deferred_failure_is_done_with_once_the_job_has_failed(stage: Stage) -> None:
    await stage.lay(active("1", defa="boom"))
    await stage.settle(("1", FAIL))
    assert (await stage.changed())["1"] == {**FAILED, "defa": None}


@pytest.mark.parametrize(
    ("code", "before"),
    [(-1, {"bad": None}), (-1, {"bad": ["x"]}), (-2, {"bad:lock": None}), (-6, {"bad:lock": Px("other:1")})],
)
async def test_a_refused_failure_is_left_as_it_is_and_the_others_end(stage: Stage, code: int, before: dict) -> None:
    await stage.lay(active("2", "bad", "1", deid="d"), {"de:d": "bad"})
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    settled = await stage.settle(("1", FAIL), ("bad", FAIL), ("2", Complete("1", KEEP_ALL)))
    assert settled.codes == [0, code, 0]
    assert await stage.changed() == {
        "1": FAILED,
        "2": {"atm": "1", "returnvalue": "1", "finishedOn": str(NOW)},
        **released("1", "2", left=["bad"]),
        "failed": {"1": NOW},
        "completed": {"2": NOW},
        "events": [*SAID, "completed jobId=2 returnvalue=1 prev=active"],
    }


async def test_a_failure_of_a_job_that_is_not_active_only_drops_its_lock(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:lock": Px("t:1"), "failed": {"1": 5}})
    assert (await stage.settle(("1", FAIL))).codes == [-3]
    assert await stage.changed() == {"1:lock": None}


async def test_open_or_failed_children_do_not_hold_up_a_failure(stage: Stage) -> None:
    await stage.lay(active("1"), {"1:dependencies": {"bull:q:c"}, "1:unsuccessful": {"bull:q:d": NOW}})
    assert (await stage.settle(("1", FAIL))).codes == [0]
    assert (await stage.changed())["failed"] == {"1": NOW}


async def test_keep_none_deletes_the_failed_job(stage: Stage) -> None:
    await stage.lay(active("1"), {"1:logs": ["row"], "1:dependencies": {"bull:q:c"}})
    await stage.settle(("1", fail(Keep(0))))
    assert await stage.changed() == {
        "1": None,
        "1:logs": None,
        "1:dependencies": None,
        **released("1"),
        "events": [*SAID, "drained"],
    }


async def test_keep_by_count_and_age_trim_the_failed_set(stage: Stage) -> None:
    old = {"aged": NOW - 60_000, "a": NOW - 3, "b": NOW - 2}
    await stage.lay(active("1"), {"failed": old, "completed": {"c": 1}}, {id: job() for id in (*old, "c")})
    await stage.settle(("1", fail(Keep(2, age_s=60))))
    changed = await stage.changed()
    assert changed["failed"] == {"b": NOW - 2, "1": NOW}
    assert {id for id, value in changed.items() if value is None} == {"aged", "a", "1:lock", "active"}


@pytest.mark.parametrize(("owner", "freed"), [("1", True), ("other", False), (Px("1"), False)])
async def test_a_final_failure_frees_the_deduplication_id_it_owns(stage: Stage, owner: str | Px, freed: bool) -> None:
    await stage.lay(active("1", deid="d"), {"de:d": owner})
    await stage.settle(("1", FAIL))
    assert ("de:d" in await stage.changed()) is freed


async def test_a_failure_takes_the_next_job_too(stage: Stage) -> None:
    await stage.lay(active("1"), {"wait": ["2"], "2": job()})
    settled = await stage.settle(("1", FAIL), want=1)
    assert ids_of(settled) == ["2"]
    assert (await stage.changed())["events"] == [*SAID, "active jobId=2 prev=waiting"]
