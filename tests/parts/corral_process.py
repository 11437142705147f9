"""A real `corral work` in a process of its own, running a module that the test writes.

Its output goes to files, so that a worker which prints a lot never blocks, and nothing is lost when it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

LogLine = dict[str, Any]

# Generous: two cores shared with everything else.
_STARTED_WITHIN = 20.0
_REQUEST_TIMEOUT = 5.0

# What a test's own environment must not lend to the worker.
_FOREIGN = ("REDIS_", "CORRAL_", "POD_")


class CorralProcess:
    """`corral work MODULE:worker` on a module with the text `source`; also a context manager, which kills it.

    `env`: more environment. `args`: what follows `corral work`, when it is not the module's worker.
    `source` None writes no module.
    """

    def __init__(
        self,
        folder: Path,
        source: str | None,
        redis_url: str | None,
        env: Mapping[str, str] | None = None,
        *,
        module: str = "app",
        args: tuple[str, ...] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        if source is not None:
            (folder / f"{module}.py").write_text(source)
        self._command = [sys.executable, "-m", "corral", "work"]
        self._command += (f"{module}:worker",) if args is None else args
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self._env |= {"CORRAL_LOG_FORMAT": "json", "CORRAL_PORT": "0", "PYTHONUNBUFFERED": "1"}
        if redis_url is not None:
            self._env["REDIS_URL"] = redis_url
        self._env |= env or {}
        self._process: subprocess.Popen[bytes] | None = None
        number = 1 + sum(1 for _ in folder.glob("corral-*.err"))
        self._stdout, self._stderr = folder / f"corral-{number}.out", folder / f"corral-{number}.err"

    def start(self) -> Self:
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        return self

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def output(self) -> str:
        """Everything it has printed so far, on both streams."""
        return self._stdout.read_text(errors="replace") + self.stderr

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def log(self) -> list[LogLine]:
        """The lines of its log so far; what is no JSON (a traceback of Python itself, say) is left out."""
        lines = []
        for row in self.stderr.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                line = json.loads(row)
                if isinstance(line, dict):
                    lines.append(line)
        return lines

    def said(self, pattern: str, level: str | None = None) -> list[LogLine]:
        """The log lines whose message matches, of one level if one is given."""
        return [
            line
            for line in self.log
            if re.search(pattern, str(line.get("message"))) and level in (None, line.get("level"))
        ]

    @property
    def job_ends(self) -> list[LogLine]:
        """The lines that tell the end of a job."""
        return self.said("^job ended$")

    @property
    def port(self) -> int | None:
        """Where probes and metrics are; None before it has told."""
        for line in self.said("probes and metrics on port"):
            found = re.search(r"on port (\d+)", line["message"])
            assert found is not None
            return int(found[1])
        return None

    async def serving(self, within: float = _STARTED_WITHIN) -> Self:
        """Wait until it answers probes; an AssertionError with its output when it does not."""

        def told() -> bool:
            assert self.running, f"it ended with {self._child.returncode}:\n{self.output[-4000:]}"
            assert self.port is not None, f"no port yet:\n{self.output[-4000:]}"
            return True

        await eventually(told, within)
        return self

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a probe, or of /metrics."""
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}{path}")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._child.send_signal(number)

    async def wait(self, within: float = 15.0) -> int:
        """Wait for its end, and give the exit code; an AssertionError with its output when it does not end."""
        began = time.monotonic()

        def ended() -> bool:
            assert not self.running, f"it runs on {time.monotonic() - began:.1f} s later:\n{self.output[-4000:]}"
            return True

        await eventually(ended, within)
        code = self._child.returncode
        assert code is not None
        return code

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.running:
            self._child.kill()
        await self.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            if self.running:
                self._process.kill()
            self._process.wait()

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("corral work was not started")
        return self._process


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
