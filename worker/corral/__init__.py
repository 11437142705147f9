"""Corral: background jobs on Redis queues that BullMQ shares, and workers that Kubernetes may scale."""

from corral.backlog import Counts
from corral.backoff import Backoff
from corral.errors import (
    ConfigurationError,
    CorralError,
    CorruptJob,
    InvalidJob,
    InvalidQueueName,
    JobNotFound,
    PayloadNotJSON,
    PayloadTooLarge,
    RedisRefused,
    RedisUnavailable,
    UnrecoverableError,
)
from corral.job import Job
from corral.lifecycle import State
from corral.options import JobOptions
from corral.queue import JobSpec, Queue
from corral.retention import Keep
from corral.version import __version__
from corral.worker import Worker

__all__ = [
    "Backoff",
    "ConfigurationError",
    "CorralError",
    "CorruptJob",
    "Counts",
    "InvalidJob",
    "InvalidQueueName",
    "Job",
    "JobNotFound",
    "JobOptions",
    "JobSpec",
    "Keep",
    "PayloadNotJSON",
    "PayloadTooLarge",
    "Queue",
    "RedisRefused",
    "RedisUnavailable",
    "State",
    "UnrecoverableError",
    "Worker",
    "__version__",
]
