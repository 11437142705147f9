"""How busy pods are protected now, and why not better. Pure."""

from dataclasses import dataclass

from corral_operator.observed import Staff
from corral_operator.spec import Busy, PoolSpec


@dataclass(frozen=True, slots=True)
class Guard:
    """`busy` is what holds; `reason` a constant for the condition Protected; `text` a sentence with cause and cure."""

    busy: Busy
    reason: str
    text: str


def guard_of(policy: PoolSpec, staff: Staff, *, orders_refused: str | None) -> Guard:
    """`orders_refused`: what Redis said when it refused an order lately, None = nothing."""
    if policy.protection.busy is Busy.NONE:
        return Guard(Busy.NONE, "None", "spec.protection.busy is None: Kubernetes chooses which pods go.")
    return Guard(Busy.COST, "Cost", "The workers do not beat.")
