"""Builds images with Debian's buildah, into a storage of the tests' own. Needs root, and no daemon."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CERTIFICATES = Path("/etc/ssl/certs")

# Where pip finds packages, and how it trusts what it finds there.
_OF_PIP = ("cert", "extra-index-url", "index-url", "proxy", "retries", "timeout", "trusted-host")


class ImageError(Exception):
    """An image cannot be made; the text says why."""


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What the command prints; ImageError with its last words when it fails."""
    ended = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    if ended.returncode:
        words = (ended.stdout + ended.stderr).strip()[-4000:]
        raise ImageError(f"{Path(command[0]).name} ended with {ended.returncode}:\n{words}")
    return ended.stdout


class Buildah:
    """The storage in `folder`. One process at a time may build in it: callers hold a lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        """Whether the storage holds the image."""
        try:
            self._run("inspect", "--type", "image", name)
        except ImageError:
            return False
        return True

    def build(
        self,
        name: str,
        context: Path,
        dockerfile: Path,
        *,
        base: str | None = None,
        args: Mapping[str, str] | None = None,
    ) -> None:
        """Make the image `name`. `base` takes the place of the first FROM, `args` are build arguments.

        This machine's way to Python packages (pip's settings, the certificates) is lent to the build as mounts, which
        leave nothing in an image.
        """
        self._run("rm", "--all")  # what an interrupted build left
        with tempfile.TemporaryDirectory() as lent:
            settings = Path(lent) / "pip.conf"
            mounts = _pip_settings(settings)
            self._run(
                *("bud", "--quiet", "--pull-never", "--identity-label=false", "--tag", name, "--file", str(dockerfile)),
                *(f"--volume={path}:{inside}:ro" for path, inside in mounts.items()),
                *(f"--build-arg={key}={value}" for key, value in (args or {}).items()),
                *([f"--from={base}"] if base else []),
                str(context),
            )

    def save(self, name: str, tar: Path, name_inside: str) -> None:
        """Write the image as `docker save` would."""
        unfinished = tar.with_name(f".{tar.name}")
        unfinished.unlink(missing_ok=True)
        self._run("push", "--quiet", name, f"docker-archive:{unfinished}:{name_inside}")
        unfinished.rename(tar)

    def remove(self, name: str) -> None:
        if self.has(name):
            self._run("rmi", name)

    def _run(self, *arguments: str) -> str:
        storage = ("--root", self._folder / "storage", "--runroot", self._folder / "run", "--storage-driver", "overlay")
        # chroot: a build that needs no more rights than a container gives.
        return run("buildah", *storage, *arguments, env={"BUILDAH_ISOLATION": "chroot"})


def _pip_settings(file: Path) -> dict[Path, Path]:
    """Write pip's settings of this machine to the file; what to mount where, so that they hold in a build."""
    # -I: not the packages of the folder that this runs in.
    listed = run(sys.executable, "-I", "-m", "pip", "config", "list")
    settings = pip_settings(listed.splitlines())
    file.write_text("".join(["[global]\n", *(f"{key} = {value}\n" for key, value in settings.items())]))
    mounts = {file: Path("/etc/pip.conf")}
    for path in (_CERTIFICATES, Path(settings.get("cert", _CERTIFICATES))):
        if path.exists() and not any(path.is_relative_to(mounted) for mounted in mounts):
            mounts[path] = path
    return mounts


def pip_settings(listed: Sequence[str]) -> dict[str, str]:
    """The settings that a build needs, from the lines of `pip config list`; the environment's win over the files'."""
    found: dict[str, str] = {}
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in ("global", "install", ":env:") and key in _OF_PIP:
            found[key] = " ".join(str(ast.literal_eval(value)).split())
    return found
