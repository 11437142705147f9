"""How long a failed job waits: BullMQ's rules, drawn with a number that the test gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import Backoff, InvalidJob

kinds = st.sampled_from(["fixed", "exponential"])
jitters = st.floats(0, 1)
backoffs = st.builds(Backoff, kinds | st.text(), st.integers(0, 2**53), jitters)
draws = st.floats(0, 1, exclude_max=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(("failed_attempts", "wait"), [(1, 1000), (2, 1000), (50, 1000)])
def test_a_fixed_backoff_always_waits_the_same(failed_attempts: int, wait: int) -> None:
    assert Backoff.fixed(1).wait_ms(failed_attempts, 0.5) == wait


@pytest.mark.parametrize(("failed_attempts", "wait"), [(1, 1000), (2, 2000), (3, 4000), (11, 1_024_000)])
def test_an_exponential_backoff_doubles(failed_attempts: int, wait: int) -> None:
    assert Backoff.exponential(1).wait_ms(failed_attempts, 0.5) == wait


@pytest.mark.parametrize("failed_attempts", [45, 63, 64, 100_000])
def test_an_exponential_backoff_stops_doubling_at_the_longest_wait(failed_attempts: int) -> None:
    assert Backoff.exponential(1).wait_ms(failed_attempts, 0.0) == 2**53
    assert Backoff.exponential(1).wait_ms(44, 0.0) == 1000 * 2**43


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 7500), (0.5, 8750), (0.999_999, 9999)])
def test_jitter_draws_from_the_last_part_of_the_wait(draw: float, wait: int) -> None:
    assert Backoff.fixed(10, jitter=0.25).wait_ms(1, draw) == wait


@given(st.integers(1, 10**9), jitters, draws, st.integers(1, 30), kinds)
def test_jitter_never_lengthens_a_wait_and_never_cuts_more_than_its_part(
    delay: int, jitter: float, draw: float, attempt: int, kind: str
) -> None:
    whole = Backoff(kind, delay).wait_ms(attempt, draw)
    wait = Backoff(kind, delay, jitter).wait_ms(attempt, draw)
    assert int(whole * (1 - jitter)) <= wait <= whole


@given(kinds, st.integers(0, 2**60) | st.floats(0, 1e308), jitters, draws, st.integers(1, 200))
def test_a_wait_is_always_a_whole_number_whatever_delay_was_stored(
    kind: str, delay: float, jitter: float, draw: float, attempt: int
) -> None:
    backoff = Backoff.from_wire({"type": kind, "delay": delay, "jitter": jitter})
    assert backoff is not None
    wait = backoff.wait_ms(attempt, draw)
    assert isinstance(wait, int)
    assert 0 <= wait <= 2**53


def test_an_unknown_strategy_is_named_with_those_that_are_known() -> None:
    with pytest.raises(InvalidJob, match=r"strategy 'lunar'.*'fixed' and 'exponential'"):
        Backoff("lunar", 1000).wait_ms(1, 0.0)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None])
def test_jitter_that_is_no_number_from_0_to_1_is_refused(jitter: Any) -> None:
    with pytest.raises(InvalidJob, match="jitter must lie between 0 and 1"):
        Backoff.fixed(1, jitter=jitter)


@pytest.mark.parametrize("delay_ms", [-1, 1.5, "1000", None, 2**53 + 1])
def test_a_delay_that_is_no_whole_number_is_refused(delay_ms: Any) -> None:
    with pytest.raises(InvalidJob, match=f"a backoff's delay is a whole number of ms from 0 up, got {delay_ms!r}"):
        Backoff("fixed", delay_ms)


def test_a_negative_span_between_attempts_is_refused() -> None:
    with pytest.raises(InvalidJob, match="not negative"):
        Backoff.exponential(-1)


@pytest.mark.parametrize(
    ("wire", "backoff"),
    [
        (5000, Backoff("fixed", 5000)),
        (0, Backoff("fixed", 0)),
        (-5, Backoff("fixed", 0)),
        ({"type": "exponential", "delay": 1000}, Backoff("exponential", 1000)),
        ({"type": "fixed", "delay": 10, "jitter": 0.5}, Backoff("fixed", 10, 0.5)),
        ({"type": "mine"}, Backoff("mine", 0)),
        ({"delay": 7}, Backoff("fixed", 7)),
        ({"type": "fixed", "delay": "7", "jitter": "much"}, Backoff("fixed", 0)),
        ({"type": "fixed", "delay": -7, "jitter": 9}, Backoff("fixed", 0, 1.0)),
        ({"type": "fixed", "delay": 1.6, "jitter": -1}, Backoff("fixed", 2, 0.0)),
        (True, None),
        (None, None),
        ("fixed", None),
        ([], None),
    ],
)
def test_what_a_producer_stored_is_read(wire: Any, backoff: Backoff | None) -> None:
    assert Backoff.from_wire(wire) == backoff


@given(json_values | st.fixed_dictionaries({"type": json_values, "delay": json_values, "jitter": json_values}))
def test_reading_never_raises(wire: Any) -> None:
    found = Backoff.from_wire(wire)
    assert found is None or isinstance(found, Backoff)


@given(backoffs)
def test_a_backoff_survives_the_wire(backoff: Backoff) -> None:
    assert Backoff.from_wire(backoff.to_wire()) == backoff


def test_the_wire_has_jitter_only_when_there_is_some() -> None:
    assert Backoff.fixed(1).to_wire() == {"type": "fixed", "delay": 1000}
    assert Backoff.exponential(1, jitter=0.5).to_wire() == {"type": "exponential", "delay": 1000, "jitter": 0.5}
