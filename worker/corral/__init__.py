"""Corral: background jobs on Redis queues that BullMQ shares, and workers that Kubernetes may scale."""

from corral.backlog import Counts
from corral.backoff import Backoff
from corral.deduplication import Deduplication
from corral.errors import (
    ConfigurationError,
    CorralError,
    CorruptJob,
    DelayedError,
    InvalidJob,
    InvalidQueueName,
    JobFailed,
    JobHasParent,
    JobLocked,
    JobMoved,
    JobNotFound,
    JobNotInState,
    JobOfScheduler,
    JobTimeout,
    LockLost,
    ParentNotFound,
    PayloadNotJSON,
    PayloadTooLarge,
    QueueInUse,
    RedisRefused,
    RedisUnavailable,
    SchedulerConflict,
    UnrecoverableError,
    WaitingChildrenError,
    WaitingError,
)
from corral.job import Job
from corral.job_spec import JobSpec
from corral.options import JobOptions
from corral.parent_link import Parent
from corral.queue import Queue
from corral.rate_limit import RateLimit
from corral.retention import Keep
from corral.state import State
from corral.version import __version__
from corral.worker import Worker

__all__ = [
    "Backoff",
    "ConfigurationError",
    "CorralError",
    "CorruptJob",
    "Counts",
    "Deduplication",
    "DelayedError",
    "InvalidJob",
    "InvalidQueueName",
    "Job",
    "JobFailed",
    "JobHasParent",
    "JobLocked",
    "JobMoved",
    "JobNotFound",
    "JobNotInState",
    "JobOfScheduler",
    "JobOptions",
    "JobSpec",
    "JobTimeout",
    "Keep",
    "LockLost",
    "Parent",
    "ParentNotFound",
    "PayloadNotJSON",
    "PayloadTooLarge",
    "Queue",
    "QueueInUse",
    "RateLimit",
    "RedisRefused",
    "RedisUnavailable",
    "SchedulerConflict",
    "State",
    "UnrecoverableError",
    "WaitingChildrenError",
    "WaitingError",
    "Worker",
    "__version__",
]
