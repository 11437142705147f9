"""The states of a job, exactly BullMQ's."""

from enum import StrEnum


class State(StrEnum):
    """Where a job is. UNKNOWN: in no list or set, or the job does not exist."""

    WAITING = "waiting"
    PRIORITIZED = "prioritized"
    DELAYED = "delayed"
    ACTIVE = "active"
    WAITING_CHILDREN = "waiting-children"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
