"""The closer look at a pool, now and then: jobs that kill their workers, workers that fell silent, parents left waiting."""

from collections.abc import Callable

from corral_operator.deployment import Deployment
from corral_operator.door import Door
from corral_operator.findings import NOTHING_LOOKED_AT, Findings
from corral_operator.observed import Observed
from corral_operator.pool_state import PoolState
from corral_operator.redises import Redises


class Inspector:
    """`clock` gives seconds, monotonic, the same as the loop's."""

    def __init__(self, door: Door, redises: Redises, clock: Callable[[], float]) -> None:
        self._door = door
        self._redises = redises
        self._clock = clock

    async def look(self, state: PoolState, deployment: Deployment | None, observed: Observed) -> Findings:
        """What is wrong; the last look's answer while no new one is due. Raises ApiError."""
        return NOTHING_LOOKED_AT
