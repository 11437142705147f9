"""What a queue of a worker took, and for how long it held slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.tally import Tally


def test_seconds_are_those_of_ended_and_of_running_jobs() -> None:
    tally = Tally(100.0)
    tally.took(101.0)
    tally.took(103.0)
    assert tally.seconds(105.0) == 6.0
    tally.ended(105.0, attempt=True)
    assert tally.seconds(108.0) == 9.0
    tally.ended(108.0, attempt=False)
    assert tally.seconds(200.0) == 9.0
    assert (tally.taken, tally.attempts, tally.busy) == (2, 1, 2)


def test_a_job_is_busy_until_its_end_is_written() -> None:
    tally = Tally(0.0)
    tally.took(1.0)
    tally.ended(2.0, attempt=True)
    assert tally.busy == 1
    tally.written()
    assert tally.busy == 0


def test_a_job_that_is_ended_twice_holds_its_slot_twice_and_is_one_attempt() -> None:
    tally = Tally(0.0)
    tally.took(0.0)
    tally.ended(1.0, attempt=True)
    tally.reclaimed(5.0)
    tally.ended(7.0, attempt=False)
    tally.written()
    assert (tally.seconds(9.0), tally.attempts, tally.busy) == (3.0, 1, 0)


def test_the_watcher_is_called_with_the_job_already_counted_and_only_while_there_is_one() -> None:
    tally, seen = Tally(0.0), []
    tally.took(0.0)
    tally.on_busy = lambda: seen.append(tally.busy)
    tally.took(1.0)
    tally.on_busy = None
    tally.took(2.0)
    assert seen == [2]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
def test_seconds_only_grow(moves: list[tuple[bool, float]]) -> None:
    tally, now, held, before = Tally(0.0), 0.0, 0, 0.0
    for takes, passes in moves:
        now += passes
        if takes:
            tally.took(now)
            held += 1
        elif held:
            tally.ended(now, attempt=True)
            held -= 1
        assert tally.seconds(now) >= before
        before = tally.seconds(now)
