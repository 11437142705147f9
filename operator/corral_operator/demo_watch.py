"""What the demo sees of its queue and its workers, a few times a second."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral import Counts, Queue
from corral.connection import Lines
from corral_operator.demo_fleet import Fleet, WorkerProcess

OVER_S = 2.0
"""Seconds that the rate is an average of."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker as the view shows it. `holds`: jobs active in its hands."""

    name: str
    pid: int
    state: str
    holds: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look. `per_second`: jobs that completed or failed."""

    counts: Counts
    per_second: float
    workers: tuple[WorkerRow, ...]


class Pace:
    """Jobs per second over the last OVER_S seconds. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, ended: int) -> float:
        """The rate, now that `ended` jobs have ended."""
        now = self._clock()
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[1][0] >= OVER_S:
            self._seen.popleft()
        began, before = self._seen[0]
        return (ended - before) / (now - began) if now > began else 0.0


class Watch:
    """Looks at a queue and at the workers of a fleet."""

    def __init__(self, queue: Queue, lines: Lines, fleet: Fleet) -> None:
        self._queue, self._lines, self._fleet = queue, lines, fleet
        self._pace = Pace()

    async def look(self) -> Snapshot:
        """Raises RedisUnavailable."""
        counts = await self._queue.get_job_counts()
        held = Counter((await self.holders()).values())
        rows = tuple(WorkerRow(each.name, each.pid, each.state, held[each.name]) for each in self._fleet.workers)
        return Snapshot(counts, self._pace.at(counts.completed + counts.failed), rows)

    async def holders(self) -> dict[str, str]:
        """Every active job with the worker that took it: job id -> worker's name."""
        keys = self._queue.keys
        ids: list[bytes] = await self._lines.call("LRANGE", keys.active, 0, -1)
        if not ids:
            return {}
        names: list[bytes | None] = await self._lines.call_many(
            [("HGET", keys.job(job_id.decode()), "pb") for job_id in ids]
        )
        return {job_id.decode(): name.decode() for job_id, name in zip(ids, names, strict=True) if name is not None}

    async def present(self, workers: Sequence[WorkerProcess]) -> bool:
        """Whether each of them works: it holds jobs, or waits on a connection of its name, as dashboards see it."""
        clients: bytes = await self._lines.call("CLIENT", "LIST")
        busy = set((await self.holders()).values())
        name_of = self._queue.keys.client_name
        return all(each.name in busy or f"name={name_of(each.name)} ".encode() in clients for each in workers)
