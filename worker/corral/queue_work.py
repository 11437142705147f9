"""One queue of a worker: runs what the settler took, and hands it how each run ended."""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from corral.account import Account
from corral.clock import now_ms
from corral.connection import retry_pause_s
from corral.dead_letter_work import Burials
from corral.ending import Ending, outcome_of
from corral.errors import CorralError, CorruptJob, JobCancelled, JobTimeout, LockLost, RedisUnavailable
from corral.executor import Executor
from corral.job import Job
from corral.job_door import JobDoor
from corral.job_record import from_wire, starts_of, unreadable_job
from corral.job_signal import Signal
from corral.keys import Keys
from corral.lifecycle import (
    Completed,
    Fail,
    Failed,
    HandBack,
    Interrupted,
    Moved,
    Outcome,
    RateLimited,
    Verdict,
)
from corral.listeners import Listeners
from corral.locks import Locks
from corral.metrics import Metrics
from corral.retention import KEEP_ALL
from corral.run import Run
from corral.scheduler_work import FOR_GOOD
from corral.settler import Ended, Settler
from corral.tally import Tally

logger = logging.getLogger("corral.worker")

_NOT_RUN = Interrupted()


class QueueWork:
    """Implements the settler's Receiver for one queue.

    `produce(job)` adds the next iteration of a job scheduler's job; `limit(duration_ms)` sets (0: looks for) the
    queue's rate limit. `burials`: for jobs that have failed for good, None = they stay where they are. `timeout_s`: how
    long a job may run, None = as long as it likes.
    """

    settler: Settler
    calls: JobDoor
    burials: Burials | None = None
    produce: Callable[[Job], Awaitable[object]]
    limit: Callable[[int], Awaitable[None]]

    def __init__(
        self,
        keys: Keys,
        executor: Executor,
        listeners: Listeners,
        metrics: Metrics,
        ending: Ending,
        worker_name: str,
        timeout_s: float | None = None,
    ) -> None:
        self.keys, self.executor, self.listeners, self.metrics = keys, executor, listeners, metrics
        self.ending, self.worker_name, self.timeout_s = ending, worker_name, timeout_s
        self.locks = Locks(keys)
        self.running: dict[tuple[str, str], Run] = {}
        self.tally = Tally(time.monotonic())
        self.account = Account(keys.queue, listeners, metrics)
        self._drained = True
        self.draining = False
        """Set at shutdown: jobs that a call under way still brings go back untouched."""

    def taken(self, job_id: str, fields: dict[bytes, bytes], token: str) -> None:
        """A job is ours: run it."""
        self._drained = False
        self.tally.took(time.monotonic())
        self.locks.hold(job_id, token, starts_of(fields))
        self.metrics.taken(self.keys.queue, 1)
        try:
            job = from_wire(job_id, fields, self.keys.queue, self.calls)
        except CorruptJob as error:
            job = unreadable_job(job_id, fields, self.keys.queue, error, now_ms())
            if job.scheduler_id is None:
                self._end(job, token, Failed(str(error), unrecoverable=True), time.monotonic())
                return
        job.token = token
        job.processed_on = now_ms()
        job.attempts_started += 1
        job.processed_by = self.worker_name or None
        if self.draining:
            self._end(job, token, Interrupted(), time.monotonic())
            return
        # Known before anybody hears of it, who may cancel it; and an eager task begins, and may end, at once.
        self.running[job_id, token] = run = Run(job)
        if self.listeners.wants("active"):
            self.listeners.tell("active", job)
        run.task = asyncio.create_task(self._run(run, token))

    async def _run(self, run: Run, token: str) -> None:
        job, started, verdict = run.job, time.monotonic(), None
        outcome: Outcome = _NOT_RUN
        try:
            if job.scheduler_id is not None:
                await self._produce(job)
            if run.stopped is None:
                if self.timeout_s is not None:
                    run.timer = asyncio.get_running_loop().call_later(self.timeout_s, self._time_out, run)
                run.stage = "in"
                outcome = await self.executor.run(job)
            run.stage = "after"  # from here on only a shutdown cuts it short
            if not isinstance(outcome, Completed) or run.stopped is not None:
                outcome = outcome_of(outcome, run.stopped, draining=self.draining)
                verdict = await self._before_end(job, outcome)
        except asyncio.CancelledError:
            outcome, verdict = await self._cut_short(run, outcome)
        except Exception as error:
            logger.exception("running job %s of queue %s broke", job.id, self.keys.queue)
            outcome = Failed(f"the worker broke: {type(error).__name__}")
        finally:
            if run.timer is not None:
                run.timer.cancel()
            self.running.pop((job.id, token), None)
        self._end(job, token, outcome, started, verdict)

    async def _produce(self, job: Job) -> None:
        """The schedule would end with this job if it ran while Redis is away: it waits until the next one is there."""
        for failures in itertools.count():
            try:
                await self.produce(job)
                return
            except Exception as error:
                if not isinstance(error, RedisUnavailable) or error.code in FOR_GOOD:
                    logger.exception(
                        "the next iteration of job scheduler %r of queue %s was not added; job %s runs all the same",
                        job.scheduler_id,
                        self.keys.queue,
                        job.id,
                    )
                    return
                if failures == 0:
                    logger.warning(
                        "job %s of queue %s waits until the next iteration of job scheduler %r can be added: %s",
                        job.id,
                        self.keys.queue,
                        job.scheduler_id,
                        error,
                    )
            await asyncio.sleep(retry_pause_s(failures, random.random()))

    async def _cut_short(self, run: Run, outcome: Outcome) -> tuple[Outcome, Verdict | None]:
        """Cancelled before its processor, or after it: by a shutdown, or by a processor that cancels its own task."""
        try:
            if not self.draining:
                if run.stage != "after":
                    outcome = outcome_of(Interrupted(), run.stopped, draining=False)
                return outcome, await self._before_end(run.job, outcome)
        except asyncio.CancelledError:
            pass
        # Even one that was told to end: it may not have made the next iteration of its scheduler.
        return Interrupted(), None

    async def _before_end(self, job: Job, outcome: Outcome) -> Verdict | None:
        """What must be asked, or done, before an outcome can be written."""
        if isinstance(outcome, RateLimited):
            try:
                await self.limit(outcome.duration_ms)
            except RedisUnavailable as error:
                logger.error("the rate limit of queue %s could not be set or read: %s", self.keys.queue, error)
        if isinstance(outcome, Failed) and self.ending.asks(job, outcome):
            return await self.ending.verdict(job, outcome)
        return None

    def _end(self, job: Job, token: str, outcome: Outcome, started: float, verdict: Verdict | None = None) -> None:
        now = time.monotonic()
        run_ms = round((now - started) * 1000)
        if isinstance(outcome, Moved):
            self.tally.ended(now, attempt=True)
            self._moved(job, token, outcome, run_ms)
            return
        try:
            step = self.ending.step(job, outcome, verdict)
        except Exception as error:
            # A processor can write anything into its job.
            logger.exception("how job %s of queue %s ends could not be decided", job.id, self.keys.queue)
            step = Fail(f"the worker broke: {type(error).__name__}", (), KEEP_ALL, exhausted=False)
        self.tally.ended(now, attempt=not isinstance(step, HandBack))
        self.settler.settle(Ended(job, token, step, run_ms))

    def _moved(self, job: Job, token: str, moved: Moved, run_ms: int) -> None:
        """Its processor has put the job elsewhere: it is not ours any more."""
        self.locks.drop(job.id, token)
        self.tally.written()
        self.settler.let_go()
        self.settler.look()  # what the job left behind, its own children say, may run now
        self.account.ended(job, run_ms, "moved", moved.trouble or None)
        if moved.trouble:
            logger.warning(
                "job %s of queue %s was moved by its own processor, which then raised: %s",
                job.id,
                self.keys.queue,
                moved.trouble,
            )

    def _time_out(self, run: Run) -> None:
        error = JobTimeout(f"the job ran longer than {self.timeout_s:g} s, the job_timeout of its worker")
        run.stop(error, self.executor.in_thread)

    def cancel(self, job_id: str | None, reason: str) -> bool:
        """Cancel the runs of a job, or all (None). False: there is none."""
        found = [run for (id, _), run in self.running.items() if job_id is None or id == job_id]
        told = [run.stop(JobCancelled(reason), self.executor.in_thread) for run in found]
        return any(told)

    def signal_of(self, job: Job) -> Signal:
        """The signal of a job that runs here. Raises CorralError for any other."""
        run = self.running.get((job.id, job.token or ""))
        if run is None:
            raise CorralError(f"job {job.id} does not run in this worker (any more): only a running job has a signal")
        return run.signal

    def refused_completion(self, ended: Ended, outcome: Failed) -> None:
        """The job has children that forbid its completion: as if its processor had raised that."""
        self.settler.share.reclaim()
        self.tally.reclaimed(time.monotonic())
        if self.ending.asks(ended.job, outcome):
            self.running[ended.job.id, ended.token] = run = Run(ended.job)
            run.stage = "after"
            run.task = asyncio.create_task(self._refuse_later(ended, outcome))
        else:
            self._refuse(ended, outcome)

    def _refuse(self, ended: Ended, outcome: Failed | Interrupted, verdict: Verdict | None = None) -> None:
        step = self.ending.step(ended.job, outcome, verdict)
        self.tally.ended(time.monotonic(), attempt=False)
        self.settler.settle(Ended(ended.job, ended.token, step, ended.run_ms))

    async def _refuse_later(self, ended: Ended, outcome: Failed) -> None:
        try:
            self._refuse(ended, outcome, await self.ending.verdict(ended.job, outcome))
        except asyncio.CancelledError:
            self._refuse(ended, Interrupted())
        finally:
            self.running.pop((ended.job.id, ended.token), None)

    def settled(self, ended: Ended) -> None:
        """Redis has it."""
        self._gone(ended)
        self.account.settled(ended)
        if self.burials is not None and isinstance(ended.step, Fail):
            self.burials.begin(ended.job.id)

    def refused(self, ended: Ended, code: int, *, sent_before: bool) -> None:
        """Redis changed nothing: the job is not ours any more, or an answer was lost and it is written already."""
        self._gone(ended)
        self.account.refused(ended, code, sent_before=sent_before)

    def _gone(self, ended: Ended) -> None:
        self.locks.drop(ended.job.id, ended.token)
        self.tally.written()

    def unreadable(self, job_id: str) -> None:
        """An id was queued without a job: nothing can run, and it is in no list any more."""
        error = CorruptJob(
            f"queue {self.keys.queue} held the id {job_id!r}, but {self.keys.job(job_id)} is no job hash; "
            "the id was taken out of the queue"
        )
        self.account.report(error)

    def trouble(self, text: str) -> None:
        """Something beside a job's own step went wrong in Redis."""
        error = CorralError(f"damaged keys beside a job of queue {self.keys.queue}: {text}")
        self.account.report(error)

    def locks_lost(self, lost: Sequence[tuple[str, str]]) -> None:
        """Jobs that still run here may be run elsewhere too."""
        # Between its move and its end a moved job has no lock either; and one that runs no more is told by how it ends.
        lost = [pair for pair in lost if (run := self.running.get(pair)) is not None and not run.job.moved]
        if lost and self.listeners.wants("lock_renewal_failed"):
            self.listeners.tell("lock_renewal_failed", [job_id for job_id, _ in lost])
        for pair in lost:
            self._lock_lost(*pair)

    def _lock_lost(self, job_id: str, token: str) -> None:
        error = LockLost(
            f"the lock of job {job_id} of queue {self.keys.queue} is lost: it may run a second time elsewhere; "
            "was the event loop blocked, or Redis away, for longer than the lock's time?"
        )
        if run := self.running.get((job_id, token)):
            run.signal.abort(error)
        self.metrics.lock_lost(self.keys.queue)
        self.account.report(error)

    def found_nothing(self) -> None:
        if not self._drained and not self.running:
            self._drained = True
            self.listeners.tell("drained")

    def recovered(self, job_id: str) -> None:
        """A job of a dead worker was put back."""
        self.account.recovered(job_id)

    def calling(self, error: RedisUnavailable | None, outcomes: int) -> None:
        """Each try of a settle call ends here: None = it succeeded."""
        self.account.calling(error, outcomes)
