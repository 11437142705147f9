"""The moment of a pool's last decision, read back from what the API server holds, as far as its status tells it. Pure.

`corral explain` asks the real rules what would be decided otherwise. For that it must be sure of the moment: when a
single number is missing, or when the rules would not decide now as the status says they did, there is no recollection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corral_operator.decision import Reason
from corral_operator.figures import number, whole
from corral_operator.kept import inner, named, rows
from corral_operator.learning import UNKNOWN_SERVICE_S, Learned, Source
from corral_operator.observed import Member, Observed, Pods, QueueReading, Staff
from corral_operator.scaling import DEFAULT_POD_START_S, decide
from corral_operator.spec import Busy, Mode, PoolSpec
from corral_operator.stamps import epoch_ms

_COUNTS = ("waiting", "prioritized", "due", "delayed", "active")
_ASKED_NO_LOAD = (Reason.CONFLICT, Reason.MANUAL, Reason.UNKNOWN, Reason.FALLBACK, Reason.NEVER_CREATED)
_NOT_HELD = ("NoConsumer", "Conflict")
"""Conditions under which the rules count in a way that the status does not hold."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """What `decide` was given, and the replicas that it gave."""

    policy: PoolSpec
    observed: Observed
    learned: Mapping[str, Learned]
    pod_start_s: float
    replicas: int


def pod_start_of(status: Mapping[str, Any]) -> float:
    """How long a pod takes to start (p95), as the rules take it."""
    return number(inner(status, "learned").get("podStartSecondsP95")) or DEFAULT_POD_START_S


def recollect(policy: PoolSpec, status: Mapping[str, Any], now_ms: int) -> Recollection | None:
    """The moment; None when the status does not hold enough of it."""
    replicas, reason = whole(status.get("desired")), inner(status, "decision").get("reason")
    present = replicas if policy.mode is Mode.AUTO else whole(status.get("replicas"))
    if replicas is None or present is None or reason in _ASKED_NO_LOAD or _is_special(status):
        return None
    pods = _pods(status, present, now_ms)
    pod_start_s = pod_start_of(status)
    told = {row["name"]: row for row in named(status, "queues")}
    remaining = {row["name"]: row.get("remainingSeconds") for row in named(inner(status, "learned"), "queues")}
    readings: list[QueueReading] = []
    learned: dict[str, Learned] = {}
    for name in policy.queues:
        row = told.get(name, {})
        reading = _reading(name, row, now_ms, pod_start_s)
        lesson = _lesson(policy, row, number(remaining.get(name)), now_ms)
        if reading is None or lesson is None:
            return None
        readings.append(reading)
        learned[name] = lesson
    if pods is None:
        return None
    guard, staff = _staff(status)
    observed = Observed(0.0, now_ms, tuple(readings), pods, staff, guard)
    moment = Recollection(policy, observed, learned, pod_start_s, replicas)
    decision, _ = decide(policy, moment.observed, learned, None, pod_start_s=pod_start_s)
    return moment if decision.replicas == replicas else None


def _reading(name: str, row: Mapping[str, Any], now_ms: int, pod_start_s: float) -> QueueReading | None:
    counts = {key: told for key in _COUNTS if (told := whole(row.get(key))) is not None}
    due_at_ms = epoch_ms(row.get("nextDueAt"))
    if len(counts) < len(_COUNTS):
        return None
    if counts["delayed"] > counts["due"] and (due_at_ms is None or due_at_ms - now_ms <= pod_start_s * 1000):
        return None  # some of them fall due within a pod start, and the status does not say how many
    found = row.get("found") is not False
    paused = row.get("paused") is True
    return QueueReading(
        name,
        waiting=counts["waiting"],
        prioritized=counts["prioritized"],
        due=counts["due"],
        delayed=counts["delayed"],
        active=counts["active"],
        next_due_ms=due_at_ms,
        paused=paused,
        exists=found,
        seen_before=found,
    )


def _lesson(policy: PoolSpec, row: Mapping[str, Any], remaining_s: float | None, now_ms: int) -> Learned | None:
    rate = number(row.get("arrivalsPerSecond"))
    # The status holds no guesses: where it says nothing, the hint holds, or one second.
    service_s = number(row.get("jobSeconds")) or policy.job_seconds or UNKNOWN_SERVICE_S
    since_ms = epoch_ms(row.get("oldestSince"))
    if rate is None or (row.get("ready") and since_ms is None):
        return None
    age_s = 0.0 if since_ms is None else max(0.0, (now_ms - since_ms) / 1000)
    remaining_s = service_s if remaining_s is None else remaining_s
    return Learned(rate, service_s, remaining_s, age_s, taken=0.0, source=Source.MEASURED)


def _pods(status: Mapping[str, Any], present: int, now_ms: int) -> Pods | None:
    pods, decision = inner(status, "pods"), inner(status, "decision")
    states = ("ready", "starting", "terminating", "unschedulable")
    counts = [told for key in states if (told := whole(pods.get(key))) is not None]
    if len(counts) < len(states):
        return None
    ready, starting, terminating, unschedulable = counts
    rollout = Reason.ROLLOUT in (decision.get("reason"), inner(decision, "held").get("because"))
    scaled_ms = epoch_ms(inner(status, "lastScale").get("at"))
    # Those that start are taken to have come with the last change.
    age_s = 0.0 if scaled_ms is None else max(0.0, (now_ms - scaled_ms) / 1000)
    return Pods(present, ready, (age_s,) * starting, terminating, unschedulable, rollout=rollout)


def _staff(status: Mapping[str, Any]) -> tuple[Busy, Staff]:
    """How busy pods were spared: where they are a floor, the candidates say of how many."""
    busy = whole(inner(inner(status, "decision"), "candidates").get("busy"))
    if busy is None:
        return Busy.DRAIN, Staff()
    return Busy.COST, Staff({str(row): Member(str(row), busy=1) for row in range(busy)}, complete=True)


def _is_special(status: Mapping[str, Any]) -> bool:
    return any(row.get("type") in _NOT_HELD and row.get("status") == "True" for row in rows(status, "conditions"))
