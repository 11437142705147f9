"""What the queues of a pool ask of it together: jobs, work, offered load, and what limits them.

A paused queue asks for nothing; its active jobs still count as active. A limited queue asks for no more slots than its
limit lets it use, so its backlog never draws pods that could only stand by. Of a queue that other pools serve too, a
pool's share counts: of its jobs, of what arrives, and of its limit.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from corral_operator.decision import Reason
from corral_operator.formulas import Deadline
from corral_operator.learning import Learned
from corral_operator.observed import QueueReading, Rivals

SPARE_RATE = 1.1
"""Slots for a rate limit: a tenth more than it needs on average."""

NO_RIVALS = Rivals()


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many slots, and why."""

    slots: float = math.inf
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """One queue that may be served."""

    ready: int
    soon: int
    learned: Learned
    cap: Cap

    @property
    def offered(self) -> float:
        """Slots that its arrivals keep busy."""
        return min(self.learned.offered, self.cap.slots)

    @property
    def asks(self) -> bool:
        """It has jobs, or gets some."""
        return bool(self.ready or self.soon or self.learned.arrival_rate)

    def jobs(self, count: int, deadline: Deadline) -> float:
        """So many jobs, but no more than the limit lets through until the deadline."""
        service_s = self.learned.service_s
        return min(count, self.cap.slots * (deadline.new_s + service_s) / service_s)


@dataclass(frozen=True)
class Demand:
    """All queues of a pool as one crowd."""

    queues: tuple[QueueDemand, ...]
    active: int
    """Of all its queues, whoever runs them."""
    running: int
    """The same, of shared queues the pool's share."""
    shared: bool = False
    """Other pools serve one of the queues too."""

    @cached_property
    def ready(self) -> int:
        """Jobs that a worker could take now."""
        return sum(queue.ready for queue in self.queues)

    @cached_property
    def soon(self) -> int:
        """Jobs that fall due within one pod start."""
        return sum(queue.soon for queue in self.queues)

    @cached_property
    def arrival_rate(self) -> float:
        """Jobs per second."""
        return sum(queue.learned.arrival_rate for queue in self.queues)

    @cached_property
    def offered(self) -> float:
        """R: slots that arrivals keep busy."""
        return sum(queue.offered for queue in self.queues)

    @cached_property
    def service_s(self) -> float:
        """S of the crowd: weighted by arrivals; without any, by jobs."""
        if rate := self.arrival_rate:
            return sum(queue.learned.offered for queue in self.queues) / rate
        jobs = self.ready + self.soon
        return (
            sum((queue.ready + queue.soon) * queue.learned.service_s for queue in self.queues) / jobs if jobs else 0.0
        )

    @cached_property
    def remaining_s(self) -> float:
        """V of the crowd: weighted by the slots that each queue keeps busy."""
        if not (offered := self.offered):
            return 0.0
        return sum(queue.offered * queue.learned.remaining_s for queue in self.queues) / offered

    @cached_property
    def oldest_age_s(self) -> float:
        """How long the oldest ready job has been ready. Nobody takes from a queue without consumer: it ages for ever."""
        served = (queue for queue in self.queues if queue.cap.reason is not Reason.NO_CONSUMER)
        return max((queue.learned.oldest_age_s for queue in served), default=0.0)

    @cached_property
    def cap(self) -> Cap:
        """What all limits let the pool use together: unlimited as soon as one queue that asks for slots is."""
        asking = [queue.cap for queue in self.queues if queue.asks]
        if not asking or any(cap.reason is None for cap in asking):
            return Cap()
        return Cap(sum(cap.slots for cap in asking), max(asking, key=_slots).reason)

    def unlimited(self) -> "Demand":
        """The same without limits: what would be wanted if there were none."""
        return replace(self, queues=tuple(replace(queue, cap=Cap()) for queue in self.queues))

    def work(self, deadline: Deadline, *, soon: bool) -> tuple[float, float]:
        """B and W: jobs, and slot-seconds of work in them; with those due within a pod start, or without."""
        jobs = [queue.jobs(queue.ready + (queue.soon if soon else 0), deadline) for queue in self.queues]
        work_s = sum(n * queue.learned.service_s for n, queue in zip(jobs, self.queues, strict=True))
        return sum(jobs), work_s


def demand_of(
    readings: Iterable[QueueReading],
    learned: Mapping[str, Learned],
    no_consumer: Iterable[str],
    slots_per_pod: int,
    rivals: Rivals = NO_RIVALS,
) -> Demand:
    """What these queues ask for. `no_consumer` names those that nobody takes from: one pod at most."""
    stuck = frozenset(no_consumer)
    rows = tuple(readings)
    queues = tuple(
        _asked(row, learned[row.name], rivals.shares.get(row.name, 1.0), stuck, slots_per_pod)
        for row in rows
        if not row.paused and not row.never_created
    )
    return Demand(
        queues,
        active=sum(row.active for row in rows),
        running=sum(_part(row.active, rivals.shares.get(row.name, 1.0)) for row in rows),
        shared=any(row.name in rivals.shares for row in rows),
    )


def _asked(row: QueueReading, learned: Learned, share: float, stuck: frozenset[str], slots_per_pod: int) -> QueueDemand:
    return QueueDemand(
        _part(row.ready, share),
        _part(row.soon_due, share),
        learned if share == 1.0 else replace(learned, arrival_rate=learned.arrival_rate * share),
        _cap(row, learned, share, stuck, slots_per_pod),
    )


def _part(jobs: int, share: float) -> int:
    """Whole jobs; of one job, each of those who share it sees one."""
    return jobs if share == 1.0 else math.ceil(jobs * share)


def _cap(reading: QueueReading, learned: Learned, share: float, stuck: frozenset[str], slots_per_pod: int) -> Cap:
    caps = [Cap()]
    if reading.name in stuck:
        caps.append(Cap(slots_per_pod, Reason.NO_CONSUMER))
    if reading.concurrency_limit:
        caps.append(Cap(reading.concurrency_limit * share, Reason.CONCURRENCY_LIMIT))
    if reading.rate_max and reading.rate_duration_ms:
        per_second = reading.rate_max * 1000 / reading.rate_duration_ms
        caps.append(Cap(per_second * share * learned.service_s * SPARE_RATE, Reason.RATE_LIMIT))
    return min(caps, key=_slots)


def _slots(cap: Cap) -> float:
    return cap.slots
