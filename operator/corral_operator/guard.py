"""How busy pods are protected now, and why not better. Pure.

reason        what holds   when
-----------   ----------   -------------------------------------------------------------------------
Drain         Drain        surplus pods are told to take nothing more, and leave when they are idle
Cost          Cost         spec.protection.busy asks for it: idle pods are marked as the first to go
None          None         spec.protection.busy asks for it: Kubernetes chooses
AnyRuntime    Cost         spec.runtime is Any, and such workers take no orders: idle pods are marked as the first to go
NoBeats       Cost         none of the workers beats, so they do not say who is busy
NoNames       Cost         they beat, and the pods that they name are none of this pool's
NoOrders      Cost         Redis refuses the operator's orders: its ACL, which needs Redis 7 for them
OtherWriter   as before    somebody else writes the deletion cost of the pool's pods
"""

from collections.abc import Sequence
from dataclasses import dataclass

from corral_operator.observed import Staff
from corral_operator.spec import Busy, PoolSpec, Runtime

UNHEARD_S = 30.0
"""Ready pods of whom nothing is heard for so long do not beat: three spans of an idle worker."""

SPARED = ("Drain", "Cost", "AnyRuntime")
"""Reasons for which busy pods are spared as far as the spec asks for it."""

_COST_HOLDS = "idle pods are marked as the first to go, and as many stay as are busy"


@dataclass(frozen=True, slots=True)
class Guard:
    """`busy` is what holds; `reason` a constant for the condition Protected; `text` a sentence with cause and cure."""

    busy: Busy
    reason: str
    text: str


def guard_of(
    policy: PoolSpec,
    staff: Staff,
    *,
    orders_refused: str | None,
    unheard_s: float = 0.0,
    nameless_s: float = 0.0,
    foreign: Sequence[str] = (),
) -> Guard:
    """`orders_refused`: what Redis said when it refused an order lately, None = nothing.

    `unheard_s`: how long pods have been ready without any beat; `nameless_s`: with beats of other pods alone;
    `foreign`: pods with a deletion cost that is not ours.
    """
    asked = policy.protection.busy
    if asked is Busy.NONE:
        return Guard(Busy.NONE, "None", "spec.protection.busy is None: Kubernetes chooses which pods go")
    if asked is Busy.COST:
        return _watched(Guard(Busy.COST, "Cost", f"spec.protection.busy is Cost: {_COST_HOLDS}"), foreign)
    if policy.runtime is Runtime.ANY:
        text = f"spec.runtime is Any, and such workers take no orders: {_COST_HOLDS}"
        return _watched(Guard(Busy.COST, "AnyRuntime", text), foreign)
    if orders_refused is not None:
        return _without_cordon("NoOrders", _no_orders(policy, orders_refused))
    if unheard_s >= UNHEARD_S and not staff.beats:
        text = "no worker of its ready pods beats; run Corral's workers, or say spec.runtime: Any"
        return _without_cordon("NoBeats", text)
    if nameless_s >= UNHEARD_S:
        text = "the workers beat, and none names a pod of this pool; set POD_NAME of the container to metadata.name"
        return _without_cordon("NoNames", text)
    text = "surplus pods are told to take nothing more, and leave when they are idle"
    return _watched(Guard(Busy.DRAIN, "Drain", text), foreign)


def acl_of(prefix: str) -> str:
    """What the operator's Redis user needs."""
    return f"+@read +@connection ~{prefix}:* (+hset +hdel ~{prefix}:*:corral:orders)"


def unheard_since(before: float | None, staff: Staff, ready: int, now_s: float, *, read: bool) -> float | None:
    """Since when pods are ready and nobody beats; None while somebody does, or nobody has to.

    `read`: all queues were read, and their workers too; else nothing is known anew.
    """
    if staff.beats or ready <= 0:
        return None
    if not read:
        return before
    return now_s if before is None else before


def _without_cordon(reason: str, text: str) -> Guard:
    return Guard(Busy.COST, reason, f"{text}; until then {_COST_HOLDS}")


def _no_orders(policy: PoolSpec, said: str) -> str:
    return (
        f"Redis refuses the operator's orders ({said}); give its user `{acl_of(policy.prefix)}`; before Redis 7 there "
        "are no such selectors, and only +hset +hdel on all of these keys will do"
    )


def _watched(guard: Guard, foreign: Sequence[str]) -> Guard:
    if not foreign:
        return guard
    names = foreign[0] if len(foreign) == 1 else f"{foreign[0]} and {len(foreign) - 1} more pods"
    text = (
        f"somebody else has written the deletion cost of {names}; Corral writes its own over it on the pods that it "
        f"has chosen; let nobody else write controller.kubernetes.io/pod-deletion-cost; {guard.text}"
    )
    return Guard(guard.busy, "OtherWriter", text)
