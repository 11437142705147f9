"""Whole loads played through `learn` and `decide`, with pods that take time to start (4 to 12 s; target 30 s).

The bounds are those of the design: p95 of the waits within the target in 95 % of the minutes; steady load for no more
than 1.3 times the pods of a sizing that knew it, and with few changes of direction; bursts and herds for no more than
1.1 times the pods of one who knew them and let his pods stay for a minute.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from corral_operator.formulas import flow_slots, pods_for
from corral_operator.spec import PoolSpec, WaitTarget
from queue_model import Load, Played, QueueModel, burst, steady

TARGET_S = 30.0
SEEDS = [1, 2, 3]
POD_START_S = 8.0
HOUR_S = 3600.0
STEADY = [(1, 4, 1), (2, 5, 5), (10, 1, 10), (2, 5, 1)]
"""Jobs per second, seconds per job, jobs at once per pod."""


def knowing_s(count: int, seconds: float) -> float:
    """Pod-seconds of one who knew that so many jobs would come at once, and let his pods stay for a minute."""
    work_s = count * seconds
    pods = work_s / (TARGET_S - POD_START_S + seconds)
    return work_s + pods * (POD_START_S + 60)


def play(loads: list[Load], until_s: float, *, seed: int = 1, replicas: int = 0, **changes: Any) -> Played:
    values: dict[str, Any] = {"max_replicas": 50, "target": WaitTarget(TARGET_S), **changes}
    pool = PoolSpec(name="p", namespace="n", redis_secret="r", queues=("jobs",), template={}, **values)
    return QueueModel(pool, loads, seed=seed, replicas=replicas).play(until_s)


@functools.cache
def play_steady(rate: float, seconds: float, concurrency: int, seed: int) -> Played:
    return play(steady(rate, seconds, 0, HOUR_S, seed), HOUR_S, seed=seed, concurrency=concurrency)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rate", "seconds", "concurrency"), STEADY)
def test_a_steady_load_waits_little_on_few_pods(rate: float, seconds: float, concurrency: int, seed: int) -> None:
    played = play_steady(rate, seconds, concurrency, seed)
    slots = flow_slots(rate * seconds, TARGET_S, seconds, 95, 1000)
    assert played.minutes_in_target(60) >= 0.95
    assert played.pod_seconds <= 1.3 * HOUR_S * pods_for(slots, concurrency)


@pytest.mark.parametrize(("rate", "seconds", "concurrency"), STEADY)
def test_a_steady_load_turns_replicas_around_no_more_than_four_times_an_hour(
    rate: float, seconds: float, concurrency: int
) -> None:
    turns = [play_steady(rate, seconds, concurrency, seed).direction_changes(600) for seed in SEEDS]
    assert sum(turns) / len(turns) <= 4 * (HOUR_S - 600) / 3600


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_to_ten_times_the_load_is_followed_both_ways(seed: int) -> None:
    loads = steady(0.5, 5, 0, 5400, seed) + steady(4.5, 5, 1800, 3600, seed + 10)
    played = play(loads, 5400, seed=seed)
    assert played.minutes_in_target() >= 0.95
    assert played.p95_wait(1800, 1860) <= TARGET_S
    assert 22 < played.at(3000) <= 1.4 * 27
    assert played.at(5300) <= 6
    assert played.pod_seconds <= 1.4 * played.work_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_at_zero_gets_its_pods_in_one_step_and_waits_no_longer_than_the_target(seed: int) -> None:
    played = play(burst(300, 2.0, 100.0), 1000, seed=seed, job_seconds=2.0)
    first = next(number for at_s, number in played.replicas if at_s >= 100)
    assert first >= 0.7 * played.most()
    assert played.p95_wait() <= TARGET_S
    assert played.pod_seconds <= 1.1 * knowing_s(300, 2.0)
    assert played.direction_changes() == 1
    assert played.at(1000) == 0


def test_a_burst_too_large_for_the_maximum_asks_for_all_of_it_at_once() -> None:
    played = play(burst(500, 10.0, 100.0), 1000, max_replicas=30, job_seconds=10.0)
    assert next(number for at_s, number in played.replicas if at_s >= 100) == 30
    assert {number for at_s, number in played.replicas if 100 <= at_s < 250} == {30}
    assert played.pod_seconds <= 1.2 * played.work_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_of_unknown_length_is_caught_up_with(seed: int) -> None:
    played = play(burst(100, 8.0, 100.0), 1000, seed=seed)
    assert played.p95_wait() <= 1.5 * TARGET_S
    assert played.pod_seconds <= 1.1 * knowing_s(100, 8.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_herd_of_delayed_jobs_finds_its_pods_ready(seed: int) -> None:
    played = play(burst(300, 2.0, 10.0, delay_s=600.0), 1500, seed=seed, job_seconds=2.0)
    assert played.p95_wait() <= TARGET_S
    first_waits = sorted(wait for _, wait in played.waits)[:10]
    assert max(first_waits) <= 2.0  # pods were there when it fell due
    assert played.at(400) == 0
    assert played.pod_seconds <= 1.1 * knowing_s(300, 2.0)
    assert played.at(1500) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_long_jobs_start_in_time_on_hardly_more_pods_than_jobs(seed: int) -> None:
    until_s = 2 * 3600.0
    played = play(steady(1 / 30, 300, 0, until_s, seed), until_s, seed=seed)
    assert played.minutes_in_target() >= 0.95
    assert played.pod_seconds <= 1.5 * played.work_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_of_the_operator_in_a_steady_load_changes_nothing(seed: int) -> None:
    loads = steady(1, 4, 0, 3600, seed)
    values: dict[str, Any] = {"max_replicas": 50, "target": WaitTarget(TARGET_S)}
    pool = PoolSpec(name="p", namespace="n", redis_secret="r", queues=("jobs",), template={}, **values)
    model = QueueModel(pool, loads, seed=seed)
    model.forget(1801.0)
    played = model.play(3600)
    assert played.at(1830) >= played.at(1800)
    assert played.most(1800, 2000) <= played.at(1800) + 2
    assert played.minutes_in_target() >= 0.95
