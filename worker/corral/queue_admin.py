"""What a Queue lets one do with its jobs: drain, clean, retry, promote, remove."""

from corral.queue_door import QueueDoor


class QueueAdmin(QueueDoor):
    """See the module's docstring."""
