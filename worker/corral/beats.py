"""Beats: a worker tells Redis that it lives, and hears what the operator wants of it. One thread for each shift.

A thread with a connection of its own: a processor that blocks the event loop must not make the worker look dead. Every
3 s while a job is held or an order stands, every 10 s when idle for that long, at once on a change of state.

    order found at any queue   the whole worker takes nothing more (`Controls.obey`)
    `quiet` is told            once no call is under way that may still bring a job
    no order any more          `taking` is told first, then the worker takes again
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from typing import Any

from corral import beat_scripts
from corral.beat_record import BEAT_S, Beat, BeatState, quiet_until
from corral.blocking_lines import BlockingLines, drive
from corral.clock import now_ms
from corral.connection import retry_pause_s
from corral.controls import Controls
from corral.errors import RedisRefused, RedisUnavailable
from corral.pace import Pace
from corral.queue_work import QueueWork
from corral.script import Caller
from corral.slots import Slots
from corral.steadiness import Steadiness

logger = logging.getLogger("corral.beats")

CALL_S = 3.0
"""Seconds that connecting and one call may take: after a failover everybody must have beaten within 10 s."""

LOOK_S = 0.2
"""Seconds between two looks, without Redis, whether an order is obeyed by now."""

SKEW_MS = 1000
"""A host's clock that is off by more is told."""

_ANSWERS = ("NOPERM", "WRONGTYPE", "ERR")
"""Refusals of the beat alone: Redis is there, and answers."""

_LASTING = (*_ANSWERS, "NOAUTH", "WRONGPASS")
"""Refusals that do not end by themselves within seconds."""


