"""Who is there: every pool with what is remembered of it, kept up to date by lists and the watch."""

from collections.abc import Callable, Iterator

from corral_operator.counting import QueueKey
from corral_operator.deployment import Deployment, Key
from corral_operator.door import Door
from corral_operator.pool_state import PoolState
from corral_operator.redises import Way, way_of
from corral_operator.table import Pool, Table


class Roster:
    """`clock`: seconds, monotonic. `woken` is called when a pool is to be looked at now, `gone` when one has vanished."""

    def __init__(self, clock: Callable[[], float], woken: Callable[[], None], gone: Callable[[Key], None]) -> None:
        self.table = Table()
        self._clock = clock
        self._woken = woken
        self._gone = gone
        self._states: dict[Key, PoolState] = {}
        # Which pools use a Deployment; and which sleep on a queue, or (None) use a Redis at all.
        self._users: dict[Key, set[Key]] = {}
        self._sleepers: dict[tuple[Way, QueueKey | None], set[Key]] = {}

    def __iter__(self) -> Iterator[PoolState]:
        return iter(self._states.values())

    def __len__(self) -> int:
        return len(self._states)

    async def sync(self, door: Door) -> None:
        """List everything. Raises ApiError."""
        deployments, pools = await door.deployments(), await door.pools()
        self.table.deployments.resync(*deployments)
        for key in self.table.pools.resync(*pools):
            self.forget(key)
        for key in self.table.pools:
            self._take(key)

    def pool_changed(self, pool: Pool, *, deleted: bool = False) -> None:
        """The watch tells of a pool."""
        if deleted or pool.deleting:
            if self.table.pools.drop(pool.key, pool.uid, pool.version):
                self.forget(pool.key)
        elif self.table.pools.put(pool):
            self._take(pool.key)

    def deployment_changed(self, deployment: Deployment, *, deleted: bool = False) -> None:
        """The watch tells of a Deployment; whose it is, if anybody's, the pools know."""
        before = self.table.deployments.get(deployment.key)
        if deleted:
            changed = self.table.deployments.drop(deployment.key, deployment.uid, deployment.version)
        else:
            changed = self.table.deployments.put(deployment)
            # Its pods are looked at with every tick; at once, only what somebody else did to it.
            changed = changed and (before is None or before.generation < deployment.generation)
        for key in self._users.get(deployment.key, ()) if changed else ():
            # One that used it, used another then, and is gone by now is still among them.
            if (state := self._states.get(key)) is not None:
                self._wake(state)

    def forget(self, key: Key) -> None:
        """A pool has vanished."""
        state = self._states.pop(key, None)
        if state is not None and state.workload is not None:
            self._users.get(state.workload, set()).discard(key)
        self._gone(key)

    def settle(self) -> dict[Way, set[QueueKey]]:
        """Who sleeps now; gives the queues to hear of, for every Redis that a pool uses."""
        self._sleepers = {}
        queues: dict[Way, set[QueueKey]] = {}
        for state in self:
            if state.secret is None or state.spec is None:
                continue
            way = way_of(state.secret)
            heard = queues.setdefault(way, set())
            self._sleepers.setdefault((way, None), set()).add(state.key)
            for name in state.spec.queues if state.asleep else ():
                queue = QueueKey(state.spec.prefix, name)
                heard.add(queue)
                self._sleepers.setdefault((way, queue), set()).add(state.key)
        return queues

    def heard(self, way: Way, queue: QueueKey | None) -> None:
        """Something happened on a queue of sleeping pools, or (None) the connection to their Redis was lost."""
        for key in self._sleepers.get((way, queue), ()):
            if (state := self._states.get(key)) is not None:
                self._wake(state)

    def _take(self, key: Key) -> None:
        pool = self.table.pools.get(key)
        if pool is None:
            return
        if pool.deleting:
            self.table.pools.drop(key, pool.uid, pool.version)
            self.forget(key)
            return
        state = self._states.get(key)
        if state is None or state.pool.uid != pool.uid:
            state = self._states[key] = PoolState.begin(pool, self._clock())
            self._wake(state)
        elif state.take(pool):
            self._wake(state)
        if state.workload is not None:
            self._users.setdefault(state.workload, set()).add(key)

    def _wake(self, state: PoolState) -> None:
        state.wake(self._clock())
        self._woken()
