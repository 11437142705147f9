"""What a decision is: a number of replicas, the rule that chose it, and the sentence that says why.

The reasons are part of the API: they appear in the status, in events and in metrics.

    reason              replicas are what they are because
    -----------------   -----------------------------------------------------------------------------------
    Flow                arrivals and service time need so many to keep the target
    Drain               the jobs that wait, or fall due within a pod start, need so many to start in time
    Length              so many jobs at so many per replica
    Idle                nothing is ready, active or due soon, and that for idleAfter: zero
    NotIdleYet          nothing to do, but not yet for idleAfter: one stays
    Active              jobs are active: never zero
    DueSoon             a delayed job falls due within pod start + idleAfter: never zero
    Orphans             jobs are active while nothing ran: one pod, to recover them
    Busy                busy pods stay where none can be told to take nothing more
    MinReplicas         the floor of the spec
    MaxReplicas         the ceiling of the spec
    Schedule            a schedule holds that asks for so many at least
    ScheduleCeiling     a schedule holds that allows so many at most
    Manual              the user set the number
    Conflict            somebody else writes the replicas of its Deployment: what is there stays
    Window              a higher wish is still remembered
    Rollout             never down while a rollout runs
    Step                behavior allows so many per 15 s
    ConcurrencyLimit    the queue's global concurrency lets no more jobs run at once
    RateLimit           the queue's rate limit feeds no more slots
    NoConsumer          ready jobs, ready pods, and nobody takes from this queue: one pod at most
    Quota               the API server refuses further pods
    Unschedulable       pods find no node
    NeverCreated        no queue of these names was ever created: what is there stays
    Unknown             a queue could not be read: what is there stays
    Fallback            a queue could not be read for longer than fallback.after: the fallback of the spec
    Downstream          more pods did no more jobs per second; told as a limit, and caps nothing
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from corral_operator.spec import Mode


class Reason(StrEnum):
    """Why; the table above says each in a line."""

    @property
    def candidate(self) -> str:
        """The name of the number that it gives: `minReplicas` for MinReplicas."""
        return self.value[0].lower() + self.value[1:]

    FLOW = "Flow"
    DRAIN = "Drain"
    LENGTH = "Length"
    IDLE = "Idle"
    NOT_IDLE_YET = "NotIdleYet"
    ACTIVE = "Active"
    DUE_SOON = "DueSoon"
    ORPHANS = "Orphans"
    BUSY = "Busy"
    MIN_REPLICAS = "MinReplicas"
    MAX_REPLICAS = "MaxReplicas"
    SCHEDULE = "Schedule"
    SCHEDULE_CEILING = "ScheduleCeiling"
    MANUAL = "Manual"
    CONFLICT = "Conflict"
    WINDOW = "Window"
    ROLLOUT = "Rollout"
    STEP = "Step"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    RATE_LIMIT = "RateLimit"
    NO_CONSUMER = "NoConsumer"
    QUOTA = "Quota"
    UNSCHEDULABLE = "Unschedulable"
    NEVER_CREATED = "NeverCreated"
    UNKNOWN = "Unknown"
    FALLBACK = "Fallback"
    DOWNSTREAM = "Downstream"


@dataclass(frozen=True, slots=True)
class Held:
    """A change that is wanted and delayed: to how many, and by what."""

    wanted: int
    because: Reason


@dataclass(frozen=True, slots=True)
class Limited:
    """More is wanted than may be: how many, what forbids it, and what that says."""

    wanted: int
    because: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, and why.

    `candidates` are the numbers that were weighed, by name: flow, drain, length, window (the highest remembered wish),
    busy (where busy pods stay), minReplicas, maxReplicas, schedule and scheduleCeiling (where one holds), fallback.
    `chosen_by` is the one that won. With mode DryRun or Paused the caller writes nothing; `mode` says so.
    """

    replicas: int
    reason: Reason
    text: str
    candidates: Mapping[str, int]
    chosen_by: str
    mode: Mode = Mode.AUTO
    held: Held | None = None
    limited: Limited | None = None
    no_consumer: tuple[str, ...] = ()
    """Queues with ready jobs that none of the ready pods takes from (rule 11)."""
    never_created: tuple[str, ...] = ()
    """Queues that nobody ever created (rule 4)."""
    downstream: str | None = None
    """What tells that more pods did no more work (rule 9); it stays the same text as long as that holds."""
