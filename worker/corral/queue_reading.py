"""What a Queue tells: its jobs, their states and numbers."""

from corral import scripts
from corral.backlog import Counts, read_counts
from corral.job import Job
from corral.job_record import from_wire
from corral.queue_door import QueueDoor
from corral.state import State


class QueueReading(QueueDoor):
    """Plain reads; nothing here changes the queue."""

    async def get_job(self, job_id: str) -> Job | None:
        """Read a job; None when it does not exist. Raises CorruptJob."""
        flat = await self._lines.call("HGETALL", self.keys.job(job_id))
        if not flat:
            return None
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return from_wire(job_id, fields, self.name, self._calls())

    async def get_job_state(self, job_id: str) -> State:
        """Where a job is; UNKNOWN when it does not exist."""
        return await scripts.job_state(self._lines, self.keys, job_id)

    async def get_job_logs(self, job_id: str) -> list[str]:
        """The log rows of a job, oldest first."""
        return await scripts.get_logs(self._lines, self.keys, job_id)

    async def get_job_counts(self) -> Counts:
        """How many jobs are in each state."""
        return await read_counts(self._lines, self.keys)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return bool(await self._lines.call("HEXISTS", self.keys.meta, "paused"))
