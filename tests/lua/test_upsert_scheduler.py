"""upsert: a job scheduler and its one pending iteration, made, changed, replaced, wherever that lies."""

from __future__ import annotations

from typing import Any

import pytest

from corral import RedisRefused
from corral.repeat import Schedule
from corral.version import __version__
from jobs import NOW, Px, Stage, job
from schedulers import EVERY, made, pending, record, upsert

V6 = {"opts.maxLenEvents": "10000", "version": "bullmq:6.7.0"}
V5 = {"opts.maxLenEvents": "10000", "version": "bullmq:5.81.5"}
DUE = NOW + 5000
SLOT = DUE * 4096
PATTERN = Schedule(pattern="0 3 * * *", tz="Europe/Madrid", limit=5, end_ms=NOW + 10**9)


def id_of(due: int) -> str:
    return f"repeat:s:{due}"


async def test_the_first_iteration_of_every_is_due_at_once(stage: Stage) -> None:
    await stage.lay()
    assert await upsert(stage, name="tick", data='{"t":1}', kept_opts='{"attempts":2}') == (id_of(NOW), NOW)
    assert await stage.changed() == {
        "meta": {"opts.maxLenEvents": "10000", "version": f"corral:{__version__}"},
        "id": "1",
        "repeat": {"s": NOW},
        "repeat:s": record(name="tick", data='{"t":1}', opts='{"attempts":2}'),
        **made("s", NOW, name="tick", data='{"t":1}'),
        "wait": [id_of(NOW)],
        "marker": {"0": 0},
        "events": [f"added jobId={id_of(NOW)} name=tick", f"waiting jobId={id_of(NOW)}"],
    }


async def test_the_first_iteration_of_a_pattern_is_due_when_the_caller_says(stage: Stage) -> None:
    await stage.lay({"meta": V6})
    assert await upsert(stage, due=DUE, schedule=PATTERN) == (id_of(DUE), DUE)
    settings = {"pattern": "0 3 * * *", "tz": "Europe/Madrid", "limit": 5, "endDate": NOW + 10**9, "offset": 0}
    assert await stage.changed() == {
        "id": "1",
        "repeat": {"s": DUE},
        "repeat:s": record(every=None, **settings),
        **made("s", DUE),
        "delayed": {id_of(DUE): SLOT},
        "marker": {"1": DUE},
        "events": [f"added jobId={id_of(DUE)} name=n", f"delayed jobId={id_of(DUE)} delay={DUE}"],
    }


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        (Schedule(every_ms=EVERY, start_ms=DUE), DUE),
        (Schedule(every_ms=EVERY, start_ms=NOW - 5), NOW),
        (Schedule(every_ms=EVERY, offset_ms=500), NOW - NOW % EVERY + 500 + EVERY * (NOW % EVERY >= 500)),
        (Schedule(every_ms=7000, offset_ms=NOW % 7000), NOW + 7000),
    ],
)
async def test_a_start_and_an_offset_move_the_first_iteration(stage: Stage, schedule: Schedule, due: int) -> None:
    await stage.lay()
    assert await upsert(stage, schedule=schedule) == (id_of(due), due)


PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "delayed": ({"delayed": {"other": 1, id_of(DUE): SLOT}}, {"delayed": {"other": 1, id_of(DUE): SLOT}}),
    "wait": ({"wait": ["a", id_of(DUE), "b"]}, {"wait": ["a", "b"], "delayed": {id_of(DUE): SLOT}}),
    "paused": (
        {"paused": ["a", id_of(DUE)], "meta": V5 | {"paused": "1"}},
        {"paused": ["a"], "delayed": {id_of(DUE): SLOT}},
    ),
    "wait of a paused queue": (
        {"wait": ["a", id_of(DUE)], "meta": V6 | {"paused": "1"}},
        {"wait": ["a"], "delayed": {id_of(DUE): SLOT}},
    ),
    "prioritized": ({"prioritized": {id_of(DUE): 7, "a": 8}}, {"prioritized": {"a": 8}, "delayed": {id_of(DUE): SLOT}}),
}


