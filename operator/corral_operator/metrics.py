"""The operator's numbers, as Prometheus reads them.

    corral_pool_desired_replicas{namespace,pool}     gauge      replicas that the last decision wants
    corral_pool_replicas{namespace,pool}             gauge      pods that the Deployment has
    corral_pool_ready_replicas{namespace,pool}       gauge      those that are ready
    corral_pool_busy_replicas{namespace,pool}        gauge      pods with a job in their hands
    corral_pool_leaving_replicas{namespace,pool}     gauge      pods that were told to take no further job
    corral_pool_max_replicas{namespace,pool}         gauge      spec.maxReplicas
    corral_pool_jobs{namespace,pool,state}           gauge      jobs: ready, active, delayed (a due one is also ready)
    corral_pool_oldest_job_seconds{namespace,pool}   gauge      how long the oldest ready job waits; 0 without one
    corral_pool_condition{namespace,pool,condition}  gauge      1 True, 0 False; absent when Unknown
    corral_pool_limited{namespace,pool,reason}       gauge      1 while this keeps it from what it wants; else absent
    corral_pool_findings{namespace,pool,kind}        gauge      jobs, parents or pods that a closer look found
    corral_pools                                     gauge      pools that the operator serves
    corral_operator_leader                           gauge      1 while this operator writes, 0 while it stands by
    corral_decisions_total{reason}                   counter    decisions, by their reason
    corral_scale_writes_total{direction}             counter    writes of a number of replicas: up, down
    corral_api_calls_total{verb,resource,code}       counter    calls to the API server that were answered or failed;
                                                                all but GET write
    corral_orders_written_total                      counter    orders to workers to take nothing more, given or renewed
    corral_watch_silences_total{resource}            counter    watches that said nothing any more and were begun anew
    corral_redis_read_seconds                        histogram  one look at the queues of one Redis
    corral_redis_read_errors_total{cause}            counter    looks that failed
    corral_tick_lag_seconds                          histogram  how late a tick began
    corral_operator_build_info{version}              gauge      always 1

Beside them `process_*` and `python_*`. No label holds a name but those of pools and their namespaces: neither queues nor
jobs nor pods. Reasons, conditions, kinds and causes are closed lists. What is not known of a pool has no series: no stale number, and no zero. That is
why the pools' gauges are made when they are asked for, out of the last report of each; a tick then costs nothing.

Every operator that stands by decides and shows all of it too, its decisions counted among `corral_decisions_total`, and
writes nothing: the leader's numbers are those beside `corral_operator_leader 1`.
"""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from corral.version import __version__
from corral_operator.conditions import conditions_of
from corral_operator.decision import Reason
from corral_operator.findings import KINDS
from corral_operator.report import Report

DIRECTIONS = ("up", "down")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_POOL = ("namespace", "pool")


