"""What was seen of one pool at one moment: the input of every decision. Pure values.

Everything here is plain counts and ages; nothing is a guess. What could not be read is an `Unknown`, never a zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from corral.beat_record import Beat
from corral_operator.spec import Busy


@dataclass(frozen=True, slots=True)
class WorkerReading:
    """What a worker said of itself at one queue, when, and what was ordered of it. Times in ms of Redis' clock."""

    beat: Beat
    beat_ms: int
    quiet_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One queue, as its keys said. Counts are jobs.

    `due` are the delayed jobs whose time has come but whom no worker has promoted yet, `soon_due` those whose time
    comes within one pod start; both are part of `delayed`.
    """

    name: str
    waiting: int = 0
    """In `wait`, and in `paused` where BullMQ 5 keeps the waiting jobs of a paused queue."""
    prioritized: int = 0
    due: int = 0
    soon_due: int = 0
    delayed: int = 0
    next_due_ms: int | None = None
    """The due time of the earliest delayed job, in epoch ms; None without one. It may have passed."""
    active: int = 0
    paused: bool = False
    concurrency_limit: int | None = None
    """The queue's global concurrency."""
    rate_max: int | None = None
    rate_duration_ms: int | None = None
    """The queue's global rate limit: `rate_max` jobs per `rate_duration_ms`."""
    exists: bool = True
    """The queue has a `meta` or any key of jobs."""
    seen_before: bool = True
    """It existed at some earlier time: a queue that was seen and is gone is empty, not misspelt."""
    id_counter: int = 0
    waiting_children: int = 0
    completed: int = 0
    failed: int = 0
    running_age_s: float | None = None
    """The summed ages of the active jobs (now less `processedOn`), where they were read."""
    workers: tuple[WorkerReading, ...] | None = None
    """Corral's workers at this queue, of whatever pool; None when nobody asked."""
    holders: Mapping[str, int] | None = None
    """Active jobs by the name of their worker (`pb`), "" for those that name none; None when they were not all read."""

    @property
    def ready(self) -> int:
        """Jobs that a worker could take now."""
        return self.waiting + self.prioritized + self.due

    @property
    def unfinished(self) -> int:
        """Jobs that are neither completed nor failed."""
        return self.waiting + self.prioritized + self.delayed + self.active + self.waiting_children

    @property
    def never_created(self) -> bool:
        """No producer and no worker has ever touched a queue of this name, as far as anyone remembers."""
        return not self.exists and not self.seen_before


@dataclass(frozen=True, slots=True)
class Unknown:
    """A queue that could not be read. `cause` is a constant for conditions, `text` says what happened."""

    queue: str
    cause: str
    text: str


Reading = QueueReading | Unknown


@dataclass(frozen=True, slots=True)
class Pods:
    """The pool's Deployment and its pods. `present` is what the Deployment's spec.replicas says now.

    Surge pods of a rollout may make `ready` larger than `present`; `staffed` leaves them out.
    """

    present: int
    ready: int = 0
    starting_ages_s: tuple[float, ...] = ()
    """For each pod that is neither ready nor terminating: seconds since it was created."""
    terminating: int = 0
    unschedulable: int = 0
    unschedulable_text: str | None = None
    quota_text: str | None = None
    """What the API server said when it refused a pod (a quota); None when it refuses none."""
    rollout: bool = False

    @classmethod
    def steady(cls, replicas: int) -> Self:
        """So many replicas, all of them ready."""
        return cls(present=replicas, ready=replicas)

    @property
    def staffed(self) -> int:
        """Ready pods that count: never more than the pool asked for."""
        return min(self.ready, self.present)

    @property
    def on_the_way(self) -> tuple[float, ...]:
        """Ages of the starting pods that count, oldest first; replicas whose pod does not exist yet have age 0."""
        room = self.present - self.staffed
        ages = sorted(self.starting_ages_s, reverse=True)[:room]
        return (*ages, *(0.0,) * (room - len(ages)))


@dataclass(frozen=True, slots=True)
class Member:
    """One pod of the pool as its workers tell of it."""

    pod: str
    busy: int | None
    """Jobs in its hands, over all queues; None when that is not known, which counts as busy."""
    quiet: bool = False
    """Every worker of it says that it takes nothing."""
    silent: bool = False
    """A worker of it has not been heard of for too long, and nothing shows that another one replaced it."""
    idle_since_s: float | None = None
    """Since when it has held no job, by our monotonic clock; None while it holds one, and when that is not known."""
    workers: tuple[tuple[str, str], ...] = ()
    """Queue and worker id of each of its workers: where an order to it has to be written."""
    ordered_until_ms: int | None = None
    """Until when the order stands that all of them have; Redis' time, and maybe past. None: at least one has none."""


@dataclass(frozen=True, slots=True)
class Staff:
    """Who works at the pool's queues, by the name of the pod. Pods of other pools are among them, and pods that are gone:
    whoever has the list of the pool's own compares."""

    members: Mapping[str, Member] = field(default_factory=dict)
    beats: bool = False
    """Workers that name their pod beat. Without it, members are known by the jobs in their hands alone."""
    complete: bool = False
    """All active jobs are accounted for: as many as there are were told of by members' latest beats, and nobody without a
    pod's name holds any; or each of them names its pod. A job that changed hands since those beats may hide a pod that
    took its first one."""
    redis_ms: int | None = None
    """Redis' time now, or a little before: as late as beats tell. None when nothing tells."""

    @property
    def busy(self) -> int | None:
        """Members with a job in their hands, those counted of whom nobody knows; None when the staff is not complete."""
        return sum(row.busy != 0 for row in self.members.values()) if self.complete else None


@dataclass(frozen=True, slots=True)
class Rivals:
    """Who else has a say. `holds`: others that write the replicas of the pool's Deployment, as text; then it holds."""

    shares: Mapping[str, float] = field(default_factory=dict)
    """For a queue that other pools serve too: the part of its backlog that is this pool's, above 0 and below 1."""
    holds: tuple[str, ...] = ()
    text: str | None = None
    """Who they are and what to do about it; None without any."""
    reason: str | None = None
    """A constant for the condition Conflict; None without any."""
    unknown: str | None = None
    """Why nobody knows whether an autoscaler is among them; None when that is known."""


@dataclass(frozen=True)
class Observed:
    """All of it. `now_s` is monotonic and measures spans; `wall_ms` is the epoch time that due times speak of."""

    now_s: float
    wall_ms: int
    readings: tuple[Reading, ...]
    pods: Pods
    staff: Staff = Staff()
    guard: Busy = Busy.COST
    """How busy pods are protected now: what the spec asks for, or less where the workers or Redis do not allow it."""
    rivals: Rivals = Rivals()

    @cached_property
    def known(self) -> tuple[QueueReading, ...]:
        """The queues that could be read."""
        return tuple(reading for reading in self.readings if isinstance(reading, QueueReading))

    @cached_property
    def unknown(self) -> tuple[Unknown, ...]:
        """The queues that could not."""
        return tuple(reading for reading in self.readings if isinstance(reading, Unknown))

    @property
    def busy_pods(self) -> int | None:
        """Pods of the pool that hold jobs, or may; None when the staff is not complete. Never more than there are, nor
        than active jobs: among the staff are pods of other pools, and pods that are gone."""
        busy = self.staff.busy
        return None if busy is None else min(busy, self.pods.present, sum(row.active for row in self.known))
