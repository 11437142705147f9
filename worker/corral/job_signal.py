"""Signal: by which a running job is told that it is to end, or is not its worker's any more."""

import asyncio
from concurrent.futures import Future

from corral.errors import CorralError
from corral.moments import Duration, to_ms


class Signal:
    """What `job.signal` gives. Aborted when the job is cancelled (`Worker.cancel_job`), runs longer than `job_timeout`,
    has lost its lock, or is handed back at a shutdown.

    An async processor is cancelled too, but for a lost lock; a plain one, in its thread, has only this.
    """

    def __init__(self) -> None:
        self._error: CorralError | None = None
        # A future of threads, not of the loop: both wait for it.
        self._told: Future[object] = Future()
        self._in_loop: asyncio.Future[object] | None = None

    @property
    def aborted(self) -> bool:
        """Whether the job is to end."""
        return self._error is not None

    @property
    def reason(self) -> str | None:
        """Why, None = it is not aborted."""
        return None if self._error is None else str(self._error)

    def raise_if_aborted(self) -> None:
        """Raises why: JobCancelled, JobTimeout or LockLost."""
        if self._error is not None:
            raise self._error

    async def wait(self) -> str:
        """Wait until it is aborted; gives the reason."""
        # One for all who wait: each that is made stays with the signal. (A thread may have a loop of its own.)
        if self._in_loop is None or self._in_loop.get_loop() is not asyncio.get_running_loop():
            self._in_loop = asyncio.wrap_future(self._told)
        # Shielded: whoever stops waiting must not end it for the others.
        await asyncio.shield(self._in_loop)
        return str(self._error)

    def wait_in_thread(self, timeout: Duration | None = None) -> bool:
        """In a plain processor: wait until it is aborted, at most `timeout`. False: it is not."""
        try:
            self._told.result(None if timeout is None else to_ms(timeout) / 1000)
        except TimeoutError:
            return False
        return True

    def abort(self, error: CorralError) -> None:
        """Tell it; the first reason stays."""
        if self._error is None:
            self._error = error
            self._told.set_result(None)
