"""How many slots a load needs: Erlang's formula for what arrives, a sum of work for what waits.

Letters as in the textbooks: R offered load in slots (arrivals * service time), m slots, k slots of a pod.
"""

import math
from dataclasses import dataclass


def erlang_c(slots: int, offered: float) -> float:
    """The share of arrivals that find every slot taken. 1 when there are no more slots than work."""
    if slots <= offered:
        return 1.0
    blocked = 1.0
    for m in range(1, slots + 1):
        blocked = offered * blocked / (m + offered * blocked)
    return _waits(slots, offered, blocked)


def late_share(slots: int, offered: float, target_s: float, remaining_s: float) -> float:
    """The share of arrivals that wait longer than the target."""
    return _late(slots, offered, erlang_c(slots, offered), target_s, remaining_s)


def flow_slots(offered: float, target_s: float, remaining_s: float, percentile: float, most: int) -> int:
    """The fewest slots with which no more than (100 - percentile) % of arrivals wait longer than the target.

    Beyond `most` nobody can follow, so there the least number that keeps up is enough.
    """
    if offered <= 0:
        return 0
    least = math.floor(offered) + 1
    if least >= most:
        return least
    allowed = 1 - percentile / 100
    blocked = 1.0
    for m in range(1, most + 1):  # one run of the recursion serves every m
        blocked = offered * blocked / (m + offered * blocked)
        if m >= least and _late(m, offered, _waits(m, offered, blocked), target_s, remaining_s) <= allowed:
            return m
    return most


def _waits(slots: int, offered: float, blocked: float) -> float:
    """Erlang C from Erlang B."""
    return slots * blocked / (slots - offered * (1 - blocked))


def _late(slots: int, offered: float, waits: float, target_s: float, remaining_s: float) -> float:
    if slots <= offered:
        return 1.0
    if remaining_s <= 0:
        return 0.0
    return waits * math.exp(-(slots - offered) * target_s / remaining_s)


@dataclass(frozen=True, slots=True)
class Crew:
    """The pods that are there: k slots each, some ready, some with so many seconds of their start to go."""

    slots_per_pod: int
    ready: int
    starting_s: tuple[float, ...] = ()

    @property
    def slots(self) -> int:
        """Slots of all of them."""
        return self.slots_per_pod * (self.ready + len(self.starting_s))


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long the work may take: for pods that are there, and for one that is yet to start."""

    left_s: float
    new_s: float

    @classmethod
    def of(cls, left_s: float, target_s: float, pod_start_s: float) -> "Deadline":
        """From what is left of the target; late jobs speed it up to half a target and no further."""
        new_s = max(left_s - pod_start_s, target_s / 2)
        return cls(max(left_s, new_s), new_s)


def drain_slots(jobs: float, work_s: float, deadline: Deadline, crew: Crew) -> float:
    """The slots that start so many jobs, `work_s` slot-seconds together, before the deadline."""
    if jobs <= 0:
        return 0.0
    mean_s = work_s / jobs
    k = crew.slots_per_pod
    missing_s = work_s - k * deadline.left_s * crew.ready
    for start_s in crew.starting_s:
        missing_s -= k * (max(deadline.left_s - start_s, deadline.new_s) + mean_s)
    if missing_s <= 0:
        return min(work_s / deadline.left_s, crew.slots)  # those that are there suffice: never a reason for more
    return crew.slots + missing_s / (deadline.new_s + mean_s)


def pods_for(slots: float, slots_per_pod: int) -> int:
    """Whole pods with at least so many slots."""
    return math.ceil(slots / slots_per_pod - 1e-9)
