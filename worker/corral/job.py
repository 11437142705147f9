"""Job: what a processor sees."""

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from corral.dead_letter import DeadLetter
from corral.errors import CorralError, InvalidJob, UnrecoverableError
from corral.job_door import JobDoor
from corral.moments import Duration, from_epoch_ms, to_epoch_ms, to_ms
from corral.options import JobOptions
from corral.parent_link import Parent
from corral.payload import storable, to_json
from corral.reply import Reply
from corral.state import State

if TYPE_CHECKING:
    from corral.children import Dependencies, DependencyCounts
    from corral.events import QueueEvents
    from corral.job_signal import Signal


@dataclass(slots=True, eq=False, repr=False)
class Job:
    """One job. Times are epoch milliseconds, as they are stored, and so is `delay`; 0 or None = never happened.

    `attempts_made` counts attempts that have ended (0 on the first run), `attempts_started` counts the takes
    (1 on the first run). `data` is any JSON value: producers in Node may send null, a list or a text.
    """

    id: str
    name: str
    data: Any
    opts: JobOptions
    queue_name: str
    timestamp: int
    delay: int = 0
    priority: int = 0
    attempts_made: int = 0
    attempts_started: int = 0
    stalled_counter: int = 0
    processed_on: int | None = None
    finished_on: int | None = None
    processed_by: str | None = None
    progress: Any = 0
    returnvalue: Any = None
    failed_reason: str | None = None
    stacktrace: tuple[str, ...] = ()
    deferred_failure: str | None = None
    parent_key: str | None = None
    parent: Parent | None = None
    scheduler_id: str | None = None
    deduplication_id: str | None = None
    token: str | None = None
    moved: bool = False
    """Its processor has moved it itself: nothing is left to write of this run."""
    _door: JobDoor | None = None

    def __repr__(self) -> str:
        # Neither data nor options: they may be large, or nobody's business.
        return f"Job({self.id!r}, {self.name!r}, queue={self.queue_name!r})"

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.attempts_made + 1

    @property
    def dead_letter(self) -> DeadLetter | None:
        """Where a job of a dead-letter queue came from; None for any other job."""
        return DeadLetter.from_wire(self.opts.extra.get("deadLetter"))

    @property
    def added_at(self) -> datetime:
        """When the job was made, in UTC."""
        return from_epoch_ms(self.timestamp)

    @property
    def as_parent(self) -> Parent:
        """What a child names to be added below this job: `await queue.add("part", parent=job.as_parent)`."""
        return self._asked().as_parent(self)

    @property
    def signal(self) -> "Signal":
        """In a processor: by which it is told that the job is to end, or that its lock is lost.

        Raises CorralError for a job that does not run here.
        """
        return self._asked().signal(self)

    def update_progress(self, progress: Any) -> Reply[None]:
        """Store the progress (any JSON value) and tell listeners of it. `await` it in an async processor.

        In a plain processor, which runs in a thread, the call itself waits until it is written.
        Raises PayloadNotJSON, JobNotFound, RedisUnavailable.
        """
        text = to_json(progress, f"progress of job {self.id}")
        self.progress = progress
        return self._asked().update_progress(self, text)

    def log(self, row: str) -> Reply[int]:
        """Add a row to the job's log; gives the number of rows kept. Waits like `update_progress`.

        Raises JobNotFound, RedisUnavailable; InvalidJob for what is no text.
        """
        if not isinstance(row, str):
            raise InvalidJob(f"a log row is a text, got {type(row).__name__}")
        return self._asked().add_log(self, storable(row))

    def clear_logs(self, keep: int | None = None) -> Reply[None]:
        """Delete the job's log, or all but the newest `keep` rows."""
        return self._asked().clear_logs(self, keep)

    def get_logs(self) -> Reply[list[str]]:
        """The log rows, oldest first."""
        return self._asked().get_logs(self)

    def get_state(self) -> Reply[State]:
        """Where the job is now; UNKNOWN when it does not exist."""
        return self._asked().get_state(self)

    def update_data(self, data: Any) -> Reply[None]:
        """Replace the data (any JSON value). Raises PayloadNotJSON, JobNotFound."""
        text = to_json(data, f"data of job {self.id}")
        self.data = data
        return self._asked().update_data(self, text)

    def promote(self) -> Reply[None]:
        """Let a delayed job run now. Raises JobNotInState."""
        return self._asked().promote(self)

    def retry(
        self, state: State | None = None, *, reset_attempts_made: bool = False, reset_attempts_started: bool = False
    ) -> Reply[None]:
        """Let a finished job run again, one in `state` (default failed; completed is the other).

        Its attempts count on, unless reset. Raises JobNotFound, JobNotInState.
        """
        return self._asked().retry(self, state or State.FAILED, reset_attempts_made, reset_attempts_started)

    def change_delay(self, delay: Duration) -> Reply[None]:
        """Let a delayed job run so long from now. Raises JobNotFound, JobNotInState."""
        return self._asked().change_delay(self, to_ms(delay))

    def change_priority(self, priority: int, *, lifo: bool = False) -> Reply[None]:
        """Give the job another priority (0 = none); with `lifo`, in front of its equals. Raises JobNotFound."""
        return self._asked().change_priority(self, priority, lifo)

    def remove(self, *, remove_children: bool = True) -> Reply[None]:
        """Remove the job from wherever it is, with its children. A parent is told.

        Raises JobLocked when it (or a child) runs, JobOfScheduler, JobNotFound.
        """
        return self._asked().remove(self, remove_children)

    def remove_deduplication_key(self) -> Reply[bool]:
        """Give the job's deduplication id free; False when it is not the job's (any more)."""
        return self._asked().remove_deduplication_key(self)

    def get_children_values(self) -> Reply[dict[str, Any]]:
        """What completed children returned: their key (`prefix:queue:id`) -> value."""
        return self._asked().get_children_values(self)

    def get_ignored_children_failures(self) -> Reply[dict[str, str]]:
        """Why children failed whose failure is ignored or continued past: their key -> reason."""
        return self._asked().get_ignored_children_failures(self)

    def get_dependencies(self, after: "Dependencies | None" = None, *, count: int = 1000) -> "Reply[Dependencies]":
        """Children by what became of them, about `count` of each kind; `after` = the page before this one."""
        return self._asked().get_dependencies(self, after, count)

    def get_dependencies_count(self) -> "Reply[DependencyCounts]":
        """How many children are open, processed, ignored and failed."""
        return self._asked().get_dependencies_count(self)

    def remove_unprocessed_children(self) -> Reply[None]:
        """Remove the children that are open and not running, with their own children."""
        return self._asked().remove_unprocessed_children(self)

    def remove_child_dependency(self) -> Reply[bool]:
        """Let the parent no longer wait for this job; False when it did not. Raises ParentNotFound."""
        return self._asked().remove_child_dependency(self)

    def move_to_delayed(self, until: datetime | Duration) -> Reply[None]:
        """In a processor: run again at a time (datetime) or after a span (timedelta, seconds); no attempt is counted.

        Then `raise DelayedError`. Raises LockLost.
        """
        if isinstance(until, datetime):
            return self._asked().move_to_delayed(self, to_epoch_ms("until", until))
        return self._asked().move_to_delayed(self, round(datetime.now(UTC).timestamp() * 1000) + to_ms(until))

    def move_to_wait(self) -> Reply[None]:
        """In a processor: back to the front of the queue; no attempt is counted. Then `raise WaitingError`."""
        return self._asked().move_to_wait(self)

    def move_to_waiting_children(self, child: Parent | None = None) -> Reply[bool]:
        """In a processor: wait for the children that are open, or for one of them (given by id and queue).

        True: there are some, `raise WaitingChildrenError`; the job runs once more when they are done. False: go on.
        Raises LockLost, and JobNotInState when a child has failed that fails its parent.
        """
        return self._asked().move_to_waiting_children(self, child.key if child else None)

    def move_to_completed(self, returnvalue: Any = None) -> Reply[None]:
        """Without a processor: complete the job that `Worker.get_next_job` gave. Raises PayloadNotJSON, LockLost."""
        return self._asked().move_to_completed(self, to_json(returnvalue, f"the return value of job {self.id}"))

    def move_to_failed(self, error: BaseException | str) -> Reply[None]:
        """Without a processor: end an attempt of the job that `Worker.get_next_job` gave, by an error or a reason.

        It is retried while attempts are left. Raises LockLost.
        """
        if isinstance(error, str):
            return self._asked().move_to_failed(self, storable(error), "", False)
        stack = storable("".join(traceback.format_exception(error)))
        reason = storable(str(error) or type(error).__name__)
        return self._asked().move_to_failed(self, reason, stack, isinstance(error, UnrecoverableError))

    def extend_lock(self, duration: Duration) -> Reply[None]:
        """Without a processor: hold the job for so long from now. Raises LockLost."""
        return self._asked().extend_lock(self, to_ms(duration))

    def wait_until_finished(
        self, events: "QueueEvents | None" = None, *, timeout: Duration | None = None
    ) -> Reply[Any]:
        """Wait for the end of the job; gives its return value.

        events: listens to the job's queue, for any number of jobs; only the jobs of `corral.sync` need none.

        It listens and looks, so a lost event cannot make it hang. Raises JobFailed, JobNotFound (it was removed),
        JobTimeout, RedisUnavailable.
        """
        return self._asked().wait_until_finished(self, events, None if timeout is None else to_ms(timeout))

    def _asked(self) -> JobDoor:
        if self._door is None:
            raise CorralError(f"job {self.id} was read without a connection; get it from a Queue or a Worker")
        return self._door
