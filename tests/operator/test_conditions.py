"""What the conditions of a pool say, with which reason, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from corral_operator.conditions import condition_rows, conditions_of
from corral_operator.decision import Limited, Reason
from corral_operator.findings import KINDS, Finding, Findings
from corral_operator.guard import Guard
from corral_operator.observed import Observed, Pods, Rivals
from corral_operator.report import Problem, Report
from corral_operator.spec import Busy
from reports import NOON, NOON_MS, POOL, decided, quiet, report, unread

if TYPE_CHECKING:
    from corral_operator.conditions import Condition

TYPES = [
    "Ready",
    "RedisReachable",
    "QueueFound",
    "Active",
    "Limited",
    "Protected",
    "Manual",
    "Conflict",
    "NoConsumer",
    "PoisonJobs",
    "Stuck",
]
MISSING = Problem("SecretMissing", "Secret redis is not there; create it")
MANUAL = replace(POOL, replicas=5)
UNKNOWN = decided(3, Reason.UNKNOWN)
LOST = {"decision": UNKNOWN}
BLANK = Report(None, 4, NOON_MS, problem=Problem("SpecInvalid", "spec.maxReplicas must be at least 1"))
NEVER = quiet("bulk", exists=False, seen_before=False)


def limited(because: Reason, wanted: int = 40) -> Any:
    return decided(20, limited=Limited(wanted, because, "no more may be"))


def guarded(busy: Busy, reason: str) -> Report:
    return report(guard=Guard(busy, reason, "as it is"))


def rivalled(**rivals: Any) -> Report:
    told = report()
    assert told.observed is not None
    return replace(told, observed=replace(told.observed, rivals=Rivals(**rivals)))


def found(*rows: Finding) -> Report:
    return report(findings=Findings(rows, looked=True))


# Name: the report; type, status and reason of a condition; what its message must hold.
TABLE: dict[str, tuple[Report, str, str, str, str]] = {
    "a healthy pool": (report(), "Ready", "True", "Reconciled", ""),
    "a missing Secret": (report(problem=MISSING), "Ready", "False", "SecretMissing", "create it"),
    "a broken spec": (BLANK, "Ready", "False", "SpecInvalid", "spec.maxReplicas"),
    "an outage of Redis alone": (report(unread(), **LOST), "Ready", "True", "Reconciled", ""),
    "every queue read": (report(), "RedisReachable", "True", "Reachable", ""),
    "a refused connection": (report(unread()), "RedisReachable", "False", "Unreachable", "emails (Unreachable: conn"),
    "a wrong password": (
        report(unread("bulk", "AuthFailed", "correct the Secret")),
        "RedisReachable",
        "False",
        "AuthFailed",
        "bulk (AuthFailed: correct the Secret)",
    ),
    "one cause for two queues": (
        report(unread(), unread("bulk")),
        "RedisReachable",
        "False",
        "Unreachable",
        "emails, bulk (Unreachable: connection refused)",
    ),
    "no look at all": (report(observed=None), "RedisReachable", "Unknown", "NotTried", "no look"),
    "nothing but pods": (
        report(observed=Observed(1.0, 2, (), Pods.steady(1))),
        "RedisReachable",
        "Unknown",
        "NotTried",
        "",
    ),
    "a Secret that keeps from trying": (
        report(unread("emails", "SecretMissing"), unread("bulk", "SecretMissing"), problem=MISSING),
        "RedisReachable",
        "Unknown",
        "NotTried",
        "create it",
    ),
    "an outage beside a problem": (
        report(unread(), problem=Problem("NameTaken", "another owns it")),
        "RedisReachable",
        "False",
        "Unreachable",
        "",
    ),
    "queues that exist": (report(), "QueueFound", "True", "Found", ""),
    "a queue that is gone": (report(quiet(exists=False)), "QueueFound", "True", "Found", ""),
    "a queue nobody created": (
        report(NEVER),
        "QueueFound",
        "False",
        "NeverCreated",
        "job to bulk under the prefix bull",
    ),
    "a queue nobody created beside an unread one": (
        report(unread(), NEVER),
        "QueueFound",
        "False",
        "NeverCreated",
        "bulk",
    ),
    "queues that were not read": (report(unread()), "QueueFound", "Unknown", "NotRead", "RedisReachable"),
    "replicas": (report(), "Active", "True", "Replicas", "has 3 replicas and wants 3."),
    "one replica": (report(replicas=1), "Active", "True", "Replicas", "has 1 replica and wants 3."),
    "wanted replicas": (report(replicas=0), "Active", "True", "Replicas", "has 0 replicas and wants 3."),
    "replicas that go": (report(decision=decided(0, Reason.IDLE)), "Active", "True", "Replicas", "wants 0"),
    "zero": (report(replicas=0, decision=decided(0, Reason.IDLE)), "Active", "False", "Idle", ""),
    "zero by hand": (report(replicas=0, decision=decided(0, Reason.MANUAL)), "Active", "False", "Manual", ""),
    "zero and blind": (report(replicas=0, decision=decided(0, Reason.UNKNOWN)), "Active", "Unknown", "NotDecided", ""),
    "zero, not decided": (report(replicas=0, decision=None), "Active", "Unknown", "NotDecided", ""),
    "an unknown Deployment": (report(replicas=None, decision=None), "Active", "Unknown", "NotDecided", ""),
    "an unknown Deployment for an unknown load": (
        report(replicas=None, decision=decided(0, Reason.IDLE)),
        "Active",
        "Unknown",
        "NotDecided",
        "",
    ),
    "no limit": (report(), "Limited", "False", "NotLimited", ""),
    "the maximum": (report(decision=limited(Reason.MAX_REPLICAS)), "Limited", "True", "MaxReplicas", "raise spec.max"),
    "a quota": (report(decision=limited(Reason.QUOTA)), "Limited", "True", "Quota", "no more may be; raise the quota"),
    "no node": (report(decision=limited(Reason.UNSCHEDULABLE)), "Limited", "True", "Unschedulable", "add nodes"),
    "a concurrency": (
        report(decision=limited(Reason.CONCURRENCY_LIMIT)),
        "Limited",
        "True",
        "ConcurrencyLimit",
        "40 replicas wanted, but no more may be; raise the queue's global concurrency",
    ),
    "a rate": (report(decision=limited(Reason.RATE_LIMIT)), "Limited", "True", "RateLimit", "raise the queue's rate"),
    "nobody who takes": (report(decision=limited(Reason.NO_CONSUMER)), "Limited", "True", "NoConsumer", "see the cond"),
    "a hand above the maximum": (
        report(pool=replace(POOL, replicas=100), decision=decided(20, Reason.MANUAL)),
        "Limited",
        "True",
        "MaxReplicas",
        "100 replicas set by hand, but maxReplicas is 20",
    ),
    "a quota against a number set by hand": (
        report(pods=Pods(5, 3, quota_text="exceeded quota: pods=3"), decision=decided(5, Reason.MANUAL)),
        "Limited",
        "True",
        "Quota",
        "exceeded quota: pods=3",
    ),
    "a pod without a node that is asked for already": (
        report(pods=Pods(3, 2, unschedulable=1, unschedulable_text="0/3 nodes: Insufficient cpu.")),
        "Limited",
        "True",
        "Unschedulable",
        "1 pod cannot be scheduled: 0/3 nodes: Insufficient cpu.",
    ),
    "a quota while Redis is away": (
        report(unread(), pods=Pods(5, 3, quota_text="exceeded"), **LOST),
        "Limited",
        "True",
        "Quota",
        "",
    ),
    "a load that is not known": (report(unread(), **LOST), "Limited", "Unknown", "NotDecided", ""),
    "no decision": (report(decision=None), "Limited", "Unknown", "NotDecided", ""),
    "a fallback": (report(unread(), decision=decided(8, Reason.FALLBACK)), "Limited", "Unknown", "NotDecided", ""),
    "the ceiling of a schedule": (
        report(decision=limited(Reason.SCHEDULE_CEILING)),
        "Limited",
        "True",
        "ScheduleCeiling",
        "raise maxReplicas of the schedule",
    ),
    "a slow downstream": (
        report(decision=decided(downstream="8 pods do no more than 4 did")),
        "Limited",
        "True",
        "Downstream",
        "8 pods do no more than 4 did",
    ),
    "a maximum beside a slow downstream": (
        report(decision=replace(limited(Reason.MAX_REPLICAS), downstream="no more than 4 did")),
        "Limited",
        "True",
        "MaxReplicas",
        "",
    ),
    "pods that are drained": (guarded(Busy.DRAIN, "Drain"), "Protected", "True", "Drain", "as it is"),
    "pods that are marked, as asked for": (guarded(Busy.COST, "Cost"), "Protected", "True", "Cost", ""),
    "pods of another kind": (guarded(Busy.COST, "AnyRuntime"), "Protected", "True", "AnyRuntime", ""),
    "pods that cannot be ordered to": (guarded(Busy.COST, "NoOrders"), "Protected", "False", "NoOrders", ""),
    "pods whose cost another writes": (guarded(Busy.DRAIN, "OtherWriter"), "Protected", "False", "OtherWriter", ""),
    "pods that nobody spares": (guarded(Busy.NONE, "None"), "Protected", "False", "None", ""),
    "pods that nobody looked at": (report(), "Protected", "Unknown", "NotLooked", ""),
    "a pool alone": (report(), "Conflict", "False", "NoRivals", ""),
    "a shared queue": (
        rivalled(text="pool bulk too", reason="SharedQueue"),
        "Conflict",
        "True",
        "SharedQueue",
        "bulk too",
    ),
    "autoscalers that may not be listed": (rivalled(unknown="may not"), "Conflict", "Unknown", "NotLooked", "may not"),
    "a shared Deployment beside them": (
        rivalled(text="pool bulk too", reason="SharedDeployment", unknown="may not"),
        "Conflict",
        "True",
        "SharedDeployment",
        "",
    ),
    "rivals that nobody looked for": (report(observed=None), "Conflict", "Unknown", "NotLooked", ""),
    "jobs that kill": (
        found(Finding("StalledTwice", "job 8 ..."), Finding("OutOfMemory", "job 7 ...")),
        "PoisonJobs",
        "True",
        "OutOfMemory",
        "job 7 ... job 8 ...",
    ),
    "what waits for ever": (found(Finding("WaitingParents", "P")), "Stuck", "True", "WaitingParents", "P"),
    "a finding of the other kind": (found(Finding("OrphanedJobs", "7")), "PoisonJobs", "False", "NoneFound", ""),
    "nothing to find": (found(), "Stuck", "False", "NoneFound", ""),
    "nothing looked for": (report(), "Stuck", "Unknown", "NotLooked", ""),
    "something found, and not all looked at": (
        report(findings=Findings((Finding("OrphanedJobs", "7"),), looked=False)),
        "Stuck",
        "True",
        "OrphanedJobs",
        "7",
    ),
    "a pool that scales itself": (report(), "Manual", "False", "Automatic", ""),
    "a hand": (
        report(pool=MANUAL),
        "Manual",
        "True",
        "SetByHand",
        "to 5 and holds until it is removed: corral auto emails -n shop",
    ),
    "a hand at zero": (report(pool=replace(POOL, replicas=0)), "Manual", "True", "SetByHand", "to 0"),
    "a spec that cannot be read": (BLANK, "Manual", "Unknown", "NotRead", ""),
    "queues that are served": (report(), "NoConsumer", "False", "Taken", ""),
    "a queue that nobody takes from": (
        report(decision=decided(no_consumer=("bulk",))),
        "NoConsumer",
        "True",
        "NothingTaken",
        "Jobs of bulk are ready",
    ),
    "nobody looked, for the number is given": (
        report(decision=decided(5, Reason.MANUAL)),
        "NoConsumer",
        "Unknown",
        "NotDecided",
        "",
    ),
    "nobody could look": (report(unread(), **LOST), "NoConsumer", "Unknown", "NotDecided", ""),
    "nobody looked, for another one scales it": (
        report(decision=decided(5, Reason.CONFLICT)),
        "NoConsumer",
        "Unknown",
        "NotDecided",
        "",
    ),
    "nobody looked, for there is no queue": (
        report(NEVER, decision=decided(0, Reason.NEVER_CREATED)),
        "NoConsumer",
        "Unknown",
        "NotDecided",
        "",
    ),
    "nobody looked, for the fallback holds": (
        report(unread(), decision=decided(5, Reason.FALLBACK)),
        "NoConsumer",
        "Unknown",
        "NotDecided",
        "",
    ),
}


def of(told: Report, kind: str) -> Condition:
    return next(row for row in conditions_of(told) if row.type == kind)


@pytest.mark.parametrize("name", TABLE)
def test_a_condition_says_its_status_its_reason_and_its_cause(name: str) -> None:
    told, kind, status, reason, part = TABLE[name]
    condition = of(told, kind)
    assert (condition.status, condition.reason) == (status, reason)
    assert part in condition.message


@pytest.mark.parametrize("told", [report(), BLANK, report(unread(), **LOST)])
def test_all_conditions_are_there_whatever_holds(told: Report) -> None:
    assert [row.type for row in conditions_of(told)] == TYPES


def test_every_reason_that_can_be_told_stands_in_the_table_of_the_module() -> None:
    import corral_operator.conditions as module

    documented = {word.strip(",;:") for word in (module.__doc__ or "").split()}
    fixed = {row.reason for told, *_ in TABLE.values() for row in conditions_of(told)}
    # Of a guard the table names a few, and the file that has them all.
    assert fixed - documented - {"OtherWriter"} == set()
    assert set(KINDS) - documented == set()
    assert set(TYPES) - documented == set()


def test_a_time_stays_while_its_status_does_and_moves_when_it_changes() -> None:
    first = condition_rows(report(pool=MANUAL), {})
    assert {row["lastTransitionTime"] for row in first} == {NOON}
    later = report(unread(), pool=replace(POOL, replicas=7), wall_ms=NOON_MS + 90_000)
    times = {row["type"]: row["lastTransitionTime"] for row in condition_rows(later, {"conditions": first})}
    assert times["Manual"] == NOON  # 7 and no longer 5, but by hand since noon
    assert times["RedisReachable"] == times["QueueFound"] == "2026-01-01T12:01:30Z"
    assert times["Ready"] == NOON


@pytest.mark.parametrize(
    "conditions",
    [
        "none",
        [None, 3, []],
        [{"type": ["Ready"], "status": "True", "lastTransitionTime": NOON}],
        [{"type": "Ready", "status": "True", "lastTransitionTime": "yesterday"}],
        [{"type": "Ready", "status": "True", "lastTransitionTime": 5}],
        [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00"}],
        [{"type": "Ready", "status": "True", "lastTransitionTime": "0001-01-01T00:00:00+14:00"}],
        [{"type": "Ready", "status": "True"}],
    ],
)
def test_nonsense_among_the_old_conditions_counts_as_none(conditions: Any) -> None:
    rows = condition_rows(report(), {"conditions": conditions})
    assert rows[0]["lastTransitionTime"] == NOON


def test_a_row_carries_the_generation_and_is_cut_to_its_length() -> None:
    rows = condition_rows(report(problem=Problem("TemplateInvalid", "x" * 50_000)), {})
    assert rows[0]["observedGeneration"] == 4
    assert len(rows[0]["message"]) == 4096
    assert rows[0]["message"].endswith("x…")
