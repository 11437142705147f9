"""What a Queue tells: its jobs, their states and numbers, its workers."""

from collections.abc import Iterable

from corral import scripts
from corral.backlog import Counts, read_counts, read_counts_per_priority
from corral.client_list import WorkerInfo, listeners_of, workers_of
from corral.errors import ConfigurationError
from corral.job import Job
from corral.job_pages import read_ids, read_jobs
from corral.job_record import from_wire
from corral.queue_door import QueueDoor
from corral.queue_metrics import Ended, QueueMetrics, read_metrics
from corral.script import pairs, to_text
from corral.state import State


class QueueReading(QueueDoor):
    """Plain reads; nothing here changes the queue."""

    async def get_job(self, job_id: str) -> Job | None:
        """Read a job; None when it does not exist. Raises CorruptJob."""
        flat = await self._lines.call("HGETALL", self.keys.job(job_id))
        if not flat:
            return None
        fields = pairs(flat)
        return from_wire(job_id, fields, self.name, self._calls())

    async def get_jobs(
        self, states: State | Iterable[State], start: int = 0, end: int = -1, *, ascending: bool = False
    ) -> list[Job]:
        """The jobs of one or more states, the newest first (ascending: the oldest), from place `start` to `end`.

        The places count in each state by itself, `end` is included, negative ones count from the last. A job without
        a hash is left out, and so is one that cannot be read, which is logged (`get_job` raises CorruptJob for it).
        Of a large state, ask for pages: all jobs asked for are read. Raises ConfigurationError for an unknown state.
        """
        ids: list[str] = []
        for state in _states(states):
            ids += await read_ids(self._lines, self.keys, state, start, end, ascending)
        return await read_jobs(self._lines, self.keys, self._calls(), ids)

    async def get_job_state(self, job_id: str) -> State:
        """Where a job is; UNKNOWN when it does not exist."""
        return await scripts.job_state(self._lines, self.keys, job_id)

    async def get_job_logs(self, job_id: str, start: int = 0, end: int = -1, *, ascending: bool = True) -> list[str]:
        """The log rows of a job from `start` to `end` (included), the oldest first, or (not ascending) the newest."""
        if not ascending:
            start, end = -(end + 1), -(start + 1)
        rows = await self._lines.call("LRANGE", self.keys.logs(job_id), start, end)
        texts = [row.decode(errors="replace") for row in rows]
        return texts if ascending else texts[::-1]

    async def get_job_logs_count(self, job_id: str) -> int:
        """How many log rows a job has."""
        return int(await self._lines.call("LLEN", self.keys.logs(job_id)))

    async def get_job_counts(self) -> Counts:
        """How many jobs are in each state."""
        return await read_counts(self._lines, self.keys)

    async def count(self) -> int:
        """How many jobs are still to be run: waiting, prioritized, delayed, or waiting for children."""
        counts = await self.get_job_counts()
        return counts.unfinished - counts.active

    async def get_counts_per_priority(self, priorities: Iterable[int]) -> dict[int, int]:
        """How many jobs wait with each of these priorities; 0 = those without one."""
        return await read_counts_per_priority(self._lines, self.keys, priorities)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return bool(await self._lines.call("HEXISTS", self.keys.meta, "paused"))

    async def get_version(self) -> str | None:
        """The library that last announced itself, like `bullmq:6.7.0`; None = none has."""
        version = await self._lines.call("HGET", self.keys.meta, "version")
        return None if version is None else to_text(version)

    async def get_workers(self) -> list[WorkerInfo]:
        """The workers of this queue that are connected, of every library that names its connections as BullMQ does."""
        return workers_of(await self._clients(), self.keys.client_name())

    async def get_workers_count(self) -> int:
        """How many workers of this queue are connected."""
        return len(await self.get_workers())

    async def get_queue_events(self) -> list[WorkerInfo]:
        """Who listens to the events of this queue (QueueEvents of every library)."""
        return listeners_of(await self._clients(), self.keys.client_name())

    async def _clients(self) -> str:
        # Beside a key of the queue: in a Cluster its workers are connected to the node that has it.
        _, clients = await self._lines.call_many([("EXISTS", self.keys.meta), ("CLIENT", "LIST")])
        return str(clients.decode(errors="replace"))

    async def get_metrics(self, kind: Ended, start: int = 0, end: int = -1) -> QueueMetrics:
        """How many jobs completed (or failed) a minute, if the queue's workers count them. Raises ConfigurationError."""
        return await read_metrics(self._lines, self.keys, kind, start, end)


def _states(given: State | Iterable[State]) -> list[State]:
    try:
        states = [State(state) for state in ([given] if isinstance(given, str) else given)]
    except ValueError as error:
        raise ConfigurationError(f"{error}; states are {', '.join(State)}") from None
    if State.UNKNOWN in states:
        raise ConfigurationError("jobs in no state are in no list that could be read")
    return states
