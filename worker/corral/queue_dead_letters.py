"""Failed jobs moved to another queue, to be looked at and replayed."""

from corral.queue_door import QueueDoor


class QueueDeadLetters(QueueDoor):
    """See the module's docstring."""
