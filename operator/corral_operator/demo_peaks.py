"""A view that shows what another one shows, and remembers how far each pool went."""

from collections.abc import Sequence

from corral_operator.local_run import LocalView
from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica, ReplicaState


class Peaks:
    """`most` is the highest number of ready replicas that was shown, by pool."""

    def __init__(self, view: LocalView) -> None:
        self._view = view
        self.most: dict[str, int] = {}

    def tell(self, text: str) -> None:
        """Something happened."""
        self._view.tell(text)

    def show(self, rows: Sequence[tuple[PoolState, Sequence[Replica]]]) -> None:
        """How every pool is."""
        for state, replicas in rows:
            ready = sum(replica.state is ReplicaState.READY for replica in replicas)
            self.most[state.key.name] = max(ready, self.most.get(state.key.name, 0))
        self._view.show(rows)
