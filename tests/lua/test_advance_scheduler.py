"""advance: the iteration that was taken makes the next one, once, and never a second branch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral import scheduler_scripts
from jobs import NOW, Stage, job
from schedulers import EVERY, advance, made, pending, record

V6 = {"opts.maxLenEvents": "10000", "version": "bullmq:6.7.0"}
TAKEN = NOW - 5
ID = f"repeat:s:{TAKEN}"
NEXT = TAKEN + EVERY
NEXT_ID = f"repeat:s:{NEXT}"
MD5 = "0123456789abcdef0123456789abcdef"
COLON = "tick::1893456000000:Europe/Madrid:0 3 * * *"


def scheduler(**fields: Any) -> dict[str, Any]:
    """The scheduler whose iteration was taken."""
    plain = {"offset": TAKEN % EVERY} | fields
    return {"meta": V6, "repeat": {"s": TAKEN}, "repeat:s": record(**plain), "active": [ID], **pending("s", TAKEN)}


async def test_the_next_iteration_is_made_of_the_record(stage: Stage) -> None:
    await stage.lay(scheduler(name="tick", data='{"t":1}'))
    assert await advance(stage, ID, name="old", data='{"old":1}') == NEXT_ID
    assert await stage.changed() == {
        "id": "1",
        "repeat": {"s": NEXT},
        "repeat:s": {"ic": "2"},
        **made("s", NEXT, name="tick", data='{"t":1}'),
        "delayed": {NEXT_ID: NEXT * 4096},
        "marker": {"1": NEXT},
        "events": [f"added jobId={NEXT_ID} name=tick", f"delayed jobId={NEXT_ID} delay={NEXT}"],
    }


async def test_a_record_without_data_means_none(stage: Stage) -> None:
    await stage.lay(scheduler())
    await advance(stage, ID, data='{"updated":"by hand"}')
    changed = await stage.changed()
    assert changed[NEXT_ID]["data"] == "{}"
    assert changed["repeat:s"] == {"ic": "2"}


async def test_the_caller_says_when_a_pattern_comes_next(stage: Stage) -> None:
    await stage.lay(scheduler(every=None, pattern="0 3 * * *", offset=0))
    due = NOW + 999
    assert await advance(stage, ID, due=due) == f"repeat:s:{due}"
    assert (await stage.changed())["repeat"] == {"s": due}


@pytest.mark.parametrize(
    ("late", "next_one"),
    [
        (0, TAKEN + EVERY),
        (EVERY - 1, TAKEN + EVERY),
        (EVERY, TAKEN + EVERY),
        (EVERY + 1, TAKEN + 2 * EVERY),
        (7 * EVERY, TAKEN + 8 * EVERY),
        (7 * EVERY + 5, TAKEN + 8 * EVERY),
    ],
)
async def test_what_was_missed_is_skipped_on_the_grid(stage: Stage, late: int, next_one: int) -> None:
    await stage.lay(scheduler())
    assert await advance(stage, ID, now=TAKEN + late) == f"repeat:s:{next_one}"


async def test_a_record_that_lost_every_is_helped_by_the_job(stage: Stage) -> None:
    await stage.lay(scheduler(every=None))
    assert await advance(stage, ID, every=EVERY) == NEXT_ID


async def test_a_next_one_that_is_due_already_waits_and_wakes_a_worker(stage: Stage) -> None:
    await stage.lay(scheduler(every=1, offset=0))
    assert await advance(stage, ID) == f"repeat:s:{NOW + 1}"
    await stage.changed()
    assert await advance(stage, f"repeat:s:{NOW + 1}", now=NOW + 2) == f"repeat:s:{NOW + 2}"
    changed = await stage.changed()
    assert (changed["wait"], changed["marker"]["0"]) == ([f"repeat:s:{NOW + 2}"], 0)


@pytest.mark.parametrize("taken", [f"repeat:s:{TAKEN - EVERY}", f"repeat:s:{NEXT}", "repeat:s:", "7", f"{TAKEN}"])
async def test_a_job_that_is_not_the_pending_one_makes_nothing(stage: Stage, taken: str) -> None:
    await stage.lay(scheduler())
    assert await advance(stage, taken) is None
    assert await stage.changed() == {}


async def test_a_scheduler_that_was_removed_makes_nothing(stage: Stage) -> None:
    await stage.lay({"meta": V6, "active": [ID], **pending("s", TAKEN)})
    assert await advance(stage, ID) is None
    assert await stage.changed() == {}


async def test_calling_it_twice_makes_one(stage: Stage) -> None:
    await stage.lay(scheduler())
    assert await advance(stage, ID) == NEXT_ID
    await stage.changed()
    assert await advance(stage, ID) is None
    assert await stage.changed() == {}


@pytest.mark.parametrize("held", [1, 2, 40])
async def test_the_schedule_goes_past_slots_that_other_jobs_hold(stage: Stage, held: int) -> None:
    others = {f"repeat:s:{TAKEN + step * EVERY}": job(data='{"mine":1}') for step in range(1, held + 1)}
    await stage.lay(scheduler(), others, {"id": "3"})
    due = TAKEN + (held + 1) * EVERY
    assert await advance(stage, ID) == f"repeat:s:{due}"
    changed = await stage.changed()
    assert (changed["repeat"], changed["delayed"]) == ({"s": due}, {f"repeat:s:{due}": due * 4096})
    assert not others.keys() & changed.keys()


async def test_the_caller_is_asked_for_the_next_time_of_a_pattern_when_a_job_lies_there(stage: Stage) -> None:
    await stage.lay(scheduler(every=None, pattern="0 3 * * *", offset=0), {f"repeat:s:{NOW + 999}": job()})
    assert await advance(stage, ID, due=NOW + 999) == scheduler_scripts.TAKEN
    assert await stage.changed() == {}
    assert await advance(stage, ID, due=NOW + 1999) == f"repeat:s:{NOW + 1999}"


async def test_a_schedule_whose_slots_are_all_held_is_told(stage: Stage) -> None:
    others = {f"repeat:s:{TAKEN + step * EVERY}": job() for step in range(1, 1001)}
    await stage.lay(scheduler(), others)
    assert await advance(stage, ID) == scheduler_scripts.ALL_TAKEN
    assert await stage.changed() == {}


async def test_a_repeatable_job_of_bullmq_5_becomes_a_scheduler_and_keeps_its_data(stage: Stage) -> None:
    taken = f"repeat:{MD5}:{TAKEN}"
    old = {"repeat": {MD5: TAKEN}, f"repeat:{MD5}": {"name": "tick", "every": str(EVERY)}}
    await stage.lay({"meta": V6, "active": [taken]}, old, pending(MD5, TAKEN, data='{"keep":"me"}'))
    assert await advance(stage, taken, MD5, name="tick", data='{"keep":"me"}') == f"repeat:{MD5}:{NEXT}"
    changed = await stage.changed()
    assert changed[f"repeat:{MD5}"] == {"ic": "1", "data": '{"keep":"me"}'}
    assert changed[f"repeat:{MD5}:{NEXT}"]["data"] == '{"keep":"me"}'


@pytest.mark.parametrize("known", [None, {"name": "tick", "pattern": "0 3 * * *"}])
async def test_the_oldest_repeatable_job_goes_on_as_it_is(stage: Stage, known: dict[str, str] | None) -> None:
    taken, next_one = f"repeat:{MD5}:{TAKEN}", f"repeat:{MD5}:{NOW + 999}"
    old = {"repeat": {COLON: TAKEN}} | ({f"repeat:{COLON}": known} if known else {})
    await stage.lay({"meta": V6, "active": [taken], taken: job(rjk=COLON)}, old)
    assert await advance(stage, taken, COLON, due=NOW + 999, name="tick", data='{"keep":"me"}') == next_one
    changed = await stage.changed()
    assert changed["repeat"] == {COLON: NOW + 999}
    assert f"repeat:{COLON}" not in changed
    assert {changed[next_one][name] for name in ("name", "data", "rjk")} == {"tick", '{"keep":"me"}', COLON}


async def test_the_oldest_repeatable_job_tells_its_ms_as_bullmq_5_needs_it(stage: Stage) -> None:
    key, taken, next_one = "tick::::60000", f"repeat:{MD5}:{TAKEN}", f"repeat:{MD5}:{NEXT}"
    await stage.lay({"meta": V6, "repeat": {key: TAKEN}, "active": [taken], taken: job(rjk=key)})
    assert await advance(stage, taken, key, every=EVERY) == next_one
    opts = json.loads((await stage.changed())[next_one]["opts"])
    assert opts == {"jobId": next_one, "delay": NEXT - NOW, "prevMillis": NEXT, "timestamp": 1}


async def test_priority_and_deduplication_id_go_on(stage: Stage) -> None:
    await stage.lay(scheduler(every=1, offset=0))
    id = await advance(stage, ID, priority=4, deduplication="d", now=NOW)
    fields = (await stage.changed())[str(id)]
    assert (fields["priority"], fields["deid"]) == ("4", "d")
