"""A processor that grants the wishes of a job's data, and tells what it ran."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corral import Job


class Workshop:
    """`Worker("q", workshop.run)`. Wishes: `progress` (any JSON), `log` (rows), `hold` (run until `let_go`),
    `fail` (a reason), `fail_first` (so many attempts fail).
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        """The names of the jobs that were begun, in order."""
        self.running = self.most_at_once = 0
        self._permits = asyncio.Semaphore(0)

    def let_go(self, jobs: int = 1) -> None:
        """Let so many held jobs end, of those that run or of later ones."""
        for _ in range(jobs):
            self._permits.release()

    async def run(self, job: Job) -> Any:
        """The processor; gives {"echo": data}."""
        self.ran.append(job.name)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await self._granted(job, job.data)
        finally:
            self.running -= 1

    async def _granted(self, job: Job, wishes: dict[str, Any]) -> Any:
        if "progress" in wishes:
            await job.update_progress(wishes["progress"])
        for row in wishes.get("log", ()):
            await job.log(row)
        if "hold" in wishes:
            await self._permits.acquire()
        if "fail" in wishes:
            raise RuntimeError(wishes["fail"])
        if job.attempts_made < wishes.get("fail_first", 0):
            raise RuntimeError(f"attempt {job.attempt}")
        return {"echo": job.data}
