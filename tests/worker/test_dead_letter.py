"""DeadLetter: what stands in a job's options, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from corral import DeadLetter, Job, JobOptions

WIRE = {
    "queue": "q",
    "id": "5",
    "reason": "why",
    "attemptsMade": 3,
    "attemptsStarted": 4,
    "timestamp": 1,
    "processedOn": 2,
    "finishedOn": 3,
    "movedOn": 4,
    "stacktrace": ["a"],
}


def test_it_is_read_from_the_options_and_written_back_unchanged() -> None:
    opts = JobOptions.from_wire({"attempts": 0, "deadLetter": WIRE})
    assert Job("q.5", "n", None, opts, "dead", 1).dead_letter == DeadLetter("q", "5", "why", 3, 4, 1, 2, 3, 4, ("a",))
    assert opts.to_wire() == {"attempts": 0, "deadLetter": WIRE}


def test_an_ordinary_job_has_none() -> None:
    assert Job("5", "n", None, JobOptions(), "q", 1).dead_letter is None


@pytest.mark.parametrize("wire", [None, 1, "q", [], {}, {"queue": "q"}, {"queue": 1, "id": "5"}, {"id": "5"}])
def test_what_names_no_origin_is_no_letter(wire: Any) -> None:
    assert DeadLetter.from_wire(wire) is None


def test_what_cannot_be_read_counts_as_never_happened() -> None:
    damaged = {**WIRE, "attemptsMade": "x", "processedOn": None, "finishedOn": -1, "stacktrace": "a", "reason": 5}
    letter = DeadLetter.from_wire(damaged)
    assert letter == DeadLetter("q", "5", "5", 0, 4, 1, None, None, 4, ())
