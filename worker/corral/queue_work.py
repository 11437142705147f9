"""One queue of a worker: runs what the settler took, and hands it how each run ended."""

import asyncio
import logging
import random
import time

from corral import logs
from corral.clock import now_ms
from corral.errors import CorralError, CorruptJob, RedisUnavailable
from corral.executor import Executor
from corral.job import Job
from corral.job_door import JobDoor
from corral.job_record import from_wire
from corral.keys import Keys
from corral.lifecycle import OUTCOME_NAMES, Complete, Fail, Failed, HandBack, Interrupted, Outcome, Retention, next_step
from corral.listeners import Listeners
from corral.locks import Locks
from corral.metrics import Metrics
from corral.options import JobOptions
from corral.payload import from_json
from corral.scripts import CODES
from corral.settler import Ended, Settler

logger = logging.getLogger("corral.worker")
job_logger = logging.getLogger("corral.jobs")


class QueueWork:
    """Implements the settler's Receiver for one queue."""

    settler: Settler
    calls: JobDoor

    def __init__(
        self,
        keys: Keys,
        executor: Executor,
        listeners: Listeners,
        metrics: Metrics,
        retention: Retention,
        worker_name: str,
    ) -> None:
        self.keys, self.executor, self.listeners, self.metrics = keys, executor, listeners, metrics
        self.retention, self.worker_name = retention, worker_name
        self.locks = Locks(keys)
        self.running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.outage: RedisUnavailable | None = None
        self._outage_began = self._outage_told = 0.0
        self._drained = True
        self.draining = False
        """Set at shutdown: jobs that a call under way still brings go back untouched."""

    def taken(self, job_id: str, fields: dict[bytes, bytes], token: str) -> None:
        """A job is ours: run it."""
        self._drained = False
        self.locks.hold(job_id, token)
        self.metrics.taken(self.keys.queue, 1)
        try:
            job = from_wire(job_id, fields, self.keys.queue, self.calls)
        except CorruptJob as error:
            job = Job(job_id, "", None, JobOptions(), self.keys.queue, now_ms(), token=token)
            self._end(job, token, Failed(str(error), unrecoverable=True), time.monotonic())
            return
        job.token = token
        job.processed_on = now_ms()
        job.attempts_started += 1
        job.processed_by = self.worker_name or None
        if self.draining:
            self._end(job, token, Interrupted(), time.monotonic())
            return
        if job.scheduler_id is not None:
            logger.warning(
                "job %s is an iteration of job scheduler %r; this version runs it but produces no further one, "
                "so keep a BullMQ worker of Node on queue %s too",
                job_id,
                job.scheduler_id,
                self.keys.queue,
            )
        task = asyncio.create_task(self._run(job, token))
        if not task.done():  # an eager task may have ended by now
            self.running[job_id, token] = task

    async def _run(self, job: Job, token: str) -> None:
        started = time.monotonic()
        try:
            outcome = await self.executor.run(job)
        except Exception as error:
            logger.exception("running job %s of queue %s broke", job.id, self.keys.queue)
            outcome = Failed(f"the worker broke: {type(error).__name__}")
        finally:
            self.running.pop((job.id, token), None)
        if isinstance(outcome, Interrupted) and not self.draining:
            outcome = Failed("the processor cancelled its own task")
        self._end(job, token, outcome, started)

    def _end(self, job: Job, token: str, outcome: Outcome, started: float) -> None:
        step = next_step(job, outcome, self.retention, random.random())
        self.settler.settle(Ended(job, token, step, round((time.monotonic() - started) * 1000)))

    def settled(self, ended: Ended) -> None:
        """Redis has it: tell everybody."""
        job, step = ended.job, ended.step
        self.locks.drop(job.id, ended.token)
        outcome = OUTCOME_NAMES[type(step)]
        reason = None if isinstance(step, Complete | HandBack) else step.reason
        self._account(ended, outcome, reason)
        if isinstance(step, Complete):
            if self.listeners.wants("completed"):
                job.finished_on, job.returnvalue = now_ms(), from_json(step.value)
                self.listeners.tell("completed", job, job.returnvalue)
        elif reason is not None:
            job.failed_reason = reason
            self.listeners.tell("failed", job, reason)
        if isinstance(step, Fail):
            logger.error(
                "job %s (%s) of queue %s failed for good after %d of %d attempts: %s",
                job.id,
                job.name,
                self.keys.queue,
                job.attempt,
                max(1, job.opts.attempts),
                step.reason,
            )
            if step.exhausted:
                self.listeners.tell("retries_exhausted", job, step.reason)

    def _account(self, ended: Ended, outcome: str, reason: str | None) -> None:
        job = ended.job
        wait_ms = None
        if job.attempts_started == 1 and job.processed_on is not None:
            wait_ms = max(0, job.processed_on - job.timestamp - job.opts.delay_ms)
        wait_s = None if wait_ms is None else wait_ms / 1000
        self.metrics.job_ended(self.keys.queue, outcome, wait_s, ended.run_ms / 1000)
        logs.job_ended(
            job_logger,
            job_id=job.id,
            correlation_id=job.opts.correlation_id,
            queue=self.keys.queue,
            name=job.name,
            attempt=job.attempt,
            wait_ms=wait_ms,
            run_ms=ended.run_ms,
            outcome=outcome,
            reason=reason,
        )

    def _report(self, error: CorralError) -> None:
        logger.error("%s", error)
        self.listeners.tell("error", error)

    def refused(self, ended: Ended, code: int, *, sent_before: bool) -> None:
        """Redis changed nothing: the job is not ours any more, or an answer was lost and it is written already."""
        job = ended.job
        self.locks.drop(job.id, ended.token)
        if sent_before:
            logger.warning(
                "the end of job %s of queue %s (%s) was sent before a connection broke; whether it was written is "
                "not known: if not, the job is recovered and runs again",
                job.id,
                self.keys.queue,
                OUTCOME_NAMES[type(ended.step)],
            )
            self._account(ended, "lost", "whether its end was written is not known")
            return
        why = CODES.get(code, f"code {code}")
        error = CorralError(
            f"the end of job {job.id} of queue {self.keys.queue} was not written: {why}; "
            "if the job was recovered, it runs (or ran) once more elsewhere"
        )
        self._account(ended, "lost", why)
        self._report(error)

    def refused_completion(self, ended: Ended, outcome: Failed) -> None:
        """The job has children that forbid its completion: as if its processor had raised that."""
        self.settler.share.reclaim()
        step = next_step(ended.job, outcome, self.retention, random.random())
        self.settler.settle(Ended(ended.job, ended.token, step, ended.run_ms))

    def unreadable(self, job_id: str) -> None:
        """An id was queued without a job: nothing can run, and it is in no list any more."""
        error = CorruptJob(
            f"queue {self.keys.queue} held the id {job_id!r}, but {self.keys.job(job_id)} is no job hash; "
            "the id was taken out of the queue"
        )
        self._report(error)

    def trouble(self, text: str) -> None:
        """Something beside a job's own step went wrong in Redis."""
        error = CorralError(f"damaged keys beside a job of queue {self.keys.queue}: {text}")
        self._report(error)

    def recovered(self, job_id: str) -> None:
        """A job of a dead worker was put back."""
        logger.warning("job %s of queue %s lost its worker and was put back", job_id, self.keys.queue)
        self.metrics.recovered(self.keys.queue, 1)
        self.listeners.tell("stalled", job_id)

    def lock_lost(self, job_id: str) -> None:
        """A job that still runs here may be run elsewhere too."""
        error = CorralError(
            f"the lock of job {job_id} of queue {self.keys.queue} is lost: it may run a second time elsewhere; "
            "was the event loop blocked, or Redis away, for longer than the lock's time?"
        )
        self.metrics.lock_lost(self.keys.queue)
        self._report(error)

    def found_nothing(self) -> None:
        if not self._drained and not self.running:
            self._drained = True
            self.listeners.tell("drained")

    def calling(self, error: RedisUnavailable | None, outcomes: int) -> None:
        """Each try of a settle call ends here: None = it succeeded."""
        now = time.monotonic()
        if error is None:
            if outcomes:
                self.metrics.settled(self.keys.queue, outcomes)
            if self.outage is not None:
                self.outage = None
                logger.info("Redis answers again, after %.1f s", now - self._outage_began)
            return
        self.metrics.redis_error(self.keys.queue)
        if self.outage is None:
            self._outage_began = now
        if str(self.outage) != str(error):
            self._outage_told = 0.0  # another cause: told at once
        self.outage = error
        if now - self._outage_told >= 10:
            self._outage_told = now
            logger.error("%s; %d outcomes of queue %s wait to be written", error, outcomes, self.keys.queue)
            self.listeners.tell("error", error)
