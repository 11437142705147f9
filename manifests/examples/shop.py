from corral.sync import Queue

emails = Queue("emails")  # REDIS_URL; threads share it, and so do the processes that a server forks


def sign_up(address: str) -> str:
    """A view of Django or Flask: no event loop anywhere."""
    job = emails.add("welcome", {"to": address}, attempts=5, backoff=2, deduplication=f"welcome-{address}")
    return job.id
