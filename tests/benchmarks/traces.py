"""Waits and cost on whole loads, played: our rules, a model of KEDA with its autoscaler, and one who knew what would come.

    in target   share of the minutes in which 95 % of the jobs waited no longer than the target (30 s)
    cost        pod-seconds over those of one who knew the load: sized for its rate at every moment, or, for bursts and
                herds, as many pods as start them all in time, which stay for a minute
    broken      jobs that ran in a pod when it was told to end (ours: by the cordon none; theirs finish in a long grace)
    turns       changes of direction per hour

Pods take 4 to 12 s to start. Each load is played with three seeds; the worst share and the mean cost are shown. KEDA is
played with its default list length, and with the one that was cheapest on that very load among those in target no less
often than we were. By hand: `make bench-traces`.
"""

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "parts"))

from corral_operator.formulas import flow_slots, pods_for  # noqa: E402
from corral_operator.spec import Busy, PoolSpec, WaitTarget  # noqa: E402
from keda_model import KedaModel  # noqa: E402  (parts of the tests, not a package)
from queue_model import Load, Played, QueueModel, burst, steady  # noqa: E402

TARGET_S = 30.0
POD_START_S = 8.0
STAY_S = 60.0
SEEDS = (1, 2, 3)
MOST = 50
LENGTHS = (1, 2, 5, 10, 20, 50)

Knowing = Callable[[list[Load]], float]


@dataclass(frozen=True, slots=True)
class Trace:
    """One kind of load. `loads(seed)` makes it; `knowing` gives the pod-seconds of one who knew it."""

    name: str
    until_s: float
    concurrency: int
    loads: Callable[[int], list[Load]]
    knowing: Knowing
    rate_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scaler on one trace, over all seeds."""

    in_target: float
    cost: float
    broken: int
    turns: float


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="play the traces whose name begins so")
    only = parser.parse_args().only or ""
    print(f"{'':26}{'Corral':^32}{'KEDA, list length 5':^32}{'KEDA, best list length':^32}")
    print(f"{'load':26}" + 3 * f"{'in target':>10}{'cost':>7}{'broken':>8}{'turns':>7}")
    for trace in _traces():
        if trace.name.startswith(only):
            print(f"{trace.name:26}{_row(trace)}", flush=True)


def _row(trace: Trace) -> str:
    ours = _outcome(trace, None)
    theirs = {length: _outcome(trace, length) for length in LENGTHS}
    good = [row for row in theirs.values() if row.in_target >= ours.in_target] or [
        max(theirs.values(), key=lambda row: row.in_target)
    ]
    best = min(good, key=lambda row: row.cost)
    return "".join(
        f"{row.in_target:>9.0%} {row.cost:>6.2f}x{row.broken:>7}{row.turns:>7.1f}" for row in (ours, theirs[5], best)
    )


def _outcome(trace: Trace, list_length: int | None) -> Outcome:
    played = [_play(trace, seed, list_length) for seed in SEEDS]
    knowing = [trace.knowing(trace.loads(seed)) for seed in SEEDS]
    return Outcome(
        in_target=min(row.minutes_in_target() for row in played),
        cost=statistics.fmean(row.pod_seconds / known for row, known in zip(played, knowing, strict=True)),
        broken=sum(row.interrupted for row in played),
        turns=statistics.fmean(row.direction_changes() * 3600 / trace.until_s for row in played),
    )


def _play(trace: Trace, seed: int, list_length: int | None) -> Played:
    pool = PoolSpec(
        name="p",
        namespace="n",
        redis_secret="r",
        queues=("jobs",),
        template={},
        max_replicas=MOST,
        concurrency=trace.concurrency,
        target=WaitTarget(TARGET_S),
    )
    scaler = None if list_length is None else KedaModel(list_length, MOST)
    guard = Busy.DRAIN if scaler is None else Busy.NONE
    model = QueueModel(pool, trace.loads(seed), seed=seed, guard=guard, scaler=scaler, rate_limit=trace.rate_limit)
    return model.play(trace.until_s)


def _traces() -> list[Trace]:
    hour = 3600.0
    return [
        *(
            Trace(f"steady {rate:g}/s of {s:g} s, {k} a pod", hour, k, _steady(rate, s, hour), _sized(rate, s, k, hour))
            for rate, s, k in ((1, 4, 1), (2, 5, 5), (10, 1, 10), (0.1, 5, 1))
        ),
        Trace("step x10", 1.5 * hour, 1, _step, lambda _: _size(0.5, 5, 1) * 1800 * 2 + _size(5, 5, 1) * 1800),
        Trace("swing over 2 h", 4 * hour, 2, _swing, _knowing_swing),
        Trace("heavy tail", 2 * hour, 1, _heavy, lambda loads: _size(1, _mean(loads), 1) * 2 * hour),
        Trace("long jobs of 300 s", 2 * hour, 1, _steady(1 / 30, 300, 2 * hour), _sized(1 / 30, 300, 1, 2 * hour)),
        Trace("burst of 300 every 20 min", hour, 1, _bursts(300, 2.0), lambda _: 3 * _knowing_burst(300, 2.0)),
        Trace("herd of 300 delayed", 1500, 1, _herd, lambda _: _knowing_burst(300, 2.0)),
        Trace("limited to 5/s, 3 s each", hour, 1, _steady(4.5, 3, hour), _sized(4.5, 3, 1, hour), rate_limit=5.0),
    ]


def _steady(rate: float, seconds: float, until_s: float) -> Callable[[int], list[Load]]:
    return lambda seed: steady(rate, seconds, 0, until_s, seed)


def _sized(rate: float, seconds: float, concurrency: int, until_s: float) -> Knowing:
    return lambda _: _size(rate, seconds, concurrency) * until_s


def _size(rate: float, seconds: float, concurrency: int) -> int:
    return pods_for(flow_slots(rate * seconds, TARGET_S, seconds, 95, 1000), concurrency)


def _mean(loads: list[Load]) -> float:
    return statistics.fmean(load.seconds for load in loads)


def _step(seed: int) -> list[Load]:
    return steady(0.5, 5, 0, 5400, seed) + steady(4.5, 5, 1800, 3600, seed + 10)


def _swing_rate(at_s: float) -> float:
    return 3 - 2.8 * math.cos(2 * math.pi * at_s / 7200)


def _swing(seed: int) -> list[Load]:
    dice = random.Random(seed)
    return [load for load in steady(5.8, 4, 0, 4 * 3600, seed) if dice.random() < _swing_rate(load.at_s) / 5.8]


def _knowing_swing(loads: list[Load]) -> float:
    return sum(_size(_swing_rate(at_s), 4, 2) for at_s in range(0, 4 * 3600, 10)) * 10.0


def _heavy(seed: int) -> list[Load]:
    """One in fifty lasts fifty times as long as the others."""
    dice = random.Random(seed)
    loads = steady(1, 1, 0, 2 * 3600, seed)
    return [Load(load.at_s, load.seconds * (50 if dice.random() < 0.02 else 1) * 2) for load in loads]


def _bursts(count: int, seconds: float) -> Callable[[int], list[Load]]:
    return lambda _: [load for at_s in (100, 1300, 2500) for load in burst(count, seconds, at_s)]


def _herd(seed: int) -> list[Load]:
    return burst(300, 2.0, 10.0, delay_s=600.0)


def _knowing_burst(count: int, seconds: float) -> float:
    work_s = count * seconds
    pods = work_s / (TARGET_S - POD_START_S + seconds)
    return work_s + pods * (POD_START_S + STAY_S)


if __name__ == "__main__":
    main()
