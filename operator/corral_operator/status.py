"""The status of a pool: what was seen, what was decided, and what is kept for a restart. Pure.

`status_of` builds the whole of it, within the types and lengths of charts/corral/files, so that the API server never
refuses one. It replaces the old status: what is absent here is not known any more. A count that cannot be read is
absent, never what it was before and never zero; only what was learned stays until it is learned anew.
"""

from collections.abc import Mapping
from typing import Any

from corral_operator.conditions import TEXT_LENGTH, condition_rows, conditions_of, cut
from corral_operator.decision import Decision, Reason
from corral_operator.kept import Kept, inner, kept, last_scale, rows
from corral_operator.learning import Learned, Source
from corral_operator.observed import QueueReading
from corral_operator.report import Jobs, Report
from corral_operator.stamps import epoch_ms, stamp

__all__ = ["Kept", "kept", "status_of", "worth_building", "write_now"]

VOLATILE_S = 30.0
"""Numbers that change all the time are written no more often than this."""

PODS_S = 2.0
"""The same for pods by state, which change quickly while many start."""

OF_THE_LOAD = frozenset(
    reason.value
    for reason in (
        *(Reason.FLOW, Reason.DRAIN, Reason.LENGTH, Reason.WINDOW, Reason.NOT_IDLE_YET),
        *(Reason.ACTIVE, Reason.DUE_SOON, Reason.BUSY, Reason.MIN_REPLICAS),
    )
)
"""Reasons that take turns with every job that comes and goes: while the number is the same, one is as good as another."""

STEADY_MS = 3000
"""Two looks at how long a job has been waiting differ by so much without meaning anything."""

_WORD_LENGTH = 64
_SELECTOR_LENGTH = 4096
_INT32 = 2**31 - 1
_DIGITS = 3
_LARGEST = 1e300
"""No rate and no span of ours; and rounding up from the largest float of all ends in infinity."""


def status_of(report: Report, previous: Mapping[str, Any]) -> dict[str, Any]:
    """The whole status, to be put in the place of `previous`."""
    before, decision, jobs = kept(previous), report.decision, report.jobs
    return _told(
        **_head(report, previous),
        pods=_pod_states(report),
        counts=None if jobs is None else jobs._asdict(),
        oldestSince=_oldest_since(report, report.oldest_age_s, previous),
        queues=_queues(report, before, previous),
        decision=None if decision is None else _decision(decision, report.wall_ms, previous),
        learned=_learned(report, before),
        conditions=condition_rows(report, previous),
    )


def write_now(previous: Mapping[str, Any], status: Mapping[str, Any], since_write_s: float) -> bool:
    """Whether the status is to be written, so many seconds after it last was.

    At once when something changed that somebody may wait for; pods by state after 2 s, all the rest after 30 s, another
    reason of the load for the same number among it; what is the same never.
    """
    previous = _without_foreign(previous, status)
    if status == previous:
        return False
    if _weighty(status) != _weighty(previous):
        return True
    pods_changed = status.get("pods") != previous.get("pods")
    return since_write_s >= (PODS_S if pods_changed else VOLATILE_S)


def worth_building(report: Report, previous: Mapping[str, Any], since_write_s: float) -> bool:
    """Whether the status of this report may have to be written: False only where `write_now` would say no.

    `previous` is the status that was written last. At most looks nothing weighty has changed, and then the whole status
    need not even be made.
    """
    if since_write_s >= VOLATILE_S:
        return True
    if since_write_s >= PODS_S and _pod_states(report) != previous.get("pods"):
        return True
    reason = None if report.decision is None else report.decision.reason.value
    conditions = [(row.type, row.status, row.reason) for row in conditions_of(report)]
    return _weight(_head(report, previous), reason, conditions) != _weighty(previous)


