"""The worker's numbers, as Prometheus reads them.

    corral_jobs_total{queue,outcome}        counter    runs that ended: completed, failed, retried, delayed,
                                                       handed_back, moved, lost
    corral_jobs_taken_total{queue}          counter    jobs taken from the queue
    corral_jobs_recovered_total{queue}      counter    stalled jobs put back
    corral_locks_lost_total{queue}          counter    locks found gone while the job was running
    corral_redis_errors_total{queue}        counter    calls to Redis that failed
    corral_job_wait_seconds{queue}          histogram  from ready to taken
    corral_job_run_seconds{queue}           histogram  from taken to ended
    corral_settle_batch_size{queue}         histogram  outcomes written per call
    corral_slots                            gauge      jobs that may run at once
    corral_slots_busy                       gauge      jobs running now
    corral_redis_latency_seconds            gauge      the last PING's round trip
    corral_build_info{version}              gauge      always 1

Beside them `process_*` and `python_*`. All series of a queue exist, at 0, from the first time the queue is named.
"""

from collections.abc import Callable
from dataclasses import dataclass

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

from corral.version import __version__

OUTCOMES = ("completed", "failed", "retried", "delayed", "handed_back", "moved", "lost")
"""How the run of a job can end."""

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
BATCH = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class _Series:
    """One queue's series, looked up once: `labels()` costs more than counting does."""

    ended: dict[str, Callable[[], None]]
    taken: Callable[[float], None]
    recovered: Callable[[float], None]
    lock_lost: Callable[[], None]
    redis_error: Callable[[], None]
    wait: Callable[[float], None]
    run: Callable[[float], None]
    settled: Callable[[float], None]


class Metrics:
    """Counts what the worker does. Every method may be called from any thread.

    `registry` holds the metrics and is the place for a processor's own: `Counter("mine", "...", registry=m.registry)`.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        self._jobs = Counter(
            "corral_jobs_total", "Runs of jobs that ended, by outcome.", ["queue", "outcome"], registry=registry
        )
        self._taken = self._counter("corral_jobs_taken_total", "Jobs taken from the queue.")
        self._recovered = self._counter("corral_jobs_recovered_total", "Stalled jobs put back into the queue.")
        self._locks_lost = self._counter("corral_locks_lost_total", "Locks found gone while the job was running.")
        self._redis_errors = self._counter("corral_redis_errors_total", "Calls to Redis that failed.")
        self._wait = self._histogram("corral_job_wait_seconds", "From ready to taken.", SECONDS)
        self._run = self._histogram("corral_job_run_seconds", "From taken to ended.", SECONDS)
        self._batch = self._histogram("corral_settle_batch_size", "Outcomes written per call.", BATCH)
        self._slots = Gauge("corral_slots", "Jobs that may run at once.", registry=registry)
        self._busy = Gauge("corral_slots_busy", "Jobs running now.", registry=registry)
        self._latency = Gauge("corral_redis_latency_seconds", "Round trip of the last PING.", registry=registry)
        Info("corral_build", "The version that runs.", registry=registry).info({"version": __version__})
        self._series: dict[str, _Series] = {}

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, ["queue"], registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ["queue"], registry=self.registry, buckets=buckets)

    def _of(self, queue: str) -> _Series:
        return self._series.get(queue) or self._series.setdefault(queue, self._look_up(queue))

    def _look_up(self, queue: str) -> _Series:
        return _Series(
            ended={outcome: self._jobs.labels(queue, outcome).inc for outcome in OUTCOMES},
            taken=self._taken.labels(queue).inc,
            recovered=self._recovered.labels(queue).inc,
            lock_lost=self._locks_lost.labels(queue).inc,
            redis_error=self._redis_errors.labels(queue).inc,
            wait=self._wait.labels(queue).observe,
            run=self._run.labels(queue).observe,
            settled=self._batch.labels(queue).observe,
        )

    def job_ended(self, queue: str, outcome: str, wait_s: float | None, run_s: float | None) -> None:
        """The run of a job ended. None: not known, or not meant for this outcome. KeyError for an unknown outcome."""
        series = self._of(queue)
        series.ended[outcome]()
        # Below zero when the producer's clock is ahead of ours; a sum must not fall.
        if wait_s is not None:
            series.wait(wait_s if wait_s > 0 else 0.0)
        if run_s is not None:
            series.run(run_s if run_s > 0 else 0.0)

    def taken(self, queue: str, n: int) -> None:
        """`n` jobs were taken."""
        self._of(queue).taken(n)

    def recovered(self, queue: str, n: int) -> None:
        """`n` stalled jobs were put back."""
        self._of(queue).recovered(n)

    def lock_lost(self, queue: str) -> None:
        """The lock of a running job was gone."""
        self._of(queue).lock_lost()

    def redis_error(self, queue: str) -> None:
        """A call to Redis failed."""
        self._of(queue).redis_error()

    def settled(self, queue: str, n: int) -> None:
        """One call wrote `n` outcomes."""
        self._of(queue).settled(n)

    def slots(self, busy: int, total: int) -> None:
        """`busy` jobs run now; `total` may."""
        self._busy.set(busy)
        self._slots.set(total)

    def latency(self, s: float) -> None:
        """The last PING took `s` seconds."""
        self._latency.set(s)

    def render(self) -> tuple[bytes, str]:
        """The body and content type of `/metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
