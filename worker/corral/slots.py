"""The budget of a worker: how many jobs it runs at once, shared by its queues round robin."""

from collections.abc import Callable


class Share:
    """One queue's part of the slots. `hungry`: there may be a job that waits for a slot."""

    def __init__(self, slots: "Slots", wake: Callable[[], None]) -> None:
        self._slots, self.wake = slots, wake
        self.held = 0
        self.hungry = False

    def claim(self, most: int) -> int:
        """Take as many free slots as are this queue's due, `most` at most; gives their number.

        Not more than half of all at once: while Redis hands out the one half, the other half runs.
        """
        granted = min(self._slots.due(self), -(-self._slots.total // 2), most)
        self._slots.busy += granted
        self.held += granted
        return granted

    def reclaim(self) -> None:
        """Take one slot although none may be free: its job is being ended a second time."""
        self._slots.busy += 1
        self.held += 1

    def release(self, number: int = 1) -> None:
        """Give slots back, and wake the other queues that wait for one."""
        if not number:
            return
        self._slots.busy -= number
        self.held -= number
        self._slots.wake_others(self)


class Slots:
    """`total` slots for several queues. Not thread-safe: it lives in the event loop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0
        self._shares: list[Share] = []
        self._watchers: list[Callable[[int], None]] = []

    @property
    def free(self) -> int:
        """How many may be taken now; 0 also while more are taken than there are any more."""
        return max(0, self.total - self.busy)

    def resize(self, total: int) -> None:
        """Have so many from now on. Fewer than are taken: none is taken until enough came back."""
        self.total = total
        for watcher in self._watchers:
            watcher(total)
        for share in self._shares:
            if share.hungry:
                share.wake()

    def watch(self, watcher: Callable[[int], None]) -> None:
        """Call `watcher` with the new total whenever it changes."""
        self._watchers.append(watcher)

    def share(self, wake: Callable[[], None]) -> Share:
        """A queue joins; `wake` is called when a slot may have become free for it."""
        share = Share(self, wake)
        self._shares.append(share)
        return share

    def due(self, share: Share) -> int:
        """How many free slots a queue may take: all, or with other hungry queues its even part."""
        others = sum(1 for other in self._shares if other.hungry and other is not share)
        if not others:
            return self.free
        even = -(-self.total // (others + 1))
        return max(0, min(self.free, even - share.held))

    def wake_others(self, share: Share) -> None:
        for other in self._shares:
            if other.hungry and other is not share:
                other.wake()
