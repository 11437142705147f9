"""settle, complete or fail: the job that "keep last if active" kept back is added when its owner ends."""

from __future__ import annotations

import pytest

from corral.lifecycle import Complete, Fail
from corral.retention import KEEP_ALL
from jobs import NOW, Stage, active, job, released

DONE = Complete("null", KEEP_ALL)
FAIL = Fail("boom", (), KEEP_ALL, False)
FINISHED = {"atm": "1", "returnvalue": "null", "finishedOn": str(NOW)}

KEPT = {"name": "late", "data": '"last"', "jid": "5"}
KEPT_OPTS = '{"de":{"id":"d","keepLastIfActive":true},"attempts":0,"timestamp":1799999999990'


async def test_the_job_kept_back_for_a_deduplication_id_is_added_when_its_owner_ends(stage: Stage) -> None:
    opts = KEPT_OPTS + "}"
    await stage.lay(active("1", deid="d"), {"de:d": "1", "dn:d": {**KEPT, "opts": opts}, "id": "5"})
    await stage.settle(("1", DONE))
    assert await stage.changed() == {
        "1": FINISHED,
        "5": {**job(timestamp=NOW), **{name: KEPT[name] for name in ("name", "data")}, "opts": opts, "deid": "d"},
        **released("1"),
        "completed": {"1": NOW},
        "de:d": "5",
        "dn:d": None,
        "id": "6",
        "wait": ["5"],
        "marker": {"0": 0},
        "events": [
            "added jobId=5 name=late",
            "waiting jobId=5",
            "completed jobId=1 returnvalue=null prev=active",
        ],
    }


async def test_the_job_kept_back_keeps_its_delay(stage: Stage) -> None:
    opts = KEPT_OPTS + ',"delay":700}'
    await stage.lay(active("1", deid="d"), {"de:d": "1", "dn:d": {**KEPT, "opts": opts}, "id": "5"})
    await stage.settle(("1", DONE))
    changed = await stage.changed()
    assert (changed["5"]["delay"], changed["de:d"], changed["dn:d"]) == ("700", "5", None)
    assert changed["delayed"] == {"5": (NOW + 700) * 4096}


@pytest.mark.parametrize("step", [DONE, FAIL], ids=["complete", "fail"])
async def test_the_job_kept_back_can_be_taken_in_the_same_call(stage: Stage, step: Complete | Fail) -> None:
    await stage.lay(active("1", deid="d"), {"de:d": "1", "dn:d": {**KEPT, "opts": KEPT_OPTS + "}"}, "id": "5"})
    assert [id for id, _ in (await stage.settle(("1", step), want=1)).jobs] == ["5"]


async def test_without_one_kept_back_nothing_is_added(stage: Stage) -> None:
    await stage.lay(active("1", deid="d"), {"de:d": "1", "dn:other": {**KEPT, "opts": "{}"}, "id": "5"})
    await stage.settle(("1", DONE))
    assert (await stage.changed()).keys() == {"1", "1:lock", "active", "completed", "de:d", "events"}


async def test_a_job_that_has_its_id_by_now_stays_as_it_is(stage: Stage) -> None:
    kept = {**KEPT, "opts": KEPT_OPTS + "}", "jid": "own"}
    await stage.lay(active("1", deid="d"), {"de:d": "1", "dn:d": kept, "id": "5", "own": job(), "wait": ["own"]})
    await stage.settle(("1", DONE))
    assert await stage.changed() == {
        "1": FINISHED,
        **released("1"),
        "completed": {"1": NOW},
        "de:d": None,
        "dn:d": None,
        "id": "6",
        "events": ["duplicated jobId=own", "completed jobId=1 returnvalue=null prev=active"],
    }


async def test_a_job_that_lost_the_id_to_another_starts_nothing(stage: Stage) -> None:
    kept = {**KEPT, "opts": KEPT_OPTS + "}"}
    await stage.lay(active("2", "1", deid="d"), {"de:d": "2", "dn:d": kept, "id": "5"})
    await stage.settle(("1", DONE))
    assert (await stage.changed()).keys() == {"1", "1:lock", "active", "completed", "events"}
    await stage.settle(("2", DONE))
    changed = await stage.changed()
    assert (changed["wait"], changed["de:d"], changed["dn:d"]) == (["5"], "5", None)


async def test_an_id_that_nobody_holds_any_more_lets_the_job_kept_back_follow(stage: Stage) -> None:
    await stage.lay(active("1", deid="d"), {"dn:d": {**KEPT, "opts": KEPT_OPTS + "}"}, "id": "5"})
    await stage.settle(("1", DONE))
    assert (await stage.changed())["wait"] == ["5"]
