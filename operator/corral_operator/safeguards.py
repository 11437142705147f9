"""What a pool does for its running jobs and without its Redis, as its user declared it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from corral_operator.fields import Fields, SpecError

DEFAULT_FALLBACK_AFTER_S = 180.0
DEFAULT_MAX_DRAIN_S = 600.0


class Busy(StrEnum):
    """How pods with a job in their hands are spared when there are too many pods.

    Drain: surplus pods are told to take nothing more, and leave when they are idle. Cost: idle pods are marked as the
    first to go, and as many stay as are busy. None: Kubernetes chooses.
    """

    DRAIN = "Drain"
    COST = "Cost"
    NONE = "None"


class FallbackPolicy(StrEnum):
    """How many replicas there are when nobody knows how many are needed."""

    HOLD = "Hold"
    AT_LEAST = "AtLeast"
    REPLICAS = "Replicas"


@dataclass(frozen=True, slots=True)
class Protection:
    """`max_drain_s`: a pod that was told to leave and is still busy after so long is told to end all the same."""

    busy: Busy = Busy.DRAIN
    max_drain_s: float = DEFAULT_MAX_DRAIN_S


@dataclass(frozen=True, slots=True)
class Fallback:
    """After `after_s` without a reading. `replicas` is None with the policy Hold alone."""

    after_s: float = DEFAULT_FALLBACK_AFTER_S
    policy: FallbackPolicy = FallbackPolicy.HOLD
    replicas: int | None = None


DEFAULT_FALLBACK = Fallback()
DEFAULT_PROTECTION = Protection()


def read_fallback(fields: Fields, most: int) -> Fallback:
    """`fallback` of a spec; `most` is its maxReplicas. Raises SpecError."""
    fallback = fields.inner("fallback")
    policy = fallback.choice("policy", FallbackPolicy, FallbackPolicy.HOLD)
    # Never none: an error is no reason to let all pods go.
    replicas = fallback.whole_or_none("replicas", least=1, most=most)
    if (replicas is None) != (policy is FallbackPolicy.HOLD):
        raise SpecError(fallback.path("replicas"), "goes with the policies AtLeast and Replicas, and they need it")
    after_s = fallback.duration("after", DEFAULT_FALLBACK_AFTER_S, positive=True)
    return Fallback(after_s, policy, replicas)


def read_protection(fields: Fields) -> Protection:
    """`protection` of a spec. Raises SpecError."""
    protection = fields.inner("protection")
    return Protection(protection.choice("busy", Busy, Busy.DRAIN), protection.duration("maxDrain", DEFAULT_MAX_DRAIN_S))
