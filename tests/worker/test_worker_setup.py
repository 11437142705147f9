"""How a worker is set up, and what it says when that is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from corral import ConfigurationError, CorralError, Worker
from corral.settings import Settings


async def process(job: Any) -> None:
    """Does nothing."""


def test_a_worker_serves_the_queues_it_names() -> None:
    assert Worker("mail", process).queue_names(Settings(queues=("other",))) == ("mail",)
    assert Worker(["mail", "pdf"], process).queue_names(Settings()) == ("mail", "pdf")


def test_a_worker_that_names_none_serves_those_of_the_environment() -> None:
    assert Worker(process).queue_names(Settings(queues=("a", "b"))) == ("a", "b")
    with pytest.raises(ConfigurationError, match="the worker names no queue and CORRAL_QUEUES is not set"):
        Worker(process).queue_names(Settings())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("mail", "process"), "a worker needs a processor, a function that takes the job; got 'process'"),
        ((process, "mail"), "the queue's name comes first"),
        (([], process), "the list of queues is empty"),
        ((["a", "b", "a"], process), "a queue is named twice in a, b, a"),
        (("", process), "a queue needs a name"),
        (("a:b", process), "'a:b' holds a colon"),
        ((["a", ""], process), "a queue needs a name"),
        ((5, process), "queue"),
        (([5], process), "queue"),
        ((None, process), "queue"),
    ],
)
def test_a_wrong_queue_or_processor_is_refused(args: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Worker(*args)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is a whole number from 1 up, got 0"),
        ({"concurrency": -1}, "concurrency is a whole number from 1 up"),
        ({"concurrency": 1.5}, "concurrency is a whole number from 1 up, got 1.5"),
        ({"concurrency": "4"}, "concurrency is a whole number from 1 up, got '4'"),
        ({"concurrency": True}, "concurrency is a whole number from 1 up, got True"),
        ({"lock_duration": 0.05}, "0.1 s to an hour"),
        ({"lock_duration": 30_000}, "lock_duration and stalled_interval are a timedelta or seconds"),
        ({"stalled_interval": timedelta()}, "0.1 s to an hour"),
        ({"max_stalled_count": -1}, "max_stalled_count"),
        ({"max_stalled_count": "1"}, "max_stalled_count"),
        ({"max_started_attempts": 0}, "max_started_attempts is a whole number from 1 up, got 0"),
        ({"metrics_points": -1}, "metrics_points is a whole number from 0 up, got -1"),
        ({"limiter": 5}, "limiter is a RateLimit, like RateLimit.per"),
        ({"job_timeout": 0}, "job_timeout is at least 1 ms"),
        ({"job_timeout": "long"}, "'long' is not a span of time"),
        ({"backoff_strategy": 5}, "backoff_strategy is a function, got 5"),
        ({"dialect": "v7"}, "dialect is 'auto', 'v5' or 'v6', got 'v7'"),
    ],
)
def test_a_wrong_option_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Worker("mail", process, **options)


@pytest.mark.parametrize(
    "options",
    [{"lock_duration": -1}, {"stalled_interval": "often"}, {"remove_on_complete": "yes"}, {"remove_on_fail": 1.5}],
)
def test_a_wrong_span_or_retention_is_refused_as_a_wrong_setting(options: Any) -> None:
    # `corral work` ends with exit code 2 on these alone.
    with pytest.raises(ConfigurationError):
        Worker("mail", process, **options)


async def test_a_worker_without_a_processor_does_not_run() -> None:
    with pytest.raises(ConfigurationError, match="has no processor to run; write Worker"):
        await Worker("mail").run(settings=Settings())


async def test_an_empty_prefix_or_a_wrong_url_is_told_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="not a Redis URL"):
        await Worker("mail", process, redis="localhost").run(settings=Settings())
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
        await _without_url()


async def _without_url() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDIS_URL", raising=False)
        await Worker("mail", process).run(settings=Settings())


def test_every_refusal_is_one_of_ours() -> None:
    for wrong in ({"concurrency": None, "lock_duration": object()}, {"remove_on_fail": object()}):
        with pytest.raises(CorralError):
            Worker("mail", process, **wrong)  # type: ignore[arg-type]
