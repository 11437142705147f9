"""Pools as the API server holds them after the operator has looked: the real rules, and the status that they give."""

from __future__ import annotations

from typing import Any

from corral_operator.observed import Observed, Pods, QueueReading, Rivals, Staff, Unknown
from corral_operator.report import Problem, Report, Scaled
from corral_operator.scaling import PoolMemory, decide
from corral_operator.spec import Busy, read_spec
from corral_operator.status import status_of
from pools import pool
from reports import NOON, NOON_MS, lesson

POD_START_S = 8.0


def decided_pool(
    *readings: QueueReading | Unknown,
    present: int,
    pods: Pods | None = None,
    rates: dict[str, float] | None = None,
    age_s: float = 0.0,
    service_s: float = 1.0,
    memory: PoolMemory | None = None,
    scaled: Scaled | None = None,
    problem: Problem | None = None,
    guard: Busy = Busy.COST,
    staff: Staff | None = None,
    rivals: Rivals | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """The pool `shop/emails`, decided at NOON; `rates` are the arrivals of each queue (default: none)."""
    body = pool(**spec)
    body["metadata"] |= {"namespace": "shop", "generation": 4, "creationTimestamp": NOON, "resourceVersion": "7"}
    policy = read_spec("emails", "shop", body["spec"])
    pods = pods or Pods.steady(present)
    learned = {
        row.name: lesson(age_s if row.ready else 0.0, service_s, rate=(rates or {}).get(row.name, 0.0))
        for row in readings
        if isinstance(row, QueueReading)
    }
    observed = Observed(100.0, NOON_MS, readings, pods, staff or Staff(), guard, rivals or Rivals())
    decision, _ = decide(policy, observed, learned, memory, pod_start_s=POD_START_S)
    told = Report(
        pool=policy,
        generation=4,
        wall_ms=NOON_MS,
        observed=observed,
        decision=None if problem is not None else decision,
        learned=learned,
        selector="corral.dev/pool=emails",
        replicas=present,
        problem=problem,
        scaled=scaled,
        pod_start_s=6.4,
        pod_start_p95_s=POD_START_S,
    )
    return {**body, "status": status_of(told, {})}
