"""The metrics page: what each call changes on it."""

import threading

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from corral.metrics import OUTCOMES, Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample as it stands on the page; None when it is not there."""
    body, _ = metrics.render()
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_a_job_that_ended_counts_once_with_its_wait_and_run(metrics: Metrics) -> None:
    metrics.job_ended("mail", "completed", 0.2, 3.0)
    assert value(metrics, "corral_jobs_total", queue="mail", outcome="completed") == 1
    assert value(metrics, "corral_job_wait_seconds_sum", queue="mail") == 0.2
    assert value(metrics, "corral_job_wait_seconds_bucket", queue="mail", le="0.1") == 0
    assert value(metrics, "corral_job_wait_seconds_bucket", queue="mail", le="0.25") == 1
    assert value(metrics, "corral_job_run_seconds_sum", queue="mail") == 3
    assert value(metrics, "corral_job_run_seconds_count", queue="mail") == 1


def test_unknown_times_are_not_observed(metrics: Metrics) -> None:
    metrics.job_ended("mail", "lost", None, None)
    assert value(metrics, "corral_jobs_total", queue="mail", outcome="lost") == 1
    assert value(metrics, "corral_job_wait_seconds_count", queue="mail") == 0
    assert value(metrics, "corral_job_run_seconds_count", queue="mail") == 0


def test_a_clock_that_ran_ahead_never_makes_a_sum_fall(metrics: Metrics) -> None:
    metrics.job_ended("mail", "completed", -5.0, -0.1)
    assert value(metrics, "corral_job_wait_seconds_sum", queue="mail") == 0
    assert value(metrics, "corral_job_run_seconds_sum", queue="mail") == 0
    assert value(metrics, "corral_job_run_seconds_count", queue="mail") == 1


def test_an_outcome_nobody_knows_is_refused(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.job_ended("mail", "done", None, None)


def test_a_queue_has_all_its_series_from_the_first_call(metrics: Metrics) -> None:
    metrics.taken("mail", 3)
    assert [value(metrics, "corral_jobs_total", queue="mail", outcome=outcome) for outcome in OUTCOMES] == [0] * len(
        OUTCOMES
    )
    assert value(metrics, "corral_jobs_taken_total", queue="mail") == 3
    assert value(metrics, "corral_locks_lost_total", queue="mail") == 0
    assert value(metrics, "corral_jobs_taken_total", queue="other") is None


def test_each_queue_is_counted_apart(metrics: Metrics) -> None:
    metrics.job_ended("mail", "failed", None, None)
    metrics.job_ended("pdf", "failed", None, None)
    metrics.job_ended("pdf", "failed", None, None)
    assert value(metrics, "corral_jobs_total", queue="mail", outcome="failed") == 1
    assert value(metrics, "corral_jobs_total", queue="pdf", outcome="failed") == 2


def test_trouble_is_counted(metrics: Metrics) -> None:
    metrics.recovered("mail", 2)
    metrics.lock_lost("mail")
    metrics.redis_error("mail")
    assert value(metrics, "corral_jobs_recovered_total", queue="mail") == 2
    assert value(metrics, "corral_locks_lost_total", queue="mail") == 1
    assert value(metrics, "corral_redis_errors_total", queue="mail") == 1


def test_a_batch_falls_into_the_bucket_of_its_size(metrics: Metrics) -> None:
    metrics.settled("mail", 10)
    assert value(metrics, "corral_settle_batch_size_bucket", queue="mail", le="5.0") == 0
    assert value(metrics, "corral_settle_batch_size_bucket", queue="mail", le="10.0") == 1


def test_gauges_show_the_last_value(metrics: Metrics) -> None:
    metrics.slots(7, 50)
    metrics.slots(8, 50)
    metrics.latency(0.004)
    assert value(metrics, "corral_slots_busy") == 8
    assert value(metrics, "corral_slots") == 50
    assert value(metrics, "corral_redis_latency_seconds") == 0.004


def test_the_page_names_the_build_the_process_and_its_type(metrics: Metrics) -> None:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    assert b"corral_build_info{version=" in body
    assert b"process_resident_memory_bytes" in body
    assert b"python_info" in body
    assert b"python_gc_collections_total" in body


def test_a_processor_may_put_its_own_metrics_on_the_page(metrics: Metrics) -> None:
    Counter("mails_sent_total", "Mails sent.", registry=metrics.registry).inc(4)
    assert value(metrics, "mails_sent_total") == 4


def test_two_workers_in_one_process_do_not_mix(metrics: Metrics) -> None:
    Metrics().taken("mail", 5)
    assert value(metrics, "corral_jobs_taken_total", queue="mail") is None


def test_threads_lose_no_count(metrics: Metrics) -> None:
    def work() -> None:
        for _ in range(1000):
            metrics.job_ended("mail", "completed", 0.1, 0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "corral_jobs_total", queue="mail", outcome="completed") == 4000
    assert value(metrics, "corral_job_run_seconds_count", queue="mail") == 4000
