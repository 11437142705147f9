"""Shift: one run of a worker, from its first connection to its last written outcome.

start   check the server; for each queue a settler, a fetcher, a look for stalled jobs; for all the lock renewal
run     until `close`
drain   take nothing more -> running jobs finish -> at the end of the grace, less a margin, cancel what runs
        -> write all outcomes -> hand back what could not be ended -> close the connections
"""

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from corral.clock import now_ms
from corral.connection import Line, Lines, make_pool
from corral.errors import CorralError, RedisUnavailable
from corral.executor import Executor, Processor
from corral.fetcher import Fetcher
from corral.job import Job
from corral.job_calls import JobCalls
from corral.keys import Keys
from corral.lifecycle import Retention
from corral.listeners import Listeners
from corral.locks import renew
from corral.metrics import Metrics
from corral.queue_work import QueueWork
from corral.scripts import Caller, Settlement, load_all, settle_jobs
from corral.server_check import check_server
from corral.settings import Settings
from corral.settler import NOTHING, Settler
from corral.slots import Slots
from corral.stalled import recover

logger = logging.getLogger("corral.worker")

PULSE_S = 2.0
"""Seconds between two measurements of Redis' latency."""
CANCEL_S = 1.0
"""Seconds that a cancelled processor gets for its own clean-up."""
LAST_CALL_S = 2.0
"""Seconds for the last call to Redis."""


def drain_margin(grace: float) -> float:
    """Seconds kept back at the end of a grace period, to hand back what is unfinished."""
    return max(2.0, grace * 0.1)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the user's code said of the worker; None = left to the environment."""

    concurrency: int | None
    redis: str | Redis | None
    prefix: str | None
    name: str | None
    lock_ms: int
    stalled_ms: int
    max_stalled: int
    retention: Retention
    dialect: str


