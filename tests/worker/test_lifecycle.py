"""What follows from a run: the table of outcomes and steps, and its edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import Backoff, Job, JobOptions, Keep, State
from corral.lifecycle import (
    OUTCOME_NAMES,
    Complete,
    Completed,
    Delay,
    Fail,
    Failed,
    HandBack,
    Interrupted,
    Outcome,
    RateLimited,
    Retention,
    Retry,
    Step,
    Verdict,
    asks_strategy,
    next_step,
)
from corral.metrics import OUTCOMES

NO_RETENTION = Retention()
KEEP_ALL = Keep()


def job(made: int = 0, stacktrace: tuple[str, ...] = (), **options: Any) -> Job:
    return Job("7", "send", {}, JobOptions(**options), "mail", 1, attempts_made=made, stacktrace=stacktrace)


def step(job: Job, outcome: Outcome, retention: Retention = NO_RETENTION, draw: float = 0.5) -> Step:
    return next_step(job, outcome, retention, draw)


BOOM = Failed("boom", "trace")
FATAL = Failed("boom", "trace", unrecoverable=True)


@pytest.mark.parametrize(
    ("options", "made", "outcome", "expected"),
    [
        ({}, 0, Completed("5"), Complete("5", KEEP_ALL)),
        ({"attempts": 3}, 1, Completed("null"), Complete("null", KEEP_ALL)),
        ({}, 0, BOOM, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 1}, 0, BOOM, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 2}, 0, BOOM, Retry("boom", ("trace",), lifo=False)),
        ({"attempts": 2, "lifo": True}, 0, BOOM, Retry("boom", ("trace",), lifo=True)),
        ({"attempts": 2}, 1, BOOM, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 2}, 9, BOOM, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 2, "backoff": Backoff.fixed(5)}, 0, BOOM, Delay("boom", ("trace",), 5000)),
        ({"attempts": 2, "backoff": Backoff.fixed(0)}, 0, BOOM, Retry("boom", ("trace",), lifo=False)),
        ({"attempts": 9, "backoff": Backoff.exponential(1)}, 3, BOOM, Delay("boom", ("trace",), 8000)),
        ({"attempts": 2, "backoff": Backoff.fixed(5)}, 1, BOOM, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 3}, 0, FATAL, Fail("boom", ("trace",), KEEP_ALL, exhausted=False)),
        ({"attempts": 3}, 2, FATAL, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({}, 0, FATAL, Fail("boom", ("trace",), KEEP_ALL, exhausted=True)),
        ({"attempts": 3}, 0, Interrupted(), HandBack()),
        ({}, 5, Interrupted(), HandBack()),
    ],
)
def test_each_outcome_has_its_step(options: dict[str, Any], made: int, outcome: Outcome, expected: Step) -> None:
    assert step(job(made, **options), outcome) == expected


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 500), (0.5, 750), (0.999, 999)])
def test_the_number_drawn_places_the_retry_within_the_jitter(draw: float, wait: int) -> None:
    jittery = job(attempts=2, backoff=Backoff.fixed(1, jitter=0.5))
    assert step(jittery, BOOM, draw=draw) == Delay("boom", ("trace",), wait)


def test_a_jitter_that_leaves_no_wait_retries_at_once() -> None:
    jittery = job(attempts=2, backoff=Backoff.fixed(1, jitter=1.0))
    assert step(jittery, BOOM, draw=0.0) == Retry("boom", ("trace",), lifo=False)


def test_an_unknown_backoff_strategy_fails_the_job_and_says_why() -> None:
    found = step(job(attempts=5, backoff=Backoff("lunar", 100)), BOOM)
    assert isinstance(found, Fail)
    assert found.reason.startswith("boom (not retried: unknown backoff strategy 'lunar'")
    assert not found.exhausted


@pytest.mark.parametrize("kind", ["fixed", "exponential"])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_a_backoff_of_absurd_length_still_gives_a_step(kind: str, jitter: float) -> None:
    backoff = Backoff.from_wire({"type": kind, "delay": 1e300, "jitter": jitter})
    assert isinstance(step(job(made=20, attempts=100, backoff=backoff), BOOM), Delay | Fail)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (None, ("one", "two", "three")),
        (0, ()),
        (1, ("three",)),
        (2, ("two", "three")),
        (3, ("one", "two", "three")),
        (100, ("one", "two", "three")),
        (2**70, ("one", "two", "three")),
    ],
)
def test_the_last_stack_traces_stay(limit: int | None, kept: tuple[str, ...]) -> None:
    found = step(job(2, ("one", "two"), attempts=5, stack_trace_limit=limit), Failed("boom", "three"))
    assert found == Retry("boom", kept, lifo=False)


JOBS, WORKERS = Keep(count=1), Keep(count=2)


@pytest.mark.parametrize(
    ("of_job", "of_worker", "expected"),
    [
        (None, None, KEEP_ALL),
        (None, WORKERS, WORKERS),
        (JOBS, None, JOBS),
        (JOBS, WORKERS, JOBS),
        (KEEP_ALL, WORKERS, KEEP_ALL),
        (Keep(count=0), WORKERS, Keep(count=0)),
    ],
)
def test_what_a_job_says_of_its_retention_goes_before_what_the_worker_says(
    of_job: Keep | None, of_worker: Keep | None, expected: Keep
) -> None:
    other = Keep(count=99)
    completed = step(job(remove_on_complete=of_job, remove_on_fail=other), Completed("1"), Retention(of_worker, other))
    failed = step(job(remove_on_complete=other, remove_on_fail=of_job), BOOM, Retention(other, of_worker))
    assert isinstance(completed, Complete)
    assert isinstance(failed, Fail)
    assert (completed.keep, failed.keep) == (expected, expected)


@given(
    st.integers(0, 60),
    st.none() | st.builds(Backoff, st.sampled_from(["fixed", "exponential"]), st.integers(0, 10**6), st.floats(0, 1)),
    st.floats(0, 1, exclude_max=True),
    st.sets(st.integers(0, 100)),
)
def test_a_job_that_always_fails_runs_exactly_as_often_as_it_may(
    attempts: int, backoff: Backoff | None, draw: float, hand_backs: set[int]
) -> None:
    runs, made = 0, 0
    for take in range(300):
        if take in hand_backs:
            assert isinstance(step(job(made, attempts=attempts, backoff=backoff), Interrupted()), HandBack)
            continue
        runs += 1
        found = step(job(made, attempts=attempts, backoff=backoff), BOOM, draw=draw)
        if isinstance(found, Fail):
            assert found.exhausted
            break
        assert isinstance(found, Retry | Delay)
        made += 1
    assert runs == max(1, attempts)


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_job_that_succeeds_is_over(attempts: int, made: int) -> None:
    assert step(job(made, attempts=attempts), Completed("1")) == Complete("1", KEEP_ALL)


def test_every_step_has_a_name_that_the_metrics_know() -> None:
    assert set(OUTCOME_NAMES) == {Complete, Fail, Retry, Delay, HandBack}
    assert set(OUTCOME_NAMES.values()) | {"moved", "lost"} == set(OUTCOMES)


def test_the_states_are_bullmqs() -> None:
    assert {str(state) for state in State} == {
        "waiting",
        "prioritized",
        "delayed",
        "active",
        "waiting-children",
        "completed",
        "failed",
        "unknown",
    }


def test_a_job_that_may_not_go_on_is_handed_back() -> None:
    assert next_step(job(), RateLimited(5), NO_RETENTION, 0.5) == HandBack()


LUNAR = {"attempts": 3, "backoff": Backoff("lunar", 5)}


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict(70), Delay("boom", ("trace",), 70)),
        (Verdict(0), Retry("boom", ("trace",), lifo=False)),
        (Verdict(None), Fail("boom", ("trace",), KEEP_ALL, exhausted=False)),
        (Verdict(trouble="it broke"), Fail("boom (not retried: it broke)", ("trace",), KEEP_ALL, exhausted=False)),
    ],
)
def test_the_workers_own_strategy_decides(verdict: Verdict, expected: Step) -> None:
    assert next_step(job(**LUNAR), BOOM, NO_RETENTION, 0.5, verdict=verdict) == expected


def test_a_strategy_says_nothing_where_it_is_not_asked() -> None:
    fixed = job(attempts=3, backoff=Backoff.fixed(5))
    assert next_step(fixed, BOOM, NO_RETENTION, 0.5, verdict=Verdict(70)) == Delay("boom", ("trace",), 5000)
    assert next_step(job(attempts=3), BOOM, NO_RETENTION, 0.5, verdict=Verdict(70)) == Retry("boom", ("trace",), False)
    assert [asks_strategy(each, BOOM, None) for each in (fixed, job(attempts=3), job(**LUNAR))] == [False, False, True]


@pytest.mark.parametrize(
    ("made", "outcome", "asked"),
    [(0, BOOM, True), (1, BOOM, True), (2, BOOM, False), (0, FATAL, False), (0, Completed("1"), False)],
)
def test_a_strategy_is_asked_only_for_a_retry(made: int, outcome: Outcome, asked: bool) -> None:
    assert asks_strategy(job(made, **LUNAR), outcome, None) == asked


@pytest.mark.parametrize(("started", "step_type"), [(1, Retry), (2, Fail), (3, Fail)])
def test_a_job_is_not_retried_when_it_was_started_often_enough(started: int, step_type: type[Step]) -> None:
    tired = job(attempts=9)
    tired.attempts_started = started
    assert type(next_step(tired, BOOM, NO_RETENTION, 0.5, max_started=2)) is step_type
    assert type(next_step(tired, BOOM, NO_RETENTION, 0.5)) is Retry
