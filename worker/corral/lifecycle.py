"""The steps of a job between them, and the decision what follows from a run.

States are BullMQ's, and so are the words for them. A step is one move of one job out of `active`:

    outcome of a run                         step        next state
    -------------------------------------    ---------   --------------------------------------------
    Completed(value)                         Complete    completed (or gone, as retention says)
    Failed, attempts left, no backoff        Retry       waiting or prioritized
    Failed, attempts left, backoff > 0       Delay       delayed
    Failed, no attempts left                 Fail        failed (or gone, as retention says)
    Failed, no starts left                   Fail        failed
    Failed, unrecoverable                    Fail        failed
    Interrupted (shutdown)                   HandBack    waiting or prioritized, in front; no attempt counted
    RateLimited                              HandBack    the same
    Moved                                    none        where its processor has put it

An attempt counts (`attempts_made`) when it ends in Complete, Fail, Retry or Delay.
Everything else that moves a job (add, take, promote, recover, pause, resume) happens inside one script each.
"""

from dataclasses import dataclass, field

from corral.errors import InvalidJob
from corral.job import Job
from corral.retention import KEEP_ALL, Keep


@dataclass(frozen=True, slots=True)
class Completed:
    """The processor returned. `value` is JSON text."""

    value: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The processor raised `error`. `unrecoverable`: fail now, whatever attempts remain."""

    reason: str
    stack: str = ""
    unrecoverable: bool = False
    error: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The run was cut short by a shutdown; the job goes back to the front of its queue."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The processor may not go on now; its job goes back to the front. `duration_ms`: its queue is limited for so long
    first, 0 = it is already."""

    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """The processor has moved its job itself: nothing is left to write. `trouble`: what it raised after that."""

    trouble: str = ""


Outcome = Completed | Failed | Interrupted | RateLimited | Moved


@dataclass(frozen=True, slots=True)
class Complete:
    value: str
    keep: Keep


@dataclass(frozen=True, slots=True)
class Fail:
    reason: str
    stacktrace: tuple[str, ...]
    keep: Keep
    exhausted: bool
    """All attempts are used up (not so for an unrecoverable error with attempts left)."""


@dataclass(frozen=True, slots=True)
class Retry:
    reason: str
    stacktrace: tuple[str, ...]
    lifo: bool


@dataclass(frozen=True, slots=True)
class Delay:
    reason: str
    stacktrace: tuple[str, ...]
    delay_ms: int


@dataclass(frozen=True, slots=True)
class HandBack:
    pass


Step = Complete | Fail | Retry | Delay | HandBack

OUTCOME_NAMES: dict[type[Step], str] = {
    Complete: "completed",
    Fail: "failed",
    Retry: "retried",
    Delay: "delayed",
    HandBack: "handed_back",
}
"""What logs and metrics call each step."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The worker's own retention, for jobs that say nothing about it. None = keep all."""

    completed: Keep | None = None
    failed: Keep | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a worker's own backoff strategy said. `wait_ms`: None = do not retry; `trouble`: why it said nothing."""

    wait_ms: int | None = None
    trouble: str = ""


def asks_strategy(job: Job, outcome: object, max_started: int | None) -> bool:
    """Whether the next step depends on a backoff strategy that only the worker may know."""
    return (
        isinstance(outcome, Failed)
        and _may_retry(job, outcome, max_started)
        and job.opts.backoff is not None
        and job.opts.backoff.is_custom
    )


def next_step(
    job: Job,
    outcome: Completed | Failed | Interrupted | RateLimited,
    retention: Retention,
    draw: float,
    *,
    max_started: int | None = None,
    verdict: Verdict | None = None,
) -> Step:
    """Decide what to write for a run that has ended.

    `draw` is a random number in [0, 1) for the jitter; `max_started`: after so many starts a job is not retried;
    `verdict`: what the worker's own backoff strategy said, None = it has none.
    """
    if isinstance(outcome, Completed):
        return Complete(outcome.value, job.opts.remove_on_complete or retention.completed or KEEP_ALL)
    if not isinstance(outcome, Failed):
        return HandBack()
    reason, stacktrace = outcome.reason, _stacktrace(job, outcome.stack)
    if _may_retry(job, outcome, max_started):
        try:
            wait_ms = _wait_ms(job, draw, verdict)
        except InvalidJob as error:
            reason, wait_ms = f"{reason} (not retried: {error})", None
        if wait_ms is not None:
            return Delay(reason, stacktrace, wait_ms) if wait_ms else Retry(reason, stacktrace, job.opts.lifo)
    exhausted = job.attempts_made + 1 >= job.opts.attempts
    return Fail(reason, stacktrace, job.opts.remove_on_fail or retention.failed or KEEP_ALL, exhausted)


def _may_retry(job: Job, failed: Failed, max_started: int | None) -> bool:
    if failed.unrecoverable or job.attempts_made + 1 >= job.opts.attempts:
        return False
    return not max_started or job.attempts_started < max_started


def _wait_ms(job: Job, draw: float, verdict: Verdict | None) -> int | None:
    """Milliseconds until the next attempt, None = there is to be none. Raises InvalidJob: it cannot be told."""
    backoff = job.opts.backoff
    if backoff is None:
        return 0
    if verdict is None or not backoff.is_custom:
        return backoff.wait_ms(job.attempts_made + 1, draw)
    if verdict.trouble:
        raise InvalidJob(verdict.trouble)
    return verdict.wait_ms


def _stacktrace(job: Job, stack: str) -> tuple[str, ...]:
    """The stored stack traces and this one, oldest first, the last `stack_trace_limit` of them."""
    rows = (*job.stacktrace, stack) if stack else job.stacktrace
    limit = job.opts.stack_trace_limit
    if limit is None:
        return rows
    return rows[-limit:] if limit else ()
