"""The job schedulers of a Queue: jobs that come again and again."""

from corral.queue_door import QueueDoor


class QueueSchedulers(QueueDoor):
    """See the module's docstring."""
