"""Waiting for the end of one job."""

from typing import Any

from corral.events import QueueEvents
from corral.keys import Keys
from corral.script import Caller


async def wait_until_finished(
    caller: Caller, keys: Keys, job_id: str, events: QueueEvents, timeout_ms: int | None
) -> Any:
    """Wait until a job has finished; gives its return value. See `Job.wait_until_finished`."""
    raise NotImplementedError
