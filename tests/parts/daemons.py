"""Programs in the background, each with a log of its own, that a test ends again."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_STOPPED_WITHIN = 10.0
_EVERY = 0.05


class DaemonError(Exception):
    """One of them did not start; the text ends with its log."""


class Daemons:
    """Programs of one folder of logs, by name.

    `wrapper` is a command that goes before every other (nsenter, say). With `detached` they outlive a Ctrl-C or the end
    of the terminal, so that tests can end in an order; somebody must then clear up after a run that was killed.
    """

    def __init__(
        self,
        logs: Path,
        *,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self.logs = logs
        self._detached = detached
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._wrapper = tuple(wrapper)
        self._environment = {**os.environ, **(environment or {})}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, program: Path, *options: str) -> None:
        with self._log(program.name).open("ab") as log:
            self.processes[program.name] = subprocess.Popen(
                [*self._wrapper, str(program), *options],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self._detached,
            )

    def stop(self, name: str) -> None:
        """Ask it to end, and wait; no error when it is not there."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            # Nothing of a test's cluster is worth waiting for.
            process.kill()
            process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name)

    def wait_for(self, name: str, trouble: Callable[[], str | None], within: float) -> None:
        """Until `trouble` finds none. DaemonError when that takes too long, or when any of them ends meanwhile."""
        deadline = time.monotonic() + within
        while (answer := trouble()) is not None:
            for part, process in self.processes.items():
                if process.poll() is not None:
                    raise self._failure(part, f"ended with {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise self._failure(name, f"was not there within {within:g} s ({answer})")
            time.sleep(_EVERY)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _failure(self, name: str, what: str) -> DaemonError:
        return DaemonError(f"{name} {what}\n{self._log(name).read_text(errors='replace')[-3000:]}")
