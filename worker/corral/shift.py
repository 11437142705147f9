"""Shift: one run of a worker, from its first connection to its last written outcome.

start   check the server; for each queue a settler, a fetcher, a look for stalled jobs; for all the lock renewal
run     until `close`
drain   see `drain.py`
end     the last call to Redis, then close the connections
"""

import asyncio
import itertools
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Coroutine
from functools import partial
from typing import Any

from corral.address import make_pool
from corral.beat_record import Beat
from corral.beats import CALL_S, Beats
from corral.blocking_lines import BlockingLines
from corral.connection import Line, Lines
from corral.controls import Controls
from corral.dead_letter_work import Burials
from corral.drain import LAST_CALL_S, Drain
from corral.errors import CorralError, RedisRefused, RedisUnavailable
from corral.executor import Executor, Processor
from corral.fetcher import Fetcher
from corral.footing import Footing
from corral.job import Job
from corral.job_calls import JobCalls
from corral.keys import Keys
from corral.listeners import Listeners
from corral.locks import renew
from corral.looks import look
from corral.metrics import Metrics
from corral.queue_work import QueueWork
from corral.scheduler_work import produce_next
from corral.script import send
from corral.scripts import OF_WORKERS
from corral.server_check import check_server
from corral.settings import Settings
from corral.settler import Settler
from corral.slots import Slots
from corral.stalled import recover
from corral.version import __version__
from corral.worker_options import WorkerOptions

logger = logging.getLogger("corral.worker")

PULSE_S = 2.0
"""Seconds between two measurements of Redis' latency."""


