"""Standard output that may go away: a terminal that is closed, a `tee` that Ctrl-C ends first.

Whoever shows something must not break by that, for running jobs would pay. It gets a SIGHUP instead, as from a terminal
that is closed, and ends in its own way.
"""

import io
import os
import signal
from typing import TextIO


class Outlet(io.TextIOBase):
    """Writes to `out`; from the first failure on, to nowhere. Main thread only."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # the last words of a worker may be in any language

    def write(self, text: str) -> int:
        """All of `text`, and at once."""
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # What is still in its buffer goes nowhere as well, also when the interpreter flushes it at the end.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)
            signal.raise_signal(signal.SIGHUP)
        return len(text)

    def isatty(self) -> bool:
        return self._out.isatty()

    def fileno(self) -> int:
        return self._out.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding
