"""Pools and autoscalers that get in each other's way: all pools are known, and autoscalers are asked for now and then."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from corral_operator.autoscaler import Autoscaler
from corral_operator.conflicts import NO_RIVALS, Claim, Claims, rivals_of, slots_of
from corral_operator.deployment import Key
from corral_operator.door import Door
from corral_operator.observed import Rivals
from corral_operator.pool_state import PoolState
from corral_operator.refusal import ApiError
from corral_operator.spec import Mode

POOLS_EVERY_S = 5.0
"""Seconds between two looks at all pools, for those that changed or are gone. A pool's own change counts at once."""

ASKED_EVERY_S = 60.0
"""Seconds between two lists of a namespace's autoscalers."""

AGAIN_S = 10.0
"""The same after the API server did not answer."""

NEVER_S = float("-inf")


@dataclass(slots=True)
class _Namespace:
    """The autoscalers of one; `unknown` says why they are not known."""

    due_at: float = NEVER_S
    rows: list[Autoscaler] = field(default_factory=list)
    unknown: str | None = "nobody has asked for autoscalers yet"
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rivalry:
    """`everybody` gives all pools; `clock` seconds, monotonic."""

    def __init__(self, door: Door, everybody: Callable[[], Iterable[PoolState]], clock: Callable[[], float]) -> None:
        self._door = door
        self._everybody = everybody
        self._clock = clock
        self._claims = Claims()
        self._states: dict[Key, PoolState] = {}
        self._due_at = NEVER_S
        self._namespaces: dict[str, _Namespace] = {}

    async def of(self, state: PoolState, *, rests: bool = False) -> Rivals:
        """Who else has a say in this pool. One that `rests` is nothing to any autoscaler: nobody is asked anew for it."""
        claim = _claim(state)
        if claim is None:
            return NO_RIVALS
        self._learn(state, claim)
        if not claim.adopted:
            return rivals_of(claim, self._claims, (), self._slots, None)
        namespace = await self._autoscalers(claim.pool.namespace, rests=rests)
        return rivals_of(claim, self._claims, namespace.rows, self._slots, namespace.unknown)

    def _learn(self, state: PoolState, claim: Claim) -> None:
        if self._clock() >= self._due_at:
            self._due_at = self._clock() + POOLS_EVERY_S
            self._states = {}
            for other in self._everybody():
                if (told := _claim(other)) is not None:
                    self._states[other.key] = other
                    self._claims.put(told)
            self._claims.keep(self._states)
        self._states[state.key] = state
        self._claims.put(claim)

    def _slots(self, pool: Key) -> int:
        state = self._states[pool]
        if state.spec is None:
            return 0
        if state.report is None or state.report.observed is None:
            return slots_of(state.pool.status, state.spec.concurrency)
        return state.report.observed.pods.present * state.spec.concurrency

    async def _autoscalers(self, name: str, *, rests: bool) -> _Namespace:
        """As of a minute ago at most. What the API server refuses is not known, and is asked for as seldom."""
        namespace = self._namespaces.setdefault(name, _Namespace())
        if rests and namespace.due_at > NEVER_S:
            return namespace
        if namespace.turn.locked() and namespace.unknown is None:
            return namespace  # somebody asks already, and what is known will do
        async with namespace.turn:
            if self._clock() >= namespace.due_at:
                await self._ask(name, namespace)
        return namespace

    async def _ask(self, name: str, namespace: _Namespace) -> None:
        try:
            namespace.rows, namespace.unknown = await self._door.autoscalers(name), None
        except ApiError as error:
            if error.code == 404:
                namespace.rows, namespace.unknown = [], None
            elif error.code == 403 or namespace.unknown is not None:
                namespace.rows, namespace.unknown = (
                    [],
                    f"the autoscalers of namespace {name} cannot be listed: {error.text}",
                )
            refused = error.code in (403, 404)
            namespace.due_at = self._clock() + (ASKED_EVERY_S if refused else AGAIN_S)
        else:
            namespace.due_at = self._clock() + ASKED_EVERY_S


def _claim(state: PoolState) -> Claim | None:
    """None for a pool whose spec cannot be read."""
    spec, workload = state.spec, state.workload
    if spec is None or workload is None:
        return None
    place = state.learned_of if state.secret is not None else None
    return Claim(state.key, place, spec.prefix, spec.queues, workload, spec.adopted, spec.mode is Mode.AUTO)
