"""Every error Corral raises, in one tree.

    CorralError
    |-- ConfigurationError      the program was set up wrongly; `corral` ends with exit code 2
    |   `-- InvalidQueueName    empty, or holds a colon
    |-- InvalidJob              a job that no worker of the fleet could read; nothing was written
    |   |-- PayloadNotJSON      data, progress or a return value is not JSON (NaN and Infinity are not)
    |   `-- PayloadTooLarge     data is longer than the `size_limit` of its options
    |-- JobNotFound             the job's hash is gone: removed, trimmed by retention, or never there
    |-- JobNotInState           the job is not in the state that the call needs
    |-- JobLocked               a worker runs the job (or one of its children)
    |-- LockLost                the job is not the caller's any more: its lock ran out or is another's
    |-- ParentNotFound          a child was added to a job that is not there
    |-- JobHasParent            the job belongs to another flow already
    |-- JobOfScheduler          the pending iteration of a job scheduler cannot be removed by itself
    |-- SchedulerConflict       the job that a scheduler would add exists already
    |-- QueueInUse              the queue must be paused first, or still runs jobs
    |-- JobFailed               a job that somebody waited for has failed
    |-- JobTimeout              a job ran, or was waited for, longer than allowed
    |-- JobCancelled            a running job was told to end
    |-- CorruptJob              the job's hash cannot be read; names the job and the field
    |-- RedisUnavailable        Redis did not answer; says whether the call may have been carried out
    |   `-- RedisRefused        Redis answered and refused: password, permission, full memory, wrong type
    |-- UnrecoverableError      raised by a processor: fail now, whatever attempts remain
    |-- RateLimitError          raised by a processor that may not go on now: back to the front
    `-- JobMoved                raised by a processor after it moved its own job: nothing is left to write
        |-- DelayedError            moved by `move_to_delayed`
        |-- WaitingError            moved by `move_to_wait`
        `-- WaitingChildrenError    moved by `move_to_waiting_children`

Every message names the cause and, where there is one, the cure. None carries a credential.
"""

import re
from datetime import datetime, timedelta


class CorralError(Exception):
    """Base of every error raised by Corral."""


class ConfigurationError(CorralError):
    """The program was set up wrongly: a setting, a module, a name. Ends `corral` with exit code 2."""


class InvalidQueueName(ConfigurationError):
    """A queue name is empty or holds a colon, which separates the parts of a Redis key."""


class InvalidJob(CorralError, ValueError):
    """The job was refused before anything was written, because other workers would trip over it."""


class PayloadNotJSON(InvalidJob):
    """A value cannot be written as JSON."""


class PayloadTooLarge(InvalidJob):
    """The data's JSON is longer than `size_limit` bytes."""


class JobNotFound(CorralError):
    """The job's hash does not exist (any more)."""


class JobNotInState(CorralError):
    """The job is not in the state that the call needs; nothing was changed."""


class JobLocked(CorralError):
    """A worker runs the job, or one of its children; nothing was changed."""


class LockLost(CorralError):
    """The job is not the caller's any more: its lock ran out, or another worker holds it. Nothing was changed."""


class ParentNotFound(CorralError):
    """The parent that a child was added to does not exist; nothing was added."""


class JobHasParent(CorralError):
    """A job with this id exists and belongs to another parent that is alive."""


class JobOfScheduler(CorralError):
    """The job is the pending iteration of a job scheduler, which would end with it; remove the scheduler instead."""


class SchedulerConflict(CorralError):
    """A job with the id of a scheduler's next iteration exists already."""


class QueueInUse(CorralError):
    """The queue must be paused first, or still runs jobs; nothing was changed."""


class JobFailed(CorralError):
    """A job that somebody waited for has failed for good. `reason` is its failed reason."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class JobTimeout(CorralError, TimeoutError):
    """A job ran, or was waited for, longer than allowed."""


class JobCancelled(CorralError):
    """The job's run was cancelled by `Worker.cancel_job`, or by the end of its worker."""


class CorruptJob(CorralError):
    """The job's hash cannot be read as a job."""


class RedisUnavailable(CorralError):
    """Redis could not be reached, or the connection broke before it answered.

    `what` happened, and what the reader of a worker's log can do about it (`cure`, may be empty); the message has both.
    `maybe_done` is True when the command had been sent: it may have been carried out.
    `code` is one word for programs: unreachable, timeout, broken, tls, tls-wanted, tls-none, sentinels, master, replica, or empty.
    """

    def __init__(self, what: str, cure: str = "", *, maybe_done: bool = False, code: str = "") -> None:
        super().__init__(f"{what}; {cure}" if cure else what)
        self.what = what
        self.maybe_done = maybe_done
        self.code = code


class RedisRefused(RedisUnavailable):
    """Redis answered with an error of its own: nothing of the command was carried out.

    `code` is the word that its answer began with: WRONGPASS, NOAUTH, NOPERM, OOM, READONLY, LOADING ...
    `command` is the one that the user may not run, where Redis names it.
    """

    def __init__(self, message: str, code: str, command: str = "") -> None:
        super().__init__(message, code=code)
        self.command = command


class UnrecoverableError(CorralError):
    """Raise it in a processor to fail the job at once, with attempts left or not."""


class RateLimitError(CorralError):
    """Raise it in a processor that may not go on now: its job goes back to the front, and no attempt is counted.

    With a duration (a timedelta or seconds) the job's queue is limited for so long first, as `Worker.rate_limit` does;
    without, call that (or `Queue.rate_limit`) before.
    """

    def __init__(self, duration: timedelta | float | None = None) -> None:
        super().__init__("the rate limit is reached")
        self.duration = duration


class JobMoved(CorralError):
    """Ends a processor that has moved its own job: the worker writes nothing more about this run."""


class DelayedError(JobMoved):
    """Raise it in a processor after `job.move_to_delayed`."""


class WaitingError(JobMoved):
    """Raise it in a processor after `job.move_to_wait`."""


class WaitingChildrenError(JobMoved):
    """Raise it in a processor after `job.move_to_waiting_children` has said that there are children to wait for."""


_SAYABLE = str | bytes | int | float | datetime | timedelta | None
"""Types whose `repr` holds the value alone. Others are told by their type: a client's `repr` may show its password."""


def shown(value: object) -> str:
    """What an error may show of a value that it refuses, which may be a Redis URL in the wrong place."""
    if not isinstance(value, _SAYABLE):
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    if re.search("://|:.*@", text):
        return "(a URL, not shown: give it as redis=)"
    return text
