"""Pools and autoscalers that get in each other's way, over a queue or a Deployment."""

from collections.abc import Callable, Iterable

from corral_operator.door import Door
from corral_operator.observed import Rivals
from corral_operator.pool_state import PoolState


class Rivalry:
    """`everybody` gives all pools; `clock` seconds, monotonic."""

    def __init__(self, door: Door, everybody: Callable[[], Iterable[PoolState]], clock: Callable[[], float]) -> None:
        self._door = door
        self._everybody = everybody
        self._clock = clock

    async def of(self, state: PoolState) -> Rivals:
        """Who else has a say in this pool. Raises ApiError."""
        return Rivals()
