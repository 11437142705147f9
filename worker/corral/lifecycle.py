"""The steps of a job between them, and the decision what follows from a run.

States are BullMQ's, and so are the words for them. A step is one move of one job out of `active`:

    outcome of a run                         step        next state
    -------------------------------------    ---------   --------------------------------------------
    Completed(value)                         Complete    completed (or gone, as retention says)
    Failed, attempts left, no backoff        Retry       waiting or prioritized
    Failed, attempts left, backoff > 0       Delay       delayed
    Failed, no attempts left                 Fail        failed (or gone, as retention says)
    Failed, unrecoverable                    Fail        failed
    Interrupted (shutdown)                   HandBack    waiting or prioritized, in front; no attempt counted

An attempt counts (`attempts_made`) when it ends in Complete, Fail, Retry or Delay.
Everything else that moves a job (add, take, promote, recover, pause, resume) happens inside one script each.
"""

from dataclasses import dataclass

from corral.errors import InvalidJob
from corral.job import Job
from corral.retention import KEEP_ALL, Keep


@dataclass(frozen=True, slots=True)
class Completed:
    """The processor returned. `value` is JSON text."""

    value: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The processor raised. `unrecoverable`: fail now, whatever attempts remain."""

    reason: str
    stack: str = ""
    unrecoverable: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The run was cut short by a shutdown; the job goes back to the front of its queue."""


Outcome = Completed | Failed | Interrupted


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


def next_step(job: Job, outcome: Outcome, retention: Retention, draw: float) -> Step:
    """Decide what to write for a run that has ended. `draw` is a random number in [0, 1) for the jitter."""
    if isinstance(outcome, Completed):
        return Complete(outcome.value, job.opts.remove_on_complete or retention.completed or KEEP_ALL)
    if isinstance(outcome, Interrupted):
        return HandBack()
    made = job.attempts_made + 1
    reason, stacktrace = outcome.reason, _stacktrace(job, outcome.stack)
    exhausted = made >= job.opts.attempts
    if not (exhausted or outcome.unrecoverable):
        backoff = job.opts.backoff
        try:
            wait_ms = backoff.wait_ms(made, draw) if backoff else 0
        except InvalidJob as error:
            reason = f"{reason} (not retried: {error})"
        else:
            return Delay(reason, stacktrace, wait_ms) if wait_ms else Retry(reason, stacktrace, job.opts.lifo)
    return Fail(reason, stacktrace, job.opts.remove_on_fail or retention.failed or KEEP_ALL, exhausted)


def _stacktrace(job: Job, stack: str) -> tuple[str, ...]:
    """The stored stack traces and this one, oldest first, the last `stack_trace_limit` of them."""
    rows = (*job.stacktrace, stack) if stack else job.stacktrace
    limit = job.opts.stack_trace_limit
    if limit is None:
        return rows
    return rows[-limit:] if limit else ()
