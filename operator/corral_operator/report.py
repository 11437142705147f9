"""What there is to tell of a pool at one moment: the input of its status, conditions and metrics. Pure values.

What is not known is None, never a zero: a report without `observed` has no pods, and one of whose queues a single one
could not be read has no counts of jobs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from corral_operator.decision import Decision
from corral_operator.findings import NOTHING_LOOKED_AT, Findings
from corral_operator.guard import Guard
from corral_operator.learning import Learned
from corral_operator.observed import Observed, QueueReading, Unknown
from corral_operator.spec import PoolSpec


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the pool cannot be served at all.

    `cause` is a constant in CamelCase, which becomes the reason of `Ready`: SecretMissing, SecretIncomplete,
    SecretInvalid, NameTaken, TemplateInvalid, DeploymentNotFound, SpecInvalid, Forbidden, ApiUnavailable and so on.
    `text` is a sentence with cause and cure, and holds no credential.
    """

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class Scaled:
    """A change of the replicas that the operator made, with the reason of the decision behind it."""

    from_: int
    to: int
    at_ms: int
    reason: str


class Jobs(NamedTuple):
    """Counts of jobs. `due` is part of `ready` and of `delayed`."""

    ready: int
    waiting: int
    prioritized: int
    delayed: int
    due: int
    active: int

    @classmethod
    def of(cls, *readings: QueueReading) -> "Jobs":
        """Those of these queues, added up."""
        rows = [(row.ready, row.waiting, row.prioritized, row.delayed, row.due, row.active) for row in readings]
        return cls(*(sum(column) for column in zip(*rows, strict=True))) if rows else cls(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Report:
    """All of it. `wall_ms` is now, in epoch ms; `generation` that of the pool's spec."""

    pool: PoolSpec | None
    """None when the spec cannot be read; `problem` says why then."""
    generation: int
    wall_ms: int
    observed: Observed | None = None
    """Without readings when Redis was not tried; None when not even the pods are known."""
    decision: Decision | None = None
    learned: Mapping[str, Learned] = field(default_factory=dict)
    selector: str | None = None
    """The label selector of the pods, as text."""
    replicas: int | None = None
    """Pods that the Deployment has."""
    problem: Problem | None = None
    scaled: Scaled | None = None
    """The operator's last change of the replicas, in this process or before."""
    pod_start_s: float | None = None
    """How long a pod takes from its creation until it is ready: the median."""
    pod_start_p95_s: float | None = None
    guard: Guard | None = None
    """How its busy pods are protected; None when nobody looked."""
    findings: Findings = NOTHING_LOOKED_AT
    leaving: int = 0
    """Pods that were told to take nothing more, and have still to finish or to be let go."""

    @cached_property
    def readings(self) -> Mapping[str, QueueReading]:
        """The pool's queues that could be read, by name."""
        if self.pool is None or self.observed is None:
            return {}
        return {row.name: row for row in self.observed.known if row.name in self.pool.queues}

    @cached_property
    def unknown(self) -> tuple[Unknown, ...]:
        """Its queues that were tried and could not be read."""
        rows = () if self.observed is None else self.observed.unknown
        # What keeps the pool from being served at all keeps it from trying, too.
        return rows if self.problem is None else tuple(row for row in rows if row.cause != self.problem.cause)

    @cached_property
    def complete(self) -> bool:
        """Every queue of the pool was read, so that sums over them mean something."""
        return self.pool is not None and len(self.readings) == len(self.pool.queues)

    @cached_property
    def jobs(self) -> Jobs | None:
        """The jobs of all its queues together; None when a single one is missing."""
        return Jobs.of(*self.readings.values()) if self.complete else None

    @cached_property
    def oldest_age_s(self) -> float | None:
        """How long its oldest ready job has been waiting; None without one, and when that is not known."""
        rows = [row for row in self.readings.values() if row.ready]
        ages = [age for row in rows if (age := self.oldest_age_of(row)) is not None]
        return max(ages) if ages and len(ages) == len(rows) and self.complete else None

    def oldest_age_of(self, reading: QueueReading) -> float | None:
        """The same for one queue."""
        learned = self.learned.get(reading.name)
        return learned.oldest_age_s if learned is not None and reading.ready else None
