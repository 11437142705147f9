"""What a reader has missed, by what Redis tells of the stream."""

from __future__ import annotations

from typing import Any

import pytest

from corral.events_gap import START, Gap, Place, StreamFacts, judge, read_facts


def facts(first: str | None, last: str, length: int, added: int | None, deleted: str | None = "0-0") -> StreamFacts:
    return StreamFacts(first, last, length, added, None if added is None else deleted)


def missed(place: Place, found: StreamFacts | None, **seen: Any) -> tuple[Place, Gap | None]:
    return judge(place, found, **{"there": False, "last_is_known": False, **seen})


AT = Place("50-0", 50)

CASES: dict[str, tuple[Place, StreamFacts | None, Place, Gap | None]] = {
    "nothing new": (AT, facts(None, "50-0", 0, 50), AT, None),
    "cut up to our place": (AT, facts("51-0", "60-0", 10, 60), AT, None),
    "cut past our place": (AT, facts("58-0", "60-0", 3, 60), Place("50-0", 57), Gap("trimmed", 7)),
    "all cut": (AT, facts(None, "60-0", 0, 60), Place("60-0", 60), Gap("trimmed", 10)),
    "cut, and one deleted out of the middle": (
        *(AT, facts("58-0", "60-0", 2, 60, "59-0"), Place("50-0", None)),
        Gap("trimmed", None),
    ),
    "our entry was deleted": (AT, facts("1-0", "60-0", 59, 60, "50-0"), AT, None),
    "our entry was never there": (AT, facts("1-0", "60-0", 60, 60), Place("50-0", None), Gap("rolled back", None)),
    "no stream": (AT, None, Place(START, 0), Gap("deleted", None)),
    "a stream that ends before our place": (
        *(AT, facts("7-0", "8-0", 2, 2), Place(START, 0)),
        Gap("deleted", None),
    ),
    "a new stream behind our place": (AT, facts("60-0", "61-0", 2, 2), Place("50-0", 0), Gap("deleted", None)),
    "before 7, cut": (
        *(Place("50-0", None), facts("58-0", "60-0", 3, None), Place("50-0", None)),
        Gap("trimmed", None),
    ),
    "before 7, nothing new": (Place("50-0", None), facts(None, "50-0", 0, None), Place("50-0", None), None),
    "the oldest is asked for": (Place(START, None), facts("5-0", "6-0", 2, 6), Place(START, 4), None),
    "the oldest is asked for, before 7": (Place(START, None), facts("5-0", "6-0", 2, None), Place(START, None), None),
    "nothing is asked for, nothing is there": (Place(START, None), None, Place(START, 0), None),
    "began on nothing, then cut": (Place(START, 0), facts("5-0", "6-0", 2, 6), Place(START, 4), Gap("trimmed", 4)),
    "numbers, not texts, are compared": (Place("9-9", 5), facts("9-10", "10-0", 2, 7), Place("9-9", 5), None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_gap_is_told_when_something_was_missed_and_only_then(case: str) -> None:
    place, found, after, gap = CASES[case]
    assert missed(place, found) == (after, gap)


def test_nothing_was_missed_while_our_entry_is_there() -> None:
    assert missed(AT, facts("1-0", "60-0", 60, 60), there=True) == (AT, None)


def test_a_stream_that_lost_its_end_is_read_on_from_there_without_repeats() -> None:
    found = facts("1-0", "48-0", 48, 48)
    assert missed(AT, found, last_is_known=True) == (Place("48-0", 48), Gap("rolled back", None))


def test_the_reply_of_redis_6_lacks_numbers_and_is_read() -> None:
    reply = [b"length", 1, b"last-generated-id", b"2-0", b"groups", 0, b"first-entry", [b"1-0", [b"a", b"b"]]]
    assert read_facts(reply) == StreamFacts("1-0", "2-0", 1, None, None)
