"""The limits of a Queue: how many jobs at once, how many in a span of time."""

from corral.queue_door import QueueDoor


class QueueLimits(QueueDoor):
    """See the module's docstring."""