@pytest.mark.parametrize("place", PLACES)
async def test_the_pending_iteration_is_replaced_wherever_it_waits_and_keeps_its_time(stage: Stage, place: str) -> None:
    before, after = PLACES[place]
    old = pending("s", DUE, data='{"old":1}')
    await stage.lay({"meta": V6, "repeat": {"s": DUE}, "repeat:s": record(offset=3, ic=4)}, old, before)
    assert await upsert(stage, data='{"new":1}') == (id_of(DUE), DUE)
    changed = await stage.changed()
    assert changed.pop("events") == [f"added jobId={id_of(DUE)} name=n", f"delayed jobId={id_of(DUE)} delay={DUE}"]
    assert changed.pop("repeat:s") == {"data": '{"new":1}'}
    assert changed.pop(id_of(DUE))["data"] == '{"new":1}'
    assert changed.pop("id") == "1"
    changed.pop("marker")
    assert changed == {name: value for name, value in after.items() if before.get(name) != value}


async def test_another_every_begins_anew_on_its_own_grid(stage: Stage) -> None:
    old = {"repeat": {"s": DUE}, "repeat:s": record(offset=46_659, ic=4), "delayed": {id_of(DUE): SLOT}}
    await stage.lay({"meta": V6}, old, pending("s", DUE))
    assert await upsert(stage, schedule=Schedule(every_ms=1000)) == (id_of(NOW), NOW)
    changed = await stage.changed()
    assert changed["repeat:s"] == {"every": "1000", "offset": str(NOW % 1000)}
    assert (changed[id_of(DUE)], changed["delayed"], changed["wait"]) == (None, None, [id_of(NOW)])


async def test_every_becomes_a_pattern_and_nothing_of_it_is_left(stage: Stage) -> None:
    old = {"repeat": {"s": DUE}, "repeat:s": record(data="1", opts='{"lifo":true}'), "delayed": {id_of(DUE): SLOT}}
    await stage.lay({"meta": V6}, old, pending("s", DUE))
    later = DUE + 1000
    assert await upsert(stage, due=later, schedule=PATTERN) == (id_of(later), later)
    changed = await stage.changed()
    gone = {"every": None, "data": None, "opts": None}
    assert {name: value for name, value in changed["repeat:s"].items() if name in gone} == gone
    assert (changed[id_of(DUE)], changed["delayed"]) == (None, {id_of(later): later * 4096})


async def test_a_running_iteration_stays_and_the_next_one_is_put_behind_it(stage: Stage) -> None:
    running = {"active": [id_of(NOW - 5)], f"{id_of(NOW - 5)}:lock": Px("t:1")}
    scheduler = {"repeat": {"s": NOW - 5}, "repeat:s": record(offset=(NOW - 5) % EVERY)}
    await stage.lay({"meta": V6}, scheduler, running, pending("s", NOW - 5))
    due = NOW - 5 + EVERY
    assert await upsert(stage) == (id_of(due), due)
    changed = await stage.changed()
    assert changed["repeat"] == {"s": due}
    assert changed["delayed"] == {id_of(due): due * 4096}
    assert not {"active", id_of(NOW - 5), "repeat:s"} & changed.keys()


async def test_who_changes_the_data_late_stays_on_the_grid(stage: Stage) -> None:
    last = NOW - 10 * EVERY - 5
    scheduler = {"repeat": {"s": last}, "repeat:s": record(offset=last % EVERY)}
    await stage.lay({"meta": V6, "active": [id_of(last)]}, scheduler, pending("s", last))
    assert await upsert(stage) == (id_of(NOW - 5 + EVERY), NOW - 5 + EVERY)


async def test_slots_that_old_jobs_hold_are_walked_past(stage: Stage) -> None:
    old = {id_of(NOW + step * EVERY): job() for step in range(3)}
    await stage.lay({"meta": V6}, old)
    due = NOW + 3 * EVERY
    assert await upsert(stage) == (id_of(due), due)


async def test_when_no_slot_is_free_nothing_changes(stage: Stage) -> None:
    old = {id_of(NOW + step * EVERY): job() for step in range(33)}
    scheduler = {"repeat": {"s": DUE}, "repeat:s": record(every=5), "delayed": {id_of(DUE): SLOT}}
    await stage.lay({"meta": V6, "id": "0"}, old, scheduler, pending("s", DUE))
    assert await upsert(stage) == -11
    assert await stage.changed() == {}


async def test_the_slot_of_a_pattern_that_another_job_holds_changes_nothing(stage: Stage) -> None:
    later = DUE + 1000
    await stage.lay({"meta": V6, "id": "0"}, {id_of(later): job()})
    assert await upsert(stage, due=later, schedule=PATTERN) == -10
    assert await stage.changed() == {}


