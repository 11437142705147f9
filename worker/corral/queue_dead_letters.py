"""Failed jobs moved to another queue, to be looked at and replayed.

A dead-letter queue is a queue like any other, of the same prefix: every BullMQ client lists, counts and runs its jobs.
Each keeps the name and the data of the failed job, and says in its options where it came from (`Job.dead_letter`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from corral import letter_scripts
from corral.clock import now_ms
from corral.errors import ConfigurationError, CorralError, JobNotFound, JobNotInState, JobOfScheduler
from corral.job import Job
from corral.job_calls import JobCalls
from corral.job_record import from_wire
from corral.keys import Keys
from corral.moments import to_epoch_ms
from corral.queue_door import QueueDoor
from corral.script import pairs, to_text

BATCH = 100
"""Jobs that one call of a script moves: Redis does nothing else meanwhile."""

_WHY: dict[int, tuple[type[CorralError], str]] = {
    letter_scripts.NOT_THERE: (JobNotFound, "it does not exist (any more)"),
    letter_scripts.NOT_FAILED: (JobNotInState, "it is not failed"),
    letter_scripts.OPEN_CHILDREN: (JobNotInState, "it has open children, which would lose it; remove them first"),
    letter_scripts.OF_SCHEDULER: (JobOfScheduler, "it is the pending iteration of a job scheduler, which would end"),
    letter_scripts.PARENT_WAITS: (
        JobNotInState,
        "its parent waits for it, and would wait for ever; retry it, remove it, or untie it from its parent",
    ),
}
_WHY_NO_REPLAY: dict[int, tuple[type[CorralError], str]] = {
    letter_scripts.NOT_THERE: (JobNotFound, "it does not exist (any more)"),
    letter_scripts.NOT_FAILED: (JobNotInState, "a worker runs it, or it waits for children"),
    letter_scripts.ID_TAKEN: (JobNotInState, "its queue has another job with its id; remove that, or this letter"),
    letter_scripts.NO_LETTER: (JobNotInState, "it is no dead letter: its options name no origin"),
}


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of moving many jobs: how many moved, and the ids of those left where they are, with the reason."""

    moved: int = 0
    left: dict[str, str] = field(default_factory=dict)


class QueueDeadLetters(QueueDoor):
    """See the module's docstring. Each job moves in one step; in a Redis Cluster both queues must share a slot."""

    async def move_to_dead_letters(self, job_id: str, *, to: str) -> Job:
        """Move a failed job to the queue `to`; gives it as it lies there, waiting. Doing it twice moves it once.

        When several jobs of this id were moved, one after another, doing it once more gives the first one's letter.

        Raises JobNotFound; JobNotInState when it is not failed, or when a parent or a child hangs on it; JobOfScheduler.
        """
        letters = self._letters(to)
        (answer,) = await letter_scripts.bury_jobs(self._lines, self.keys, letters, self._dialect, now_ms(), [job_id])
        if isinstance(answer, int):
            kind, why = _WHY[answer]
            raise kind(f"job {job_id} of queue {self.name!r} was not moved to {to!r}: {why}")
        return await self._job_of(letters, answer)

    async def move_failed_to_dead_letters(
        self, *, to: str, count: int | None = None, until: datetime | float | None = None
    ) -> Swept:
        """Move failed jobs to the queue `to`, the oldest first: `count` at most, those that failed until then.

        until: a datetime (without a zone: local time) or epoch seconds.
        """
        letters = self._letters(to)
        now = now_ms()
        latest = now if until is None else to_epoch_ms("until", until)

        async def page(skip: int, most: int) -> list[bytes]:
            bounds = (self.keys.failed, "-inf", latest, "LIMIT", skip, most)
            ids: list[bytes] = await self._lines.call("ZRANGEBYSCORE", *bounds)
            return ids

        async def move(ids: list[str]) -> list[str | int]:
            return await letter_scripts.bury_jobs(self._lines, self.keys, letters, self._dialect, now, ids)

        return await _sweep(page, move, _WHY, count)

    async def replay(self, job_id: str) -> Job:
        """Move a dead letter back to its queue, where it waits under its old id; gives it as it lies there.

        Its options, its timestamp and its log are the old ones, its data and name those of the letter; its attempts
        start anew. Raises JobNotFound; JobNotInState when it runs, is no dead letter, or its old id is taken.
        """
        (answer,) = await letter_scripts.replay_letters(self._lines, self.keys, self._dialect, now_ms(), [job_id])
        if isinstance(answer, int):
            kind, why = _WHY_NO_REPLAY[answer]
            raise kind(f"job {job_id} of queue {self.name!r} was not replayed: {why}")
        queue, old_id = answer
        return await self._job_of(Keys(queue, self.keys.prefix), old_id)

    async def replay_all(self, *, count: int | None = None) -> Swept:
        """Move the waiting dead letters back to their queues, the oldest first, `count` at most.

        Letters that a worker has handled, and so completed or failed, are left; `replay` takes them one by one.
        """
        there = int(await self._lines.call("LLEN", self.keys.wait))
        held_back = int(await self._lines.call("LLEN", self.keys.paused))
        # No more than there are now: a letter that fails again comes back here.
        swept = await self._replay_list(self.keys.paused, _least(count, held_back))
        rest = None if count is None else count - swept.moved
        more = await self._replay_list(self.keys.wait, _least(rest, there))
        return Swept(swept.moved + more.moved, {**swept.left, **more.left})

    async def _replay_list(self, key: str, count: int) -> Swept:
        async def page(skip: int, most: int) -> list[bytes]:
            ids: list[bytes] = await self._lines.call("LRANGE", key, -(skip + most), -(skip + 1))
            return ids[::-1]

        async def move(ids: list[str]) -> list[tuple[str, str] | int]:
            return await letter_scripts.replay_letters(self._lines, self.keys, self._dialect, now_ms(), ids)

        return await _sweep(page, move, _WHY_NO_REPLAY, count)

    def _letters(self, to: str) -> Keys:
        if to == self.name:
            raise ConfigurationError(f"queue {to!r} cannot be its own dead-letter queue; name another one")
        return Keys(to, self.keys.prefix)

    async def _job_of(self, keys: Keys, job_id: str) -> Job:
        """A job of this queue or of the other."""
        flat = await self._lines.call("HGETALL", keys.job(job_id))
        fields = pairs(flat)
        if not fields:
            raise JobNotFound(f"job {job_id} of queue {keys.queue!r} was moved there, and is gone already")
        return from_wire(job_id, fields, keys.queue, JobCalls(self._lines, keys, self._dialect))


async def _sweep(
    page: Callable[[int, int], Awaitable[list[bytes]]],
    move: Callable[[list[str]], Awaitable[Sequence[object]]],
    why: Mapping[int, tuple[type[CorralError], str]],
    count: int | None,
) -> Swept:
    """Move what `page(skip, most)` shows, until it shows nothing or `count` have moved; `move` gives codes as ints."""
    moved = 0
    left: dict[str, str] = {}
    while (most := _least(None if count is None else count - moved, BATCH)) > 0:
        ids = [to_text(id) for id in await page(len(left), most)]
        if not ids:
            break
        for id, answer in zip(ids, await move(ids), strict=True):
            if isinstance(answer, int):
                left[id] = why[answer][1]
            else:
                moved += 1
    return Swept(moved, left)


def _least(bound: int | None, most: int) -> int:
    return most if bound is None else max(0, min(bound, most))
