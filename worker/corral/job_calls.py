"""What a job asks of its queue, from the event loop, from a processor's thread, or without a loop at all."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from corral import admin_scripts, children, flow_scripts, hold_scripts, scripts, waiter
from corral.blocking_lines import BlockingLines, drive
from corral.children import Dependencies, DependencyCounts
from corral.clock import now_ms
from corral.ending import Ending
from corral.errors import ConfigurationError, CorralError, JobNotFound
from corral.job import Job
from corral.job_signal import Signal
from corral.keys import Keys
from corral.lifecycle import Failed
from corral.parent_link import Parent
from corral.refusals import NOT_IN_STATE, refusal
from corral.reply import Coming, Done, Reply
from corral.script import Caller
from corral.state import State

T = TypeVar("T")


class JobCalls:
    """Implements `JobDoor` for the jobs of one queue. `on_progress` is told of each progress that was written.

    Of a worker's jobs: `signal_of` gives the signal of one that runs; `ending` is the worker's.
    """

    def __init__(
        self,
        caller: Caller,
        keys: Keys,
        dialect: str,
        on_progress: Callable[[Job, Any], None] | None = None,
        *,
        signal_of: Callable[[Job], Signal] | None = None,
        ending: Ending | None = None,
    ) -> None:
        self._caller, self._keys, self._dialect, self._on_progress = caller, keys, dialect, on_progress
        self._signal_of, self._ending = signal_of, ending or Ending()
        self._loop = None if isinstance(caller, BlockingLines) else asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def _reply(self, call: Coroutine[Any, Any, T]) -> Reply[T]:
        if self._loop is None:
            return Done(drive(call))
        if threading.get_ident() == self._thread:
            return Coming(call)
        # In a thread nobody would await it: wait here, so that a plain processor just calls it.
        return Done(asyncio.run_coroutine_threadsafe(call, self._loop).result())

    async def _must(self, job: Job, deed: str, call: Coroutine[Any, Any, int]) -> None:
        """A call that gives a code: raises what a negative one means."""
        if (code := await call) < 0:
            state = await scripts.job_state(self._caller, self._keys, job.id) if code == NOT_IN_STATE else None
            raise refusal(code, job.id, self._keys.queue, deed, state)

    def as_parent(self, job: Job) -> Parent:
        return Parent(job.id, self._keys.base[:-1])

    def signal(self, job: Job) -> Signal:
        if self._signal_of is None:
            raise CorralError(f"job {job.id} does not run in a worker's processor: only a running job has a signal")
        return self._signal_of(job)

    def update_progress(self, job: Job, progress: str) -> Reply[None]:
        return self._reply(self._update_progress(job, progress))

    async def _update_progress(self, job: Job, progress: str) -> None:
        if not await scripts.update_progress(self._caller, self._keys, job.id, progress):
            raise JobNotFound(f"job {job.id} of queue {self._keys.queue!r} is gone; its progress was not stored")
        if self._on_progress is not None:
            self._on_progress(job, job.progress)

    def add_log(self, job: Job, row: str) -> Reply[int]:
        return self._reply(self._add_log(job, row))

    async def _add_log(self, job: Job, row: str) -> int:
        rows = await scripts.add_log(self._caller, self._keys, job.id, row, job.opts.keep_logs)
        if rows < 0:
            raise JobNotFound(f"job {job.id} of queue {self._keys.queue!r} is gone; the log row was not stored")
        return rows

    def clear_logs(self, job: Job, keep: int | None) -> Reply[None]:
        return self._reply(admin_scripts.clear_logs(self._caller, self._keys, job.id, keep))

    def get_logs(self, job: Job) -> Reply[list[str]]:
        return self._reply(scripts.get_logs(self._caller, self._keys, job.id))

    def update_data(self, job: Job, data: str) -> Reply[None]:
        call = admin_scripts.update_data(self._caller, self._keys, job.id, data)
        return self._reply(self._must(job, "updated", call))

    def get_state(self, job: Job) -> Reply[State]:
        return self._reply(scripts.job_state(self._caller, self._keys, job.id))

    def promote(self, job: Job) -> Reply[None]:
        call = admin_scripts.promote_job(self._caller, self._keys, self._dialect, job.id)
        return self._reply(self._must(job, "promoted", call))

    def retry(self, job: Job, state: State, reset_made: bool, reset_started: bool) -> Reply[None]:
        call = admin_scripts.retry_job(
            self._caller, self._keys, self._dialect, job.id, state, job.opts.lifo, reset_made, reset_started
        )
        return self._reply(self._must(job, "retried", call))

    def change_delay(self, job: Job, delay_ms: int) -> Reply[None]:
        call = admin_scripts.change_delay(self._caller, self._keys, now_ms(), job.id, delay_ms)
        return self._reply(self._must(job, "delayed anew", call))

    def change_priority(self, job: Job, priority: int, lifo: bool) -> Reply[None]:
        call = admin_scripts.change_priority(self._caller, self._keys, self._dialect, job.id, priority, lifo)
        return self._reply(self._must(job, "given another priority", call))

    def remove(self, job: Job, remove_children: bool) -> Reply[None]:
        return self._reply(self._remove(job, remove_children))

    async def _remove(self, job: Job, remove_children: bool) -> None:
        code = await admin_scripts.remove_job(
            self._caller, self._keys, self._dialect, now_ms(), job.id, remove_children
        )
        if code < 1:
            raise refusal(code, job.id, self._keys.queue, "removed")

    def remove_deduplication_key(self, job: Job) -> Reply[bool]:
        return self._reply(self._remove_deduplication_key(job))

    async def _remove_deduplication_key(self, job: Job) -> bool:
        if job.deduplication_id is None:
            return False
        return await admin_scripts.remove_deduplication_key(self._caller, self._keys, job.deduplication_id, job.id)

    def get_children_values(self, job: Job) -> Reply[dict[str, Any]]:
        return self._reply(children.read_values(self._caller, self._keys, job.id))

    def get_ignored_children_failures(self, job: Job) -> Reply[dict[str, str]]:
        return self._reply(children.read_ignored(self._caller, self._keys, job.id))

    def get_dependencies(self, job: Job, cursor: Dependencies | None, count: int) -> Reply[Dependencies]:
        return self._reply(children.read_dependencies(self._caller, self._keys, job.id, cursor, count))

    def get_dependencies_count(self, job: Job) -> Reply[DependencyCounts]:
        return self._reply(children.count_dependencies(self._caller, self._keys, job.id))

    def remove_unprocessed_children(self, job: Job) -> Reply[None]:
        call = flow_scripts.remove_unprocessed_children(self._caller, self._keys, self._dialect, now_ms(), job.id)
        return self._reply(call)

    def remove_child_dependency(self, job: Job) -> Reply[bool]:
        return self._reply(self._remove_child_dependency(job))

    async def _remove_child_dependency(self, job: Job) -> bool:
        code = await flow_scripts.remove_child_dependency(self._caller, self._keys, self._dialect, now_ms(), job.id)
        if code < 0:
            raise refusal(code, job.id, self._keys.queue, "taken from its parent")
        return code == 1

    def move_to_delayed(self, job: Job, due_ms: int) -> Reply[None]:
        call = hold_scripts.move_to_delayed(
            self._caller, self._keys, self._dialect, now_ms(), job.id, job.token or "", due_ms
        )
        return self._reply(self._move(job, "delayed", call))

    def move_to_wait(self, job: Job) -> Reply[None]:
        call = hold_scripts.move_to_wait(self._caller, self._keys, self._dialect, job.id, job.token or "")
        return self._reply(self._move(job, "put back", call))

    async def _move(self, job: Job, deed: str, call: Coroutine[Any, Any, int]) -> None:
        await self._must(job, deed, call)
        job.moved = True

    def move_to_waiting_children(self, job: Job, child: str | None) -> Reply[bool]:
        return self._reply(self._move_to_waiting_children(job, child))

    async def _move_to_waiting_children(self, job: Job, child: str | None) -> bool:
        code = await hold_scripts.move_to_waiting_children(
            self._caller, self._keys, now_ms(), job.id, job.token or "", child
        )
        if code < 0:
            raise refusal(code, job.id, self._keys.queue, "put among those that wait for children")
        job.moved = code == 0
        return code == 0

    def move_to_completed(self, job: Job, value: str) -> Reply[None]:
        return self._reply(
            hold_scripts.complete(self._caller, self._keys, self._dialect, now_ms(), job, value, self._ending)
        )

    def move_to_failed(self, job: Job, reason: str, stack: str, unrecoverable: bool) -> Reply[None]:
        failed = Failed(reason, stack, unrecoverable)
        return self._reply(
            hold_scripts.fail(self._caller, self._keys, self._dialect, now_ms(), job, failed, self._ending)
        )

    def extend_lock(self, job: Job, duration_ms: int) -> Reply[None]:
        call = hold_scripts.extend_lock(self._caller, self._keys, job.id, job.token or "", duration_ms)
        return self._reply(self._must(job, "held for longer", call))

    def wait_until_finished(self, job: Job, events: Any, timeout_ms: int | None) -> Reply[Any]:
        if isinstance(self._caller, BlockingLines):
            return self._reply(waiter.look_until_finished(self._caller, self._keys, job.id, timeout_ms))
        if events is None:
            raise ConfigurationError("wait_until_finished needs a QueueEvents of the job's queue")
        return self._reply(waiter.wait_until_finished(self._keys, job.id, events, timeout_ms))
