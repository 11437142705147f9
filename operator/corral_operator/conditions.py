"""The conditions of a pool: what holds now, why, and what to do about it. Pure; the reasons are part of the API.

type             status    reason             when
--------------   -------   ----------------   ---------------------------------------------------------------
Ready            True      Reconciled         the pool is served
                 False     the problem's      the pool cannot be served: SecretMissing, NameTaken, SpecInvalid ...
RedisReachable   True      Reachable          every queue was read
                 False     the reading's      a queue could not be: AuthFailed, Unreachable, Timeout, WrongType ...
                 Unknown   NotTried           nobody tried yet, or could
QueueFound       True      Found              every queue exists, or did once
                 False     NeverCreated       nobody ever added a job to one
                 Unknown   NotRead            a queue was not read
Active           True      Replicas           the pool has or wants replicas
                 False     the decision's     it has none and wants none: Idle, Manual, NeverCreated, Conflict
                 Unknown   NotDecided         it has none, and what it wants is not known
Limited          True      the limit's        fewer pods than wanted: MaxReplicas, ScheduleCeiling, Quota,
                                              Unschedulable, ConcurrencyLimit, RateLimit, NoConsumer;
                                              Downstream: as many, but more of them do no more work
                 False     NotLimited         nothing keeps the pool from what it wants
                 Unknown   NotDecided         what it wants is not known
Protected        True      Drain, Cost,       busy pods are spared as spec.protection asks for, or as well as workers
                           AnyRuntime         of another kind allow (spec.runtime: Any)
                 False     the guard's        they are not, or less well: None, NoBeats, NoOrders ... (guard.py)
                 Unknown   NotLooked          nobody looked who is busy
Manual           True      SetByHand          spec.replicas is set; since when is lastTransitionTime
                 False     Automatic          it is not
                 Unknown   NotRead            the spec cannot be read
Conflict         True      the rivals'        others have a say in its queues or its Deployment: SharedQueue,
                                              SharedDeployment, Autoscaler
                 False     NoRivals           nobody has
                 Unknown   NotLooked          nobody looked, or nobody may list autoscalers
NoConsumer       True      NothingTaken       jobs and pods are ready, and nothing is taken from the queue
                 False     Taken              no queue is like that
                 Unknown   NotDecided         nobody looked: unread queues, queues never created, a number set by hand,
                                              or a conflict
PoisonJobs       True      the finding's      jobs that cost their workers the life: OutOfMemory, ContainerDied,
                                              StalledTwice
                 False     NoneFound          none at the last look
                 Unknown   NotLooked          nobody looked, or could
Stuck            True      the finding's      what does not go on by itself: SilentWorkers, OrphanedJobs,
                                              WaitingParents
                 False     NoneFound          nothing at the last look
                 Unknown   NotLooked          nobody looked, or could
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from corral_operator.decision import Reason
from corral_operator.findings import POISON, STUCK
from corral_operator.guard import SPARED
from corral_operator.kept import rows
from corral_operator.observed import Unknown
from corral_operator.report import Report
from corral_operator.sentences import count
from corral_operator.stamps import epoch_ms, stamp

TEXT_LENGTH = 4096

Status = Literal["True", "False", "Unknown"]

UNREAD = (Reason.UNKNOWN, Reason.FALLBACK)
"""A decision of these reasons knows nothing of what is wanted."""

GIVEN = (*UNREAD, Reason.MANUAL, Reason.CONFLICT, Reason.NEVER_CREATED)
"""A decision of these reasons was made without a look at the load."""

_CURES = {
    Reason.MAX_REPLICAS: "raise spec.maxReplicas if more may be paid for",
    Reason.SCHEDULE_CEILING: "raise maxReplicas of the schedule if more may be paid for",
    Reason.QUOTA: "raise the quota of the namespace, or let the pods request less",
    Reason.UNSCHEDULABLE: "add nodes, or let the pods request less",
    Reason.CONCURRENCY_LIMIT: "raise the queue's global concurrency if what it protects can take more",
    Reason.RATE_LIMIT: "raise the queue's rate limit if what it protects can take more",
    Reason.NO_CONSUMER: "see the condition NoConsumer",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the table above; `message` is a sentence with the cause and, where there is one, the cure."""

    type: str
    status: Status
    reason: str
    message: str


