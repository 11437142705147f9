"""Decisions while nobody knows the load, or somebody else decides too: fallback and conflict, as stories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral_operator.decision import Reason
from corral_operator.observed import Rivals, Unknown
from corral_operator.spec import Fallback, FallbackPolicy, LengthTarget, PoolSpec
from story import POOL, REFUSED, Story, arriving, lesson, quiet

GONE = Unknown("emails", "Timeout", "no answer")


def falling_back(policy: FallbackPolicy, replicas: int | None = None, **changes: Any) -> PoolSpec:
    return replace(POOL, fallback=Fallback(60.0, policy, replicas), **changes)


@pytest.mark.parametrize("present", [0, 4, 20])
def test_the_default_fallback_holds_for_ever(present: int) -> None:
    story = Story(present=present)
    assert set(story.go_on(3600, REFUSED)) == {present}
    assert story.see(REFUSED).reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("policy", "present", "expected"),
    [
        (FallbackPolicy.AT_LEAST, 2, 6),
        (FallbackPolicy.AT_LEAST, 9, 9),
        (FallbackPolicy.AT_LEAST, 0, 6),
        (FallbackPolicy.REPLICAS, 2, 6),
        (FallbackPolicy.REPLICAS, 9, 6),
    ],
)
def test_a_fallback_holds_after_its_time_and_not_before(policy: FallbackPolicy, present: int, expected: int) -> None:
    story = Story(falling_back(policy, 6), present=present)
    assert story.look(REFUSED).reason is Reason.UNKNOWN
    numbers = story.go_on(100, REFUSED)
    assert numbers[:29] == [present] * 29
    assert set(numbers[29:]) == {expected}
    decision = story.see(REFUSED)
    assert (decision.reason, decision.chosen_by, decision.candidates["fallback"]) == (
        Reason.FALLBACK,
        "fallback",
        expected,
    )
    assert f"the fallback {policy} 6 holds after 60 s: queue emails cannot be read (Unreachable" in decision.text


def test_a_single_reading_in_between_begins_the_time_of_the_fallback_anew() -> None:
    story = Story(falling_back(FallbackPolicy.AT_LEAST, 6), present=1)
    story.go_on(58, REFUSED)
    story.go_on(2, quiet(active=1))
    assert set(story.go_on(58, GONE)) == {1}
    assert story.go_on(6, GONE)[-1] == 6


def test_what_was_not_read_yet_counts_as_unknown_for_the_fallback_as_well() -> None:
    story = Story(falling_back(FallbackPolicy.AT_LEAST, 6, queues=("emails", "sms")), present=1)
    numbers = story.go_on(70, quiet(waiting=900))
    assert (numbers[0], numbers[-1]) == (1, 6)


def test_a_fallback_stays_within_the_bounds_and_never_scales_down_during_a_rollout() -> None:
    story = Story(falling_back(FallbackPolicy.REPLICAS, 6, min_replicas=8), present=20)
    story.go_on(70, REFUSED, rollout=True)
    assert story.present == 20
    story.go_on(2, REFUSED)
    assert story.present == 8


def test_after_a_fallback_the_load_decides_again() -> None:
    story = Story(falling_back(FallbackPolicy.AT_LEAST, 6), present=2)
    story.go_on(200, quiet(active=1), lessons=arriving(0.05))
    story.go_on(100, REFUSED)
    assert story.present == 6
    assert story.go_on(200, quiet(active=1), lessons=arriving(0.05))[-1] == 2


def test_a_pool_whose_deployment_others_scale_holds_whatever_else_is_said() -> None:
    for policy in (
        POOL,
        replace(POOL, replicas=9),
        replace(POOL, min_replicas=8),
        falling_back(FallbackPolicy.AT_LEAST, 9),
    ):
        story = Story(policy, present=4)
        story.rivals = Rivals(holds=("HorizontalPodAutoscaler emails",), text="delete one of them")
        for reading in (quiet(waiting=900), quiet(), REFUSED):
            decision = story.look(reading)
            assert (decision.replicas, decision.reason, decision.chosen_by) == (4, Reason.CONFLICT, "conflict")
        assert decision.text == (
            "4 replicas: the replicas of its Deployment are written by HorizontalPodAutoscaler emails as well; what is "
            "there stays until only one does"
        )


def test_when_the_other_one_is_gone_the_pool_decides_again() -> None:
    story = Story(present=4)
    story.rivals = Rivals(holds=("WorkerPool letters",))
    story.go_on(60, quiet(waiting=40))
    assert story.present == 4
    story.rivals = Rivals()
    assert story.look(quiet(waiting=40)).replicas == 14


def test_pools_on_one_queue_ask_for_their_share_of_its_backlog_each() -> None:
    alone = Story().look(quiet(waiting=80)).replicas
    shared = Story()
    shared.rivals = Rivals(shares={"emails": 0.25})
    decision = shared.look(quiet(waiting=80))
    assert (alone, decision.replicas) == (27, 7)
    assert "20 ready jobs" in decision.text
    assert decision.text.endswith("this pool's share of what others serve too")


def test_of_a_shared_queue_the_arrivals_the_limits_and_what_is_due_soon_are_shared_too() -> None:
    story = Story(replace(POOL, min_replicas=1), present=1)
    whole = story.see(quiet(), lessons=arriving(2.0)).candidates["flow"]
    story.rivals = Rivals(shares={"emails": 0.5})
    half = story.see(quiet(), lessons=arriving(2.0)).candidates["flow"]
    story.rivals = Rivals()
    assert half == story.see(quiet(), lessons=arriving(1.0)).candidates["flow"] < whole
    story.rivals = Rivals(shares={"emails": 0.5})
    assert story.see(quiet(delayed=60, soon_due=60, next_due_ms=0)).candidates["drain"] == 8
    assert story.see(quiet(waiting=9000, concurrency_limit=8)).candidates["drain"] == 4
    rated = quiet(waiting=9000, rate_max=60, rate_duration_ms=60_000)
    assert story.see(rated).candidates["drain"] == 6  # half of 1 job/s of 10 s, and a tenth more


def test_the_length_rule_counts_the_share_of_active_jobs_as_well() -> None:
    story = Story(replace(POOL, target=LengthTarget(10)), present=1)
    story.rivals = Rivals(shares={"emails": 0.5})
    assert story.see(quiet(waiting=40, active=40)).candidates["length"] == 4


def test_the_last_job_of_a_shared_queue_and_active_jobs_keep_a_pod_in_each_pool() -> None:
    story = Story()
    story.rivals = Rivals(shares={"emails": 0.1})
    decision = story.look(quiet(waiting=1), lessons={"emails": lesson(service_s=1.0)})
    assert (decision.replicas, decision.candidates["drain"]) == (1, 1)
    assert story.go_on(300, quiet(active=1))[-1] == 1
