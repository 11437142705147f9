"""Manual: jobs taken one by one by the user's own code, without a processor."""

import asyncio
import itertools
import logging
import math
import time
import uuid
from collections.abc import Callable

from corral import hold_scripts, scripts
from corral.address import make_pool
from corral.clock import now_ms
from corral.connection import Line, Lines
from corral.errors import CorralError, CorruptJob, RedisUnavailable
from corral.fetcher import marker_wait_s
from corral.footing import Footing
from corral.job import Job
from corral.job_calls import JobCalls
from corral.job_record import from_wire, unreadable_job
from corral.keys import Keys
from corral.lifecycle import Failed
from corral.scheduler_work import FOR_GOOD, produce_next
from corral.scripts import Settled, Taking
from corral.stalled import recover
from corral.worker_options import WorkerOptions

logger = logging.getLogger("corral.worker")


class Manual:
    """Takes jobs of one queue by hand. Nobody renews their locks: `Job.extend_lock` does."""

    def __init__(self, options: WorkerOptions, keys: Keys, worker_name: str) -> None:
        self._options, self._keys, self._worker_name = options, keys, worker_name
        self._lines = Lines(make_pool(options.redis))
        self._marker = Line(make_pool(options.redis, keys.client_name(worker_name)))
        self._calls = JobCalls(self._lines, keys, options.dialect, ending=options.ending)
        self._worker_id, self._takes = str(uuid.uuid4()), itertools.count(1)
        # Several calls at once look one after another, and share the connection that waits.
        self._looking, self._waiting = asyncio.Lock(), asyncio.Lock()
        self._lost: str | None = None
        """Token of a take whose job has reached nobody."""
        self._closed = False
        self._limited_until_ms = 0
        self._checks: asyncio.Task[None] | None = None

    async def next_job(self, until: float) -> Job | None:
        """The next job, waited for until a monotonic time, or `close`. Raises RedisUnavailable."""
        while not self._closed:
            try:
                async with self._looking:
                    job, next_due_ms = await self._look()
                if job is not None:
                    return job
                if time.monotonic() >= until:
                    break
                await self._wait(until, next_due_ms)
            except RedisUnavailable:
                if not self._closed:
                    raise
        await asyncio.sleep(0)  # whoever asks again and again with no time to wait must not hold up the loop
        return None

    async def _look(self) -> tuple[Job | None, int]:
        """The job that is there, or None and when the next one is due (epoch ms, 0 = not known)."""
        if now_ms() < self._limited_until_ms:
            return None, 0
        found, token = await self._take()
        for job_id, fields in found.jobs:
            try:
                if job := await self._read(job_id, fields, token):
                    return job, 0
            except (RedisUnavailable, asyncio.CancelledError):
                self._lost = token
                raise
        self._limited_until_ms = now_ms() + found.limited_ms if found.limited_ms else 0
        return None, found.next_due_ms

    async def _take(self) -> tuple[Settled, str]:
        """One try, and its token. A try whose answer was lost may have brought a job: the next call looks for it."""
        if self._lost is not None:
            jobs = await scripts.reclaim_jobs(self._lines, self._keys, self._lost, self._options.lock_ms)
            token, self._lost = self._lost, None
            if jobs:
                return Settled([], jobs, [], 0, 0, []), token
        token = f"{self._worker_id}:{next(self._takes)}"
        taking = Taking(1, token, self._options.lock_ms, self._worker_name, self._options.limit)
        try:
            found = await scripts.settle_jobs(self._lines, self._keys, self._options.dialect, now_ms(), [], taking)
        except RedisUnavailable as error:
            self._lost = token if error.maybe_done else None
            raise
        except asyncio.CancelledError:
            self._lost = token
            raise
        return found, token

    async def _read(self, job_id: str, fields: dict[bytes, bytes], token: str) -> Job | None:
        """The job, or None: it cannot be read, and has failed. Raises RedisUnavailable: it is to be looked for again."""
        try:
            job = from_wire(job_id, fields, self._keys.queue, self._calls)
        except CorruptJob as error:
            logger.error("%s", error)
            job = unreadable_job(job_id, fields, self._keys.queue, error, now_ms())
            job.token = token
            await self._produce(job)
            failed = Failed(str(error), unrecoverable=True)
            await hold_scripts.fail(
                self._lines, self._keys, self._options.dialect, now_ms(), job, failed, self._options.ending
            )
            return None
        job.token = token
        job.processed_on = now_ms()
        job.attempts_started += 1
        job.processed_by = self._worker_name or None
        await self._produce(job)
        return job

    async def _produce(self, job: Job) -> None:
        """Of a scheduler's job, make the next one. Raises RedisUnavailable: the schedule would end with this job."""
        if job.scheduler_id is None:
            return
        try:
            await produce_next(self._lines, self._keys, self._options.dialect, job)
        except CorralError as error:
            if isinstance(error, RedisUnavailable) and error.code not in FOR_GOOD:
                raise
            logger.error("the next iteration of job scheduler %r was not added: %s", job.scheduler_id, error)

    async def _wait(self, until: float, next_due_ms: int) -> None:
        """Until the marker says that there may be a job, or it is time to look again."""
        if self._limited_until_ms > now_ms():
            await asyncio.sleep(min(until - time.monotonic(), marker_wait_s(now_ms(), 0, self._limited_until_ms)))
            return
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._waiting.acquire()
        except TimeoutError:
            return
        try:
            wait = min(until - time.monotonic(), marker_wait_s(now_ms(), next_due_ms, 0))
            if not self._closed:
                # Not below 2 ms: before Redis 7.0.8 a shorter timeout may mean for ever.
                await self._marker.call("BZPOPMIN", self._keys.marker, max(0.002, wait), timeout=max(0.0, wait) + 1.0)
        finally:
            self._waiting.release()

    def start_stalled_check(self, on_recovered: Callable[[str], None]) -> None:
        """Put back jobs of dead workers, at once and then every `stalled_interval`, until `close`."""
        if self._checks is None:
            loop = recover(
                self._lines,
                self._keys,
                self._options.dialect,
                Footing(self._lines, lambda: math.inf),
                interval_ms=self._options.stalled_ms,
                max_stalled=self._options.max_stalled,
                on_recovered=on_recovered,
            )
            self._checks = asyncio.create_task(loop, name=f"look for stalled jobs of {self._keys.queue}")

    async def close(self) -> None:
        """Close the connections; whoever waits for a job gets none. A job that is still held is recovered when its lock
        has run out."""
        self._closed = True
        if self._checks is not None:
            self._checks.cancel()
            await asyncio.wait([self._checks])
        await self._marker.close()
        await self._lines.close()
