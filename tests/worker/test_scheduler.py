"""Schedules and records of job schedulers: what is refused, what is read, what follows an iteration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from corral import InvalidJob, Job, JobOptions, Repeat
from corral.repeat import Schedule, wire_ms
from corral.scheduler import from_record, next_iteration, template_opts

NOW = 1_800_000_000_000
DAY = 86_400_000


def iteration(**opts: Any) -> Job:
    wire = {"attempts": 3, "delay": 5, "jobId": f"repeat:s:{NOW}", "repeat": {"every": 1000, "count": 1}} | opts
    return Job(f"repeat:s:{NOW}", "n", {}, JobOptions.from_wire(wire), "q", NOW, scheduler_id="s")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "either every or pattern"),
        ({"every": 1, "pattern": "* * * * *"}, "either every or pattern"),
        ({"pattern": "* * * * *", "immediately": True, "start_date": 2e9}, "immediately and start_date"),
        ({"every": 0}, "at least 1 ms"),
        ({"every": -1}, "not negative"),
        ({"every": "60"}, "span of time"),
        ({"pattern": "nonsense"}, "no cron pattern"),
        ({"pattern": 5}, "pattern is a text"),
        ({"pattern": "* * * * *", "tz": "Mars/Olympus"}, "no time zone"),
        ({"every": 1, "tz": 3}, "name of a time zone"),
        ({"every": 1, "limit": 0}, "limit is a whole number"),
        ({"every": 1, "limit": True}, "limit is a whole number"),
        ({"every": 1, "end_date": NOW / 1000 - 1}, "has passed"),
        ({"every": 1, "end_date": "tomorrow"}, "end_date takes a datetime"),
        ({"every": 1, "start_date": -5}, "start_date takes a datetime"),
        ({"every": 1, "offset": -5}, "not negative"),
    ],
)
def test_a_schedule_that_bullmq_would_refuse_is_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidJob, match=says):
        Repeat(**given).checked(NOW)


def test_spans_and_moments_become_ms() -> None:
    end = datetime.fromtimestamp(NOW / 1000 + 60, UTC)
    repeat = Repeat(every=timedelta(minutes=1), offset=0.5, limit=3, start_date=NOW / 1000 + 1, end_date=end)
    assert repeat.checked(NOW) == Schedule(60_000, None, None, 3, NOW + 1000, NOW + 60_000, 500)


def test_the_id_of_a_repeat_without_one_is_the_one_that_bullmq_5_makes() -> None:
    # md5 of `tick::::60000`
    assert Repeat(every=60).checked(NOW).key_for("tick") == "21f8f5b905938889582af2c7f9624054"


def test_the_pattern_counts_from_the_latest_of_now_the_last_iteration_and_the_start() -> None:
    midnight = Schedule(pattern="0 0 * * *", tz="UTC")
    today = NOW - NOW % DAY
    assert midnight.next_by_pattern(NOW) == today + DAY
    assert midnight.next_by_pattern(NOW, today + DAY) == today + 2 * DAY
    late = Schedule(pattern="0 0 * * *", tz="UTC", start_ms=today + 5 * DAY)
    assert late.next_by_pattern(NOW) == today + 6 * DAY


def test_a_pattern_ends_with_its_end_date() -> None:
    today = NOW - NOW % DAY
    assert Schedule(pattern="0 0 * * *", tz="UTC", end_ms=today + DAY).next_by_pattern(NOW) == today + DAY
    assert Schedule(pattern="0 0 * * *", tz="UTC", end_ms=today + DAY - 1).next_by_pattern(NOW) is None


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (5, 5),
        ("5", 5),
        (5.0, 5),
        ("2030-01-01T00:00:00.000Z", 1_893_456_000_000),
        ("2030-01-01", 1_893_456_000_000),
        (None, None),
        (True, None),
        ("", None),
        ("soon", None),
        ([], None),
        (float("inf"), None),
    ],
)
def test_moments_are_read_as_any_library_stored_them(stored: Any, read: int | None) -> None:
    assert wire_ms(stored) == read


def test_the_next_iteration_counts_on_and_keeps_the_options() -> None:
    following = next_iteration(iteration(priority=3, mine=1), NOW + 7)
    assert following is not None
    assert following.due_ms is None
    assert following.opts == {
        "attempts": 3,
        "priority": 3,
        "mine": 1,
        "timestamp": NOW + 7,
        "repeatJobKey": "s",
        "repeat": {"every": 1000, "count": 2},
    }


def test_the_next_iteration_of_a_pattern_says_when_it_is_due() -> None:
    job = iteration(repeat={"pattern": "0 0 * * *", "tz": "UTC", "count": 4, "immediately": True}, prevMillis=NOW)
    following = next_iteration(job, NOW)
    assert following is not None
    due = NOW - NOW % DAY + DAY
    assert following.due_ms == due
    assert following.opts["prevMillis"] == due
    assert following.opts["repeat"] == {"pattern": "0 0 * * *", "tz": "UTC", "count": 5}


def test_a_clock_that_is_late_does_not_make_the_same_iteration_again() -> None:
    last = NOW - NOW % DAY + DAY
    job = iteration(repeat={"pattern": "0 0 * * *", "tz": "UTC", "count": 1}, prevMillis=last)
    following = next_iteration(job, last - 5)
    assert following is not None
    assert following.due_ms == last + DAY


@pytest.mark.parametrize(
    "repeat",
    [
        {"every": 1000, "limit": 2, "count": 2},
        {"every": 1000, "endDate": NOW - 1, "count": 1},
        {"pattern": "* * * * *", "endDate": NOW + 1, "count": 1},
    ],
)
def test_nothing_follows_the_last_iteration(repeat: dict[str, Any]) -> None:
    assert next_iteration(iteration(repeat=repeat), NOW) is None


def test_one_more_follows_the_last_but_one() -> None:
    assert next_iteration(iteration(repeat={"every": 1000, "limit": 2, "count": 1}), NOW) is not None
    assert next_iteration(iteration(repeat={"every": 1000, "endDate": NOW, "count": 1}), NOW) is not None


@pytest.mark.parametrize("repeat", [None, [], {"count": 1}, {"pattern": "H * * * *"}])
def test_an_iteration_that_does_not_tell_its_schedule_is_refused(repeat: Any) -> None:
    with pytest.raises(InvalidJob):
        next_iteration(iteration(repeat=repeat), NOW)


def test_the_record_keeps_only_what_the_iterations_share() -> None:
    opts = JobOptions.from_wire({"attempts": 0, "jobId": "x", "delay": 5, "priority": 3, "timestamp": 1, "mine": {}})
    assert template_opts(opts) == {"priority": 3, "mine": {}}


def test_a_record_is_read_as_it_was_written() -> None:
    record = {
        b"name": b"nightly",
        b"pattern": b"0 3 * * *",
        b"tz": b"Europe/Madrid",
        b"limit": b"5",
        b"startDate": b"1800000000000",
        b"endDate": b"1893456000000",
        b"offset": b"0",
        b"data": '{"s":"é"}'.encode(),
        b"opts": b'{"attempts":2}',
        b"ic": b"7",
    }
    found = from_record("cr", record, NOW)
    assert found is not None
    assert (found.id, found.name, found.next_ms, found.iterations) == ("cr", "nightly", NOW, 7)
    assert (found.pattern, found.tz, found.limit, found.every_ms) == ("0 3 * * *", "Europe/Madrid", 5, None)
    assert (found.start_ms, found.end_ms, found.data) == (NOW, 1_893_456_000_000, {"s": "é"})
    assert found.opts == JobOptions(attempts=2)
    assert found.next_at == datetime.fromtimestamp(NOW / 1000, UTC)


def test_a_damaged_record_is_read_as_far_as_it_goes() -> None:
    found = from_record("s", {b"every": b"x", b"data": b"{", b"opts": b"[]", b"ic": b"?"}, None)
    assert found is not None
    assert (found.name, found.every_ms, found.data, found.opts, found.iterations, found.next_at) == ("", *[None] * 5)


def test_the_oldest_repeatable_jobs_are_told_by_their_id() -> None:
    found = from_record("tick:id:1893456000000:Europe/Madrid:0 3 * * *", {}, NOW)
    assert found is not None
    assert (found.name, found.tz, found.pattern, found.end_ms) == (
        "tick",
        "Europe/Madrid",
        "0 3 * * *",
        1_893_456_000_000,
    )
    every = from_record("tick::::60000", {}, NOW)
    assert every is not None
    assert (every.every_ms, every.pattern, every.iterations) == (60_000, None, None)
    assert from_record("a:b", {}, NOW) is None
