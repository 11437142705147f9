"""A closer look at the jobs that run: how old they are, and in whose hands."""

from __future__ import annotations

import pytest

from corral.errors import RedisRefused
from corral_operator.active_jobs import SAMPLE, closer_look, running_age_s, sample
from corral_operator.counting import LISTED_ACTIVE
from corral_operator.observed import QueueReading
from redis_secret import ask

NOW = 1_800_000_000_000
REFUSED = RedisRefused("it is a list", "WRONGTYPE")


def _ids(number: int) -> list[bytes]:
    return [str(place).encode() for place in range(number)]


def test_a_short_list_is_read_whole_and_a_long_one_evenly() -> None:
    assert sample(_ids(SAMPLE)) == _ids(SAMPLE)
    assert sample([]) == []
    # Forty in all: every second one.
    assert sample(_ids(2 * SAMPLE)) == [str(place).encode() for place in range(1, 2 * SAMPLE, 2)]
    ages = [int(each) for each in sample(_ids(500))]
    assert len(ages) == SAMPLE
    assert sum(ages) / SAMPLE == pytest.approx(249.5)


def test_the_ages_of_a_sample_stand_for_all_active_jobs() -> None:
    stamps = [str(NOW - 1000).encode(), str(NOW - 3000).encode()]
    assert running_age_s(2, stamps, NOW) == 4.0
    assert running_age_s(10, stamps, NOW) == 20.0


def test_jobs_whose_start_cannot_be_read_are_left_out() -> None:
    missing = [None, b"soon"]
    assert running_age_s(4, [*missing, str(NOW - 1000).encode()], NOW) == 4.0
    assert running_age_s(4, missing, NOW) is None
    assert running_age_s(4, [], NOW) is None


def test_a_host_whose_clock_is_ahead_makes_no_negative_age() -> None:
    assert running_age_s(1, [str(NOW + 5000).encode()], NOW) == 0.0


def _stamp(age_s: float) -> bytes:
    return str(NOW - round(age_s * 1000)).encode()


def test_each_job_is_asked_in_its_own_hash() -> None:
    look = closer_look(ask("q", prefix="{a}", ages=True), QueueReading("q", active=2), [b"7", "é:x:y".encode()])
    assert look is not None
    assert look.commands() == [
        ("HMGET", b"{a}:q:7", "processedOn", "pb"),
        ("HMGET", "{a}:q:é:x:y".encode(), "processedOn", "pb"),
    ]


def test_for_their_ages_a_sample_of_the_jobs_is_enough_and_says_nothing_of_the_holders() -> None:
    look = closer_look(ask("q", ages=True), QueueReading("q", active=100), _ids(100))
    assert look is not None
    assert len(look.ids) == SAMPLE
    seen = look.seen(QueueReading("q", active=100), [[_stamp(2), b"pod"]] * SAMPLE, NOW)
    assert (seen.running_age_s, seen.holders) == (200.0, None)


def test_the_pb_of_all_active_jobs_says_who_is_busy() -> None:
    reading = QueueReading("q", active=30)
    look = closer_look(ask("q", holders=True), reading, _ids(30))
    assert look is not None
    assert len(look.ids) == 30
    replies = [*[[_stamp(1), b"a"]] * 20, *[[_stamp(4), b"b"]] * 9, [_stamp(4), None]]
    seen = look.seen(reading, replies, NOW)
    assert seen.holders == {"a": 20, "b": 9, "": 1}
    assert seen.running_age_s == 60.0


def test_a_job_that_is_gone_is_in_nobodys_hands_and_one_that_cannot_be_read_in_somebodys() -> None:
    reading = QueueReading("q", active=4)
    look = closer_look(ask("q", holders=True), reading, _ids(4))
    assert look is not None
    assert look.seen(reading, [[None, None], REFUSED, [None, b"a"], [_stamp(1), b"\xff"]], NOW).holders == {
        "": 1,
        "a": 1,
        "�": 1,
    }
    assert look.seen(reading, [[None, None]] * 4, NOW).holders == {}


def test_who_holds_more_jobs_than_are_listed_is_not_known() -> None:
    asked = ask("q", holders=True)
    assert closer_look(asked, QueueReading("q", active=LISTED_ACTIVE), _ids(LISTED_ACTIVE)) is not None
    many = QueueReading("q", active=LISTED_ACTIVE + 1)
    assert closer_look(asked, many, _ids(LISTED_ACTIVE)) is None
    sampled = closer_look(ask("q", holders=True, ages=True), many, _ids(LISTED_ACTIVE))
    assert sampled is not None
    assert sampled.seen(many, [[_stamp(1), b"a"]] * SAMPLE, NOW).holders is None


@pytest.mark.parametrize("active", [0, 3])
def test_without_a_question_or_a_job_nothing_is_looked_at(active: int) -> None:
    assert closer_look(ask("q", workers=True), QueueReading("q", active=active), []) is None
    assert closer_look(ask("q", ages=True, holders=True), QueueReading("q", active=0), []) is None
