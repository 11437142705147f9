"""Cron patterns: what they may say, and what a change of the clock means for them."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import InvalidJob
from corral.cron import parse
from corral.cron_times import next_ms, zone
from cron_cases import ZONES, a_moment, a_pattern

MADRID = "Europe/Madrid"


def times(pattern: str, tz: str, start: str, count: int) -> list[str]:
    """The next times after a moment, as the wall clock of the zone shows them, with its distance from UTC."""
    place = ZoneInfo(tz)
    moment = datetime.fromisoformat(start)
    ms = round((moment if moment.tzinfo else moment.replace(tzinfo=place)).timestamp() * 1000)
    found = []
    for _ in range(count):
        following = next_ms(pattern, tz, ms)
        assert following is not None
        ms = following
        found.append(datetime.fromtimestamp(ms / 1000, UTC).astimezone(place).strftime("%m-%d %H:%M:%S%z"))
    return found


def test_five_fields_are_minutes_first_and_six_are_seconds_first() -> None:
    assert times("30 4 * * *", "UTC", "2026-06-10", 1) == ["06-10 04:30:00+0000"]
    assert times("15 30 4 * * *", "UTC", "2026-06-10", 1) == ["06-10 04:30:15+0000"]


def test_the_next_time_is_later_than_the_start_and_not_the_start_itself() -> None:
    assert times("0 4 * * *", "UTC", "2026-06-10T04:00:00", 1) == ["06-11 04:00:00+0000"]
    assert times("0 4 * * *", "UTC", "2026-06-10T03:59:59.999", 1) == ["06-10 04:00:00+0000"]


def test_names_ranges_steps_last_days_and_nth_weekdays() -> None:
    assert times("0 0 * JAN,feb MON-wed", "UTC", "2026-01-26", 4) == [
        "01-27 00:00:00+0000",
        "01-28 00:00:00+0000",
        "02-02 00:00:00+0000",
        "02-03 00:00:00+0000",
    ]
    assert times("10-50/20 8/8 * * *", "UTC", "2026-06-10", 4) == [
        "06-10 08:10:00+0000",
        "06-10 08:30:00+0000",
        "06-10 08:50:00+0000",
        "06-10 16:10:00+0000",
    ]
    assert times("0 0 L * *", "UTC", "2026-01-01", 3) == [
        "01-31 00:00:00+0000",
        "02-28 00:00:00+0000",
        "03-31 00:00:00+0000",
    ]
    assert times("0 0 * * 5L", "UTC", "2026-01-01", 2) == ["01-30 00:00:00+0000", "02-27 00:00:00+0000"]
    assert times("0 0 * * FRI#2", "UTC", "2026-01-01", 2) == ["01-09 00:00:00+0000", "02-13 00:00:00+0000"]


def test_of_two_kinds_of_days_either_may_match() -> None:
    assert times("0 0 13 * FRI", "UTC", "2026-01-01", 3) == [
        "01-02 00:00:00+0000",
        "01-09 00:00:00+0000",
        "01-13 00:00:00+0000",
    ]


def test_an_hour_that_the_clock_skips_runs_in_the_hour_after_it() -> None:
    assert times("30 2 * * *", MADRID, "2026-03-28T12:00", 2) == ["03-29 03:30:00+0200", "03-30 02:30:00+0200"]
    # 02:30 is told as 03:30, which is there already.
    assert times("30 2,3 * * *", MADRID, "2026-03-28T12:00", 2) == ["03-29 03:30:00+0200", "03-30 02:30:00+0200"]


def test_an_hour_that_the_clock_repeats_runs_once() -> None:
    assert times("30 2 * * *", MADRID, "2026-10-24T12:00", 2) == ["10-25 02:30:00+0200", "10-26 02:30:00+0100"]
    assert times("0 3 * * *", MADRID, "2026-10-24T12:00", 2) == ["10-25 03:00:00+0100", "10-26 03:00:00+0100"]


def test_who_begins_in_the_second_of_two_hours_still_runs_in_it() -> None:
    assert times("30 2 * * *", MADRID, "2026-10-25T02:10:00+01:00", 1) == ["10-25 02:30:00+0100"]


def test_every_hour_means_every_hour_there_is() -> None:
    assert times("0 * * * *", MADRID, "2026-10-25T01:30", 3) == [
        "10-25 02:00:00+0200",
        "10-25 02:00:00+0100",
        "10-25 03:00:00+0100",
    ]
    assert times("0 * * * *", MADRID, "2026-03-29T00:30", 3) == [
        "03-29 01:00:00+0100",
        "03-29 03:00:00+0200",
        "03-29 04:00:00+0200",
    ]


def test_a_day_that_begins_at_one_is_a_day() -> None:
    assert times("0 3 * * *", "America/Santiago", "2026-09-05T12:00", 1) == ["09-06 03:00:00-0300"]
    # Its midnight is not there, and nothing ran the hour before.
    assert times("30 0 * * *", "America/Santiago", "2026-09-05T12:00", 1) == ["09-07 00:30:00-0300"]


@pytest.mark.parametrize(
    ("tz", "pattern", "start", "comes"),
    [
        (
            "Pacific/Easter",
            "0 0 * * *",
            "2026-09-05T12:00",
            "09-06 00:00:00-0500",
        ),  # 22:00 becomes 23:00 the day before
        ("Australia/Lord_Howe", "0 0 * * *", "2026-04-04T12:00", "04-05 00:00:00+1100"),  # half an hour, at 02:00
        ("Pacific/Chatham", "0 3 * * *", "2026-09-26T12:00", "09-27 04:00:00+1345"),  # 02:45 becomes 03:45
        ("Pacific/Chatham", "0 3 * * *", "2026-04-05T03:00:00+13:45", "04-06 03:00:00+1245"),  # 03:45 becomes 02:45
        ("America/Godthab", "15 23 * * *", "2026-03-28T12:00", "03-29 23:15:00-0100"),  # 23:00 becomes midnight
        ("America/Godthab", "15 22,23 * * *", "2026-03-28T22:15", "03-29 00:15:00-0100"),
        ("Antarctica/Troll", "30 1 * * *", "2026-10-25T01:30:00+02:00", "10-26 01:30:00+0000"),  # 03:00 becomes 01:00
        ("Antarctica/Troll", "0 3 * * *", "2026-10-24T12:00", "10-25 03:00:00+0000"),
        (
            "Africa/Cairo",
            "0 0 * * *",
            "2026-04-23T12:00",
            "04-25 00:00:00+0300",
        ),  # no midnight, nothing the hour before
    ],
)
def test_clocks_that_change_at_an_odd_time_are_known(tz: str, pattern: str, start: str, comes: str) -> None:
    assert times(pattern, tz, start, 1) == [comes]


def test_a_pattern_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidJob, match="day-of-month"):
        parse("0 0 31 2,4 *")


def test_beyond_the_calendar_there_is_no_next_time() -> None:
    assert next_ms("0 0 1 1 *", "UTC", 253_402_300_799_000) is None
    assert next_ms("0 0 1 1 *", "UTC", 2**53) is None


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("* * * * * * *", "takes 5 fields"),
        ("61 * * * *", "minute '61' is not within 0-59"),
        ("* * 15W * *", "day of month '15W'"),
        ("* * * * MON#6", "day of week"),
        ("1,1 * * * *", "says a value twice"),
        ("H * * * *", "minute 'H'"),
    ],
)
def test_what_is_no_pattern_is_refused_by_name(pattern: str, says: str) -> None:
    with pytest.raises(InvalidJob, match="is no cron pattern") as refused:
        parse(pattern)
    assert pattern in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "UTC+x", "UTC+99", "Europe", "UTC\x00"])
def test_what_is_no_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidJob, match="is no time zone"):
        zone(name)


@given(st.integers(0, 2**32))
def test_whatever_the_pattern_the_next_time_is_later_fits_the_fields_and_skips_none(seed: int) -> None:
    dice = Random(seed)
    pattern, tz = a_pattern(dice), dice.choice(ZONES)
    start = a_moment(dice, tz)
    try:
        cron = parse(pattern)
    except InvalidJob:
        return
    found = next_ms(pattern, tz, start)
    if found is None:
        return
    assert found > start
    wall = datetime.fromtimestamp(found / 1000, UTC).astimezone(ZoneInfo(tz))
    assert (wall.second in cron.seconds, wall.minute in cron.minutes, found % 1000) == (True, True, 0)
    assert cron.has_day(wall.date())
    # From a moment in between, the answer is the same or the search begins behind a change of the clock.
    between = dice.randint(start, found - 1)
    again = next_ms(pattern, tz, between)
    assert again is not None
    assert start < again <= found or _changes_between(tz, start, found)


def _changes_between(tz: str, start: int, end: int) -> bool:
    place = ZoneInfo(tz)
    offsets = {
        datetime.fromtimestamp(ms / 1000, UTC).astimezone(place).utcoffset()
        for ms in range(start, end + 3_600_000, 3_600_000)
    }
    return len(offsets) > 1
