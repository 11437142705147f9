"""Pools and autoscalers that get in each other's way, over a queue or a Deployment. Pure.

Pools on one queue share its backlog by their present slots, and at least one slot each: who has none yet is not kept
from ever having one. Of those that write the replicas of one Deployment none goes on until there is one left. A pool
that only watches (mode DryRun or Paused) is told of, and hinders nobody.

    reason             when
    ----------------   ------------------------------------------------------------------
    SharedDeployment   another pool scales the same Deployment
    Autoscaler         a HorizontalPodAutoscaler or a ScaledObject scales the adopted Deployment
    SharedQueue        another pool serves one of its queues
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from corral_operator.autoscaler import Autoscaler
from corral_operator.deployment import Key
from corral_operator.observed import Rivals

NO_RIVALS = Rivals()

KEDAS = "keda-hpa-"
"""What KEDA calls the HorizontalPodAutoscaler that it makes for a ScaledObject begins so."""


class Claim(NamedTuple):
    """What a pool uses, over which others may get in its way."""

    pool: Key
    place: str | None
    """Where its Redis is, without a login; None while that is not known."""
    prefix: str
    queues: tuple[str, ...]
    workload: Key
    adopted: bool
    acts: bool
    """It writes replicas, if this operator does."""


class Claims:
    """Those of all pools, found by what they are about."""

    def __init__(self) -> None:
        self._claims: dict[Key, Claim] = {}
        self._users: dict[object, dict[Key, Claim]] = {}

    def __contains__(self, claim: Claim) -> bool:
        return self._claims.get(claim.pool) == claim

    def put(self, claim: Claim) -> None:
        """Another pool, or another claim of the same."""
        if claim in self:
            return
        self.drop(claim.pool)
        self._claims[claim.pool] = claim
        for place in _places(claim):
            self._users.setdefault(place, {})[claim.pool] = claim

    def drop(self, pool: Key) -> None:
        """The pool is no more."""
        claim = self._claims.pop(pool, None)
        for place in () if claim is None else _places(claim):
            users = self._users[place]
            del users[pool]
            if not users:
                del self._users[place]

    def keep(self, pools: Iterable[Key]) -> None:
        """Drop all others."""
        for pool in self._claims.keys() - set(pools):
            self.drop(pool)

    def on_queue(self, claim: Claim, queue: str) -> list[Claim]:
        """The other pools at one of its queues."""
        return self._others(claim, (claim.place, claim.prefix, queue)) if claim.place is not None else []

    def on_workload(self, claim: Claim) -> list[Claim]:
        """The other pools over its Deployment."""
        return self._others(claim, claim.workload)

    def _others(self, claim: Claim, place: object) -> list[Claim]:
        users = self._users.get(place, {})
        return [] if len(users) < 2 else [other for key, other in sorted(users.items()) if key != claim.pool]


def _places(claim: Claim) -> list[object]:
    queues = claim.queues if claim.place is not None else ()
    return [claim.workload, *((claim.place, claim.prefix, name) for name in queues)]


def rivals_of(
    claim: Claim, claims: Claims, autoscalers: Sequence[Autoscaler], slots: Callable[[Key], int], unknown: str | None
) -> Rivals:
    """Who else has a say in a pool. `slots`: those that a pool has now; `unknown`: why nobody knows the autoscalers."""
    pools = claims.on_workload(claim)
    others = scaling(claim, autoscalers)
    queues = {name: rows for name in claim.queues if (rows := claims.on_queue(claim, name))}
    if not (pools or others or queues):
        return NO_RIVALS if unknown is None else Rivals(unknown=unknown)
    holds = [f"pool {_name(row.pool, claim)}" for row in pools if row.acts] + [
        f"{row.kind} {row.name}" for row in others
    ]
    texts = [
        *([_deployment_text(claim, pools, others)] if pools or others else []),
        *(_queue_text(claim, name, rows) for name, rows in queues.items()),
    ]
    return Rivals(
        shares={name: share for name, rows in queues.items() if (share := _share(claim, rows, slots)) < 1},
        # A pool that only watches shows what it would do.
        holds=tuple(holds) if claim.acts else (),
        text=" ".join(texts),
        reason="SharedDeployment" if pools else "Autoscaler" if others else "SharedQueue",
        unknown=unknown,
    )


def scaling(claim: Claim, autoscalers: Sequence[Autoscaler]) -> list[Autoscaler]:
    """Those over the pool's adopted Deployment; without the one that KEDA made for a ScaledObject among them."""
    rows = sorted(row for row in autoscalers if claim.adopted and row.target == claim.workload.name)
    kedas = {f"{KEDAS}{row.name}" for row in rows if row.kind == "ScaledObject"}
    return [row for row in rows if row.name not in kedas]


def _share(claim: Claim, others: Sequence[Claim], slots: Callable[[Key], int]) -> float:
    """By present slots. Who only watches and has none will not have any."""
    mine = max(1, slots(claim.pool))
    theirs = sum(max(1 if row.acts else 0, slots(row.pool)) for row in others)
    return mine / (mine + theirs)


def _deployment_text(claim: Claim, pools: Sequence[Claim], others: Sequence[Autoscaler]) -> str:
    names = [_told(row, claim) for row in pools] + [f"{row.kind} {row.name}" for row in others]
    acting = others or any(row.acts for row in pools)
    then = "The pool leaves its replicas as they are until one is left" if acting and claim.acts else "Keep one of them"
    cure = "delete the others, or let each scale a Deployment of its own"
    return f"Deployment {claim.workload.name} is scaled by {_and(names)} too. {then}: {cure}."


def _queue_text(claim: Claim, queue: str, others: Sequence[Claim]) -> str:
    names = _and([_told(row, claim) for row in others])
    return (
        f"Queue {queue} is served by {names} too. They share its backlog by their present slots: give each pool queues "
        "of its own, or put all their replicas into one pool."
    )


def _told(other: Claim, claim: Claim) -> str:
    return f"pool {_name(other.pool, claim)}" + ("" if other.acts else " (which only watches)")


def _name(pool: Key, claim: Claim) -> str:
    return pool.name if pool.namespace == claim.pool.namespace else str(pool)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def slots_of(replicas: Mapping[str, object], concurrency: int) -> int:
    """The slots of a pool nobody has looked at yet, from its status of before."""
    number = replicas.get("replicas")
    return number * concurrency if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0
