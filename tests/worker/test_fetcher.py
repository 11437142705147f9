"""How long a worker waits for a marker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.fetcher import LEAST_WAIT_S, LONGEST_WAIT_S, POLL_S, marker_wait_s

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("next_due_ms", "limited_until_ms", "seconds"),
    [
        (0, 0, POLL_S),
        (NOW + 2000, 0, 2.0),
        (NOW + 3_600_000, 0, LONGEST_WAIT_S),
        (2**53, 0, LONGEST_WAIT_S),
        (0, NOW + 700, 0.7),
        (NOW + 100, NOW + 700, 0.7),
        (0, NOW - 1, POLL_S),
        # Due already, and the take did not find it: look again, but not at once.
        (NOW, 0, LEAST_WAIT_S),
        (NOW - 5000, 0, LEAST_WAIT_S),
        (1, 0, LEAST_WAIT_S),
    ],
)
def test_the_wait_ends_when_something_may_be_found(next_due_ms: int, limited_until_ms: int, seconds: float) -> None:
    assert marker_wait_s(NOW, next_due_ms, limited_until_ms) == pytest.approx(seconds)


@given(st.integers(1, 2**53), st.integers(0, 2**53), st.integers(0, 2**53))
def test_a_wait_is_never_0(now: int, next_due_ms: int, limited_until_ms: int) -> None:
    assert marker_wait_s(now, next_due_ms, limited_until_ms) > 0