def conditions_of(report: Report) -> tuple[Condition, ...]:
    """Every condition of the table, always in its order."""
    return (
        _ready(report),
        _redis_reachable(report),
        _queue_found(report),
        _active(report),
        _limited(report),
        _protected(report),
        _manual(report),
        _conflict(report),
        _no_consumer(report),
        _found(report, "PoisonJobs", POISON),
        _found(report, "Stuck", STUCK),
    )


def condition_rows(report: Report, previous: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as the status holds them; a time stays what it was while its condition's status does.

    `previous` is the whole status of before.
    """
    since = {(row.get("type"), row.get("status")): epoch_ms(row.get("lastTransitionTime")) for row in _old(previous)}
    now = stamp(report.wall_ms)
    told = []
    for condition in conditions_of(report):
        before_ms = since.get((condition.type, condition.status))
        told.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": cut(condition.message, TEXT_LENGTH),
                "lastTransitionTime": (None if before_ms is None else stamp(before_ms)) or now,
                "observedGeneration": report.generation,
            }
        )
    return told


def cut(text: str, length: int) -> str:
    """The text, or its beginning where it is too long."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _old(previous: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    # Only text can be looked up: a list, say, would break the dict.
    kinds = ("type", "status")
    return (row for row in rows(previous, "conditions") if all(isinstance(row.get(kind), str) for kind in kinds))


def _ready(report: Report) -> Condition:
    if report.problem is not None:
        return Condition("Ready", "False", report.problem.cause, report.problem.text)
    return Condition("Ready", "True", "Reconciled", "The pool and its Deployment are as the spec says.")


def _redis_reachable(report: Report) -> Condition:
    if unknown := report.unknown:
        return Condition("RedisReachable", "False", unknown[0].cause, _unread_text(unknown))
    if report.complete:
        return Condition("RedisReachable", "True", "Reachable", "Every queue can be read.")
    return Condition("RedisReachable", "Unknown", "NotTried", _untried_text(report))


def _unread_text(unknown: Iterable[Unknown]) -> str:
    """Which queues cannot be read, each cause once."""
    queues: dict[str, list[str]] = {}
    for row in unknown:
        queues.setdefault(f"{row.cause}: {row.text}", []).append(row.queue)
    return "Cannot be read: " + "; ".join(f"{', '.join(names)} ({text})" for text, names in queues.items())


def _untried_text(report: Report) -> str:
    why = (
        "no look at it has ended yet" if report.problem is None else f"the pool cannot be served: {report.problem.text}"
    )
    return f"Redis was not tried: {why}"


def _queue_found(report: Report) -> Condition:
    if report.pool is not None and (never := [row.name for row in report.readings.values() if row.never_created]):
        return Condition(
            "QueueFound",
            "False",
            "NeverCreated",
            f"Nobody ever added a job to {', '.join(never)} under the prefix {report.pool.prefix}. Check the spelling, "
            "spec.prefix and the database of the Redis URL; the first job wakes the pool.",
        )
    if report.complete:
        return Condition("QueueFound", "True", "Found", "Every queue exists, or did once.")
    return Condition("QueueFound", "Unknown", "NotRead", "See the condition RedisReachable.")


def _active(report: Report) -> Condition:
    has, decision = report.replicas, report.decision
    if has or (decision is not None and decision.replicas):
        told = ["an unknown number of replicas" if has is None else count(has, "replica")]
        if decision is not None:
            told.append(f"wants {decision.replicas:,}")
        return Condition("Active", "True", "Replicas", f"The pool has {' and '.join(told)}.")
    if has is None or decision is None or decision.reason in UNREAD:
        return Condition("Active", "Unknown", "NotDecided", "What the pool has and wants is not known.")
    return Condition("Active", "False", decision.reason.value, "The pool has no replicas and wants none.")


def _limited(report: Report) -> Condition:
    decision, pool = report.decision, report.pool
    pods = None if report.observed is None else report.observed.pods
    if decision is not None and decision.limited is not None:
        limited = decision.limited
        return _limit(limited.because, f"{count(limited.wanted, 'replica')} wanted, but {limited.text}")
    if pool is not None and pool.replicas is not None and pool.replicas > pool.max_replicas:
        text = f"{count(pool.replicas, 'replica')} set by hand, but maxReplicas is {pool.max_replicas:,}"
        return _limit(Reason.MAX_REPLICAS, text)
    # What the Deployment asks for already no longer counts as wanted, and yet it may lack the pods.
    if pods is not None and pods.quota_text is not None:
        return _limit(Reason.QUOTA, f"The API server refuses pods: {pods.quota_text}")
    if pods is not None and pods.unschedulable:
        text = pods.unschedulable_text or "no node takes them"
        return _limit(Reason.UNSCHEDULABLE, f"{count(pods.unschedulable, 'pod')} cannot be scheduled: {text}")
    if decision is not None and decision.downstream is not None:
        return _limit(Reason.DOWNSTREAM, decision.downstream)
    if decision is None or decision.reason in UNREAD:
        return Condition("Limited", "Unknown", "NotDecided", "What the pool wants is not known.")
    return Condition("Limited", "False", "NotLimited", "Nothing keeps the pool from what it wants.")


def _limit(because: Reason, text: str) -> Condition:
    cure = _CURES.get(because)
    return Condition("Limited", "True", because.value, f"{text}; {cure}" if cure else text)


def _protected(report: Report) -> Condition:
    guard = report.guard
    if guard is None:
        return Condition("Protected", "Unknown", "NotLooked", "Nobody looked who is busy.")
    return Condition("Protected", "True" if guard.reason in SPARED else "False", guard.reason, guard.text)


def _manual(report: Report) -> Condition:
    pool = report.pool
    if pool is None:
        return Condition("Manual", "Unknown", "NotRead", "The spec cannot be read.")
    if pool.replicas is None:
        return Condition("Manual", "False", "Automatic", "The operator sets the number of replicas.")
    undo = f"corral auto {pool.name} -n {pool.namespace}"
    text = f"spec.replicas is set by hand to {pool.replicas:,} and holds until it is removed: {undo}"
    return Condition("Manual", "True", "SetByHand", text)


def _conflict(report: Report) -> Condition:
    rivals = None if report.observed is None else report.observed.rivals
    if rivals is None:
        return Condition("Conflict", "Unknown", "NotLooked", "Nobody looked who else scales it.")
    if rivals.text is not None and rivals.reason is not None:
        return Condition("Conflict", "True", rivals.reason, rivals.text)
    if rivals.unknown is not None:
        return Condition("Conflict", "Unknown", "NotLooked", rivals.unknown)
    return Condition("Conflict", "False", "NoRivals", "Nobody else scales its Deployment or serves its queues.")


def _no_consumer(report: Report) -> Condition:
    decision, pool = report.decision, report.pool
    if decision is None or pool is None or decision.reason in GIVEN:
        return Condition("NoConsumer", "Unknown", "NotDecided", "Nobody looked whether jobs are taken.")
    if not decision.no_consumer:
        return Condition("NoConsumer", "False", "Taken", "No queue has ready jobs that ready pods leave alone.")
    return Condition(
        "NoConsumer",
        "True",
        "NothingTaken",
        f"Jobs of {', '.join(decision.no_consumer)} are ready and pods are ready, but none takes them. Does the code of "
        f"the worker serve this queue, under the prefix {pool.prefix} and with this Redis? Until it does, its backlog "
        "counts for one pod at most.",
    )


def _found(report: Report, kind: str, kinds: Sequence[str]) -> Condition:
    if rows := report.findings.of(kinds):
        return Condition(kind, "True", rows[0].kind, " ".join(row.text for row in rows))
    if not report.findings.looked:
        return Condition(kind, "Unknown", "NotLooked", "Nobody looked yet, or the queues cannot be read.")
    return Condition(kind, "False", "NoneFound", "The last look found nothing of the kind.")
