"""Reports on a pool for the tests of what is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from corral_operator.decision import Decision, Reason
from corral_operator.learning import Learned, Source
from corral_operator.observed import Observed, Pods, QueueReading, Unknown
from corral_operator.report import Report
from corral_operator.spec import PoolSpec

NOON_MS = 1_767_268_800_000
NOON = "2026-01-01T12:00:00Z"

POOL = PoolSpec("emails", "shop", redis_secret="redis", queues=("emails", "bulk"), max_replicas=20, template={})


def quiet(name: str = "emails", **counts: Any) -> QueueReading:
    return QueueReading(name, id_counter=1000, **counts)


def lesson(age_s: float = 0.0, service_s: float = 0.4, source: Source = Source.MEASURED, rate: float = 2.0) -> Learned:
    return Learned(rate, service_s, service_s / 2, age_s, 900.0, source)


def decided(replicas: int = 3, reason: Reason = Reason.FLOW, **more: Any) -> Decision:
    return Decision(replicas, reason, f"{replicas} replicas: because", {"flow": replicas}, "flow", **more)


def unread(name: str = "emails", cause: str = "Unreachable", text: str = "connection refused") -> Unknown:
    return Unknown(name, cause, text)


def report(*readings: QueueReading | Unknown, pods: Pods | None = None, **changes: Any) -> Report:
    """A healthy pool of two queues and three pods, and what `changes` say otherwise. Readings replace the quiet ones."""
    rows = {row.queue if isinstance(row, Unknown) else row.name: row for row in (quiet(), quiet("bulk"), *readings)}
    whole = Report(
        pool=POOL,
        generation=4,
        wall_ms=NOON_MS,
        observed=Observed(100.0, NOON_MS, tuple(rows.values()), pods or Pods.steady(3)),
        decision=decided(),
        learned={"emails": lesson(), "bulk": lesson()},
        selector="corral.dev/pool=emails",
        replicas=3,
    )
    return replace(whole, **changes)
