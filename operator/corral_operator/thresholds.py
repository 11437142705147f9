"""The real rules, asked what they would decide if one number were another. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from corral_operator.idleness import NOTHING_SEEN
from corral_operator.recollection import Recollection
from corral_operator.scaling import decide
from corral_operator.spec import Behavior, Mode, Pace
from corral_operator.wanting import DOWN_ARRIVES_S

MOST_JOBS = 10_000_000
MOST_HUNDREDTHS = 10_000
"""Rates and spans are tried in hundredths of what they are, up to a hundred times as much."""


def lasting_replicas(
    moment: Recollection, *, jobs: Mapping[str, int] | None = None, rate: float = 1.0, service: float = 1.0
) -> int:
    """What the rules would decide, had it been otherwise for long: so many jobs more, such multiples of what is."""
    more = jobs or {}
    readings = tuple(replace(row, waiting=row.waiting + more.get(row.name, 0)) for row in moment.observed.known)
    learned = {
        name: replace(
            row,
            arrival_rate=row.arrival_rate * rate,
            service_s=row.service_s * service,
            remaining_s=row.remaining_s * service,
        )
        for name, row in moment.learned.items()
    }
    up, down = moment.policy.behavior.up, moment.policy.behavior.down
    # Steps say how fast, not how many.
    paces = Behavior(Pace(None, up.window_s), Pace(None, down.window_s), moment.policy.behavior.tolerance)
    policy = replace(moment.policy, behavior=paces, mode=Mode.AUTO)
    observed = replace(moment.observed, readings=readings)
    _, memory = decide(policy, observed, learned, None, pod_start_s=moment.pod_start_s)
    later_s = 1.0 + max(DOWN_ARRIVES_S, moment.pod_start_s, up.window_s or 0.0, down.window_s or 0.0)
    # Jobs are taken meanwhile, and idleness is a matter of its own.
    memory = replace(memory, idle=NOTHING_SEEN, untaken=())
    observed = replace(observed, now_s=observed.now_s + later_s)
    return decide(policy, observed, learned, memory, pod_start_s=moment.pod_start_s)[0].replicas


def jobs_until(moment: Recollection, queue: str, sign: int, most: int) -> int | None:
    """How many jobs more (1) or fewer (-1) in a queue would make it more or fewer replicas."""
    return _first(lambda n: (lasting_replicas(moment, jobs={queue: sign * n}) - moment.replicas) * sign > 0, most)


def hundredths_until(moment: Recollection, sign: int, *, rate: bool) -> int | None:
    """The same for the rate of arrivals, or else for the service time: by how many hundredths of what it is."""

    def changes(hundredths: int) -> bool:
        factor = 1 + sign * hundredths / 100
        there = lasting_replicas(moment, rate=factor) if rate else lasting_replicas(moment, service=factor)
        return (there - moment.replicas) * sign > 0

    return _first(changes, MOST_HUNDREDTHS if sign > 0 else 99)


def _first(holds: Callable[[int], bool], most: int) -> int | None:
    """The least number from 1 to `most` for which it holds, if it holds for all above it too; else one of them."""
    high = 1
    while most < 1 or not holds(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
