"""The correctness rules of scaling, one by one, as far as they are the decision's.

Elsewhere: 3, how soon a condition names the cause (test_reconcile_redis.py); 4, how an event wakes a pool
(test_listener.py, test_reconcile.py); 5, the layouts of BullMQ 5 and 6 as they are read (test_counting.py); 7, victims
and orders (test_victims.py); 8, hand-backs (tests/worker, tests/lua); 12, the condition on both pools
(test_conflicts.py); 13, what is poison (test_findings.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral.beat_record import Beat
from corral_operator.decision import Reason
from corral_operator.idleness import STALLED_INTERVAL_S
from corral_operator.observed import Member, Rivals, Staff, Unknown, WorkerReading
from corral_operator.spec import Behavior, Busy, LengthTarget, Pace, Schedule
from story import IDLE_AFTER_S, POD_START_S, POOL, Story, arriving, lesson, quiet

REDIS_MS = 1_700_000_000_000
CAUSES = ("Unreachable", "NoPermission", "WrongType", "Loading", "WrongDatabase", "AuthFailed", "Timeout")


# --- 1 ---


@pytest.mark.parametrize("guard", Busy)
@pytest.mark.parametrize(
    "policy",
    [
        POOL,
        replace(POOL, idle_after_s=0.0),
        replace(POOL, target=LengthTarget(1000)),
        replace(POOL, behavior=Behavior(Pace(), Pace(None, 0.0))),
        replace(POOL, schedules=(Schedule("cap", "* * * * *", "UTC", 3600.0, max_replicas=1),)),
    ],
)
def test_rule_1_never_zero_while_active_is_not_empty(policy: Any, guard: Busy) -> None:
    for counts in ({"active": 1}, {"active": 3, "paused": True}, {"active": 1, "waiting": 5, "rate_max": 1}):
        story = Story(policy, present=4)
        story.guard = guard
        assert min(story.go_on(900, quiet(**counts))) >= 1


def test_rule_1_never_zero_while_a_delayed_job_is_due_within_pod_start_and_idle_after() -> None:
    story = Story(replace(POOL, idle_after_s=20.0), present=1)
    due_ms = story.wall_ms + 400_000
    waiting = quiet(delayed=1, next_due_ms=due_ms)
    for _ in range(200):
        story.now_s += 2
        due_in_s = (due_ms - story.wall_ms) / 1000
        replicas = story.look(waiting).replicas
        assert replicas == 1 or due_in_s > POD_START_S + 20.0
    assert story.present == 1


# --- 2 ---


@pytest.mark.parametrize("idle_after_s", [0.0, None])
def test_rule_2_active_jobs_and_no_replicas_get_one_pod_for_two_stalled_checks(idle_after_s: float | None) -> None:
    story = Story(replace(POOL, idle_after_s=idle_after_s))
    decision = story.look(quiet(active=1))
    assert (decision.replicas, decision.reason) == (1, Reason.ORPHANS)
    # The pod starts and finds the job gone at once: it stays all the same.
    numbers = story.go_on(POD_START_S + 2 * STALLED_INTERVAL_S - 2, quiet())
    assert set(numbers) == {1}
    assert story.go_on(2 + IDLE_AFTER_S + 4, quiet())[-1] == 0


# --- 3 ---


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("present", [0, 1, 30])
def test_rule_3_what_cannot_be_read_leaves_the_replicas_and_is_told_with_its_cause(cause: str, present: int) -> None:
    story = Story(replace(POOL, min_replicas=2), present=present)
    story.go_on(60, quiet(waiting=30) if present else quiet())
    story.present = present
    decision = story.look(Unknown("emails", cause, "as the server says"))
    assert (decision.replicas, decision.reason) == (present, Reason.UNKNOWN)
    assert f"queue emails cannot be read ({cause}: as the server says)" in decision.text
    assert set(story.go_on(1800, Unknown("emails", cause, "as the server says"))) == {present}


# --- 4 ---


@pytest.mark.parametrize(("least", "present", "stays"), [(0, 0, 0), (2, 0, 2), (2, 5, 5), (0, 3, 3)])
def test_rule_4_a_queue_never_seen_keeps_the_larger_of_minreplicas_and_what_is_there(
    least: int, present: int, stays: int
) -> None:
    story = Story(replace(POOL, min_replicas=least), present=present)
    never = quiet(id_counter=0, exists=False, seen_before=False)
    assert set(story.go_on(900, never)) == {stays}
    decision = story.see(never)
    assert (decision.reason, decision.never_created) == (Reason.NEVER_CREATED, ("emails",))
    assert story.look(quiet(id_counter=1, waiting=1)).replicas >= 1


def test_rule_4_a_queue_that_was_seen_and_is_gone_is_empty() -> None:
    story = Story(present=5)
    assert story.go_on(400, quiet(id_counter=0, exists=False, seen_before=True))[-1] == 0


# --- 5 ---


@pytest.mark.parametrize("guard", Busy)
def test_rule_5_the_backlog_of_a_paused_queue_draws_no_pods_and_its_active_jobs_stay_protected(guard: Busy) -> None:
    paused = quiet(paused=True, waiting=5000, prioritized=7, delayed=4, due=4, next_due_ms=0)
    story = Story(present=2)
    story.guard = guard
    assert max(story.go_on(400, replace(paused, active=2), lessons=arriving(9.0))) == 2
    assert story.present == (2 if guard is Busy.COST else 1)
    assert story.go_on(400, paused, lessons=arriving(9.0))[-1] == 0


# --- 6 ---


def test_rule_6_terminating_pods_are_told_beside_the_maximum() -> None:
    decision = Story(present=30).look(quiet(waiting=9000), terminating=6)
    assert decision.replicas == 30
    assert decision.text.endswith("but maxReplicas is 30, and 6 more pods are still ending")


def test_rule_6_surge_pods_of_a_rollout_never_feed_back() -> None:
    with_surge, without = Story(present=8), Story(present=8)
    for counts in ({"waiting": 100, "active": 8}, {"waiting": 20, "active": 10}, {"active": 1}):
        for _ in range(100):
            with_surge.now_s = without.now_s = with_surge.now_s + 2
            surged = with_surge.look(quiet(**counts), rollout=True, ready=with_surge.present + 3)
            plain = without.look(quiet(**counts), rollout=True)
            assert surged.replicas == plain.replicas


# --- 7 ---


def test_rule_7_with_the_cordon_the_number_does_not_wait_for_busy_pods_and_without_it_does() -> None:
    staff = Staff({f"pod-{n}": Member(f"pod-{n}", busy=1) for n in range(9)}, beats=True, complete=True)
    numbers = {}
    for guard in Busy:
        story = Story(present=9)
        story.guard, story.staff = guard, staff
        numbers[guard] = story.go_on(400, quiet(active=9))[-1]
    assert numbers == {Busy.DRAIN: 1, Busy.COST: 9, Busy.NONE: 1}


# --- 9 ---


def test_rule_9_more_replicas_without_more_throughput_are_reported_and_cap_nothing() -> None:
    story, taken = Story(replace(POOL, max_replicas=60)), 0.0
    decisions = []
    for pods in (10, 20):
        for _ in range(40):
            story.now_s, taken = story.now_s + 2, taken + 2 * 10.0
            story.present = pods
            learned = {"emails": lesson(service_s=1.0, taken=taken)}
            decisions.append(story.see(quiet(active=pods, waiting=5000), lessons=learned))
    assert decisions[39].downstream is None
    assert decisions[-1].downstream is not None
    assert decisions[-1].downstream.startswith(
        "20 ready pods, all of them busy, did 10 jobs/s over 60 s, and 10 did 10:"
    )
    assert decisions[-1].replicas == 60


# --- 10 ---


@pytest.mark.parametrize(
    ("pods", "reason", "told"),
    [
        ({"quota_text": "exceeded quota: pods=5"}, Reason.QUOTA, "exceeded quota: pods=5"),
        (
            {"unschedulable": 3, "unschedulable_text": "0/4 nodes are available"},
            Reason.UNSCHEDULABLE,
            "3 pods cannot be scheduled: 0/4 nodes are available",
        ),
    ],
)
def test_rule_10_quota_and_unschedulable_pods_stop_the_growth_and_are_reported(
    pods: Any, reason: Reason, told: str
) -> None:
    story = Story(present=5)
    numbers = story.go_on(300, quiet(waiting=9000, active=2), ready=2, **pods)
    assert set(numbers) == {5}
    decision = story.see(quiet(waiting=9000, active=2), ready=2, **pods)
    assert decision.limited is not None
    assert (decision.limited.because, decision.limited.text) == (reason, told)
    assert decision.text.endswith(told)


# --- 11 ---


def worker(silent_s: float = 0.0, every_s: float = 10.0) -> WorkerReading:
    return WorkerReading(Beat("w-1", every=every_s), REDIS_MS - round(silent_s * 1000))


def stuck(*workers: WorkerReading, **counts: Any) -> Any:
    return quiet(waiting=9000, workers=workers, **counts)


def unserved(
    reading: Any, staff: Staff | None = None, seconds: float = 130, taken_per_s: float = 0.0
) -> tuple[str, ...]:
    """The queues without consumer, after two minutes of the same."""
    story = Story(present=3)
    story.staff = staff or Staff(beats=True, redis_ms=REDIS_MS)
    story.guard = Busy.DRAIN
    decision = None
    for look in range(round(seconds / 2)):
        story.now_s += 2
        story.present = 3
        decision = story.see(reading, lessons={"emails": lesson(taken=look * 2 * taken_per_s)})
    assert decision is not None
    return decision.no_consumer


def test_rule_11_ready_jobs_and_pods_but_no_worker_and_nothing_taken_for_two_minutes_is_no_consumer() -> None:
    assert unserved(stuck()) == ("emails",)
    assert unserved(stuck(), seconds=118) == ()
    assert unserved(stuck(), taken_per_s=1.0) == ()


def test_rule_11_a_worker_present_at_the_queue_is_a_consumer_even_if_it_takes_nothing_for_long() -> None:
    assert unserved(stuck(worker())) == ()
    assert unserved(stuck(worker(silent_s=29.0))) == ()
    assert unserved(stuck(worker(silent_s=31.0))) == ("emails",)
    assert unserved(stuck(worker(silent_s=31.0, every_s=3.0), worker(silent_s=5.0, every_s=3.0))) == ()
    # Nobody can tell how old its beat is: it counts as present.
    assert unserved(stuck(worker()), Staff(beats=True)) == ()


def test_rule_11_an_active_job_excuses_workers_that_do_not_beat_and_no_others() -> None:
    assert unserved(stuck(active=1), Staff(beats=False)) == ()
    assert unserved(stuck(active=1)) == ("emails",)


def test_rule_11_without_ready_pods_nobody_is_missed() -> None:
    story = Story(present=3)
    story.go_on(300, stuck(), ready=0)
    assert story.see(stuck(), ready=0).no_consumer == ()


def test_rule_11_the_backlog_of_a_queue_without_consumer_counts_for_one_pod_at_most() -> None:
    story = Story(present=1)
    story.guard = Busy.DRAIN
    story.staff = Staff(beats=True, redis_ms=REDIS_MS)
    assert max(story.go_on(118, stuck())) == 30
    assert story.go_on(300, stuck())[-1] == 1
    decision = story.see(stuck())
    assert decision.limited is not None
    assert decision.limited.because is Reason.NO_CONSUMER


# --- 12 ---


def test_rule_12_pools_on_one_queue_share_its_backlog_and_together_ask_for_what_one_would() -> None:
    policy = replace(POOL, max_replicas=60)
    alone = Story(policy).look(quiet(waiting=400), lessons=arriving(0.0, 2.0)).replicas
    shares = []
    for share in (0.25, 0.75):
        story = Story(policy)
        story.rivals = Rivals(shares={"emails": share})
        shares.append(story.look(quiet(waiting=400), lessons=arriving(0.0, 2.0)).replicas)
    assert alone <= sum(shares) <= alone + 1
    assert shares[0] < shares[1]


@pytest.mark.parametrize("other", ["pool letters", "HorizontalPodAutoscaler emails", "ScaledObject emails"])
def test_rule_12_a_deployment_that_others_scale_is_held(other: str) -> None:
    story = Story(replace(POOL, min_replicas=2), present=6)
    story.rivals = Rivals(holds=(other,))
    for reading in (quiet(waiting=9000), quiet(), Unknown("emails", "Timeout", "no answer")):
        assert set(story.go_on(600, reading)) == {6}
        assert story.see(reading).reason is Reason.CONFLICT
        assert other in story.see(reading).text
