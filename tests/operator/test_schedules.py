"""When a schedule holds, and the bounds that follow: moments of the wall clock go in, numbers come out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.cron_times import next_ms
from corral_operator.decision import Reason
from corral_operator.schedules import LONGEST_MS, Agenda, agenda_of, bounds_of
from corral_operator.spec import PoolSpec, Schedule
from story import POOL

HOUR_MS = 3_600_000
OFFICE = Schedule("office", "0 8 * * 1-5", "Europe/Berlin", 10 * 3600.0, min_replicas=3)
NIGHT = Schedule("night", "0 22 * * *", "UTC", 6 * 3600.0, max_replicas=2)


def at(text: str, zone: str = "Europe/Berlin") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def holding(schedule: Schedule, wall_ms: int) -> bool:
    return bool(agenda_of((schedule,), wall_ms).holding)


def bounds(wall_ms: int, *schedules: Schedule, **policy: Any) -> Any:
    pool: PoolSpec = replace(POOL, schedules=schedules, **policy)
    return bounds_of(pool, agenda_of(schedules, wall_ms))


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-23 07:59:59", False),
        ("2026-11-23 08:00:00", True),
        ("2026-11-23 17:59:59", True),
        ("2026-11-23 18:00:00", False),
        ("2026-11-22 12:00:00", False),  # a Sunday
    ],
)
def test_a_schedule_holds_from_each_moment_of_its_cron_for_its_duration(moment: str, holds: bool) -> None:
    assert holding(OFFICE, at(moment)) is holds


def test_a_schedule_that_lasts_longer_than_time_itself_holds() -> None:
    assert holding(replace(OFFICE, duration_s=99_999_999 * 3600.0), at("2026-11-22 12:00:00"))


def test_a_schedule_follows_the_clock_of_its_time_zone_through_its_changes() -> None:
    for day in ("2026-03-27", "2026-03-30", "2026-10-23", "2026-10-26"):
        assert not holding(OFFICE, at(f"{day} 07:59:59"))
        assert holding(OFFICE, at(f"{day} 08:00:00"))


def test_a_time_of_day_that_the_clock_leaps_over_begins_a_window_as_much_later() -> None:
    # On 14 March 2027 the clock goes from 2:00 to 3:00.
    zone = "America/New_York"
    short = Schedule("short", "15 2 * * 0", zone, 600.0, min_replicas=1)
    long = replace(short, duration_s=4 * 3600.0)
    held = {minute: holding(short, at(f"2027-03-14 03:{minute}:00", zone)) for minute in (14, 15, 24, 25)}
    assert held == {14: False, 15: True, 24: True, 25: False}
    assert [holding(long, at(f"2027-03-14 07:{minute:02}:00", zone)) for minute in (5, 14, 15)] == [True, True, False]


def test_a_duration_is_real_time_through_a_change_of_the_clock() -> None:
    nightly = Schedule("nightly", "0 0 * * *", "Europe/Berlin", 6 * 3600.0, max_replicas=1)
    # The night of the last Sunday in October has an hour more, that in March one less.
    assert agenda_of((nightly,), at("2026-10-25 01:00")).next_ms == at("2026-10-25 05:00")
    assert agenda_of((nightly,), at("2026-03-29 01:00")).next_ms == at("2026-03-29 07:00")


def test_a_window_that_began_yesterday_holds_over_midnight() -> None:
    assert holding(NIGHT, at("2026-11-23 03:59:59", "UTC"))
    assert not holding(NIGHT, at("2026-11-23 04:00:00", "UTC"))


def test_windows_that_meet_are_one() -> None:
    hourly = Schedule("mornings", "0 8-11 * * *", "UTC", 3600.0, min_replicas=1)
    agenda = agenda_of((hourly,), at("2026-11-23 08:30", "UTC"))
    assert agenda.next_ms == at("2026-11-23 12:00", "UTC")
    assert agenda.holding[0].text == "schedule mornings (until 2026-11-23 12:00 UTC)"


def test_a_window_that_never_ends_says_no_end() -> None:
    always = Schedule("always", "* * * * *", "UTC", 3600.0, min_replicas=1)
    agenda = agenda_of((always,), at("2026-11-23 08:30", "UTC"))
    assert (agenda.holding[0].until_ms, agenda.holding[0].text, agenda.next_ms) == (None, "schedule always", None)


def test_the_next_change_is_the_first_beginning_or_end_of_all() -> None:
    moment = at("2026-11-23 12:00")
    agenda = agenda_of((OFFICE, NIGHT), moment)
    assert [row.schedule.name for row in agenda.holding] == ["office"]
    assert [row.name for row, _ in agenda.coming] == ["night"]
    assert agenda.next_ms == at("2026-11-23 18:00")
    assert agenda_of((OFFICE, NIGHT), agenda.next_ms).next_ms == at("2026-11-23 22:00", "UTC")
    assert agenda_of((), moment).next_ms is None


def test_of_several_floors_the_highest_counts_and_of_several_ceilings_the_lowest() -> None:
    always = {"cron": "* * * * *", "time_zone": "UTC", "duration_s": 3600.0}
    rows = [Schedule(f"s{n}", **always, min_replicas=n, max_replicas=n + 10) for n in (4, 6, 5)]
    found = bounds(at("2026-11-23 12:00"), *rows, min_replicas=2)
    assert (found.least, found.least_by, found.most, found.most_by) == (6, Reason.SCHEDULE, 14, Reason.SCHEDULE_CEILING)
    assert (found.floor.schedule.name, found.ceiling.schedule.name) == ("s6", "s4")


def test_bounds_of_the_spec_that_are_tighter_stay() -> None:
    found = bounds(at("2026-11-23 12:00"), OFFICE, replace(OFFICE, name="b", max_replicas=30), min_replicas=5)
    assert (found.least, found.least_by, found.floor) == (5, Reason.MIN_REPLICAS, None)
    assert (found.most, found.most_by, found.ceiling) == (30, Reason.MAX_REPLICAS, None)


def test_a_ceiling_goes_before_every_floor() -> None:
    night = at("2026-11-23 23:00", "UTC")
    found = bounds(night, NIGHT, replace(NIGHT, name="other", max_replicas=None, min_replicas=7), min_replicas=4)
    assert (found.least, found.most) == (2, 2)
    assert found.least_by is found.most_by is Reason.SCHEDULE_CEILING


def test_what_was_worked_out_is_kept_until_it_may_change() -> None:
    noon = at("2026-11-23 12:00")
    agenda = agenda_of((OFFICE,), noon)
    assert agenda_of((OFFICE,), noon + 60_000, agenda) is agenda
    assert agenda_of((OFFICE,), noon - 1, agenda) is not agenda
    assert agenda_of((OFFICE,), noon + LONGEST_MS, agenda) is not agenda
    assert agenda_of((NIGHT,), noon, agenda).schedules == (NIGHT,)
    ended = agenda_of((OFFICE,), at("2026-11-23 18:00"), replace(agenda, from_ms=at("2026-11-23 17:30")))
    assert ended.holding == ()


schedules = st.builds(
    Schedule,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["0 8 * * 1-5", "30 22 * * *", "0 0 1 * *", "*/20 * * * *", "15 2 * * 0", "0 3 29 2 *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    st.sampled_from([600.0, 1200.0, 3600.0, 36_000.0, 90_000.0]),
    min_replicas=st.just(1),
)
moments = st.integers(at("2026-01-01 00:00"), at("2028-12-31 00:00"))


@settings(deadline=None)
@given(schedules, moments)
def test_a_schedule_holds_exactly_where_some_moment_of_its_cron_is_no_longer_ago_than_its_duration(
    schedule: Schedule, moment: int
) -> None:
    lasts_ms = round(schedule.duration_s * 1000)
    begun = next_ms(schedule.cron, schedule.time_zone, moment - lasts_ms)
    assert holding(schedule, moment) == (begun is not None and begun <= moment)


@settings(deadline=None)
@given(st.lists(schedules, min_size=1, max_size=2), moments)
def test_nothing_changes_before_the_next_change_and_something_does_then(rows: list[Schedule], moment: int) -> None:
    agenda = agenda_of(tuple(rows), moment)
    if agenda.next_ms is None:
        return
    assert names(agenda_of(tuple(rows), agenda.next_ms - 1)) == names(agenda)
    assert names(agenda_of(tuple(rows), agenda.next_ms)) != names(agenda)


def names(agenda: Agenda) -> list[Schedule]:
    return [row.schedule for row in agenda.holding]
