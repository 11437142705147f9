"""Manual: jobs taken one by one by the user's own code, without a processor."""

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Callable

from corral import hold_scripts, scripts
from corral.address import make_pool
from corral.clock import now_ms
from corral.connection import Line, Lines
from corral.errors import CorralError, CorruptJob, RedisUnavailable
from corral.fetcher import marker_wait_s
from corral.job import Job
from corral.job_calls import JobCalls
from corral.job_record import from_wire
from corral.keys import Keys
from corral.lifecycle import Failed
from corral.options import JobOptions
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
        self._lost: str | None = None
        self._token = ""
        self._limited_until_ms = 0
        self._checks: asyncio.Task[None] | None = None

    async def next_job(self, timeout_s: float) -> Job | None:
        """The next job, waited for at most `timeout_s`. Raises RedisUnavailable."""
        until = time.monotonic() + timeout_s
        while True:
            next_due_ms = 0
            if now_ms() >= self._limited_until_ms:
                found = await self._take()
                for job_id, fields in found.jobs:
                    if job := await self._read(job_id, fields):
                        return job
                next_due_ms = found.next_due_ms
                self._limited_until_ms = now_ms() + found.limited_ms if found.limited_ms else 0
            if (left := until - time.monotonic()) <= 0:
                return None
            await self._wait(left, next_due_ms)

    async def _take(self) -> Settled:
        """One try. A try whose answer was lost may have brought a job: the next call looks for it first."""
        if self._lost is not None:
            jobs = await scripts.reclaim_jobs(self._lines, self._keys, self._lost, self._options.lock_ms)
            token, self._lost = self._lost, None
            if jobs:
                self._token = token
                return Settled([], jobs, [], 0, 0, [])
        self._token = f"{self._worker_id}:{next(self._takes)}"
        taking = Taking(1, self._token, self._options.lock_ms, self._worker_name, self._options.limit)
        try:
            return await scripts.settle_jobs(self._lines, self._keys, self._options.dialect, now_ms(), [], taking)
        except RedisUnavailable as error:
            self._lost = self._token if error.maybe_done else None
            raise

    async def _read(self, job_id: str, fields: dict[bytes, bytes]) -> Job | None:
        """The job, or None: it cannot be read, and has failed."""
        try:
            job = from_wire(job_id, fields, self._keys.queue, self._calls)
        except CorruptJob as error:
            logger.error("%s", error)
            job = Job(job_id, "", None, JobOptions(), self._keys.queue, now_ms(), token=self._token)
            failed = Failed(str(error), unrecoverable=True)
            await hold_scripts.fail(
                self._lines, self._keys, self._options.dialect, now_ms(), job, failed, self._options.ending
            )
            return None
        job.token = self._token
        job.processed_on = now_ms()
        job.attempts_started += 1
        job.processed_by = self._worker_name or None
        if job.scheduler_id is not None:
            try:
                await produce_next(self._lines, self._keys, self._options.dialect, job)
            except CorralError as error:
                if isinstance(error, RedisUnavailable) and error.code not in FOR_GOOD:
                    # The schedule would end with this job: the next call finds it once more, and tries again.
                    self._lost = self._token
                    raise
                logger.error("the next iteration of job scheduler %r was not added: %s", job.scheduler_id, error)
        return job

    async def _wait(self, left: float, next_due_ms: int) -> None:
        """Until the marker says that there may be a job, or it is time to look again."""
        now = now_ms()
        wait = min(left, marker_wait_s(now, next_due_ms, self._limited_until_ms))
        if self._limited_until_ms > now:
            await asyncio.sleep(wait)
        else:
            # Not below 2 ms: before Redis 7.0.8 a shorter timeout may mean for ever.
            await self._marker.call("BZPOPMIN", self._keys.marker, max(0.002, wait), timeout=wait + 1.0)

    def start_stalled_check(self, on_recovered: Callable[[str], None]) -> None:
        """Put back jobs of dead workers, at once and then every `stalled_interval`, until `close`."""
        if self._checks is None:
            loop = recover(
                self._lines,
                self._keys,
                self._options.dialect,
                interval_ms=self._options.stalled_ms,
                max_stalled=self._options.max_stalled,
                on_recovered=on_recovered,
            )
            self._checks = asyncio.create_task(loop, name=f"look for stalled jobs of {self._keys.queue}")

    async def close(self) -> None:
        """Close the connections. A job that is still held is recovered when its lock has run out."""
        if self._checks is not None:
            self._checks.cancel()
            await asyncio.wait([self._checks])
        await self._marker.close()
        await self._lines.close()
