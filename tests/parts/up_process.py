"""A real `corral up` in a process of its own: a folder with pools and the code of their workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from corral_process import CorralProcess
from pools import pool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from kubectl import Manifest

# A shell's background job ignores Ctrl-C and hands that down to us: begin as from a terminal.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from corral.cli import main
sys.exit(main())
"""


def local_pool(name: str = "emails", *, container: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A pool with one replica per job that runs `app:worker` here; `container` says what its container has instead."""
    row: dict[str, Any] = {"name": "worker", "image": "registry.example/emails:1.4"}
    row |= {"args": ["work", "app:worker"]} if container is None else container
    settled = {"target": {"jobsPerReplica": 1}, "idleAfter": "1s", "maxReplicas": 3, "template": template(row)}
    return pool(name, **settled | spec)


def template(*containers: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template of these containers."""
    return {"spec": {"containers": list(containers)}}


class UpProcess(CorralProcess):
    """`corral up pools.yaml ARGS`, with the manifests in that file; also a context manager, which kills it.

    `redis_url` None names no Redis at all. `source`: the text of `app.py`. Everything temporary goes to `temp`.
    `stdin`: the manifests come on standard input. Everything else is a CorralProcess's.
    """

    def __init__(
        self,
        folder: Path,
        manifests: list[Manifest],
        redis_url: str | None,
        *args: str,
        source: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
    ) -> None:
        self.temp = folder / "temp"
        self.temp.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, source, redis_url, {"TMPDIR": str(self.temp), **(env or {})})
        self._pools, self._on_stdin = folder / "pools.yaml", stdin
        self._pools.write_text(yaml.safe_dump_all(manifests))
        self._command = [sys.executable, "-c", _PROGRAM, "up", "-" if stdin else self._pools.name, *args]

    def start(self) -> Self:
        with self._stdout.open("wb") as stdout:
            return self.start_on(stdout.fileno())

    def start_on(self, stdout: int) -> Self:
        """With its standard output on this descriptor; then `lines` and `output` hold nothing of it."""
        self._stdout.touch()
        with (
            self._stderr.open("wb") as stderr,
            (self._pools if self._on_stdin else Path(os.devnull)).open("rb") as stdin,
        ):
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdin=stdin, stdout=stdout, stderr=stderr
            )
        return self

    @property
    def lines(self) -> list[str]:
        """What it has told so far, without the times."""
        return [row[10:] for row in self._stdout.read_text(errors="replace").splitlines()]

    def line(self, words: str) -> str | None:
        """The latest line with these words."""
        return next((line for line in reversed(self.lines) if words in line), None)

    def told(self, words: str) -> str:
        """The same; an AssertionError with its output when there is none, or when it has ended."""
        assert self.running or self.line(words), f"it ended with {self._child.returncode}:\n{self.output[-4000:]}"
        line = self.line(words)
        assert line is not None, f"no line with {words!r}:\n{self.output[-4000:]}"
        return line

    def ctrl_c(self) -> None:
        self.signal(signal.SIGINT)

    def log_of(self, replica: str) -> str:
        """The log of a replica while `corral up` runs."""
        return "".join(path.read_text(errors="replace") for path in self.temp.glob(f"corral-up-*/{replica}.log"))

    def leftovers(self) -> list[str]:
        """What it has left in the folder for temporary files."""
        return sorted(os.listdir(self.temp))


def alive(pid: int) -> bool:
    """The process runs; one that has ended and that nobody has asked about does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
