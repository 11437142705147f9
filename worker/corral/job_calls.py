"""What a job asks of its queue: progress and log rows, from the event loop or from a processor's thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from corral import scripts
from corral.connection import Lines
from corral.errors import JobNotFound
from corral.job import Job
from corral.keys import Keys

T = TypeVar("T")


class JobCalls:
    """Carries a job's calls to Redis. `on_progress` is told of each progress that was written."""

    def __init__(self, lines: Lines, keys: Keys, on_progress: Callable[[Job, Any], None] | None = None) -> None:
        self._lines, self._keys, self._on_progress = lines, keys, on_progress
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def update_progress(self, job: Job, progress: str) -> Awaitable[None]:
        return self._from_anywhere(self._update_progress(job, progress))

    def add_log(self, job: Job, row: str) -> Awaitable[int]:
        return self._from_anywhere(self._add_log(job, row))

    def _from_anywhere(self, call: Coroutine[Any, Any, T]) -> Awaitable[T]:
        if threading.get_ident() == self._thread:
            return call
        # In a thread nobody would await it: wait here, so that a plain processor just calls it.
        result = asyncio.run_coroutine_threadsafe(call, self._loop).result()
        return _Done(result)

    async def _update_progress(self, job: Job, progress: str) -> None:
        if not await scripts.update_progress(self._lines, self._keys, job.id, progress):
            raise JobNotFound(f"job {job.id} of queue {self._keys.queue!r} is gone; its progress was not stored")
        if self._on_progress is not None:
            self._on_progress(job, job.progress)

    async def _add_log(self, job: Job, row: str) -> int:
        rows = await scripts.add_log(self._lines, self._keys, job.id, row, job.opts.keep_logs)
        if rows < 0:
            raise JobNotFound(f"job {job.id} of queue {self._keys.queue!r} is gone; the log row was not stored")
        return rows


class _Done(Awaitable[T]):
    """An awaitable that is done already."""

    def __init__(self, result: T) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, Any, T]:
        yield from ()
        return self._result