class Shift:
    """See the module's docstring. `unready`: why no job can be taken now, None = all is well; `over`: set at its end."""

    def __init__(
        self,
        options: WorkerOptions,
        processor: Processor,
        queues: tuple[str, ...],
        settings: Settings,
        listeners: Listeners,
        metrics: Metrics,
        slots: Slots,
    ) -> None:
        self.options, self.listeners, self.metrics, self.slots = options, listeners, metrics, slots
        self.executor = Executor(processor, self.slots.total, options.ending.max_started)
        self.slots.watch(self.executor.resize)
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
        self.drain = Drain(self.works, self.executor)
        self._stopping, self.over = asyncio.Event(), asyncio.Event()
        self.controls = Controls(self.works, self._lines, self.over)
        for work in self.works:
            work.limit = partial(self.controls.limit, work)
        self.beats = self._beats(settings)
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._grace = 30.0
        self._fetchers: list[Fetcher] = []
        self._takers: list[asyncio.Task[None]] = []
        self._keepers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """From start to end. Raises ConfigurationError; an error inside a loop ends the run and is raised."""
        crash: BaseException | None = None
        try:
            await self._start()
            crash = await self._watch()
            await self.drain.run(self._grace, self._takers)
        except asyncio.CancelledError:
            self.hurry()
            await self.drain.run(self._grace, self._takers)
            raise
        finally:
            # A task of its own: cancelled once more, the run ends at once, and what it holds is closed all the same.
            self._ending = asyncio.create_task(self._end(), name="end of the worker")
            await asyncio.shield(self._ending)
        if crash is not None:
            raise crash

    def begin_drain(self, grace: float) -> None:
        """Begin to drain; the first call decides the grace."""
        if not self._stopping.is_set():
            self._grace = grace
            self.beats.drain()
            self.listeners.tell("closing")
            self._stopping.set()

    def hurry(self) -> None:
        """Hand back now what runs."""
        self._stopping.set()
        self.beats.drain()
        self.drain.hurry.set()

    def resize(self, jobs: int) -> None:
        """Run so many jobs at once from now on. From any thread: a plain processor may ask for it."""
        if threading.get_ident() == self._thread:
            self.slots.resize(jobs)
        elif not self.over.is_set():
            self._loop.call_soon_threadsafe(self.slots.resize, jobs)

    @property
    def stuck(self) -> bool:
        """Whether processors run on that could not be ended."""
        return any(work.running for work in self.works)

    def _work(self, keys: Keys) -> QueueWork:
        options = self.options
        timeout_s = None if options.timeout_ms is None else options.timeout_ms / 1000
        work = QueueWork(keys, self.executor, self.listeners, self.metrics, options.ending, self.name, timeout_s)
        work.calls = JobCalls(
            self._lines, keys, options.dialect, self._told_progress, signal_of=work.signal_of, ending=options.ending
        )
        work.produce = partial(produce_next, self._lines, keys, options.dialect)
        if options.dead_letters is not None:
            work.burials = Burials(self._lines, keys, Keys(options.dead_letters, keys.prefix), options.dialect)
        line = Line(self._pool)
        self._single.append(line)
        work.settler = Settler(
            line,
            keys,
            options.dialect,
            self.slots,
            work,
            worker_name=self.name,
            lock_ms=options.lock_ms,
            next_token=self._next_token,
            limit=options.limit,
            metrics_points=options.ending.metrics_points,
        )
        return work

    def _beats(self, settings: Settings) -> Beats:
        lines = BlockingLines(self.options.redis, most=1, within=CALL_S)
        about = Beat(
            self.worker_id,
            pod=settings.pod,
            namespace=settings.namespace,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
        )
        return Beats(lines, self._lines, about, self.works, self.controls, self.slots)

    def _next_token(self) -> str:
        """A lock's token names its worker; a new number for each take tells two runs of one job apart."""
        return f"{self.worker_id}:{next(self._takes)}"

    async def _start(self) -> None:
        await self._unless_stopping(self._connect())
        if self._stopping.is_set():
            return
        self.listeners.tell("ready")
        self.beats.start()
        footing = Footing(self._lines, self.beats.steady_s)
        for work, fetcher in zip(self.works, self._fetchers, strict=True):
            queue = work.keys.queue
            self._keep(work.settler.run(), f"settler of {queue}")
            self._take(fetcher.run(), f"fetcher of {queue}")
            self._take(self._recover(work, footing), f"look for stalled jobs of {queue}")
            self._take(self._look(work, footing), f"look for dead workers of {queue}")
            work.settler.look()
        locks = [work.locks for work in self.works]
        self._keep(renew(self._lines, locks, self.options.lock_ms, self._locks_lost), "lock renewal")
        self._keep(self._pulse(), "pulse")

    def _keep(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """A loop that goes on to the very end."""
        self._keepers.append(asyncio.create_task(loop, name=name))

    def _take(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """A loop that a drain ends first."""
        self._takers.append(asyncio.create_task(loop, name=name))

    async def _unless_stopping(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something, but give it up when the shift is told to stop."""
        doing, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
        finally:
            doing.cancel()
            stopping.cancel()

    async def _connect(self) -> None:
        """Wait until Redis is there: it may start later than we do."""
        pause, told = 0.1, 0.0
        while True:
            try:
                await check_server(self._lines, [work.keys for work in self.works])
                await send(self._lines, *OF_WORKERS)
                for work in self.works[len(self._fetchers) :]:
                    self._fetchers.append(await self._fetcher(work))
                self.unready = None
                return
            except RedisUnavailable as error:
                self.unready = str(error)
                if time.monotonic() - told >= 10:
                    told = time.monotonic()
                    logger.error("%s; trying again until it answers", error)
                    self.listeners.tell("error", error)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    async def _fetcher(self, work: QueueWork) -> Fetcher:
        """With its connection, by which dashboards count workers, from the start."""
        line = Line(make_pool(self.options.redis, work.keys.client_name(self.name)))
        try:
            await line.call("PING")
        except RedisRefused as error:
            if error.code != "NOPERM":
                raise
            logger.warning("dashboards will not see this worker: its user may not set the name of a connection")
            line = Line(self._pool)
        self._single.append(line)
        return Fetcher(line, work.keys, work.settler, self.slots)

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
            outage = next((work.account.outage for work in self.works if work.account.outage), None)
            try:
                await self._lines.call("PING")
                self.latency = time.monotonic() - began
                self.metrics.latency(self.latency)
                trouble = next((fetcher.trouble for fetcher in self._fetchers if fetcher.trouble), None)
                self.unready = str(outage) if outage else trouble
            except RedisUnavailable as error:
                self.unready = str(error)
            self.metrics.slots(self.slots.busy, self.slots.total)
            await asyncio.sleep(PULSE_S)

    async def _recover(self, work: QueueWork, footing: Footing) -> None:
        await recover(
            self._lines,
            work.keys,
            self.options.dialect,
            footing,
            interval_ms=self.options.stalled_ms,
            max_stalled=self.options.max_stalled,
            on_recovered=work.recovered,
        )

    async def _look(self, work: QueueWork, footing: Footing) -> None:
        await look(
            self._lines,
            work.keys,
            self.options.dialect,
            footing,
            worker_id=self.worker_id,
            max_stalled=self.options.max_stalled,
            on_recovered=work.recovered,
        )

    def _locks_lost(self, keys: Keys, lost: list[tuple[str, str]]) -> None:
        for work in self.works:
            if work.keys == keys:
                work.locks_lost(lost)

    def _told_progress(self, job: Job, progress: Any) -> None:
        self.listeners.tell("progress", job, progress)

    async def _end(self) -> None:
        try:
            await self.drain.cancelled([*self._takers, *self._keepers])
            await self.drain.last_call(self._lines)
            self.executor.close()
            left = max(0.1, min(1.0, self.drain.left(0.0)))
            await asyncio.gather(*(work.burials.close(left) for work in self.works if work.burials))
            await self.listeners.close(within=left)
            await self.beats.close(within=left)
            for line in self._single:
                await line.close()
            await self._lines.close()
        finally:
            self.unready = "it has ended"
            self.listeners.tell("closed")
            await self.listeners.close(within=0.5)
            self.over.set()

    async def last_call_from_outside(self) -> None:
        """The last call from another thread and event loop, when this one's is blocked."""
        async with Lines(make_pool(self.options.redis)) as lines:
            await self.drain.last_call(lines)
        await self.beats.close(within=LAST_CALL_S / 2)
