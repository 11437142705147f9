"""What `corral explain` tells: whole texts, for pools that the real rules decided."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest

from corral_operator import decision
from corral_operator.decision import Reason
from corral_operator.explanation import explanation_of
from corral_operator.observed import Pods, Rivals
from corral_operator.report import Problem, Scaled
from corral_operator.rules import CANDIDATES, RULES
from corral_operator.scaling import PoolMemory
from corral_operator.sections import plain_lines
from decided_pools import decided_pool
from pools import pool
from reports import NOON, NOON_MS, quiet, unread

WAIT = {"wait": "30s"}


def told(body: dict[str, Any], after_s: float = 2.0) -> list[str]:
    return plain_lines(explanation_of(body, NOON_MS + round(after_s * 1000)))


def told_of(title: str, body: dict[str, Any], after_s: float = 2.0) -> list[tuple[str, ...]]:
    """The rows of one section."""
    sections = {section.title: section.rows for section in explanation_of(body, NOON_MS + round(after_s * 1000))}
    return list(sections.get(title, ()))


def lines(text: str) -> list[str]:
    return dedent(text).strip("\n").splitlines()


def test_a_pool_that_has_just_been_scaled_up_is_explained_whole() -> None:
    body = decided_pool(
        quiet(waiting=200),
        present=12,
        pods=Pods(12, starting_ages_s=(0.0,) * 12),
        rates={"emails": 6.67},
        age_s=5.0,
        target=WAIT,
        scaled=Scaled(0, 12, NOON_MS, "Drain"),
    )
    assert told(body) == lines(
        """
        shop/emails
          decision  12 replicas: 200 ready jobs of 1 s to start within 25 s and 6.67 jobs/s of 1 s keep 6.67 slots busy, so that 95 % wait less than 30 s; 8 would do, but the window of the behavior holds it
          rule      Window: a higher wish is still remembered
          held      8 would do, but Window: a higher wish is still remembered
          since     2 s
          changed   2 s ago, from 0 to 12 (Drain)

        candidates
          flow              7  keep up with what arrives, within the target
          drain             8  start what waits, or falls due within a pod start, within the target
          window           12  the highest wish that is remembered; chosen
          busy              0  pods that may be busy, as far as there are pods
          minReplicas       0  the floor of the spec
          maxReplicas      20  the ceiling of the spec

        what would change it
          more    when 217 jobs are ready in emails, now 200
          more    when about 12 jobs/s arrive, now 6.67, for 30 s
          more    when jobs take about 1.1 s, now 1 s
          fewer   9, when the load stays as it is now, within 120 s
          zero    when nothing is ready, active or due within 38 s, and that for 30 s
          unless  a queue has a limit of its own (global concurrency, rate limit), which the status does not hold

        now
          pods    0 ready, 12 starting
          emails  200 ready, 0 active, 0 delayed, the oldest ready for 7 s

        learned
          pod start  6.4 s, 95 % within 8 s
          emails     6.67 jobs/s arrive, a job takes 1 s, a running one still 0.5 s

        limits
          replicas   0 to 20
          target     95 % wait less than 30 s
          pod        1 job at once
          idleAfter  30 s, automatic
        """
    )


def test_a_pool_at_zero_says_what_wakes_it() -> None:
    body = decided_pool(quiet(delayed=3, next_due_ms=NOON_MS + 602_000), present=0, target=WAIT)
    assert told_of("shop/emails", body)[0] == (
        "decision",
        "0 replicas: nothing is ready, active or due within 38 s",
    )
    assert told_of("what would change it", body) == [
        ("more", "when a job is ready"),
        ("more", "38 s before a delayed job is due; the next is due in 10 min"),
    ]
    assert told_of("now", body)[1] == ("emails", "0 ready, 0 active, 3 delayed, the next due in 10 min")


def test_a_number_set_by_hand_says_how_to_take_it_back() -> None:
    body = decided_pool(quiet(waiting=3), present=5, replicas=5)
    assert told_of("what would change it", body) == [
        ("automatic", "`corral auto emails -n shop` lets the operator decide again; until then nothing does")
    ]
    (row,) = told_of("to be seen to", body)
    assert row[:3] == ("Manual", "SetByHand", "for 2 s")
    assert ("rule", "Manual: the user set the number") in told_of("shop/emails", body)


def test_a_queue_that_cannot_be_read_is_told_and_never_as_a_zero() -> None:
    body = decided_pool(unread(), present=3)
    assert told_of("what would change it", body) == [
        ("replicas", "when every queue can be read again; until then they stay")
    ]
    assert [row[:2] for row in told_of("to be seen to", body)] == [("RedisReachable", "Unreachable")]
    assert told_of("now", body)[1] == ("emails", "not known")


def test_a_queue_that_nobody_created_waits_for_its_first_job() -> None:
    body = decided_pool(quiet(exists=False, seen_before=False), present=0)
    assert told_of("what would change it", body) == [
        ("more", "with the first job that anybody adds to one of its queues")
    ]
    assert [row[:2] for row in told_of("to be seen to", body)] == [("QueueFound", "NeverCreated")]


def test_a_pool_that_cannot_be_served_is_told_with_its_problem() -> None:
    problem = Problem("SecretMissing", "there is no Secret redis; create it")
    body = decided_pool(present=0, problem=problem)
    assert told_of("shop/emails", body)[0] == ("decision", "none; see below")
    assert told_of("to be seen to", body) == [("Ready", "SecretMissing", "for 2 s", problem.text)]
    assert told_of("what would change it", body) == []


def test_a_pool_that_nobody_has_looked_at_asks_for_the_operator() -> None:
    body = pool()
    body["metadata"] |= {"namespace": "shop", "generation": 1, "creationTimestamp": NOON}
    assert told(body)[:2] == [
        "shop/emails",
        "  decision  none: the operator has not looked yet. Does it run, and does it watch this namespace?",
    ]
    seen = decided_pool(quiet(), present=0)
    seen["metadata"]["generation"] = 5
    assert told_of("shop/emails", seen)[0][0] == "outdated"


def test_a_spec_that_cannot_be_read_is_told_by_its_field() -> None:
    body = decided_pool(quiet(), present=0)
    body["spec"]["maxReplicas"] = 0
    assert told_of("shop/emails", body)[0] == (
        "spec",
        "cannot be read: spec.maxReplicas must be a whole number from 1 up, got 0",
    )
    assert told_of("limits", body) == []


def test_a_wish_that_has_not_lasted_yet_is_told_as_such() -> None:
    body = decided_pool(quiet(active=2), present=2, rates={"emails": 6.0}, target=WAIT)
    assert ("held", "7 are wanted, but Window: a higher wish counts when it has lasted") in told_of("shop/emails", body)
    assert ("more", "7, when the load stays as it is now for 30 s") in told_of("what would change it", body)


def test_limits_of_every_kind_of_target_are_told() -> None:
    for spec, said in (
        ({"target": {"wait": "90s", "percentile": 99}}, "99 % wait less than 90 s"),
        ({"target": {"drain": "5m"}}, "what waits has started within 5 min"),
        ({"target": {"jobsPerReplica": 2.5}}, "2.5 jobs per replica"),
        ({}, "95 % wait less than 60 s"),
    ):
        assert ("target", said) in told_of("limits", decided_pool(quiet(), present=0, **spec))
    body = decided_pool(quiet(), present=0, mode="DryRun", concurrency=20, idleAfter="90s", minReplicas=2)
    assert told_of("limits", body) == [
        ("replicas", "2 to 20"),
        ("target", "95 % wait less than 60 s"),
        ("pod", "20 jobs at once"),
        ("idleAfter", "90 s"),
        ("mode", "DryRun: nothing is written"),
    ]


OFFICE = {"name": "office", "cron": "0 8 * * *", "duration": "10h", "timeZone": "Europe/Berlin", "minReplicas": 3}
LUNCH = {"name": "lunch", "cron": "0 12 * * *", "duration": "90m", "maxReplicas": 2}


def test_a_schedule_that_holds_says_what_it_asks_for_and_until_when() -> None:
    body = decided_pool(quiet(), present=0, schedules=[OFFICE])
    why = told_of("shop/emails", body)
    assert why[0][1].startswith("3 replicas: schedule office (until 2026-01-01 18:00 Europe/Berlin) asks for no fewer;")
    assert why[1] == ("rule", "Schedule: a schedule holds that asks for so many at least")
    assert ("schedule", "     3", "the floor of the schedule that holds; chosen") in told_of("candidates", body)
    changes = told_of("what would change it", body)
    assert ("zero", "not while schedule office (until 2026-01-01 18:00 Europe/Berlin) asks for 3") in changes
    assert ("schedule", "office ends at 2026-01-01 18:00 Europe/Berlin") in changes
    assert not any(change == "fewer" for change, _ in changes)
    assert ("schedule", "office: at least 3 from 0 8 * * * Europe/Berlin on, for 10 h") in told_of("limits", body)


def test_a_ceiling_of_a_schedule_is_told_as_what_keeps_it_from_more() -> None:
    body = decided_pool(quiet(waiting=200), present=2, schedules=[OFFICE, LUNCH])
    assert told_of("shop/emails", body)[0][1].endswith(
        "4 are wanted, but schedule lunch (until 2026-01-01 13:30 UTC) allows 2"
    )
    changes = told_of("what would change it", body)
    assert ("more", "not while schedule lunch (until 2026-01-01 13:30 UTC) allows 2") in changes
    assert ("schedule", "lunch ends at 2026-01-01 13:30 UTC") in changes


def test_a_schedule_to_come_is_told_with_its_moment() -> None:
    body = decided_pool(quiet(), present=0, schedules=[{**LUNCH, "cron": "30 17 * * *"}])
    assert ("schedule", "lunch begins at 2026-01-01 17:30 UTC") in told_of("what would change it", body)


def test_a_pool_in_conflict_says_what_must_end_and_nothing_of_the_load() -> None:
    body = decided_pool(quiet(waiting=90), present=3, rivals=Rivals(holds=("HorizontalPodAutoscaler emails",)))
    assert told_of("what would change it", body) == [
        ("replicas", "when nobody else writes the replicas of the Deployment; see the condition Conflict")
    ]


def test_a_fallback_is_told_before_and_while_it_holds() -> None:
    fallback = {"after": "90s", "policy": "AtLeast", "replicas": 4}
    before = decided_pool(unread(), present=1, fallback=fallback)
    assert told_of("what would change it", before) == [
        ("replicas", "when every queue can be read again; until then they stay"),
        ("fallback", "AtLeast 4, when that lasts 90 s"),
    ]
    memory = replace(PoolMemory.begin(1, 0.0), unknown_since_s=5.0)
    body = decided_pool(unread(), present=1, fallback=fallback, memory=memory)
    assert told_of("what would change it", body) == [
        ("replicas", "when every queue can be read again; until then the fallback holds")
    ]
    assert ("fallback", "     4", "the fallback of the spec, within the bounds; chosen") in told_of("candidates", body)


def test_a_downstream_limit_keeps_nobody_from_more() -> None:
    body = decided_pool(quiet(waiting=100), present=4, age_s=1.0, target=WAIT)
    body["status"]["conditions"] = [{"type": "Limited", "status": "True", "reason": "Downstream", "message": "x"}]
    changes = [when for change, when in told_of("what would change it", body) if change == "more"]
    assert any("ready in emails" in when for when in changes)
    assert not any("not before this ends" in when for when in changes)


def test_busy_pods_without_the_protection_that_is_asked_for_are_to_be_seen_to() -> None:
    body = decided_pool(quiet(waiting=3), present=2)
    rows = [("NoOrders", "Redis refuses orders"), ("None", "spec.protection.busy is None")]
    for reason, message in rows:
        row = {"type": "Protected", "status": "False", "reason": reason, "message": message, "lastTransitionTime": NOON}
        body["status"]["conditions"] = [row, {**row, "type": "Stuck", "status": "True", "reason": "OrphanedJobs"}]
        told = [row[:2] for row in told_of("to be seen to", body)]
        # What the user chose is no trouble.
        assert told == [("Protected", "NoOrders")] * (reason == "NoOrders") + [("Stuck", "OrphanedJobs")]


@pytest.mark.timeout(240)  # some thousand statuses
def test_a_status_full_of_nonsense_breaks_nothing() -> None:
    whole = decided_pool(quiet(waiting=3, delayed=2, next_due_ms=NOON_MS + 500_000), present=2)
    nonsense: list[Any] = [None, "x", -1, [None], {"a": "b"}]

    def spoilt(value: Any) -> list[Any]:
        """The same, each time with one value of it replaced."""
        found: list[Any] = list(nonsense)
        if isinstance(value, dict):
            found += [{**value, key: other} for key in value for other in spoilt(value[key])]
        if isinstance(value, list):
            found += [[*value[:n], other, *value[n + 1 :]] for n in range(len(value)) for other in spoilt(value[n])]
        return found

    for status in spoilt(whole["status"]):
        assert told({**whole, "status": status})


def test_the_words_of_the_rules_are_those_of_the_table_of_reasons() -> None:
    table = (decision.__doc__ or "").splitlines()
    assert set(RULES) == set(Reason)
    for reason, words in RULES.items():
        assert any(line.split() == [reason, *words.split()] for line in table), reason


def test_every_candidate_has_its_words() -> None:
    for body in (
        decided_pool(quiet(waiting=3), present=2),
        decided_pool(quiet(waiting=3), present=2, target={"jobsPerReplica": 1}),
        decided_pool(unread(), present=2),
        decided_pool(quiet(), present=3, schedules=[OFFICE, {**LUNCH, "maxReplicas": 4}]),
    ):
        candidates = body["status"]["decision"]["candidates"]
        assert candidates.keys() <= CANDIDATES.keys()
        assert [row[0] for row in told_of("candidates", body)] == list(candidates)
