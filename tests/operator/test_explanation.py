"""What `corral explain` tells: whole texts, for pools that the real rules decided."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from corral_operator import decision
from corral_operator.decision import Reason
from corral_operator.explanation import explanation_of
from corral_operator.observed import Pods
from corral_operator.report import Problem, Scaled
from corral_operator.rules import CANDIDATES, RULES
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
          busy              0  active jobs, as far as there are pods
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
    ):
        candidates = body["status"]["decision"]["candidates"]
        assert candidates.keys() <= CANDIDATES.keys()
        assert [row[0] for row in told_of("candidates", body)] == list(candidates)
