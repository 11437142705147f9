"""Tally: what one queue of a worker took, and for how long it held slots. Pure: the clock comes in.

Written by the event loop alone, read by the thread that beats: each number is one attribute, replaced whole.
"""

from collections.abc import Callable


class Tally:
    """Counts from the start of a worker on; times in seconds of one monotonic clock.

    taken: jobs; attempts: runs that came to an end here; busy: jobs in its hands, up to the moment when their end is
    written in Redis. `on_busy`, while there is one, is called at the next job that is taken.
    """

    __slots__ = ("_served", "attempts", "busy", "on_busy", "taken")

    on_busy: Callable[[], None] | None

    def __init__(self, now: float) -> None:
        self.taken = self.attempts = self.busy = 0
        self.on_busy = None
        # Slot-seconds up to a moment, the slots that are held since, and that moment.
        self._served = (0.0, 0, now)

    def took(self, now: float) -> None:
        """A job is ours, and holds a slot."""
        self.busy += 1
        self.taken += 1
        self._turn(now, 1)
        if self.on_busy is not None:
            self.on_busy()

    def ended(self, now: float, *, attempt: bool) -> None:
        """A run is over and its slot free. `attempt`: it was not cut short."""
        self.attempts += attempt
        self._turn(now, -1)

    def reclaimed(self, now: float) -> None:
        """A job whose end was refused holds a slot once more, until it is `ended` again."""
        self._turn(now, 1)

    def written(self) -> None:
        """Redis has the end of a job, or never will: it is out of our hands."""
        self.busy -= 1

    def seconds(self, now: float) -> float:
        """Slot-seconds served so far, those of running jobs included. It only grows."""
        served, held, since = self._served
        return served + held * max(0.0, now - since)

    def _turn(self, now: float, slots: int) -> None:
        served, held, since = self._served
        self._served = (served + held * (now - since), held + slots, now)
