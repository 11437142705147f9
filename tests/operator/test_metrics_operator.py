"""The operator's metrics page: what each call changes on it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from corral.version import __version__
from corral_operator.decision import Limited, Reason
from corral_operator.findings import KINDS, Finding, Findings
from corral_operator.guard import Guard
from corral_operator.metrics import OperatorMetrics
from corral_operator.observed import Member, Observed, Pods, Staff
from corral_operator.report import Problem, Report
from corral_operator.spec import Busy
from reports import NOON_MS, POOL, decided, lesson, quiet, report, unread

AT = {"namespace": "shop", "pool": "emails"}


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics()


def page(metrics: OperatorMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = metrics.render()
    families = text_string_to_metric_families(body.decode())
    return {(row.name, frozenset(row.labels.items())): row.value for family in families for row in family.samples}


def value(metrics: OperatorMetrics, name: str, **labels: str) -> float | None:
    """One sample as it stands on the page; None when it is not there."""
    return page(metrics).get((name, frozenset(labels.items())))


def series(metrics: OperatorMetrics, pool: str) -> set[str]:
    return {name for name, labels in page(metrics) if ("pool", pool) in labels}


def test_a_pool_shows_its_replicas_its_jobs_and_its_conditions(metrics: OperatorMetrics) -> None:
    busy = report(
        quiet(waiting=5, due=2, delayed=4, active=3),
        quiet("bulk", prioritized=1, active=1),
        pods=Pods(3, ready=2),
        decision=decided(8),
        learned={"emails": lesson(age_s=12.5), "bulk": lesson(age_s=3.0)},
    )
    metrics.pool_seen("shop", "emails", busy)
    assert value(metrics, "corral_pool_desired_replicas", **AT) == 8
    assert value(metrics, "corral_pool_replicas", **AT) == 3
    assert value(metrics, "corral_pool_ready_replicas", **AT) == 2
    assert value(metrics, "corral_pool_max_replicas", **AT) == 20
    jobs = [value(metrics, "corral_pool_jobs", state=state, **AT) for state in ("ready", "active", "delayed")]
    assert jobs == [8, 4, 4]
    assert value(metrics, "corral_pool_oldest_job_seconds", **AT) == 12.5
    assert value(metrics, "corral_pool_condition", condition="Ready", **AT) == 1
    assert value(metrics, "corral_pool_condition", condition="Limited", **AT) == 0
    assert value(metrics, "corral_pools") == 1


def test_an_idle_pool_shows_zeros(metrics: OperatorMetrics) -> None:
    metrics.pool_seen("shop", "emails", report())
    assert value(metrics, "corral_pool_jobs", state="ready", **AT) == 0
    assert value(metrics, "corral_pool_oldest_job_seconds", **AT) == 0


def test_counts_that_are_not_known_leave_the_page_and_come_back(metrics: OperatorMetrics) -> None:
    metrics.pool_seen("shop", "emails", report(quiet(waiting=5)))
    metrics.pool_seen("shop", "emails", report(unread("bulk"), decision=decided(3, Reason.UNKNOWN)))
    gone = {"corral_pool_jobs", "corral_pool_oldest_job_seconds"}
    assert not series(metrics, "emails") & gone
    assert value(metrics, "corral_pool_condition", condition="RedisReachable", **AT) == 0
    assert value(metrics, "corral_pool_condition", condition="Limited", **AT) is None
    assert value(metrics, "corral_pool_replicas", **AT) == 3
    metrics.pool_seen("shop", "emails", report())
    assert gone < series(metrics, "emails")


def test_a_pool_of_which_nothing_is_known_shows_its_conditions_only(metrics: OperatorMetrics) -> None:
    metrics.pool_seen("shop", "emails", Report(None, 1, NOON_MS, problem=Problem("SpecInvalid", "no")))
    assert series(metrics, "emails") == {"corral_pool_condition"}
    assert value(metrics, "corral_pool_condition", condition="Ready", **AT) == 0


def test_a_pool_that_is_gone_leaves_nothing_behind(metrics: OperatorMetrics) -> None:
    metrics.pool_seen("shop", "emails", report())
    metrics.pool_seen("shop", "bulk", report(pool=replace(POOL, name="bulk")))
    metrics.pool_gone("shop", "emails")
    metrics.pool_gone("shop", "never-there")
    assert not series(metrics, "emails")
    assert series(metrics, "bulk")
    assert value(metrics, "corral_pools") == 1


def test_decisions_and_writes_are_there_at_zero_and_count(metrics: OperatorMetrics) -> None:
    assert [value(metrics, "corral_decisions_total", reason=reason) for reason in Reason] == [0] * len(Reason)
    assert value(metrics, "corral_scale_writes_total", direction="down") == 0
    metrics.decided(Reason.DRAIN)
    metrics.scaled("up")
    assert value(metrics, "corral_decisions_total", reason="Drain") == 1
    assert value(metrics, "corral_scale_writes_total", direction="up") == 1


def test_a_direction_nobody_knows_is_refused(metrics: OperatorMetrics) -> None:
    with pytest.raises(KeyError):
        metrics.scaled("sideways")


def test_calls_and_looks_count(metrics: OperatorMetrics) -> None:
    metrics.api_call("patch", "deployments", 409)
    metrics.api_call("patch", "deployments", 409)
    metrics.api_call("list", "pods", "Timeout")
    metrics.redis_read(0.003)
    metrics.redis_error("AuthFailed")
    assert value(metrics, "corral_api_calls_total", verb="patch", resource="deployments", code="409") == 2
    assert value(metrics, "corral_api_calls_total", verb="list", resource="pods", code="Timeout") == 1
    assert value(metrics, "corral_redis_read_seconds_sum") == 0.003
    assert value(metrics, "corral_redis_read_seconds_bucket", le="0.0025") == 0
    assert value(metrics, "corral_redis_read_seconds_bucket", le="0.005") == 1
    assert value(metrics, "corral_redis_read_errors_total", cause="AuthFailed") == 1


def test_whether_it_leads_is_asked_with_every_look_at_the_page(metrics: OperatorMetrics) -> None:
    leads = False
    metrics.leads(lambda: leads)
    assert value(metrics, "corral_operator_leader") == 0
    leads = True
    assert value(metrics, "corral_operator_leader") == 1


def test_a_tick_that_began_early_is_not_late(metrics: OperatorMetrics) -> None:
    metrics.tick(0.7)
    metrics.tick(-0.2)
    assert value(metrics, "corral_tick_lag_seconds_sum") == 0.7
    assert value(metrics, "corral_tick_lag_seconds_bucket", le="0.001") == 1


def test_the_page_names_the_version_the_process_and_its_type(metrics: OperatorMetrics) -> None:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    assert value(metrics, "corral_operator_build_info", version=__version__) == 1
    assert b"process_resident_memory_bytes" in body


def test_the_names_of_the_pools_gauges_are_taken(metrics: OperatorMetrics) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Gauge("corral_pool_replicas", "another", registry=metrics.registry)


def full(number: int = 1) -> Report:
    """Everything that can be told of a pool, `number` times as much of it."""
    names = tuple(f"queue-{row}" for row in range(number))
    rows = tuple(quiet(name, waiting=number, active=number) for name in names)
    members = {f"pod-{row}": Member(f"pod-{row}", 1) for row in range(number)}
    findings = tuple(Finding(kind, f"job {row} of emails", 2) for kind in KINDS for row in range(number))
    seen = Observed(100.0, NOON_MS, rows, Pods.steady(3), Staff(members, beats=True, complete=True))
    return report(
        pool=replace(POOL, queues=names),
        observed=seen,
        decision=decided(8, limited=Limited(40, Reason.MAX_REPLICAS, "no more")),
        findings=Findings(findings, looked=True),
        guard=Guard(Busy.DRAIN, "Drain", "so"),
        leaving=2,
        learned={name: lesson(age_s=1.0) for name in names},
    )


def used(number: int = 1) -> OperatorMetrics:
    """Metrics that everything was counted in, `number` times."""
    metrics = OperatorMetrics()
    metrics.pool_seen("shop", "emails", full(number))
    for _ in range(number):
        metrics.decided(Reason.FLOW)
        metrics.scaled("up")
        metrics.api_call("PATCH", "deployments", 200)
        metrics.watch_silent("workerpools")
        metrics.orders_written(2)
        metrics.redis_read(0.1)
        metrics.redis_error("Timeout")
        metrics.tick(0.1)
    return metrics


def test_what_is_served_stands_in_the_table_of_the_module_with_its_labels_and_what_stands_there_is_served() -> None:
    import corral_operator.metrics as module

    rows = re.findall(r"^    (corral_\w+)(?:\{([\w,]+)\})? ", module.__doc__ or "", re.MULTILINE)
    documented = {name: set(labels.split(",")) - {""} for name, labels in rows}
    served: dict[str, set[str]] = {}
    for name, labels in page(used()):
        # The library tells beside each counter when it was made.
        if name.startswith("corral") and not name.endswith("_created"):
            keys = {key for key, _ in labels} - {"le"}
            served[re.sub("_(bucket|count|sum)$", "", name)] = keys
    assert served == documented


def test_labels_are_bounded_whatever_is_in_the_queues() -> None:
    """Nothing of a pool's queues, jobs or pods makes a further series."""
    few, many = (set(page(used(number))) for number in (1, 30))
    assert few == many
    values = " ".join(value for _, labels in many for _, value in labels)
    assert [word for word in ("queue-", "pod-", "job ") if word in values] == []


