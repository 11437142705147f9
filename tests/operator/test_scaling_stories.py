"""Decisions as stories in time: what is seen, and how many replicas follow, with the reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from corral_operator.decision import Held, Reason
from corral_operator.observed import Member, Staff
from corral_operator.spec import Behavior, Busy, DrainTarget, LengthTarget, Mode, Pace, WaitTarget
from story import IDLE_AFTER_S, POD_START_S, POOL, REFUSED, Story, arriving, lesson, quiet


def test_a_burst_at_zero_wants_its_whole_number_at_once() -> None:
    decision = Story().look(quiet(waiting=40))
    # 400 s of work; a pod that starts now has 20 s for it and may run one job of 10 s into the end.
    assert (decision.replicas, decision.reason, decision.chosen_by) == (14, Reason.DRAIN, "drain")
    assert decision.text == "14 replicas: 40 ready jobs of 10 s to start within 30 s"


def test_pods_that_start_are_counted_so_that_nothing_is_asked_for_twice() -> None:
    story = Story()
    assert story.look(quiet(waiting=40)).replicas == 14
    for second in range(2, 10, 2):
        story.now_s += 2
        learned = {"emails": lesson(age_s=second)}
        ages = (float(second),) * 14
        assert story.look(quiet(waiting=40), lessons=learned, ready=0, starting_ages_s=ages).replicas == 14


def test_slots_of_a_pod_share_the_work() -> None:
    assert Story(replace(POOL, concurrency=5)).look(quiet(waiting=40)).replicas == 3


def test_late_jobs_speed_it_up_and_no_further_than_half_a_target() -> None:
    late = [Story().look(quiet(waiting=40), lessons={"emails": lesson(age_s=age)}).replicas for age in (0, 10, 500)]
    assert late == [14, 16, 16]


def test_what_is_there_and_suffices_is_never_a_reason_for_more() -> None:
    long = {"emails": lesson(service_s=600)}
    decision = Story(present=1).see(quiet(waiting=1), lessons=long, ready=0, starting_ages_s=(2.0,))
    assert decision.replicas == 1


def test_arrivals_raise_it_when_wanted_for_half_a_minute() -> None:
    story = Story(present=2)
    numbers = story.go_on(40, quiet(active=2), lessons=arriving(0.5))
    assert numbers[:14] == [2] * 14
    assert numbers[-1] == 6
    assert numbers.index(6) in (14, 15, 16)


def test_a_wish_that_passes_within_half_a_minute_raises_nothing() -> None:
    story = Story(present=2)
    assert set(story.go_on(26, quiet(active=2), lessons=arriving(0.5))) == {2}
    assert set(story.go_on(60, quiet(active=2), lessons=arriving(0.05))) == {2}


def test_a_wish_not_yet_long_enough_is_told_as_held() -> None:
    story = Story(present=2)
    story.look(quiet(active=2), lessons=arriving(0.5))
    decision = story.look(quiet(active=2), lessons=arriving(0.5))
    assert (decision.replicas, decision.reason, decision.held) == (2, Reason.WINDOW, Held(6, Reason.WINDOW))
    assert decision.text.endswith("6 are wanted, but the window of the behavior holds it")


def test_it_falls_to_the_highest_wish_of_two_minutes_of_arrivals() -> None:
    story = Story(present=7)
    story.go_on(60, quiet(active=1), lessons=arriving(0.5))
    numbers = story.go_on(130, quiet(active=1), lessons=arriving(0.1))
    assert numbers[58] == 7
    assert numbers[-1] == 2
    assert sorted(numbers, reverse=True) == numbers


def test_it_falls_a_pod_start_after_what_waited_is_done() -> None:
    story = Story()
    story.look(quiet(waiting=40))
    story.go_on(122, quiet(waiting=40))  # so long that the first wish is forgotten
    numbers = story.go_on(20, quiet(active=1))
    assert numbers[3] > 1
    assert numbers[-1] == 1


def test_a_load_a_tenth_lower_scales_nothing_down() -> None:
    story = Story(present=7)
    story.go_on(200, quiet(active=1), lessons=arriving(0.5))
    assert set(story.go_on(300, quiet(active=1), lessons=arriving(0.47))) == {7}
    assert story.see(quiet(active=1), lessons=arriving(0.47)).candidates["flow"] == 6
    assert story.go_on(300, quiet(active=1), lessons=arriving(0.3))[-1] < 6


def test_the_user_may_choose_windows_and_steps() -> None:
    slow = replace(POOL, behavior=Behavior(Pace(3, 0.0), Pace(2, 20.0)))
    story = Story(slow)
    up = story.go_on(40, quiet(waiting=400))
    assert up[0] == 3
    assert up[:7] == [3] * 7
    assert (up[9], up[-1]) == (6, 9)
    down = story.go_on(60, quiet(active=1))
    assert down[:7] == [9] * 7
    assert all(later >= earlier - 2 for earlier, later in pairwise(down))
    assert down[-1] < 5


def test_a_step_is_told_as_what_holds_it() -> None:
    decision = Story(replace(POOL, behavior=Behavior(Pace(3, None)))).look(quiet(waiting=40))
    assert (decision.replicas, decision.reason, decision.held) == (3, Reason.STEP, Held(14, Reason.STEP))


def test_nothing_to_do_for_long_enough_is_zero_whatever_arrives_on_average() -> None:
    story = Story(present=3)
    numbers = story.go_on(40, quiet(), lessons=arriving(0.2))
    assert numbers[14] == 3
    assert numbers[16:] == [0] * 4
    assert story.see(quiet(), lessons=arriving(0.2)).reason is Reason.IDLE


def test_one_job_in_between_begins_the_wait_for_zero_anew() -> None:
    story = Story(present=1)
    story.go_on(28, quiet())
    story.go_on(2, quiet(active=1))
    numbers = story.go_on(40, quiet())
    assert numbers[:15] == [1] * 15
    assert numbers[-1] == 0


@pytest.mark.parametrize(
    ("target_s", "idle_after", "expected_s"), [(30, None, 30), (12, None, 300), (30, 8.0, 8), (30, 0.0, 0)]
)
def test_idle_after_is_three_pod_starts_or_long_where_waking_is_late_or_the_users(
    target_s: float, idle_after: float | None, expected_s: float
) -> None:
    story = Story(replace(POOL, target=WaitTarget(target_s), idle_after_s=idle_after), present=1)
    numbers = [story.look(quiet()).replicas, *story.go_on(400, quiet())]
    assert numbers.index(0) * 2 == expected_s


def test_it_never_goes_to_zero_while_jobs_are_active() -> None:
    story = Story(present=3)
    assert story.go_on(600, quiet(active=1))[-1] == 1
    assert story.see(quiet(active=1)).reason is Reason.ACTIVE


def test_it_never_goes_to_zero_while_a_delayed_job_is_due_soon() -> None:
    story = Story(present=1)
    due_ms = round((story.now_s + 300) * 1000)
    waiting = quiet(delayed=1, next_due_ms=due_ms)
    numbers = story.go_on(300, waiting)
    asleep = numbers.count(0)
    assert numbers[16] == 0
    # From pod start + idleAfter before the due time on, one pod is there.
    assert asleep == pytest.approx((300 - 30 - POD_START_S - IDLE_AFTER_S) / 2, abs=2)
    assert numbers[-1] == 1
    assert story.see(waiting).reason is Reason.DUE_SOON


def test_zero_forgets_what_arrived_before_it() -> None:
    story = Story(replace(POOL, idle_after_s=4.0), present=6)
    # What was learned of arrivals outlasts the jobs by minutes.
    story.go_on(60, quiet(), lessons=arriving(0.5))
    assert story.present == 0
    due = quiet(delayed=1, next_due_ms=round((story.now_s + POD_START_S + 2) * 1000))
    decision = story.look(due, lessons=arriving(0.5))
    assert (decision.replicas, decision.reason, decision.text) == (
        1,
        Reason.DUE_SOON,
        "1 replica: a delayed job is due in 12 s; 6 are wanted, but the window of the behavior holds it",
    )


def test_a_floor_that_gives_what_is_held_back_says_nothing_of_it() -> None:
    story = Story(replace(POOL, idle_after_s=4.0), present=6)
    story.go_on(60, quiet(), lessons=arriving(0.01, 0.1))
    decision = story.look(
        quiet(delayed=1, next_due_ms=round((story.now_s + POD_START_S + 2) * 1000)), lessons=arriving(0.01, 0.1)
    )
    assert (decision.text, decision.held) == ("1 replica: a delayed job is due in 12 s", None)


def test_delayed_jobs_that_fall_due_within_a_pod_start_get_their_pods_now() -> None:
    story = Story()
    soon = quiet(delayed=60, soon_due=60, next_due_ms=round((story.now_s + 9) * 1000))
    decision = story.look(soon)
    assert (decision.replicas, decision.reason) == (15, Reason.DRAIN)  # 600 s of work within 30 s and a job
    assert "60 due soon" in decision.text


def test_jobs_left_active_at_zero_get_a_pod_for_two_stalled_checks() -> None:
    story = Story(replace(POOL, idle_after_s=0.0))
    decision = story.look(quiet(active=2))
    assert (decision.replicas, decision.reason) == (1, Reason.ORPHANS)
    assert story.go_on(8, quiet(active=2)) == [1] * 4
    numbers = story.go_on(80, quiet())
    assert numbers[: round(60 / 2)] == [1] * 30
    assert numbers[-1] == 0


@pytest.mark.parametrize("present", [0, 1, 7, 40])
def test_what_cannot_be_read_changes_nothing(present: int) -> None:
    story = Story(replace(POOL, min_replicas=2), present=present)
    story.look(quiet(waiting=500))
    story.present = present
    decision = story.look(REFUSED)
    assert (decision.replicas, decision.reason) == (present, Reason.UNKNOWN)
    assert "queue emails cannot be read (Unreachable: connection refused)" in decision.text
    assert set(story.go_on(600, REFUSED)) == {present}


def test_one_unreadable_queue_of_two_holds_the_pool_and_so_does_one_not_read_yet() -> None:
    both = Story(replace(POOL, queues=("emails", "sms")), present=3)
    assert both.look(quiet(name="sms", waiting=900), REFUSED).replicas == 3
    decision = both.look(quiet(name="sms", waiting=900))
    assert (decision.replicas, decision.reason) == (3, Reason.UNKNOWN)
    assert "queue emails was not read yet" in decision.text


def test_after_an_outage_nothing_jumps() -> None:
    story = Story(present=6)
    story.go_on(200, quiet(active=4), lessons=arriving(0.4))
    present = story.present
    story.go_on(600, REFUSED)
    assert set(story.go_on(100, quiet(active=1), lessons=arriving(0.1))) == {present}


@pytest.mark.parametrize(("present", "stays"), [(0, 2), (2, 2), (5, 5), (40, 30)])
def test_a_queue_that_nobody_created_keeps_what_is_there(present: int, stays: int) -> None:
    story = Story(replace(POOL, min_replicas=2), present=present)
    never = quiet(id_counter=0, exists=False, seen_before=False)
    decision = story.look(never)
    assert (decision.replicas, decision.reason, decision.never_created) == (stays, Reason.NEVER_CREATED, ("emails",))
    assert set(story.go_on(600, never)) == {stays}


def test_a_queue_that_was_seen_and_is_gone_is_empty() -> None:
    story = Story(present=4)
    assert story.go_on(200, quiet(id_counter=0, exists=False, seen_before=True))[-1] == 0


def test_a_paused_queue_draws_no_pods_and_keeps_its_active_jobs() -> None:
    story = Story(present=2)
    paused = quiet(paused=True, waiting=900, delayed=3, soon_due=3, next_due_ms=0)
    assert story.go_on(200, replace(paused, active=1), lessons=arriving(5.0))[-1] == 1
    assert story.go_on(200, paused, lessons=arriving(5.0))[-1] == 0


def test_a_queue_without_consumer_counts_for_one_pod_after_two_minutes() -> None:
    story = Story(present=1)
    stuck, learned = quiet(waiting=900), {"emails": lesson(1.0, age_s=400.0)}
    assert max(story.go_on(118, stuck, lessons=learned)) == 30
    numbers = story.go_on(200, stuck, lessons=learned)
    assert numbers[-1] == 1
    decision = story.see(stuck, lessons=learned)
    assert decision.no_consumer == ("emails",)
    assert decision.limited is not None
    assert decision.limited.because is Reason.NO_CONSUMER
    # Somebody takes: the backlog counts again.
    assert story.see(stuck, lessons={"emails": lesson(1.0, age_s=400.0, taken=1.0)}).replicas == 30


def test_a_queue_without_consumer_does_not_starve_its_neighbour() -> None:
    story = Story(replace(POOL, queues=("emails", "sms")), present=1)
    stuck, busy = quiet(waiting=900), quiet(name="sms", waiting=40, active=1)
    story.go_on(300, stuck, busy)
    assert story.see(stuck, busy).candidates["drain"] < 30
    assert story.see(stuck, busy).no_consumer == ("emails",)


def test_busy_pods_stay_as_long_as_nobody_says_which_they_are() -> None:
    story = Story(present=12)
    numbers = story.go_on(300, quiet(active=9))
    assert numbers[-1] == 9
    decision = story.see(quiet(active=9))
    assert (decision.reason, decision.held) == (Reason.BUSY, Held(1, Reason.BUSY))


def test_where_it_is_known_how_many_pods_are_busy_so_many_stay() -> None:
    story = Story(replace(POOL, concurrency=5), present=12)
    story.staff = Staff({f"pod-{n}": Member(f"pod-{n}", busy=5 * (n < 3)) for n in range(12)}, complete=True)
    assert story.go_on(300, quiet(active=15))[-1] == 3
    decision = story.see(quiet(active=15))
    assert (decision.reason, decision.candidates["busy"]) == (Reason.BUSY, 3)
    assert decision.text.startswith("3 replicas: 3 of 3 pods hold jobs; 1 would do, but busy pods stay")


def test_a_pod_of_which_nothing_is_known_counts_as_busy() -> None:
    story = Story(present=5)
    story.staff = Staff({"a": Member("a", busy=None), "b": Member("b", busy=0)}, complete=True)
    assert story.go_on(300, quiet(active=1))[-1] == 1
    story = Story(present=5)
    story.staff = Staff({"a": Member("a", busy=None), "b": Member("b", busy=1)}, complete=True)
    assert story.go_on(300, quiet(active=2))[-1] == 2


def test_pods_of_others_and_pods_that_are_gone_keep_none_of_this_pool() -> None:
    story = Story(replace(POOL, min_replicas=1), present=5)
    story.staff = Staff({f"pod-{n}": Member(f"pod-{n}", busy=2) for n in range(9)}, complete=True)
    assert story.go_on(300, quiet(active=2))[-1] == 2
    decision = story.see(quiet(active=2))
    assert "2 of 2 pods hold jobs" in decision.text, decision.text
    story.staff = Staff({"gone": Member("gone", busy=None, silent=True)}, complete=True)
    assert story.go_on(300, quiet())[-1] == 1
    assert story.see(quiet()).candidates["busy"] == 0


@pytest.mark.parametrize("guard", [Busy.DRAIN, Busy.NONE])
def test_busy_pods_are_no_floor_where_they_are_drained_or_not_protected(guard: Busy) -> None:
    story = Story(present=12)
    story.guard = guard
    assert story.go_on(300, quiet(active=9))[-1] == 1
    decision = story.see(quiet(active=9))
    assert decision.reason is Reason.ACTIVE
    assert "busy" not in decision.candidates


def test_large_rates_are_told_in_plain_figures() -> None:
    story = Story(replace(POOL, concurrency=200, min_replicas=1), present=20)
    decision = story.see(quiet(active=100), lessons=arriving(2001.4, 0.5))
    assert "2,001 jobs/s of 0.5 s keep 1,001 slots busy" in decision.text


def test_active_jobs_beyond_the_pods_raise_nothing() -> None:
    assert set(Story(present=3).go_on(300, quiet(active=50))) == {3}


def test_nothing_is_scaled_down_during_a_rollout_and_surge_pods_count_for_nothing() -> None:
    story = Story(present=8)
    numbers = story.go_on(400, quiet(active=1), rollout=True, ready=10)
    assert set(numbers) == {8}
    decision = story.see(quiet(active=1), rollout=True, ready=10)
    assert (decision.reason, decision.held) == (Reason.ROLLOUT, Held(1, Reason.ROLLOUT))
    assert story.see(quiet(waiting=900), rollout=True, ready=10).replicas == 30
    assert story.go_on(100, quiet(active=1))[-1] == 1


def test_more_than_the_maximum_is_told_with_the_pods_that_still_end() -> None:
    decision = Story().look(quiet(waiting=900), terminating=4)
    assert decision.replicas == 30
    assert decision.limited is not None
    assert (decision.limited.because, decision.limited.wanted) == (Reason.MAX_REPLICAS, 300)
    assert decision.text.endswith("300 are wanted, but maxReplicas is 30, and 4 more pods are still ending")


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ({"quota_text": "exceeded quota: pods=5"}, Reason.QUOTA),
        ({"unschedulable": 2, "unschedulable_text": "0/3 nodes are available"}, Reason.UNSCHEDULABLE),
    ],
)
def test_growth_stops_where_the_cluster_has_no_room_and_goes_on_when_it_has(pods: Any, reason: Reason) -> None:
    story = Story(present=5)
    decision = story.look(quiet(waiting=900), ready=3, **pods)
    assert decision.replicas == 5
    assert decision.limited is not None
    assert decision.limited.because is reason
    assert story.go_on(300, quiet(active=1), ready=3, **pods)[-1] == 1
    story.present = 0
    assert story.look(quiet(waiting=900), **pods).replicas == 1
    assert story.look(quiet(waiting=900)).replicas == 30


def test_a_global_concurrency_and_a_rate_limit_cap_the_slots() -> None:
    many = quiet(waiting=9000)
    limited = Story(replace(POOL, concurrency=2)).look(replace(many, concurrency_limit=7))
    assert (limited.replicas, limited.limited is not None) == (4, True)
    # 2 jobs a second of 10 s keep 20 slots busy, and a tenth more.
    rated = Story().look(replace(many, rate_max=120, rate_duration_ms=60_000))
    assert rated.replicas == 22
    assert rated.limited is not None
    assert rated.limited.because is Reason.RATE_LIMIT


def test_a_limited_queue_beside_an_open_one_draws_no_more_than_its_limit() -> None:
    story = Story(replace(POOL, queues=("emails", "sms")))
    limited, open_queue = quiet(waiting=9000, concurrency_limit=2), quiet(name="sms", waiting=4)
    assert story.look(limited, open_queue).replicas <= 2 + 2


def test_several_queues_are_served_by_one_crowd() -> None:
    policy = replace(POOL, queues=("emails", "sms"), min_replicas=1)
    rows = (quiet(), quiet(name="sms"))
    together = Story(policy, present=1).see(*rows, lessons={"emails": lesson(0.5), "sms": lesson(0.5)})
    alone = Story(POOL, present=1).see(quiet(), lessons=arriving(1.0))
    assert together.candidates["flow"] == alone.candidates["flow"] == 11


def test_long_jobs_keep_no_slots_standing_by() -> None:
    story = Story(replace(POOL, min_replicas=1), present=1)
    assert story.see(quiet(), lessons=arriving(0.01, 400)).candidates["flow"] == 5
    slow_pods = replace(POOL, target=WaitTarget(14.0), min_replicas=1)
    assert Story(slow_pods, present=1).see(quiet(), lessons=arriving(0.01, 400)).candidates["flow"] > 5


def test_a_drain_target_gives_the_backlog_its_time() -> None:
    assert Story(replace(POOL, target=DrainTarget(300.0))).look(quiet(waiting=300)).replicas == 10


def test_a_length_target_counts_jobs_whatever_they_take() -> None:
    story = Story(replace(POOL, target=LengthTarget(10)))
    decision = story.look(quiet(waiting=41, active=4, delayed=3, soon_due=3))
    assert (decision.replicas, decision.reason) == (5, Reason.LENGTH)
    assert decision.text == "5 replicas: 48 jobs at 10 per replica"
    numbers = story.go_on(130, quiet(waiting=5))
    assert numbers[55] == 5
    assert numbers[-1] == 1


@pytest.mark.parametrize(("replicas", "expected"), [(0, 0), (5, 5), (99, 30)])
def test_a_number_set_by_hand_is_the_number_up_to_the_maximum(replicas: int, expected: int) -> None:
    story = Story(replace(POOL, replicas=replicas, min_replicas=3), present=9)
    for readings in (quiet(waiting=900), quiet(), REFUSED):
        decision = story.see(readings)
        assert (decision.replicas, decision.reason, decision.chosen_by) == (expected, Reason.MANUAL, "manual")


def test_the_bounds_hold_even_when_they_change_under_a_running_pool() -> None:
    assert Story(replace(POOL, max_replicas=4), present=20).look(quiet(active=20)).replicas == 4
    decision = Story(replace(POOL, min_replicas=4), present=0).look(quiet())
    assert (decision.replicas, decision.reason) == (4, Reason.MIN_REPLICAS)


@pytest.mark.parametrize(
    ("mode", "says"),
    [(Mode.DRY_RUN, "dry run, nothing is written: 14"), (Mode.PAUSED, "paused, nothing is written: 14")],
)
def test_a_mode_changes_no_number_and_is_told(mode: Mode, says: str) -> None:
    decision = Story(replace(POOL, mode=mode)).look(quiet(waiting=40))
    assert (decision.replicas, decision.mode) == (14, mode)
    assert decision.text.startswith(says)


def test_a_restart_keeps_what_is_there_for_the_time_of_its_windows() -> None:
    story = Story(present=9)
    numbers = story.go_on(130, quiet(active=1), lessons=arriving(0.01))
    assert numbers[58] == 9
    assert numbers[-1] == 1
