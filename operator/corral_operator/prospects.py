"""What would change a decision: more, fewer, or no replicas. Pure.

The thresholds are found by asking the real rules with one number changed, all else as it was. Nothing is said where the
status does not hold what the rules need; what follows from the spec alone is always said.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from corral_operator.decision import Reason
from corral_operator.figures import figure, whole
from corral_operator.idleness import idle_after_s
from corral_operator.kept import inner, named, rows
from corral_operator.observed import QueueReading
from corral_operator.recollection import Recollection, pod_start_of, recollect
from corral_operator.rules import RULES
from corral_operator.schedules import Agenda, Bounds, agenda_of, bounds_of, moment_text
from corral_operator.sentences import count, span
from corral_operator.spec import LengthTarget, PoolSpec
from corral_operator.stamps import epoch_ms
from corral_operator.thresholds import MOST_JOBS, hundredths_until, jobs_until, lasting_replicas
from corral_operator.wanting import DOWN_ARRIVES_S, UP_ARRIVES_S

QUEUES_TOLD = 4

_NOT_TOLD = "not known: the status lacks numbers that the rules need, or they are not of one moment; ask again in 30 s"
_SHARED = "not known: others serve its queues too, and the status does not hold the share of this pool"
_IN_FILE = "without spec.replicas in the file; until then nothing changes"
_UNLESS = "a queue has a limit of its own (global concurrency, rate limit), which the status does not hold"


@dataclass(frozen=True, slots=True)
class Prospect:
    """`change` is more, fewer, zero, automatic and so on; `when` a sentence."""

    change: str
    when: str


def prospects_of(
    policy: PoolSpec, status: Mapping[str, Any], now_ms: int, *, from_file: bool = False
) -> list[Prospect]:
    """What would change the decision in this status; empty without one. `from_file`: the spec lies in a file."""
    desired = whole(status.get("desired"))
    if desired is None:
        return []
    reason = inner(status, "decision").get("reason")
    if reason == Reason.CONFLICT:
        return [
            Prospect("replicas", "when nobody else writes the replicas of the Deployment; see the condition Conflict")
        ]
    if policy.replicas is not None:
        return [Prospect("automatic", _IN_FILE if from_file else _undo(policy))]
    if reason in (Reason.UNKNOWN, Reason.FALLBACK):
        return list(_blind(policy, reason))
    if reason == Reason.NEVER_CREATED:
        first = Prospect("more", "with the first job that anybody adds to one of its queues")
        return [first, *_by_the_clock(agenda_of(policy.schedules, now_ms))]
    moment = recollect(policy, status, now_ms)
    agenda = agenda_of(policy.schedules, now_ms)
    bounds = bounds_of(policy, agenda)
    told = [
        *_more(policy, status, moment, bounds, desired, now_ms),
        *_fewer(policy, moment, bounds, desired),
        *_zero(policy, status, bounds, desired),
        *_by_the_clock(agenda),
    ]
    if desired and moment is None:
        told.append(Prospect("at what load", _SHARED if _in_conflict(status) else _NOT_TOLD))
    elif desired and not _limit(status):
        told.append(Prospect("unless", _UNLESS))
    return told


def _in_conflict(status: Mapping[str, Any]) -> bool:
    return any(row.get("type") == "Conflict" and row.get("status") == "True" for row in rows(status, "conditions"))


def _undo(policy: PoolSpec) -> str:
    return f"`corral auto {policy.name} -n {policy.namespace}` lets the operator decide again; until then nothing does"


def _blind(policy: PoolSpec, reason: object) -> Iterator[Prospect]:
    stay = "the fallback holds" if reason == Reason.FALLBACK else "they stay"
    yield Prospect("replicas", f"when every queue can be read again; until then {stay}")
    fallback = policy.fallback
    if reason == Reason.UNKNOWN and fallback.replicas is not None:
        yield Prospect("fallback", f"{fallback.policy} {fallback.replicas}, when that lasts {span(fallback.after_s)}")


def _by_the_clock(agenda: Agenda) -> Iterator[Prospect]:
    """The next time that a schedule begins or ends, by the clock of the zone of each schedule."""
    for row in agenda.holding:
        if row.until_ms is not None:
            ends = moment_text(row.until_ms, row.schedule.time_zone)
            yield Prospect("schedule", f"{row.schedule.name} ends at {ends}")
    for schedule, begins_ms in agenda.coming:
        yield Prospect("schedule", f"{schedule.name} begins at {moment_text(begins_ms, schedule.time_zone)}")


# --- more ---


def _more(
    policy: PoolSpec,
    status: Mapping[str, Any],
    moment: Recollection | None,
    bounds: Bounds,
    desired: int,
    now_ms: int,
) -> Iterator[Prospect]:
    if bounds.ceiling is not None and desired >= bounds.most:
        yield Prospect("more", f"not while {bounds.ceiling.text} allows {bounds.most:,}")
    elif desired >= policy.max_replicas:
        yield Prospect("more", f"never: spec.maxReplicas is {policy.max_replicas:,}")
    elif limit := _limit(status):
        yield Prospect("more", f"not before this ends: {limit}, {RULES.get(limit, 'see above')}")
    elif not desired:
        yield from _awake(policy, status, now_ms)
    elif moment is not None:
        yield from _growth(policy, moment, desired)


def _limit(status: Mapping[str, Any]) -> str | None:
    """What keeps the pool from more, by the condition Limited."""
    limited = next((row for row in rows(status, "conditions") if row.get("type") == "Limited"), {})
    is_limit = limited.get("status") == "True" and limited.get("reason") != Reason.DOWNSTREAM
    return str(limited.get("reason")) if is_limit else None


def _awake(policy: PoolSpec, status: Mapping[str, Any], now_ms: int) -> Iterator[Prospect]:
    yield Prospect("more", "when a job is ready")
    times = [epoch_ms(row.get("nextDueAt")) for row in named(status, "queues") if row.get("paused") is not True]
    due = [time for time in times if time is not None and time > now_ms]
    before_s = pod_start_of(status) + idle_after_s(policy, pod_start_of(status))
    next_due = f"; the next is due in {span((min(due) - now_ms) / 1000)}" if due else ""
    yield Prospect("more", f"{span(before_s)} before a delayed job is due{next_due}")


def _growth(policy: PoolSpec, moment: Recollection, desired: int) -> Iterator[Prospect]:
    window_s = policy.behavior.up.window_s
    arrives_s = UP_ARRIVES_S if window_s is None else window_s
    if (lasting := lasting_replicas(moment)) > desired:
        yield Prospect("more", f"{lasting:,}, when the load stays as it is now for {span(arrives_s)}")
        return
    for reading in _largest(moment):
        if jobs := jobs_until(moment, reading.name, 1, MOST_JOBS):
            ready, held = reading.ready + jobs, f", for {span(window_s)}" if window_s else ""
            told = f"when {count(ready, 'job')} {_are(ready)} ready in {reading.name}, now {reading.ready:,}{held}"
            yield Prospect("more", told)
    if (rate := _rate(moment)) and (more := hundredths_until(moment, 1, rate=True)):
        told = f"when about {figure(rate * (1 + more / 100))} jobs/s arrive, now {figure(rate)}, for {span(arrives_s)}"
        yield Prospect("more", told)
    if more := hundredths_until(moment, 1, rate=False):
        yield Prospect("more", f"when jobs take about {_times(moment, 1 + more / 100)}")


# --- fewer ---


def _fewer(policy: PoolSpec, moment: Recollection | None, bounds: Bounds, desired: int) -> Iterator[Prospect]:
    if desired <= max(bounds.least, 1):
        return
    if moment is not None:
        yield from _decline(policy, moment, desired)


def _decline(policy: PoolSpec, moment: Recollection, desired: int) -> Iterator[Prospect]:
    window_s = policy.behavior.down.window_s
    arrives_s = DOWN_ARRIVES_S if window_s is None else window_s
    if (lasting := lasting_replicas(moment)) < desired:
        within_s = max(arrives_s, moment.pod_start_s)
        yield Prospect("fewer", f"{lasting:,}, when the load stays as it is now, within {span(within_s)}")
        return
    for reading in _largest(moment):
        if jobs := jobs_until(moment, reading.name, -1, reading.waiting):
            ready = reading.ready - jobs
            told = (
                f"when no more than {count(ready, 'job')} {_are(ready)} ready in {reading.name}, now {reading.ready:,}"
            )
            yield Prospect("fewer", told)
    if (rate := _rate(moment)) and (less := hundredths_until(moment, -1, rate=True)):
        told = f"when about {figure(rate * (1 - less / 100))} jobs/s arrive, now {figure(rate)}, for {span(arrives_s)}"
        yield Prospect("fewer", told)
    if less := hundredths_until(moment, -1, rate=False):
        yield Prospect("fewer", f"when jobs take about {_times(moment, 1 - less / 100)}")


def _zero(policy: PoolSpec, status: Mapping[str, Any], bounds: Bounds, desired: int) -> Iterator[Prospect]:
    if not desired:
        return
    if policy.min_replicas:
        yield Prospect("zero", f"never: spec.minReplicas is {policy.min_replicas:,}")
        return
    if bounds.floor is not None:
        yield Prospect("zero", f"not while {bounds.floor.text} asks for {bounds.least:,}")
        return
    pod_start_s = pod_start_of(status)
    patience_s = idle_after_s(policy, pod_start_s)
    within = span(pod_start_s + patience_s)
    yield Prospect("zero", f"when nothing is ready, active or due within {within}, and that for {span(patience_s)}")


# --- words ---


def _largest(moment: Recollection) -> list[QueueReading]:
    """The queues with the most ready jobs; those that are paused ask for nothing."""
    return sorted((row for row in moment.observed.known if not row.paused), key=lambda row: -row.ready)[:QUEUES_TOLD]


def _rate(moment: Recollection) -> float:
    if isinstance(moment.policy.target, LengthTarget):
        return 0.0
    return sum(row.arrival_rate for row in moment.learned.values())


def _times(moment: Recollection, factor: float) -> str:
    """`1.2 s, now 1 s`; of several queues `1.2 times as long as now`."""
    rows = list(moment.learned.values())
    if len(rows) > 1:
        return f"{factor:.3g} times as long as now"
    return f"{span(rows[0].service_s * factor)}, now {span(rows[0].service_s)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
