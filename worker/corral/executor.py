"""Runs one job and says how it ended. Never touches Redis."""

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from corral.errors import PayloadNotJSON, UnrecoverableError
from corral.job import Job
from corral.lifecycle import Completed, Failed, Interrupted, Outcome
from corral.payload import storable, to_json

Processor = Callable[[Job], Awaitable[Any]] | Callable[[Job], Any]
"""The user's function: takes the job, gives its return value (any JSON value). Plain ones run in threads."""


class Executor:
    """Runs a processor, an async one in the event loop and a plain one in one of `threads` threads."""

    def __init__(self, processor: Processor, threads: int) -> None:
        self._processor = processor
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
        try:
            return Completed(to_json(await self._call(job), f"the return value of job {job.id}"))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return Interrupted()
            return Failed("the processor was cancelled from within", traceback.format_exc())
        except UnrecoverableError as error:
            return Failed(_reason(error), _stack(error), unrecoverable=True)
        except PayloadNotJSON as error:
            return Failed(storable(str(error)))
        except SystemExit as error:
            # Left alone it would end the whole worker, with every other job that runs.
            return Failed(f"the processor called sys.exit({error.code!r})", _stack(error))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001  (the border to user code)
            return Failed(_reason(error), _stack(error))

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


def _reason(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (the user's own __str__)
        text = ""
    return storable(text or type(error).__name__)


def _stack(error: BaseException) -> str:
    # The first frames are ours and tell a reader nothing.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    return storable("".join(traceback.format_exception(type(error), error, frames)))
