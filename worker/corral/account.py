"""Account: tells everybody what became of the jobs of one queue: the log, the metrics, the listeners."""

import logging
import time

from corral import logs
from corral.clock import now_ms
from corral.errors import CorralError, RedisUnavailable
from corral.job import Job
from corral.lifecycle import OUTCOME_NAMES, Complete, Fail, HandBack
from corral.listeners import Listeners
from corral.metrics import Metrics
from corral.payload import from_json
from corral.scripts import CODES
from corral.settler import Ended

logger = logging.getLogger("corral.worker")
job_logger = logging.getLogger("corral.jobs")


class Account:
    """See the module's docstring. `outage`: why Redis does not answer, None = it does."""

    def __init__(self, queue: str, listeners: Listeners, metrics: Metrics) -> None:
        self._queue, self._listeners, self._metrics = queue, listeners, metrics
        self.outage: RedisUnavailable | None = None
        self._outage_began = self._outage_told = 0.0

    def settled(self, ended: Ended) -> None:
        """Redis has it."""
        job, step = ended.job, ended.step
        outcome = OUTCOME_NAMES[type(step)]
        reason = None if isinstance(step, Complete | HandBack) else step.reason
        self.ended(job, ended.run_ms, outcome, reason)
        attempt = job.attempt
        if not isinstance(step, HandBack):
            job.attempts_made = attempt
        if isinstance(step, Complete | Fail):
            job.finished_on = now_ms()
        if isinstance(step, Complete):
            if self._listeners.wants("completed"):
                job.returnvalue = from_json(step.value)
                self._listeners.tell("completed", job, job.returnvalue)
        elif not isinstance(step, HandBack):
            job.failed_reason, job.stacktrace = step.reason, step.stacktrace
            self._listeners.tell("failed", job, step.reason)
        if isinstance(step, Fail):
            logger.error(
                "job %s (%s) of queue %s failed for good after %d of %d attempts: %s",
                job.id,
                job.name,
                self._queue,
                attempt,
                max(1, job.opts.attempts),
                step.reason,
            )
            if step.exhausted:
                self._listeners.tell("retries_exhausted", job, step.reason)

    def ended(self, job: Job, run_ms: int, outcome: str, reason: str | None) -> None:
        """A run is over. `outcome`: one of the metrics' OUTCOMES; `reason`: what went wrong, if anything."""
        wait_ms = None
        if job.attempts_started == 1 and job.processed_on is not None:
            wait_ms = max(0, job.processed_on - job.timestamp - job.opts.delay_ms)
        wait_s = None if wait_ms is None else wait_ms / 1000
        self._metrics.job_ended(self._queue, outcome, wait_s, run_ms / 1000)
        logs.job_ended(
            job_logger,
            job_id=job.id,
            correlation_id=job.opts.correlation_id,
            queue=self._queue,
            name=job.name,
            attempt=job.attempt,
            wait_ms=wait_ms,
            run_ms=run_ms,
            outcome=outcome,
            reason=reason,
        )

    def report(self, error: CorralError) -> None:
        """Something went wrong that the worker lives with."""
        logger.error("%s", error)
        self._listeners.tell("error", error)

    def refused(self, ended: Ended, code: int, *, sent_before: bool) -> None:
        """Redis did not write an end."""
        job = ended.job
        if sent_before:
            logger.warning(
                "the end of job %s of queue %s (%s) was sent before a connection broke; whether it was written is "
                "not known: if not, the job is recovered and runs again",
                job.id,
                self._queue,
                OUTCOME_NAMES[type(ended.step)],
            )
            self.ended(job, ended.run_ms, "lost", "whether its end was written is not known")
            return
        why = CODES.get(code, f"code {code}")
        error = CorralError(
            f"the end of job {job.id} of queue {self._queue} was not written: {why}; "
            "if the job was recovered, it runs (or ran) once more elsewhere"
        )
        self.ended(job, ended.run_ms, "lost", why)
        self.report(error)

    def recovered(self, job_id: str) -> None:
        """A job of a dead worker was put back."""
        logger.warning("job %s of queue %s lost its worker and was put back", job_id, self._queue)
        self._metrics.recovered(self._queue, 1)
        self._listeners.tell("stalled", job_id)

    def calling(self, error: RedisUnavailable | None, outcomes: int) -> None:
        """Each try of a settle call ends here: None = it succeeded."""
        now = time.monotonic()
        if error is None:
            if outcomes:
                self._metrics.settled(self._queue, outcomes)
            if self.outage is not None:
                self.outage = None
                logger.info("Redis answers again, after %.1f s", now - self._outage_began)
            return
        self._metrics.redis_error(self._queue)
        if self.outage is None:
            self._outage_began = now
        if str(self.outage) != str(error):
            self._outage_told = 0.0  # another cause: told at once
        self.outage = error
        if now - self._outage_told >= 10:
            self._outage_told = now
            logger.error("%s; %d outcomes of queue %s wait to be written", error, outcomes, self._queue)
            self._listeners.tell("error", error)
