"""Pace: how often a worker beats. Pure: the clock comes in."""

from collections.abc import Callable, Sequence

from corral.beat_record import BEAT_S, IDLE_BEAT_S
from corral.tally import Tally


def span_s(idle_s: float, *, alert: bool) -> float:
    """Seconds to the next beat. idle_s: since a job was held last; alert: an order stands, or the worker ends.

    Idle for a while first: a worker with a job now and then does not tell each of them.
    """
    return BEAT_S if alert or idle_s < IDLE_BEAT_S else IDLE_BEAT_S


class Pace:
    """Of one worker, by what its queues took. `wake` is called when an idle one gets a job. Times are monotonic."""

    def __init__(self, tallies: Sequence[Tally], wake: Callable[[], None], now: float) -> None:
        self._tallies, self._wake = tallies, wake
        self._busy_at = now
        self._taken = 0

    @property
    def busy(self) -> bool:
        """Whether a job is held now."""
        return any(tally.busy for tally in self._tallies)

    def span(self, now: float, *, alert: bool) -> float:
        """Seconds to the next beat, if no job comes to an idle worker before."""
        if self._span(now, alert) > BEAT_S:
            self._watch(self._poke)
            # A job may have come before anybody watched.
            if (span := self._span(now, alert)) > BEAT_S:
                return span
        self._watch(None)
        return BEAT_S

    def _span(self, now: float, alert: bool) -> float:
        taken = sum(tally.taken for tally in self._tallies)
        if taken != self._taken or self.busy:
            self._taken, self._busy_at = taken, now
        return span_s(now - self._busy_at, alert=alert)

    def _watch(self, watcher: Callable[[], None] | None) -> None:
        for tally in self._tallies:
            tally.on_busy = watcher

    def _poke(self) -> None:
        # Once: what follows is told by beats that come soon anyway.
        self._watch(None)
        self._wake()