class OperatorMetrics:
    """Counts what the operator does, and shows what it knows of each pool.

    Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._pools = _Pools()
        registry.register(self._pools)
        self._decisions = self._counter("corral_decisions_total", "Decisions, by their reason.", "reason")
        self._scaled = self._counter("corral_scale_writes_total", "Writes of a number of replicas.", "direction")
        self._api = self._counter("corral_api_calls_total", "Calls to the API server.", "verb", "resource", "code")
        self._silences = self._counter("corral_watch_silences_total", "Watches that fell silent.", "resource")
        self._orders = self._counter("corral_orders_written_total", "Orders to workers, given or renewed.")
        self._redis_errors = self._counter("corral_redis_read_errors_total", "Looks at Redis that failed.", "cause")
        self._redis = self._histogram("corral_redis_read_seconds", "One look at the queues of one Redis.")
        self._lag = self._histogram("corral_tick_lag_seconds", "How late a tick began.")
        Info("corral_operator_build", "The version that runs.", registry=registry).info({"version": __version__})
        self._leader = Gauge("corral_operator_leader", "1 while this operator writes.", registry=registry)
        self._decided = {reason: self._decisions.labels(reason.value) for reason in Reason}
        self._directions = {direction: self._scaled.labels(direction) for direction in DIRECTIONS}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=SECONDS)

    def leads(self, writes: Callable[[], bool]) -> None:
        """`writes` says at each look at the page whether this operator writes."""
        self._leader.set_function(writes)

    def pool_seen(self, namespace: str, name: str, report: Report) -> None:
        """What is known of a pool now, in place of what was."""
        self._pools.reports[namespace, name] = report

    def pool_gone(self, namespace: str, name: str) -> None:
        """The pool is no more; its series vanish."""
        self._pools.reports.pop((namespace, name), None)

    def decided(self, reason: Reason) -> None:
        """A decision was made."""
        self._decided[reason].inc()

    def scaled(self, direction: str) -> None:
        """Replicas were written: `up` or `down`; KeyError for anything else."""
        self._directions[direction].inc()

    def api_call(self, verb: str, resource: str, code: int | str) -> None:
        """A call to the API server ended: with an HTTP status, or a word where none came."""
        self._api.labels(verb, resource, str(code)).inc()

    def watch_silent(self, resource: str) -> None:
        """The watch of `workerpools` or `deployments` fell silent, and was begun anew."""
        self._silences.labels(resource).inc()

    def orders_written(self, number: int) -> None:
        """So many orders to workers were written."""
        self._orders.inc(number)

    def redis_read(self, seconds: float) -> None:
        """One look at a Redis took so long."""
        self._redis.observe(seconds)

    def redis_error(self, cause: str) -> None:
        """A look failed; `cause` is the constant of the reading."""
        self._redis_errors.labels(cause).inc()

    def tick(self, lag_s: float) -> None:
        """A tick began so late."""
        self._lag.observe(max(0.0, lag_s))

    def render(self) -> tuple[bytes, str]:
        """The body and content type of `/metrics`. With thousands of pools it takes a while: call it from a thread."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Pools(Collector):
    """The gauges of all pools, made anew for every scrape."""

    def __init__(self) -> None:
        self.reports: dict[tuple[str, str], Report] = {}

    def describe(self) -> list[GaugeMetricFamily]:
        """The families, without samples, so that the registry refuses a name twice."""
        return [*_families().values()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as of now."""
        reports = list(self.reports.items())
        families = _families()
        for pool, report in reports:
            for name, labels, value in _samples(report):
                families[name].add_metric([*pool, *labels], value)
        families["corral_pools"].add_metric([], len(reports))
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    rows = [
        ("corral_pool_desired_replicas", "Replicas that the last decision wants.", _POOL),
        ("corral_pool_replicas", "Pods that the Deployment has.", _POOL),
        ("corral_pool_ready_replicas", "Pods that are ready.", _POOL),
        ("corral_pool_busy_replicas", "Pods with a job in their hands.", _POOL),
        ("corral_pool_leaving_replicas", "Pods that were told to take no further job.", _POOL),
        ("corral_pool_max_replicas", "The most that the spec allows.", _POOL),
        ("corral_pool_jobs", "Jobs of all its queues.", (*_POOL, "state")),
        ("corral_pool_oldest_job_seconds", "How long the oldest ready job has been waiting.", _POOL),
        ("corral_pool_condition", "1 True, 0 False; absent when Unknown.", (*_POOL, "condition")),
        ("corral_pool_limited", "1 while this keeps it from what it wants.", (*_POOL, "reason")),
        ("corral_pool_findings", "What a closer look found.", (*_POOL, "kind")),
        ("corral_pools", "Pools that the operator serves.", ()),
    ]
    return {name: GaugeMetricFamily(name, text, labels=labels) for name, text, labels in rows}


Samples = Iterator[tuple[str, tuple[str, ...], float]]


def _samples(report: Report) -> Samples:
    """Family, further labels and value of all that is known."""
    yield from _of_replicas(report)
    yield from _of_jobs(report)
    for condition in conditions_of(report):
        if condition.status != "Unknown":
            yield "corral_pool_condition", (condition.type,), condition.status == "True"
        if condition.type == "Limited" and condition.status == "True":
            yield "corral_pool_limited", (condition.reason,), 1
    for kind in KINDS if report.findings.looked else ():
        yield "corral_pool_findings", (kind,), sum(row.number for row in report.findings.of((kind,)))


def _of_replicas(report: Report) -> Samples:
    if report.decision is not None:
        yield "corral_pool_desired_replicas", (), report.decision.replicas
    if report.replicas is not None:
        yield "corral_pool_replicas", (), report.replicas
    if report.observed is not None:
        yield "corral_pool_ready_replicas", (), report.observed.pods.ready
        yield "corral_pool_leaving_replicas", (), report.leaving
        if (busy := report.observed.busy_pods) is not None:
            yield "corral_pool_busy_replicas", (), busy
    if report.pool is not None:
        yield "corral_pool_max_replicas", (), report.pool.max_replicas


def _of_jobs(report: Report) -> Samples:
    if (jobs := report.jobs) is not None:
        for state, number in (("ready", jobs.ready), ("active", jobs.active), ("delayed", jobs.delayed)):
            yield "corral_pool_jobs", (state,), number
        if not jobs.ready:
            yield "corral_pool_oldest_job_seconds", (), 0
    if (oldest_s := report.oldest_age_s) is not None:
        yield "corral_pool_oldest_job_seconds", (), oldest_s
