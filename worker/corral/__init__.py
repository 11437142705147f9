"""Corral: background jobs on Redis queues that BullMQ shares, and workers that Kubernetes may scale."""

from corral.add_options import AddOptions
from corral.backlog import Counts
from corral.backoff import Backoff
from corral.children import Dependencies, DependencyCounts
from corral.client_list import WorkerInfo
from corral.dead_letter import DeadLetter
from corral.deduplication import Deduplication
from corral.errors import (
    ConfigurationError,
    CorralError,
    CorruptJob,
    DelayedError,
    InvalidJob,
    InvalidQueueName,
    JobCancelled,
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
    RateLimitError,
    RedisRefused,
    RedisUnavailable,
    SchedulerConflict,
    UnrecoverableError,
    WaitingChildrenError,
    WaitingError,
)
from corral.events import QueueEvents
from corral.events_producer import QueueEventsProducer
from corral.events_record import Event
from corral.flow import FlowProducer
from corral.flow_tree import FlowJob, FlowNode
from corral.job import Job
from corral.job_signal import Signal
from corral.job_spec import JobSpec
from corral.options import JobOptions
from corral.parent_link import Parent
from corral.queue import Queue
from corral.queue_dead_letters import Swept
from corral.queue_metrics import QueueMetrics
from corral.queue_orphans import Orphan, OrphanKind
from corral.rate_limit import RateLimit
from corral.repeat import Repeat
from corral.reply import Reply
from corral.retention import Keep
from corral.scheduler import JobScheduler
from corral.state import State
from corral.version import __version__
from corral.worker import Worker

__all__ = [
    "AddOptions",
    "Backoff",
    "ConfigurationError",
    "CorralError",
    "CorruptJob",
    "Counts",
    "DeadLetter",
    "Deduplication",
    "DelayedError",
    "Dependencies",
    "DependencyCounts",
    "Event",
    "FlowJob",
    "FlowNode",
    "FlowProducer",
    "InvalidJob",
    "InvalidQueueName",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHasParent",
    "JobLocked",
    "JobMoved",
    "JobNotFound",
    "JobNotInState",
    "JobOfScheduler",
    "JobOptions",
    "JobScheduler",
    "JobSpec",
    "JobTimeout",
    "Keep",
    "LockLost",
    "Orphan",
    "OrphanKind",
    "Parent",
    "ParentNotFound",
    "PayloadNotJSON",
    "PayloadTooLarge",
    "Queue",
    "QueueEvents",
    "QueueEventsProducer",
    "QueueInUse",
    "QueueMetrics",
    "RateLimit",
    "RateLimitError",
    "RedisRefused",
    "RedisUnavailable",
    "Repeat",
    "Reply",
    "SchedulerConflict",
    "Signal",
    "State",
    "Swept",
    "UnrecoverableError",
    "WaitingChildrenError",
    "WaitingError",
    "Worker",
    "WorkerInfo",
    "__version__",
]
