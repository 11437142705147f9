"""What a Queue lets one do with its jobs: remove, retry, promote, drain, clean, obliterate.

What concerns many jobs is done in steps of at most a thousand, so that Redis has time for others in between: jobs that
others add or move meanwhile may be met or missed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from corral import admin_scripts, scripts
from corral.admin_scripts import Place
from corral.clock import now_ms
from corral.errors import ConfigurationError, JobNotFound, QueueInUse
from corral.moments import Duration, to_epoch_ms, to_ms
from corral.payload import storable, to_json
from corral.queue_door import QueueDoor
from corral.refusals import refusal
from corral.script import to_text
from corral.state import State

STEP = 1000
"""Jobs that one call to Redis handles at most."""

_PLACES: dict[State, tuple[Place, ...]] = {
    State.WAITING: ("paused", "wait"),  # BullMQ 5's list of a paused queue holds the older ones
    State.PRIORITIZED: ("prioritized",),
    State.DELAYED: ("delayed",),
    State.ACTIVE: ("active",),
    State.COMPLETED: ("completed",),
    State.FAILED: ("failed",),
}


class QueueAdmin(QueueDoor):
    """See the module's docstring."""

    async def remove(self, job_id: str, *, remove_children: bool = True) -> bool:
        """Remove a job from wherever it is, with its children; False when there is none. A parent is told.

        Raises JobLocked when a worker runs it (or one of its children), JobOfScheduler.
        """
        code = await admin_scripts.remove_job(self._lines, self.keys, self._dialect, now_ms(), job_id, remove_children)
        if code not in (1, -1):
            raise refusal(code, job_id, self.name, "removed")
        return code == 1

    async def retry_jobs(
        self, *, state: State = State.FAILED, count: int = STEP, until: datetime | float | None = None
    ) -> int:
        """Let all failed (or completed) jobs run again that ended by `until` (a datetime or epoch seconds, default now);
        gives how many.

        They wait behind all others, in the order in which they ended and whatever their priority; their attempts count
        on. count: how many a step.
        """
        if state not in (State.COMPLETED, State.FAILED):
            raise ConfigurationError(f"retry_jobs takes State.FAILED or State.COMPLETED, got {state!r}")
        until_ms = now_ms() if until is None else to_epoch_ms("until", until)
        return await self._requeue(State(state), until_ms, count)

    async def promote_jobs(self, *, count: int = STEP) -> int:
        """Let all delayed jobs run now; gives how many. They wait behind all others, whatever their priority."""
        return await self._requeue(State.DELAYED, None, count)

    async def _requeue(self, state: State, until_ms: int | None, count: int) -> int:
        # About as many as there are now: jobs that soon fail again would keep it going for ever.
        step, done, left = _step(count), 0, await self._size(self.keys.base + state.value)
        while left > done:
            moved = await admin_scripts.requeue_jobs(self._lines, self.keys, self._dialect, state, until_ms, step)
            if moved == 0:
                break
            done += moved
        return done

    async def drain(self, *, delayed: bool = False) -> int:
        """Remove the jobs that wait to be taken, with `delayed` also the delayed ones; gives how many.

        The next job of a scheduler stays. No events tell of it. A flow parent of this queue whose last open child goes,
        goes too; one of another queue is released.
        """
        places: list[Place] = ["wait", "paused", "prioritized"]
        if delayed:
            places.append("delayed")
        return sum([await self._drain(place) for place in places])

    async def _drain(self, place: Place) -> int:
        done, left = 0, await self._size(self.keys.base + place)
        while left > done:
            gone = await admin_scripts.drain_jobs(self._lines, self.keys, self._dialect, now_ms(), place, STEP)
            if gone == 0:
                break
            done += gone
        return done

    async def clean(self, grace: Duration, *, limit: int = 0, state: State = State.COMPLETED) -> list[str]:
        """Remove jobs of a state that are older than `grace` (a timedelta or seconds), the oldest first; gives their ids.

        limit: how many at most, 0 = all. Finished jobs are as old as their end, delayed ones as their last run or their
        adding, prioritized ones as their adding, others as their last run or adding. A running job stays, and so does
        the next job of a scheduler. Flow parents fare as with `drain`. Raises ConfigurationError for other states.
        """
        if state not in _PLACES:
            raise ConfigurationError(f"clean takes one of {', '.join(_PLACES)}, got {state!r}")
        now, gone = now_ms(), list[str]()
        for place in await self._places(state):
            left = limit - len(gone) if limit > 0 else None
            if left != 0:
                gone += await self._clean(place, now, now - to_ms(grace), left)
        return gone

    async def _places(self, state: State) -> Sequence[Place]:
        """Where jobs of a state lie: of two lists only those that hold some, if any does."""
        places = _PLACES[state]
        if len(places) == 1:
            return places
        return [place for place in places if await self._size(self.keys.base + place)] or places[-1:]

    async def _clean(self, place: Place, now: int, newest_ms: int, limit: int | None) -> list[str]:
        gone: list[str] = []
        stayed = 0
        while limit is None or len(gone) < limit:
            most = STEP if limit is None else min(STEP, limit - len(gone))
            step, looked = await admin_scripts.clean_jobs(
                self._lines, self.keys, now, place, newest_ms, most, STEP, stayed
            )
            gone += step
            stayed += looked - len(step)
            if looked < STEP and len(step) < most:
                break
        return gone

    async def obliterate(self, *, force: bool = False, count: int = STEP) -> None:
        """Delete a paused queue with everything in it: jobs of all states, schedulers, limits, events, metrics.

        force: although jobs run; their workers will find their locks lost. count: how many jobs a step.
        Unlike BullMQ's, it leaves nothing: parents that wait for children, deduplication ids and the rate limit go too.
        Another queue, whose prefix is this one's base, stays.
        Children in other queues run on and forget their parent; parents there are released when this was their last.
        Raises QueueInUse when the queue is not paused, or runs jobs and `force` was not given. When it breaks off
        midway, call it again.
        """
        await self._obliterate(force, 0)
        await self._forget_deduplication()
        while await self._obliterate(force, _step(count)):
            pass

    async def _obliterate(self, force: bool, most: int) -> bool:
        code = await admin_scripts.obliterate_queue(self._lines, self.keys, self._dialect, now_ms(), force, most)
        if code == -1:
            raise QueueInUse(f"queue {self.name!r} is not paused; call pause() before obliterate()")
        if code == -2:
            raise QueueInUse(
                f"queue {self.name!r} has active jobs; wait until they are done, or obliterate(force=True)"
            )
        return code == 1

    async def _forget_deduplication(self) -> None:
        """Their keys are listed nowhere: look through all keys, some at a time."""
        pattern = "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in self.keys.base) + "d[en]:*"
        cursor: Any = 0
        others: dict[bytes, bool] = {}
        while True:
            cursor, found = await self._lines.call("SCAN", cursor, "MATCH", pattern, "COUNT", STEP)
            own = [key for key in found if not await self._is_of_another_queue(key, others)]
            if own:
                await self._lines.call("DEL", *own)
            if int(cursor) == 0:
                return

    async def _is_of_another_queue(self, key: bytes, known: dict[bytes, bool]) -> bool:
        """Whether a key is of a queue called `de`, say, whose prefix is this queue's base. `known`: asked before."""
        parts = key[len(self.keys.base.encode()) :].split(b":")
        bases = [self.keys.base.encode() + b":".join(parts[:count]) + b":" for count in range(1, len(parts))]
        for base in bases:
            if base not in known:
                is_hash = await self._lines.call("TYPE", base + b"meta") == b"hash"
                # What a deduplication id `meta` has kept back has a name.
                known[base] = is_hash and not await self._lines.call("HEXISTS", base + b"meta", "name")
        return any(known[base] for base in bases)

    async def trim_events(self, max_length: int) -> int:
        """Shorten the stream of events to about its newest `max_length`; gives how many went."""
        return int(await self._lines.call("XTRIM", self.keys.events, "MAXLEN", "~", max_length))

    async def get_deduplication_job_id(self, deduplication_id: str) -> str | None:
        """The job that owns a deduplication id; None: it is free."""
        owner = await self._lines.call("GET", f"{self.keys.base}de:{deduplication_id}")
        return None if owner is None else to_text(owner)

    async def remove_deduplication_key(self, deduplication_id: str) -> bool:
        """Give a deduplication id free, whoever owns it; False when it was free."""
        return await admin_scripts.remove_deduplication_key(self._lines, self.keys, deduplication_id, "")

    async def update_job_progress(self, job_id: str, progress: Any) -> None:
        """Store a job's progress (any JSON value) and tell listeners of it. Raises PayloadNotJSON, JobNotFound."""
        text = to_json(progress, f"progress of job {job_id}")
        if not await scripts.update_progress(self._lines, self.keys, job_id, text):
            raise JobNotFound(f"job {job_id} of queue {self.name!r} is gone; its progress was not stored")

    async def add_job_log(self, job_id: str, row: str, *, keep: int | None = None) -> int:
        """Add a row to a job's log, and keep the newest `keep`; gives how many there are. Raises JobNotFound."""
        rows = await scripts.add_log(self._lines, self.keys, job_id, storable(row), keep)
        if rows < 0:
            raise JobNotFound(f"job {job_id} of queue {self.name!r} is gone; the log row was not stored")
        return rows

    async def _size(self, key: str) -> int:
        is_list = key in (self.keys.wait, self.keys.paused)
        return int(await self._lines.call("LLEN" if is_list else "ZCARD", key))


def _step(count: int) -> int:
    if count < 1:
        raise ConfigurationError(f"count is how many jobs a step takes, from 1 up; got {count!r}")
    return count
