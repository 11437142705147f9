"""The one loop: which pools are due, read their queues, attend to each, sleep until the next is due.

    watch, list ---> roster ---due---> rounds: one per Redis and time, all its due pools in one read
                        ^                 |
      event of a queue, |                 v
      due time, change  +------------ attend: decide, apply, report

A pool with work or pods is due every 2 s, a sleeping one every 30 s and whenever something wakes it. Pools on a Redis
that hangs, and calls that hang, keep nobody else waiting. Only this loop decides.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from math import inf

from corral.errors import ConfigurationError
from corral_operator.attendant import Attendant
from corral_operator.causes import AUTH_FAILED
from corral_operator.counting import Ask, QueueKey
from corral_operator.deployment import Key
from corral_operator.door import Door
from corral_operator.metrics import OperatorMetrics
from corral_operator.observed import Reading, Unknown
from corral_operator.pool_state import TICK_S, PoolState
from corral_operator.redises import Redis, Redises, Way, way_of
from corral_operator.refusal import ApiError
from corral_operator.report import Problem
from corral_operator.roster import Roster
from corral_operator.secret import RedisSecret
from corral_operator.secret_store import SecretStore

RESYNC_S = 300.0
"""Seconds between whole lists, which look for what the watch missed."""

DOUBT_S = 15.0
"""Seconds at least between two of them when something says that the watch missed a deletion, or when one failed."""

logger = logging.getLogger("corral.operator.reconcile")


class Reconciler:
    """Keeps every pool of a cluster as it should be. `clock` gives seconds, and never jumps."""

    def __init__(self, door: Door, metrics: OperatorMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._door = door
        self._metrics = metrics
        self._clock = clock
        self._woken = asyncio.Event()
        self.roster = Roster(self._clock, self._woken.set, self._gone)
        self._secrets = SecretStore(door, self._clock)
        self._redises = Redises(self.roster.heard)
        self._attendant = Attendant(door, self.roster.table, self._redises, metrics, self._clock, lambda: self.roster)
        self._asking: set[Key] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._unsettled = False
        self._synced_at, self._sync_at = -inf, inf

    def _gone(self, key: Key) -> None:
        self._metrics.pool_gone(*key)
        self._unsettled = True

    async def sync(self) -> None:
        """List everything. Raises ApiError."""
        self._synced_at = self._clock()
        self._sync_at = self._synced_at + RESYNC_S
        await self.roster.sync(self._door)
        self._unsettled = True

    async def take_over(self) -> None:
        """This operator writes from now on: see what the one before it has left, and begin there. Raises ApiError."""
        await self.sync()
        now_s = self._clock()
        for state in self.roster:
            state.take_over(now_s)
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled; `sync` comes first."""
        while True:
            self._woken.clear()
            if self._clock() >= self._sync_at:
                self._spawn(self._resync())
            seen_s = self._start_due()
            await self._settle()
            await self._sleep(seen_s)

    async def once(self) -> list[PoolState]:
        """Attend to every pool one time; gives their states, reports in them. `sync` comes first."""
        for _ in range(2):  # the first round may have to read Secrets
            self._start_due()
            while self._under_way:
                await asyncio.wait(self._under_way)
        return list(self.roster)

    async def close(self) -> None:
        """End what is under way, and close the connections."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._redises.close()

    def _start_due(self) -> float:
        """Begin with all that are due; gives the moment of which that is."""
        now_s = self._clock()
        due = [state for state in self.roster if not state.busy and state.due_at <= now_s]
        if due:
            self._metrics.tick(now_s - min(state.due_at for state in due))
        rounds: dict[Way, tuple[RedisSecret, list[PoolState]]] = {}
        unread: dict[Key, list[PoolState]] = {}
        for state in due:
            if state.secret_key is None:
                self._begin([state], self._attend(state, {}))
                continue
            content = self._secrets.fresh(state.secret_key)
            if content is None:
                asking = unread.setdefault(state.secret_key, [])
                content = self._secrets.served(state.secret_key)
                if content is None:
                    asking.append(state)
                    continue
            if isinstance(content, Problem):
                state.problem = content
                self._begin([state], self._attend(state, {}))
            else:
                self._unsettled = state.use(content) or self._unsettled
                rounds.setdefault(way_of(content), (content, []))[1].append(state)
        for key, states in unread.items():
            if key not in self._asking:  # else they stay due until it is read
                self._asking.add(key)
                self._begin(states, self._ask_secret(states, key))
        for secret, states in rounds.values():
            self._start_round(secret, states)
        return now_s

    def _start_round(self, secret: RedisSecret, states: list[PoolState]) -> None:
        try:
            redis = self._redises.of(secret)
        except ConfigurationError as error:
            for state in states:
                state.problem = Problem("SecretInvalid", str(error))
                self._begin([state], self._attend(state, {}))
            return
        if not redis.busy:  # else they stay due until that read is over
            redis.busy = True
            self._begin(states, self._round(redis, states))

    async def _ask_secret(self, states: list[PoolState], key: Key) -> None:
        """Once for all pools that use it. Those without any content yet wait for it; the others go on with theirs."""
        try:
            await self._secrets.ask(key)
        except ApiError as error:
            for state in states:
                self._attendant.give_way(state, error)
        except Exception:
            logger.exception("Secret %s: broke while it was read", key)
            for state in states:
                state.postpone(self._clock())
        finally:
            self._asking.discard(key)
            for state in states:
                state.finish(self._clock())
            self._woken.set()

    async def _round(self, redis: Redis, states: list[PoolState]) -> None:
        """One read for all these pools, then each on its own."""
        now_s = self._clock()
        try:
            readings = await redis.read(
                _widest(ask for state in states for ask in state.asks(now_s)), int(time.time() * 1000)
            )
        except Exception:
            logger.exception("broke while the queues of %d pools were read", len(states))
            for state in states:
                state.postpone(now_s)  # at once it would break at once again
                state.finish(now_s)
            return
        finally:
            redis.busy = False
            self._woken.set()
        self._metrics.redis_read(self._clock() - now_s)
        for reading in readings.values():
            if isinstance(reading, Unknown):
                self._metrics.redis_error(reading.cause)
        for state in states:
            self._spawn(self._attend(state, readings))

    async def _attend(self, state: PoolState, readings: Mapping[QueueKey, Reading]) -> None:
        asleep = state.asleep
        try:
            state.report = await self._attendant.attend(state, readings)
            if state.secret_key is not None and _refused_login(state):
                self._secrets.doubt(state.secret_key)
            if state.missing:
                self._doubt(state)
        except Exception:
            logger.exception("%s: broke while it was attended to", state.key)
            state.postpone(self._clock())
        finally:
            state.finish(self._clock())
            if self.roster.table.pools.get(state.key) is None:
                self.roster.forget(state.key)
            # The loop sleeps until the next tick at most; what is due before, it has to hear of.
            self._unsettled = self._unsettled or asleep != state.asleep
            if self._unsettled or state.due_at < _next_tick(self._clock()):
                self._woken.set()

    def _doubt(self, state: PoolState) -> None:
        """The API server says that a pool is not there: it was deleted, or a proxy answers, or the resource is made
        anew. A list tells."""
        state.missing = False
        state.postpone(self._clock())
        self._sync_at = min(self._sync_at, self._synced_at + DOUBT_S)

    async def _resync(self) -> None:
        try:
            await self.sync()
        except ApiError as error:
            self._sync_at = self._clock() + DOUBT_S
            logger.warning("the pools could not be listed: %s; again in %.0f s", error.text, DOUBT_S)

    async def _settle(self) -> None:
        """Let the listeners know which queues sleep now, and drop what no pool uses any more."""
        if self._unsettled:
            self._unsettled = False
            queues = self.roster.settle()
            self._redises.listen(queues)
            self._secrets.keep({state.secret_key for state in self.roster if state.secret_key is not None})
            await self._redises.keep(queues)

    async def _sleep(self, seen_s: float) -> None:
        """Until something wakes the loop, or the next pool is due: of those, too, that have become due since `seen_s`."""
        waiting = (state.due_at for state in self.roster if not state.busy and state.due_at > seen_s)
        until_s = min(_next_tick(seen_s), min(waiting, default=inf))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until_s - self._clock())):
                await self._woken.wait()

    def _begin(self, states: Iterable[PoolState], work: Coroutine[None, None, None]) -> None:
        for state in states:
            state.start()
        self._spawn(work)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _next_tick(now_s: float) -> float:
    return (now_s // TICK_S + 1) * TICK_S


def _refused_login(state: PoolState) -> bool:
    return state.report is not None and any(row.cause == AUTH_FAILED for row in state.report.unknown)


def _widest(asks: Iterable[Ask]) -> list[Ask]:
    """One ask per queue: pools that share it look as far ahead as the farthest of them."""
    widest: dict[QueueKey, Ask] = {}
    for ask in asks:
        other = widest.get(ask.queue, ask)
        widest[ask.queue] = Ask(
            ask.queue,
            max(ask.horizon_s, other.horizon_s),
            ages=ask.ages or other.ages,
            seen_before=ask.seen_before or other.seen_before,
            workers=ask.workers or other.workers,
            holders=ask.holders or other.holders,
        )
    return list(widest.values())