class Shift:
    """See the module's docstring. `unready`: why no job can be taken now, None = all is well."""

    def __init__(
        self,
        options: WorkerOptions,
        processor: Processor,
        queues: tuple[str, ...],
        settings: Settings,
        listeners: Listeners,
        metrics: Metrics,
    ) -> None:
        self.options, self.listeners, self.metrics = options, listeners, metrics
        self.slots = Slots(options.concurrency or settings.concurrency)
        self.executor = Executor(processor, self.slots.total)
        self.name = options.name or settings.pod or ""
        self.worker_id = str(uuid.uuid4())
        self._takes = itertools.count(1)
        self.unready: str | None = "not connected yet"
        self.latency: float | None = None
        prefix = options.prefix or settings.prefix
        self._pool = make_pool(options.redis)
        self._lines = Lines(self._pool)
        self._single: list[Line] = []
        self.works = [self._work(Keys(queue, prefix)) for queue in queues]
        self._stopping, self._hurry, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._grace = 30.0
        self._takers: list[asyncio.Task[None]] = []
        self._keepers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """From start to end. Raises ConfigurationError; an error inside a loop ends the run and is raised."""
        crash: BaseException | None = None
        try:
            await self._start()
            crash = await self._watch()
            await self._drain()
        except asyncio.CancelledError:
            self.hurry()
            await self._drain()
            raise
        finally:
            await self._end()
        if crash is not None:
            raise crash

    async def close(self, grace: float) -> None:
        """Begin to drain, and wait for the end of the run. `grace` in seconds."""
        self.begin_drain(grace)
        await self._over.wait()

    def begin_drain(self, grace: float) -> None:
        """Begin to drain; the first call decides the grace."""
        if not self._stopping.is_set():
            self._grace = grace
            self._stopping.set()

    def hurry(self) -> None:
        """Hand back now what runs."""
        self._stopping.set()
        self._hurry.set()

    @property
    def stuck(self) -> bool:
        """Whether processors run on that could not be ended."""
        return any(work.running for work in self.works)

    def _work(self, keys: Keys) -> QueueWork:
        work = QueueWork(keys, self.executor, self.listeners, self.metrics, self.options.retention, self.name)
        work.calls = JobCalls(self._lines, keys, self._told_progress)
        line = Line(self._pool)
        self._single.append(line)
        work.settler = Settler(
            line,
            keys,
            self.options.dialect,
            self.slots,
            work,
            worker_name=self.name,
            lock_ms=self.options.lock_ms,
            next_token=self._next_token,
        )
        return work

    def _next_token(self) -> str:
        """A lock's token names its worker; a new number for each take tells two runs of one job apart."""
        return f"{self.worker_id}:{next(self._takes)}"

    async def _start(self) -> None:
        await self._connect()
        if self._stopping.is_set():
            return
        for work in self.works:
            queue = work.keys.queue
            blocking = Line(make_pool(self.options.redis, work.keys.client_name(self.name)))
            self._single.append(blocking)
            with suppress(RedisUnavailable):
                await blocking.call("PING")  # dashboards count workers by this connection, from the start
            self._keep(work.settler.run(), f"settler of {queue}")
            self._take(Fetcher(blocking, work.keys, work.settler, self.slots).run(), f"fetcher of {queue}")
            self._take(self._recover(work), f"look for stalled jobs of {queue}")
            work.settler.look()
        locks = [work.locks for work in self.works]
        self._keep(renew(self._lines, locks, self.options.lock_ms, self._lock_lost), "lock renewal")
        self._keep(self._pulse(), "pulse")

    def _keep(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """A loop that goes on to the very end."""
        self._keepers.append(asyncio.create_task(loop, name=name))

    def _take(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """A loop that a drain ends first."""
        self._takers.append(asyncio.create_task(loop, name=name))

    async def _connect(self) -> None:
        """Wait until Redis is there: it may start later than we do."""
        pause, told = 0.1, 0.0
        while not self._stopping.is_set():
            try:
                await check_server(self._lines)
                await load_all(self._lines)
                self.unready = None
                return
            except RedisUnavailable as error:
                self.unready = str(error)
                if time.monotonic() - told >= 10:
                    told = time.monotonic()
                    logger.error("%s; trying again until it answers", error)
                    self.listeners.tell("error", error)
            await _sleep_unless(self._stopping, pause)
            pause = min(5.0, pause * 2)

    async def _watch(self) -> BaseException | None:
        """Wait for `close`, or for a loop that ends, which none should: gives its error."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([stopping, *self._takers, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        for task in done - {stopping}:
            error = task.exception() or CorralError("it ended")
            logger.critical("%s of the worker broke: %r; shutting down", task.get_name(), error)
            return error
        return None

    async def _pulse(self) -> None:
        while True:
            began = time.monotonic()
            outage = next((work.outage for work in self.works if work.outage), None)
            try:
                await self._lines.call("PING")
                self.latency = time.monotonic() - began
                self.metrics.latency(self.latency)
                self.unready = str(outage) if outage else None
            except RedisUnavailable as error:
                self.unready = str(error)
            self.metrics.slots(self.slots.busy, self.slots.total)
            await asyncio.sleep(PULSE_S)

    async def _recover(self, work: QueueWork) -> None:
        await recover(
            self._lines,
            work.keys,
            self.options.dialect,
            interval_ms=self.options.stalled_ms,
            max_stalled=self.options.max_stalled,
            on_recovered=work.recovered,
        )

    def _lock_lost(self, keys: Keys, job_id: str, token: str) -> None:
        for work in self.works:
            if work.keys == keys:
                work.lock_lost(job_id)

    def _told_progress(self, job: Job, progress: Any) -> None:
        self.listeners.tell("progress", job, progress)

    async def _drain(self) -> None:
        began = time.monotonic()
        for work in self.works:
            work.draining = True
            work.settler.quiet()
        await _cancelled(self._takers)
        running = self._running()
        finish_by = 0.0 if self._hurry.is_set() else self._grace - drain_margin(self._grace)
        if running and finish_by > 0:
            logger.info("shutting down: %d jobs may finish within %.1f s", len(running), finish_by)
            await self._finished_or_late(running, finish_by)
        if left := self._running():
            await self._interrupt(left)
        budget = LAST_CALL_S if self._hurry.is_set() else max(LAST_CALL_S, self._grace - (time.monotonic() - began))
        await self._written(min(budget, drain_margin(self._grace)) / 2)

    def _running(self) -> list[asyncio.Task[None]]:
        return [task for work in self.works for task in work.running.values()]

    async def _finished_or_late(self, running: list[asyncio.Task[None]], seconds: float) -> None:
        until = time.monotonic() + seconds
        hurry = asyncio.create_task(self._hurry.wait())
        pending: set[asyncio.Task[Any]] = set(running)
        while pending and not hurry.done() and (left := until - time.monotonic()) > 0:
            _, rest = await asyncio.wait({hurry, *pending}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            pending = rest - {hurry}
        hurry.cancel()

    async def _interrupt(self, left: list[asyncio.Task[None]]) -> None:
        """Cancel what runs in the event loop; a thread cannot be cancelled, its job is handed back last."""
        logger.warning("%d jobs did not finish in time and are handed back", len(left))
        if self.executor.in_threads:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_S)

    async def _written(self, seconds: float) -> None:
        """Wait until every outcome is in Redis."""
        until = time.monotonic() + seconds
        while any(work.settler.unwritten for work in self.works):
            if time.monotonic() > until:
                return
            await asyncio.sleep(0.005)

    async def _end(self) -> None:
        await _cancelled([*self._takers, *self._keepers])
        await self.last_call(self._lines)
        self.executor.close()
        await self.listeners.close(within=1.0)
        for line in self._single:
            await line.close()
        await self._lines.close()
        self.unready = "it has ended"
        self._over.set()

    async def last_call(self, caller: Caller) -> None:
        """Write what is unwritten and hand back what still runs, in one call for each queue; told when it fails."""
        for work in self.works:
            remains = work.settler.remains(work.running)
            if not remains:
                continue
            try:
                await self._settle_last(caller, work.keys, remains)
            except RedisUnavailable as error:
                logger.error(
                    "%d jobs of queue %s could not be written or handed back: %s; when their locks have run out, "
                    "another worker recovers them",
                    len(remains),
                    work.keys.queue,
                    error,
                )

    async def _settle_last(self, caller: Caller, keys: Keys, remains: list[Settlement]) -> None:
        try:
            async with asyncio.timeout(LAST_CALL_S):
                await settle_jobs(caller, keys, self.options.dialect, now_ms(), remains, NOTHING)
        except TimeoutError:
            raise RedisUnavailable("Redis did not answer in time", maybe_done=True) from None

    async def last_call_from_outside(self) -> None:
        """The last call from another thread and event loop, when this one's is blocked."""
        line = Line(make_pool(self.options.redis))
        await self.last_call(line)
        await line.close()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_CALL_S)


async def _sleep_unless(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