def _without_foreign(previous: Mapping[str, Any], status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the conditions of somebody else, which stay whatever is written."""
    ours = [row.get("type") for row in rows(status, "conditions")]
    old = list(rows(previous, "conditions"))
    return {**previous, "conditions": [row for row in old if row.get("type") in ours]} if old else previous


def _head(report: Report, previous: Mapping[str, Any]) -> dict[str, Any]:
    """The plain fields that people and programs wait for; None for what is not known."""
    decision, selector = report.decision, report.selector
    return {
        "observedGeneration": report.generation,
        "replicas": _pods(report.replicas),
        "desired": None if decision is None else _pods(decision.replicas),
        # Half a selector would be another one.
        "selector": selector if selector is not None and len(selector) <= _SELECTOR_LENGTH else None,
        "lastScale": _last_scale(report, previous),
    }


def _weighty(status: Mapping[str, Any]) -> list[Any]:
    """What people and programs wait for."""
    conditions = [(row.get("type"), row.get("status"), row.get("reason")) for row in rows(status, "conditions")]
    return _weight(status, inner(status, "decision").get("reason"), conditions)


def _weight(head: Mapping[str, Any], reason: str | None, conditions: list[Any]) -> list[Any]:
    plain = [head.get(key) for key in ("observedGeneration", "replicas", "desired", "selector", "lastScale")]
    return [*plain, "" if reason in OF_THE_LOAD else reason, conditions]


def _pod_states(report: Report) -> dict[str, int | None] | None:
    if report.observed is None:
        return None
    pods = report.observed.pods
    return {
        "ready": _pods(pods.ready),
        "starting": _pods(len(pods.starting_ages_s)),
        "leaving": _pods(report.leaving),
        "terminating": _pods(pods.terminating),
        "unschedulable": _pods(pods.unschedulable),
    }


def _names(report: Report, before: Kept) -> tuple[str, ...]:
    """The pool's queues; those of before while the spec cannot be read, so that nothing learned is lost to a typo."""
    return report.pool.queues if report.pool is not None else tuple(sorted({*before.found, *before.service_s}))


def _queues(report: Report, before: Kept, previous: Mapping[str, Any]) -> list[dict[str, Any]]:
    readings = report.readings
    old = {name: row for row in rows(previous, "queues") if isinstance(name := row.get("name"), str)}
    return [
        _queue(report, readings[name], old.get(name, {}))
        if name in readings
        else _told(name=name, found=True if name in before.found else None)
        for name in _names(report, before)
    ]


def _queue(report: Report, reading: QueueReading, previous: Mapping[str, Any]) -> dict[str, Any]:
    learned = report.learned.get(reading.name)
    seen = learned is not None and learned.source in (Source.MEASURED, Source.RUNNING, Source.KEPT)
    return _told(
        name=reading.name,
        **Jobs.of(reading)._asdict(),
        oldestSince=_oldest_since(report, report.oldest_age_of(reading), previous),
        nextDueAt=None if reading.next_due_ms is None else stamp(reading.next_due_ms),
        arrivalsPerSecond=_rounded(learned.arrival_rate if learned else None),
        jobSeconds=_rounded(learned.service_s if learned and seen else None),
        paused=reading.paused,
        # One that is gone was there: a restart must not take it for a misspelt one.
        found=not reading.never_created,
    )


def _oldest_since(report: Report, age_s: float | None, previous: Mapping[str, Any]) -> str | None:
    """Since when the oldest job has been waiting. It stays what it was as long as the difference means nothing."""
    if age_s is None:
        return None
    since_ms = report.wall_ms - age_s * 1000
    before_ms = epoch_ms(previous.get("oldestSince"))
    return stamp(before_ms if before_ms is not None and abs(since_ms - before_ms) < STEADY_MS else since_ms)


def _decision(decision: Decision, wall_ms: int, previous: Mapping[str, Any]) -> dict[str, Any]:
    """The decision, and since when it has been this one: the same number for the same reason."""
    old, replicas = inner(previous, "decision"), _pods(decision.replicas)
    same = (old.get("reason"), previous.get("desired")) == (decision.reason.value, replicas)
    before_ms = epoch_ms(old.get("at")) if same else None
    held = decision.held
    return _told(
        text=cut(decision.text, TEXT_LENGTH),
        reason=decision.reason.value,
        at=stamp(wall_ms if before_ms is None else before_ms),
        candidates={name: _pods(number) for name, number in decision.candidates.items()},
        chosenBy=cut(decision.chosen_by, _WORD_LENGTH),
        held=None if held is None else {"wanted": _pods(held.wanted), "because": held.because.value},
    )


def _last_scale(report: Report, previous: Mapping[str, Any]) -> dict[str, Any] | None:
    scaled = report.scaled or last_scale(previous)
    if scaled is None:
        return None
    return {
        "from": _pods(scaled.from_),
        "to": _pods(scaled.to),
        **_told(at=stamp(scaled.at_ms)),
        "reason": cut(scaled.reason, _WORD_LENGTH),
    }


def _learned(report: Report, before: Kept) -> dict[str, Any]:
    """What is known of jobs and pods: of now, or else of before."""
    readings = report.readings
    told = (
        _lesson(name, report.learned.get(name) if name in readings else None, before.service_s.get(name))
        for name in _names(report, before)
    )
    return _told(
        podStartSeconds=_rounded(before.pod_start_s if report.pod_start_s is None else report.pod_start_s),
        podStartSecondsP95=_rounded(
            before.pod_start_p95_s if report.pod_start_p95_s is None else report.pod_start_p95_s
        ),
        queues=[row for row in told if len(row) > 1],
    )


def _lesson(name: str, learned: Learned | None, before_s: float | None) -> dict[str, Any]:
    """One queue. A guess is not worth keeping: what was measured before is better."""
    if learned is None:
        return _told(name=name, jobSeconds=_rounded(before_s))
    measured = learned.source is Source.MEASURED
    return _told(
        name=name,
        arrivalsPerSecond=_rounded(learned.arrival_rate),
        jobSeconds=_rounded(learned.service_s if measured or learned.source is Source.KEPT else before_s),
        remainingSeconds=_rounded(learned.remaining_s if measured else None),
    )


def _rounded(value: float | None) -> float | None:
    """Three figures are enough; what is no number at all is absent."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and 0 <= value <= _LARGEST else None


def _pods(number: int | None) -> int | None:
    """A number of pods as the schema takes it."""
    return None if number is None else max(0, min(number, _INT32))


def _told(**values: Any) -> dict[str, Any]:
    """Only what is known."""
    return {key: value for key, value in values.items() if value is not None}
