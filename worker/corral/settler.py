"""Writes how jobs ended and takes the next ones, many in one call. One loop for each queue.

An outcome waits for at most the one call in flight. While that call runs, further outcomes gather; the next call
carries them all. So a busy worker writes in large batches, an idle one at once, and a crash repeats little.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from corral import scripts
from corral.clock import now_ms
from corral.connection import Line, retry_pause_s
from corral.errors import RedisUnavailable
from corral.job import Job
from corral.keys import Keys
from corral.lifecycle import Failed, HandBack, Step
from corral.rate_limit import RateLimit
from corral.remains import End, Remains
from corral.script import Caller
from corral.scripts import Held, Settled, Settlement, Taking
from corral.slots import Share, Slots

logger = logging.getLogger("corral.settler")


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over: the job, what to write, and how long it ran (ms)."""

    job: Job
    token: str
    step: Step
    run_ms: int
    held_anew: bool = False
    """It met no lock once, and its lock was set anew."""


@dataclass(frozen=True, slots=True)
class Lockless:
    """An end that met no lock. `sent_before`: it may have been written by a call whose answer was lost."""

    ended: Ended
    sent_before: bool

    @property
    def held(self) -> Held:
        return Held(self.ended.job.id, self.ended.token, _starts_of(self.ended.job))


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A call whose answer is still to come, or to be worked on."""

    batch: list[Ended]
    token: str
    wants: bool
    """It may bring jobs."""


MOST = 250
"""Outcomes written, and jobs taken, by one call at most: while a script runs, Redis does nothing else."""
LONGEST_LIMIT_MS = 30_000
"""A longer rate limit is waited for in steps: due delayed jobs are promoted by takes alone."""


class Receiver(Protocol):
    """Who is told what the settler did. Implemented by the worker."""

    def taken(self, job_id: str, fields: dict[bytes, bytes], token: str) -> None: ...

    def settled(self, ended: Ended) -> None: ...

    def refused(self, ended: Ended, code: int, *, sent_before: bool) -> None: ...

    def refused_completion(self, ended: Ended, outcome: Failed) -> None: ...

    def unreadable(self, job_id: str) -> None: ...

    def found_nothing(self) -> None: ...

    def trouble(self, text: str) -> None: ...

    def calling(self, error: RedisUnavailable | None, outcomes: int) -> None: ...


class Settler:
    """Owns the writes of one queue. `settle` hands it an outcome, `look` asks it to try a take."""

    def __init__(
        self,
        line: Line,
        keys: Keys,
        dialect: str,
        slots: Slots,
        receiver: Receiver,
        *,
        worker_name: str,
        lock_ms: int,
        next_token: Callable[[], str],
        limit: RateLimit | None = None,
        metrics_points: int = 0,
    ) -> None:
        self._line, self._keys, self._dialect, self._receiver = line, keys, dialect, receiver
        self._lock_ms, self._worker_name = lock_ms, worker_name
        self._next_token = next_token
        self._limit, self._points = limit, metrics_points
        self._nothing = Taking(0, "", 0, "", limit, metrics_points)
        self._pending: list[Ended] = []
        self._under_way: list[UnderWay] = []
        # Of these nobody knows yet whether their jobs are still ours.
        self._lockless: list[Lockless] = []
        self._wake = asyncio.Event()
        self._quiet = self._paused = False
        self.share: Share = slots.share(self._wake.set)
        self.share.hungry = True
        self.resting = asyncio.Event()
        """Set while the last take found less than there was room for: time to wait for the marker."""
        self.next_due_ms = 0
        self.limited_until_ms = 0

    @property
    def unwritten(self) -> int:
        """Outcomes that Redis does not have yet, and calls whose answer is still to come or to be worked on."""
        return len(self._pending) + len(self._lockless) + len(self._under_way)

    @property
    def unwritten_ends(self) -> int:
        """Outcomes that Redis may not have yet. A take alone is none: what it brings can be handed back by the last call."""
        return len(self._pending) + len(self._lockless) + sum(1 for call in self._under_way if call.batch)

    @property
    def taking(self) -> bool:
        """Whether it takes jobs at all: it was told neither to be quiet nor to pause."""
        return not (self._quiet or self._paused)

    @property
    def bringing(self) -> bool:
        """Whether jobs may still come: it takes some, or a call under way may bring them. From any thread."""
        return self.taking or any(call.wants for call in list(self._under_way))

    def settle(self, ended: Ended) -> None:
        """An outcome to write; its slot is free from now on."""
        self._pending.append(ended)
        self.share.release()
        self._wake.set()

    def let_go(self) -> None:
        """A run is over of which nothing is to be written; its slot is free from now on."""
        self.share.release()
        self._wake.set()

    def look(self) -> None:
        """There may be a job: try a take as soon as there is room."""
        self.share.hungry = self.taking
        self.resting.clear()
        self._wake.set()

    def quiet(self) -> None:
        """Take no more jobs; go on writing. Jobs of a call under way are still delivered."""
        self._quiet = True
        self.share.hungry = False
        self._wake.set()

    def pause(self) -> None:
        """Take no more jobs until `resume`; as `quiet` otherwise."""
        self._paused = True
        self.share.hungry = False

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        self.look()

    def limit(self, duration_ms: int) -> None:
        """Take no jobs for so long, whatever Redis says."""
        step_ms = duration_ms if self._limit is None else min(duration_ms, LONGEST_LIMIT_MS)
        self.limited_until_ms = max(self.limited_until_ms, now_ms() + step_ms)

    async def run(self) -> None:
        """The loop. Ends only when cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._lockless:
                await self._hold_anew()
            want = self._want()
            if want or self._pending:
                await self._exchange(want)

    def _want(self) -> int:
        if self._quiet or self._paused:
            return 0
        if now_ms() < self.limited_until_ms:
            # Asked too early (the marker came with the limit): back to the fetcher, which waits for its end.
            self.share.hungry = False
            self.resting.set()
            return 0
        if not (self.share.hungry or self._pending):
            return 0
        return self.share.claim(MOST)

    async def _exchange(self, want: int) -> None:
        batch = self._pending[:MOST]
        del self._pending[:MOST]
        taking = Taking(want, self._next_token(), self._lock_ms, self._worker_name, self._limit, self._points)
        call = UnderWay(batch, taking.token, want > 0)
        # Cancelled in the middle, it stays in this list: what may not have been written is still ours to write.
        self._under_way.append(call)
        started = 0
        try:
            reply, sent_before = await self._call(batch, taking)
            started = len(reply.jobs)
        finally:
            self.share.release(want - started)
        # Not now: the next call goes out first, and Redis works on it while we work on this answer.
        asyncio.get_running_loop().call_soon(self._deliver, call, want, reply, sent_before)
        self._remember(reply, want, started)
        if self._pending:
            self._wake.set()

    def _deliver(self, call: UnderWay, wanted: int, reply: Settled, sent_before: bool) -> None:
        for job_id, fields in reply.jobs:
            self._receiver.taken(job_id, fields, call.token)
        for ended, code in zip(call.batch, reply.codes, strict=True):
            self._tell(ended, code, sent_before)
        for job_id in reply.unreadable:
            self._receiver.unreadable(job_id)
        for text in reply.troubles:
            self._receiver.trouble(text)
        self._under_way.remove(call)
        if wanted and not reply.jobs and not reply.limited_ms:
            self._receiver.found_nothing()

    async def _call(self, batch: list[Ended], taking: Taking) -> tuple[Settled, bool]:
        """One exchange, repeated until Redis has answered. The flag: an earlier try may have been carried out."""
        settlements = [Settlement(ended.job.id, ended.token, ended.step) for ended in batch]
        maybe_done = False
        for attempt in itertools.count():
            try:
                reply = await self._settle_once(settlements, taking, reclaim=maybe_done and taking.want > 0)
                self._receiver.calling(None, len(batch))
                return reply, maybe_done
            except RedisUnavailable as error:
                maybe_done = maybe_done or error.maybe_done
                self._receiver.calling(error, len(batch))
            await asyncio.sleep(retry_pause_s(attempt, random.random()))
        raise AssertionError("unreachable")

    async def _settle_once(self, settlements: list[Settlement], taking: Taking, *, reclaim: bool) -> Settled:
        # An earlier try may have taken jobs, in an answer that never came: they are ours, and nobody runs them.
        lost: list[tuple[str, dict[bytes, bytes]]] = []
        if reclaim:
            lost = await scripts.reclaim_jobs(self._line, self._keys, taking.token, self._lock_ms)
        if not lost and self.taking:
            return await self._settle(settlements, taking)
        return replace(await self._settle(settlements, self._nothing), jobs=lost)

    async def _settle(self, settlements: list[Settlement], taking: Taking) -> Settled:
        return await scripts.settle_jobs(self._line, self._keys, self._dialect, now_ms(), settlements, taking)

    async def _hold_anew(self) -> None:
        """An outage may have outlasted the locks of ended jobs: while nobody has taken them, their ends are still ours
        to write."""
        some = self._lockless[:1000]
        lost = set(await self._lost([one.held for one in some]))
        del self._lockless[: len(some)]
        for one in some:
            ended = replace(one.ended, held_anew=True)
            if one.held in lost:
                self._tell(ended, scripts.NO_LOCK, one.sent_before)
            else:
                self._pending.append(ended)
        if self._lockless:
            self._wake.set()

    async def _lost(self, held: list[Held]) -> list[Held]:
        """Hold locks anew, tried until Redis has answered; gives those that are not ours to hold."""
        for attempt in itertools.count():
            try:
                return (await scripts.renew_locks(self._line, self._keys, self._lock_ms, held)).lost
            except RedisUnavailable as error:
                self._receiver.calling(error, len(held))
            await asyncio.sleep(retry_pause_s(attempt, random.random()))
        raise AssertionError("unreachable")

    def _tell(self, ended: Ended, code: int, sent_before: bool) -> None:
        try:
            self._told(ended, code, sent_before)
        except Exception:
            # A processor can write anything into its job. The others of this answer still want to be told.
            logger.exception("that job %s of queue %s ended was not told", ended.job.id, self._keys.queue)

    def _told(self, ended: Ended, code: int, sent_before: bool) -> None:
        if code == 0:
            self._receiver.settled(ended)
        elif code == scripts.NO_LOCK and not ended.held_anew:
            self._lockless.append(Lockless(ended, sent_before))
            self._wake.set()
        elif code in (scripts.OPEN_CHILDREN, scripts.FAILED_CHILDREN):
            reason = f"the job cannot complete: {scripts.CODES[code]}"
            self._receiver.refused_completion(ended, Failed(reason))
        else:
            self._receiver.refused(ended, code, sent_before=sent_before)

    def _remember(self, reply: Settled, want: int, started: int) -> None:
        if reply.limited_ms:
            self.limited_until_ms = now_ms() + min(reply.limited_ms, LONGEST_LIMIT_MS)
        if not want:
            return
        self.next_due_ms = reply.next_due_ms
        self.share.hungry = self.taking and started == want
        if self.share.hungry:
            self.resting.clear()
            self._wake.set()
        else:
            self.resting.set()

    async def write_remains(self, caller: Caller, running: Mapping[tuple[str, str], int]) -> int:
        """The last call, when the loop has ended (or is blocked, and this runs in another thread): write what is not
        written, hand back the jobs that still run, and those of a take whose answer nobody worked on.

        running: (id, token) -> how often it has been started. Gives the number of jobs it was about. Raises
        RedisUnavailable.
        """
        calls = list(self._under_way)
        ended = [one for call in calls for one in call.batch] + [one.ended for one in self._lockless] + self._pending
        ends = [End(Settlement(one.job.id, one.token, one.step), _starts_of(one.job)) for one in ended]
        ends += [End(Settlement(job_id, token, HandBack()), starts) for (job_id, token), starts in running.items()]
        tokens = [call.token for call in calls]
        return await Remains(caller, self._keys, self._dialect, self._lock_ms, self._nothing).write(ends, tokens)


def _starts_of(job: Job) -> int:
    starts: object = job.attempts_started
    return starts if isinstance(starts, int) else 0  # a processor can write anything into its job