async def test_while_an_iteration_is_pending_the_caller_is_asked_for_a_later_time_of_the_pattern(stage: Stage) -> None:
    later = DUE + 1000
    scheduler = {"repeat": {"s": DUE}, "repeat:s": record(), "delayed": {id_of(DUE): SLOT}}
    await stage.lay({"meta": V6, "id": "0"}, scheduler, pending("s", DUE), {id_of(later): job()})
    assert await upsert(stage, due=later, schedule=PATTERN) == -12
    assert await stage.changed() == {}


async def test_the_iteration_of_another_scheduler_is_never_overwritten_by_a_record(stage: Stage) -> None:
    scheduler = {"repeat": {"s": DUE}, "repeat:s": record(), "delayed": {id_of(DUE): SLOT}}
    await stage.lay({"meta": V6, "id": "0"}, scheduler, pending("s", DUE))
    assert await upsert(stage, f"s:{DUE}") == -13
    assert await stage.changed() == {}
    assert await upsert(stage, f"s:{DUE + 1}") == (f"repeat:s:{DUE + 1}:{NOW}", NOW)
    # A record that lost its place among the schedulers is in nobody's way.
    await stage.client.zrem("bull:q:repeat", f"s:{DUE + 1}")
    assert await upsert(stage, f"s:{DUE + 1}", now=NOW + 1) == (f"repeat:s:{DUE + 1}:{NOW + 1}", NOW + 1)


async def test_the_iteration_in_its_own_slot_is_in_nobodys_way(stage: Stage) -> None:
    scheduler = {"repeat": {"s": DUE}, "repeat:s": record(every=None, pattern="0 3 * * *", ic=9)}
    await stage.lay({"meta": V6, "delayed": {id_of(DUE): SLOT}}, scheduler, pending("s", DUE))
    assert await upsert(stage, due=DUE, schedule=PATTERN) == (id_of(DUE), DUE)
    assert (await stage.changed())["repeat:s"].get("ic", "9") == "9"


async def test_priority_lifo_and_deduplication_id_reach_the_iteration(stage: Stage) -> None:
    await stage.lay({"meta": V6, "wait": ["a"]})
    await upsert(stage, "p", priority=3)
    await upsert(stage, "l", lifo=True, deduplication="d")
    changed = await stage.changed()
    assert changed["prioritized"] == {f"repeat:p:{NOW}": 3 * 2**32 + 1}
    assert changed["wait"] == ["a", f"repeat:l:{NOW}"]
    assert (changed[f"repeat:p:{NOW}"]["priority"], changed[f"repeat:l:{NOW}"]["deid"]) == ("3", "d")


async def test_what_the_replaced_iteration_held_is_free_again(stage: Stage) -> None:
    scheduler = {"repeat": {"s": DUE}, "repeat:s": record(), "delayed": {id_of(DUE): SLOT}}
    held = {"de:d": id_of(DUE), "de:e": "another", f"{id_of(DUE)}:logs": ["row"]}
    await stage.lay({"meta": V6}, scheduler, held, pending("s", DUE, deid="d"))
    await upsert(stage)
    changed = await stage.changed()
    assert (changed["de:d"], changed[f"{id_of(DUE)}:logs"], "de:e" in changed) == (None, None, False)


async def test_numbers_keep_all_their_digits(stage: Stage) -> None:
    await stage.lay()
    most = 2**53
    await upsert(stage, schedule=Schedule(every_ms=most, limit=most, end_ms=most), opts='{"n":9007199254740993}')
    changed = await stage.changed()
    assert {changed["repeat:s"][name] for name in ("every", "limit", "endDate")} == {str(most)}
    assert '"n":9007199254740993' in changed[id_of(NOW)]["opts"]


async def test_on_a_paused_queue_the_iteration_goes_where_the_fleet_keeps_its_jobs(stage: Stage) -> None:
    await stage.lay({"meta": V5 | {"paused": "1"}})
    await upsert(stage)
    changed = await stage.changed()
    assert (changed["paused"], "wait" in changed, "marker" in changed) == ([id_of(NOW)], False, False)


async def test_damaged_keys_of_the_queue_are_refused_before_anything_is_written(stage: Stage) -> None:
    await stage.lay({"meta": V6, "delayed": "text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await upsert(stage)
    assert await stage.changed() == {}
