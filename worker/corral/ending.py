"""What one worker says of how its jobs end: retention, limits, and its own backoff strategy."""

import inspect
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from corral.errors import CorralError, JobCancelled, JobTimeout
from corral.job import Job
from corral.lifecycle import (
    Completed,
    Failed,
    Interrupted,
    Outcome,
    RateLimited,
    Retention,
    Step,
    Verdict,
    asks_strategy,
    next_step,
)
from corral.moments import Duration, to_ms
from corral.payload import storable

Wait = Duration | None

BackoffStrategy = (
    Callable[[int, str, BaseException, Job], Wait] | Callable[[int, str, BaseException, Job], Awaitable[Wait]]
)
"""Says how long a failed job waits: `strategy(attempts_made, type, error, job)`, plain or async.

`attempts_made` counts from 1 with the attempt that just failed; `type` is the backoff's name in the job's options.
A timedelta or seconds; None (or -1) = do not retry. It runs in the event loop: if it must wait, make it async.
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one worker ends jobs.

    max_started: starts after which a job is not retried, None = no limit;
    metrics_points: minutes kept of the queue's metrics, 0 = it writes none.
    """

    retention: Retention = field(default_factory=Retention)
    max_started: int | None = None
    strategy: BackoffStrategy | None = None
    metrics_points: int = 0

    def asks(self, job: Job, outcome: object) -> bool:
        """Whether the strategy must be asked before the step can be decided."""
        return self.strategy is not None and asks_strategy(job, outcome, self.max_started)

    def step(
        self, job: Job, outcome: Completed | Failed | Interrupted | RateLimited, verdict: Verdict | None = None
    ) -> Step:
        """Decide what to write for a run that has ended."""
        draw = random.random()
        return next_step(job, outcome, self.retention, draw, max_started=self.max_started, verdict=verdict)

    async def verdict(self, job: Job, failed: Failed) -> Verdict:
        """Ask the strategy. Raises nothing: one that breaks is a verdict of its own."""
        assert self.strategy is not None
        assert job.opts.backoff is not None
        try:
            error = failed.error or CorralError(failed.reason)
            told = self.strategy(job.attempts_made + 1, job.opts.backoff.type, error, job)
            wait = await told if inspect.isawaitable(told) else told
            return Verdict(None if wait is None or wait == -1 else to_ms(wait))
        except Exception as error:  # noqa: BLE001  (the border to user code)
            return Verdict(trouble=storable(f"the backoff strategy raised {type(error).__name__}: {error}"))


def outcome_of(outcome: Outcome, stopped: CorralError | None, *, draining: bool) -> Outcome:
    """How a run ended that was told to end (`stopped`: why), or was cancelled by whomever.

    One that took too long has failed, whatever it did at last. One that was cancelled ends as its processor has it:
    it may have finished all the same. At a shutdown (`draining`) what did not finish is handed back.
    """
    if isinstance(stopped, JobTimeout):
        if isinstance(outcome, Failed):
            return replace(outcome, reason=str(stopped))
        if isinstance(outcome, Completed | Interrupted):
            return Failed(str(stopped), error=stopped)
    if isinstance(outcome, Interrupted):
        if stopped is not None:
            return Failed(str(stopped), error=stopped)
        return outcome if draining else Failed("the processor cancelled its own task")
    if draining and stopped is None and isinstance(outcome, Failed) and isinstance(outcome.error, JobCancelled):
        return Interrupted()  # a plain processor that obeyed its signal
    return outcome
