"""Steadiness: for how long Redis has answered one caller promptly. Pure: the clock comes in.

Written by one thread, read by any: each fact is one attribute, replaced whole.
"""

PROMPT_S = 2.0
"""An answer that took longer says nothing of how well others can call."""


class Steadiness:
    """Times in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._answered = self._within = 0.0

    def answered(self, now: float, took: float, span: float) -> None:
        """Redis has answered after `took` seconds, and the next answer is due in `span`."""
        if took > PROMPT_S:
            self._since = None
        elif self._since is None or now - took - self._answered > self._within:
            self._since = now
        self._answered, self._within = now, 2 * span

    def broke(self) -> None:
        """A call failed, or the connection is another one."""
        self._since = None

    def seconds(self, now: float) -> float:
        """How long it has lasted; 0 right after a break, and while an answer is overdue: somebody was frozen."""
        since = self._since
        return 0.0 if since is None or now - self._answered > self._within else now - since
