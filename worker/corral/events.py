"""QueueEvents: what happens in a queue, as it happens."""


class QueueEvents:
    """Listens to the events of one queue."""
