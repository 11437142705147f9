"""For how long Redis has answered promptly."""

from __future__ import annotations

import pytest

from corral.steadiness import PROMPT_S, Steadiness


def beaten(*moments: float, span: float = 3.0) -> Steadiness:
    steadiness = Steadiness()
    for now in moments:
        steadiness.answered(now, 0.01, span)
    return steadiness


def test_before_the_first_answer_it_is_0() -> None:
    assert Steadiness().seconds(1e9) == 0.0


def test_it_counts_from_the_first_prompt_answer() -> None:
    assert beaten(100, 103, 106, 109).seconds(110) == 10.0


def test_a_failed_call_and_a_new_connection_begin_it_anew() -> None:
    steadiness = beaten(100, 103)
    steadiness.broke()
    assert steadiness.seconds(104) == 0.0
    steadiness.answered(105, 0.01, 3.0)
    assert steadiness.seconds(107) == 2.0


@pytest.mark.parametrize(("took", "seconds"), [(PROMPT_S, 4.0), (PROMPT_S + 0.1, 0.0)])
def test_a_call_that_took_over_2_s_is_none(took: float, seconds: float) -> None:
    steadiness = beaten(100)
    steadiness.answered(103, took, 3.0)
    assert steadiness.seconds(104) == seconds


@pytest.mark.parametrize(("gap", "seconds"), [(6.0, 7.0), (6.5, 1.0)])
def test_a_gap_of_more_than_2_spans_between_answers_begins_it_anew(gap: float, seconds: float) -> None:
    steadiness = beaten(100)
    steadiness.answered(100 + gap, 0.0, 3.0)
    assert steadiness.seconds(101 + gap) == seconds


def test_while_an_answer_is_overdue_it_is_0() -> None:
    assert beaten(100).seconds(106) == 6.0
    assert beaten(100).seconds(106.1) == 0.0


def test_a_worker_that_was_idle_and_beats_at_once_has_not_been_frozen() -> None:
    steadiness = beaten(100, span=10.0)
    steadiness.answered(109, 0.01, 3.0)
    assert steadiness.seconds(110) == 10.0
    assert steadiness.seconds(116) == 0.0