def test_every_limit_and_every_finding_has_its_word(metrics: OperatorMetrics) -> None:
    metrics.pool_seen("shop", "emails", full())
    assert value(metrics, "corral_pool_limited", reason="MaxReplicas", **AT) == 1
    assert [value(metrics, "corral_pool_findings", kind=kind, **AT) for kind in KINDS] == [2] * len(KINDS)
    assert value(metrics, "corral_pool_busy_replicas", **AT) == 1
    assert value(metrics, "corral_pool_leaving_replicas", **AT) == 2
    metrics.pool_seen("shop", "emails", full(5))
    assert value(metrics, "corral_pool_busy_replicas", **AT) == 3, "the others are of other pools, or gone"
    metrics.pool_seen("shop", "emails", report(findings=Findings(looked=True)))
    assert "corral_pool_limited" not in series(metrics, "emails")
    assert value(metrics, "corral_pool_findings", kind="OutOfMemory", **AT) == 0
    metrics.pool_seen("shop", "emails", report())
    assert not series(metrics, "emails") & {"corral_pool_findings", "corral_pool_busy_replicas"}, "not known"


def test_orders_to_workers_are_counted(metrics: OperatorMetrics) -> None:
    assert value(metrics, "corral_orders_written_total") == 0
    metrics.orders_written(3)
    assert value(metrics, "corral_orders_written_total") == 3


def test_two_operators_in_one_process_do_not_share_numbers() -> None:
    one, two = OperatorMetrics(), OperatorMetrics()
    one.decided(Reason.FLOW)
    assert value(two, "corral_decisions_total", reason="Flow") == 0
