"""What `Queue.add` takes by keyword."""

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from corral.backoff import Backoff
from corral.deduplication import Deduplication
from corral.moments import Duration
from corral.repeat import Repeat
from corral.retention import Keep

if TYPE_CHECKING:
    from corral.job import Job
    from corral.parent_link import Parent


class AddOptions(TypedDict, total=False):
    """What `Queue.add` takes by keyword; every one may be left out.

    delay: a timedelta or seconds, from now (or from `timestamp`); default none.
    priority: 1 (soonest) to 2097151; 0, the default, runs before every priority.
    lifo: True puts the job at the front of the queue; ignored with a priority.
    attempts: how often the job may run, default 1.
    backoff: a Backoff between attempts; a plain number means fixed seconds; default: at once.
    job_id: your own id. While a job with it exists, a finished one too, a second add changes nothing: the job that `add`
    gives has its id, and the data as you sent it. The same holds for a `deduplication` id that another job holds.
    timestamp: when the job was made, a datetime (without a zone: local time) or epoch seconds; default now.
    remove_on_complete, remove_on_fail: True = keep none, a number = keep the newest so many, or a Keep.
    stack_trace_limit: how many failures' stack traces stay with the job; default all.
    keep_logs: how many log rows stay; default all.
    size_limit: refuse data whose JSON is longer than so many bytes.
    deduplication: a Deduplication, or a text for `Deduplication(text)`.
    parent: a job or a Parent, which then waits for this job. It must be waiting for children, or running and about to.
    fail_parent_on_failure, continue_parent_on_failure, ignore_dependency_on_failure, remove_dependency_on_failure:
    what this child's failure for good means for its parent, one of them at most; default: the parent waits on.
    telemetry_metadata: the trace's context, as the telemetry of BullMQ writes it; passed on, never read.
    omit_context: the worker's telemetry shall not go on with that trace.
    correlation_id: passed through to the log lines of whoever runs the job, and to its children in a flow; a child
    that is added later, with `parent`, is given it by who adds it.
    repeat: a Repeat makes a job scheduler instead of one job; see `Queue.add`.
    """

    delay: Duration
    priority: int
    lifo: bool
    attempts: int
    backoff: Backoff | Duration
    job_id: str
    timestamp: datetime | float
    remove_on_complete: bool | int | Keep
    remove_on_fail: bool | int | Keep
    stack_trace_limit: int
    keep_logs: int
    size_limit: int
    deduplication: Deduplication | str
    parent: "Parent | Job"
    fail_parent_on_failure: bool
    continue_parent_on_failure: bool
    ignore_dependency_on_failure: bool
    remove_dependency_on_failure: bool
    telemetry_metadata: str
    omit_context: bool
    correlation_id: str
    repeat: Repeat
