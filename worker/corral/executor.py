"""Runs one job and says how it ended. Never touches Redis."""

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from corral.errors import InvalidJob, JobMoved, PayloadNotJSON, RateLimitError, UnrecoverableError
from corral.job import Job
from corral.lifecycle import Completed, Failed, Interrupted, Moved, Outcome, RateLimited
from corral.moments import to_ms
from corral.payload import storable, to_json

Processor = Callable[[Job], Awaitable[Any]] | Callable[[Job], Any]
"""The user's function: takes the job, gives its return value (any JSON value). Plain ones run in threads."""


class Executor:
    """Runs a processor, an async one in the event loop and a plain one in one of `threads` threads.

    `max_started`: a job that was started more often fails without being run, None = no limit.
    """

    def __init__(self, processor: Processor, threads: int, max_started: int | None = None) -> None:
        self._processor, self._max_started = processor, max_started
        is_async = inspect.iscoroutinefunction(processor) or inspect.iscoroutinefunction(
            getattr(processor, "__call__", None)  # noqa: B004
        )
        self.in_thread: set[asyncio.Task[Any] | None] = set()
        """Runs that are in a thread now, where nothing can end them."""
        self._threads = ThreadPoolExecutor(threads, "corral-processor") if not is_async else None

    async def run(self, job: Job) -> Outcome:
        """Run the processor once. Raises nothing; a shutdown's cancellation gives Interrupted."""
        if job.deferred_failure is not None:
            return Failed(job.deferred_failure, unrecoverable=True)
        if self._max_started and job.attempts_started > self._max_started:
            return Failed("job started more than allowable limit", unrecoverable=True)
        try:
            value = await self._call(job)
            return Moved() if job.moved else Completed(to_json(value, f"the return value of job {job.id}"))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001  (the border to user code)
            if job.moved:
                return Moved("" if isinstance(error, JobMoved | asyncio.CancelledError) else _reason(error))
            return _ended_by(error)

    async def _call(self, job: Job) -> Any:
        if self._threads is None:
            return await cast(Awaitable[Any], self._processor(job))
        task = asyncio.current_task()
        self.in_thread.add(task)
        try:
            call = asyncio.get_running_loop().run_in_executor(self._threads, _caught, self._processor, job)
            value, error = await call
        finally:
            self.in_thread.discard(task)
        if error is not None:
            raise error
        return await value if inspect.isawaitable(value) else value

    def resize(self, threads: int) -> None:
        """Have so many threads from now on. Those that run more than that end with their jobs."""
        if self._threads is not None:
            before, self._threads = self._threads, ThreadPoolExecutor(threads, "corral-processor")
            before.shutdown(wait=False)

    def close(self) -> None:
        """Take no more work into the threads; those that run are not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _caught(processor: Processor, job: Job) -> tuple[Any, BaseException | None]:
    """Call in a thread. An error is carried back as a value: a future swallows StopIteration, and makes a new
    TimeoutError without the traceback."""
    try:
        return processor(job), None
    except BaseException as error:  # noqa: BLE001  (raised again in the event loop)
        return None, error


def _ended_by(error: BaseException) -> Outcome:
    """What follows from an error that left the processor."""
    match error:
        case asyncio.CancelledError():
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return Interrupted()
            return Failed("the processor was cancelled from within", traceback.format_exc(), error=error)
        case RateLimitError():
            try:
                return RateLimited(0 if error.duration is None else to_ms(error.duration))
            except InvalidJob as wrong:
                return Failed(str(wrong), _stack(error), error=error)
        case JobMoved():
            return Failed(f"{_reason(error)}: {_NOT_MOVED}", _stack(error), error=error)
        case UnrecoverableError():
            return Failed(_reason(error), _stack(error), unrecoverable=True, error=error)
        case PayloadNotJSON():
            return Failed(storable(str(error)), error=error)
        case SystemExit():
            # Left alone it would end the whole worker, with every other job that runs.
            return Failed(f"the processor called sys.exit({error.code!r})", _stack(error), error=error)
        case _:
            return Failed(_reason(error), _stack(error), error=error)


_NOT_MOVED = (
    "raised, but the job was not moved; call job.move_to_delayed, job.move_to_wait or job.move_to_waiting_children "
    "before (awaited in an async processor, its .result() taken in a plain one)"
)


def _reason(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (the user's own __str__)
        text = ""
    return storable(text or type(error).__name__)


def _stack(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next  # ours, which tell a reader nothing
    return storable("".join(traceback.format_exception(type(error), error, frames)))