class Beats:
    """See the module's docstring. `about`: what is said in every beat; `spare`: connections of the event loop, for when
    its own cannot be had.

    `start` in the event loop of the worker; `close` there too, or in another one when that is blocked.
    """

    def __init__(
        self,
        lines: BlockingLines,
        spare: Caller,
        about: Beat,
        works: Sequence[QueueWork],
        controls: Controls,
        slots: Slots,
    ) -> None:
        self._lines, self._about, self._works = lines, about, works
        self._controls, self._slots = controls, slots
        self._caller = _Brief(lines, spare)
        self._thread = threading.Thread(target=self._run, name="corral-beats", daemon=True)
        self._wake = threading.Event()
        self._closing = self._draining = self._ordered = self._holds = self._unwoken = False
        self._orders: dict[QueueWork, float] = {}
        self._told: tuple[BeatState, bool] | None = None
        self._every = BEAT_S
        self._failures = 0
        self._trouble: str | None = None
        self._is_skew_told = False
        self._born = time.monotonic()
        self._pace = Pace([work.tally for work in works], self._wake.set, self._born)
        self._steadiness = Steadiness()
        self._asked: float | None = None
        self._lag_s = 0.0

    def start(self) -> None:
        """Beat from now on, until `close`."""
        self._loop = self._caller.loop = asyncio.get_running_loop()
        self._thread.start()

    def drain(self) -> None:
        """Tell at once that the worker ends. From any thread."""
        self._draining = True
        self._wake.set()

    async def close(self, within: float) -> None:
        """Remove the records, beat no more, and wait for that for so many seconds. Raises nothing."""
        self._closing = True
        self._wake.set()
        until = time.monotonic() + within
        while self._thread.is_alive() and time.monotonic() < until:  # noqa: ASYNC110  (once)
            await asyncio.sleep(0.01)

    def steady_s(self) -> float:
        """For how many seconds every own beat was answered promptly, over one connection. From any thread.

        0 after a call that failed or took long, and after a gap: this process, or Redis, was frozen.
        """
        return self._steadiness.seconds(time.monotonic())

    def _run(self) -> None:
        try:
            while not self._closing:
                self._rest(self._turn())
            self._forget()
        finally:
            drive(self._lines.close())

    def _turn(self) -> float:
        """Tell and hear; gives the seconds until the next turn."""
        began = time.monotonic()
        try:
            refusal = self._round()
            if self._holds and not self._stands():
                self._ordered = False
                # First it is told, then it takes: nobody may still think it quiet.
                refusal = self._round()
                if not self._stands():
                    self._let_go()
            self._wake_others()
            if refusal is not None:
                raise refusal
        except RedisUnavailable as error:
            return self._failed(error, began)
        except Exception:  # the border of the thread: without it the worker would look dead for good
            logger.exception("a beat broke")
            self._steadiness.broke()
            return self._every
        if self._trouble:
            logger.info("beats are answered again")
        self._failures, self._trouble = 0, None
        return began + self._every - time.monotonic()

    def _round(self) -> RedisRefused | None:
        """One beat at each queue; gives the last refusal. Raises RedisUnavailable for anything else.

        One queue that refuses must not make the worker look dead, or stay quiet, at the others.
        """
        began = time.monotonic()
        state, alert = self._state(), self._ordered or self._draining
        self._every = self._pace.span(began, alert=alert)
        # The state first: what came before it was said is counted, and after `quiet` nothing comes.
        self._told = state, not self._pace.busy
        lag_ms = self._measured_lag(began) * 1000
        if self._lines.fresh and not self._failures:
            self._steadiness.broke()
        about = replace(self._about, state=state, slots=self._slots.total, every=self._every, lag_ms=lag_ms)
        refusal = None
        for work in self._works:
            try:
                self._beat(work, about)
            except RedisRefused as error:
                refusal = error
        return refusal

    def _beat(self, work: QueueWork, about: Beat) -> None:
        """The beat at one queue. Raises RedisUnavailable."""
        asked, tally = time.monotonic(), work.tally
        record = replace(about, busy=tally.busy, taken=tally.taken, ended=tally.attempts, seconds=tally.seconds(asked))
        heard = drive(beat_scripts.beat(self._caller, work.keys, record.worker, record.to_wire()))
        self._heard(heard.now_ms, asked, time.monotonic())
        until = quiet_until(heard.order)
        if until is None:
            self._orders.pop(work, None)
        else:
            self._obey(work, (until - heard.now_ms) / 1000)

    def _state(self) -> BeatState:
        if self._draining:
            return BeatState.DRAINING
        return BeatState.QUIET if self._ordered and self._controls.quiet else BeatState.TAKING

    def _measured_lag(self, now: float) -> float:
        """How late the event loop did what it was asked to do at the last beat, in seconds; and ask it anew."""
        asked = self._asked
        if asked is not None:
            return now - asked
        self._asked = now
        self._in_loop(self._answer)
        return self._lag_s

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        self._lag_s = time.monotonic() - (asked or 0.0)

    def _heard(self, redis_ms: int, asked: float, now: float) -> None:
        """One queue's beat was answered."""
        self._steadiness.answered(now, now - asked, self._every)
        if self._about.since is None:
            self._about = replace(self._about, since=redis_ms - round((now - self._born) * 1000))
            self._wake.set()  # and told at once
        skew_ms = now_ms() - redis_ms
        if not self._is_skew_told and abs(skew_ms) - (now - asked) * 1000 > SKEW_MS:
            self._is_skew_told = True
            logger.warning(
                "the clock of this host is %.1f s %s Redis'; delayed jobs and schedules will be off by as much: set "
                "the clocks by NTP",
                abs(skew_ms) / 1000,
                "ahead of" if skew_ms > 0 else "behind",
            )

    def _stands(self) -> bool:
        """Whether an order stands at any queue: of one that cannot be asked again, until its time."""
        now = time.monotonic()
        return any(now < until for until in self._orders.values())

    def _obey(self, work: QueueWork, seconds: float) -> None:
        """An order stands at a queue, for so long if Redis cannot be asked again."""
        self._orders[work] = time.monotonic() + seconds
        self._ordered = True
        if not self._holds:
            self._holds = self._unwoken = True
            self._in_loop(self._controls.obey)

    def _let_go(self) -> None:
        self._ordered = self._holds = False
        self._in_loop(self._controls.release)

    def _wake_others(self) -> None:
        """A marker may have been popped here just before nothing more was taken: others must not sleep beside jobs."""
        if self._unwoken and self._ordered and self._controls.quiet:
            for work in self._works:
                with suppress(RedisRefused):
                    drive(self._caller.call("ZADD", work.keys.marker, 0, "0"))
            self._unwoken = False

    def _in_loop(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended before us
            self._loop.call_soon_threadsafe(act)

    def _failed(self, error: RedisUnavailable, began: float) -> float:
        """A beat was not carried out. An order that is void by now must not outlive an outage."""
        now = time.monotonic()
        if error.code in _ANSWERS:
            self._steadiness.answered(now, now - began, self._every)
        else:
            self._steadiness.broke()
        self._failures += 1
        if self._holds and not self._stands():
            self._let_go()
        lasting = error.code in _LASTING
        if self._trouble != str(error):
            self._trouble = str(error)
            if lasting:
                logger.warning("this worker works, but cannot tell so, and hears no orders: %s", error)
            else:
                logger.info("no beats for now: %s", error)
        return began + self._every - now if lasting else min(1.0, retry_pause_s(self._failures, random.random()))

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._wake.wait(min(left, LOOK_S) if self._ordered else left):
                self._wake.clear()
                return
            if self._ordered and not self._failures and (self._state(), not self._pace.busy) != self._told:
                return

    def _forget(self) -> None:
        for work in self._works:
            try:
                drive(beat_scripts.forget_worker(self._caller, work.keys, self._about.worker))
            except RedisUnavailable as error:
                logger.debug("the records of this worker stay until others forget it: %s", error)
                if not isinstance(error, RedisRefused):
                    return


class _Brief:
    """Blocking lines whose calls may not take long. Where no connection is left for them (Redis allows only so many), the
    event loop's carry the call: who works on must not look dead, or others would run its jobs once more."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, lines: BlockingLines, spare: Caller) -> None:
        self._lines, self._spare = lines, spare

    async def call(self, *command: Any, timeout: float = CALL_S) -> Any:
        try:
            return await self._lines.call(*command, timeout=timeout)
        except RedisUnavailable as error:
            # With a connection it was the call that failed; and after a timeout there is none left for a second try.
            if error.maybe_done or error.code == "timeout" or not self._lines.fresh or not self.loop.is_running():
                raise
            return self._in_loop(self._spare.call(*command, timeout=timeout), timeout, error)

    def _in_loop(self, call: Coroutine[Any, Any, Any], timeout: float, error: RedisUnavailable) -> Any:
        try:
            asked = asyncio.run_coroutine_threadsafe(call, self.loop)
        except RuntimeError:  # the loop has ended just now
            call.close()
            raise error from None
        try:
            return asked.result(timeout)
        except (TimeoutError, CancelledError):
            asked.cancel()
            raise error from None
