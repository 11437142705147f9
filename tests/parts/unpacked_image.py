"""An image unpacked into a folder: what is in it, and its program run there as a node would run it. Needs root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildah import run
from corral_process import CorralProcess
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A read-only root with /proc and /dev, and a folder in place of /app if one is given; all of it goes with the process.
_MOUNT = """\
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
if [ -n "$2" ]; then mount --bind -o ro "$2" "$1/app"; fi
mount -o remount,bind,ro "$1"
shift 2
exec "$@"
"""

# Another user's process lives on when its parent is killed, unless it asks not to (PR_SET_PDEATHSIG, SIGKILL).
_BECOME = """\
import ctypes, json, os, sys, warnings
told = json.loads(sys.argv[1])
system = ctypes.CDLL(None)
os.chroot(told["root"])
os.chdir(told["folder"])
os.setgroups([])
os.setgid(told["group"])
os.setuid(told["user"])
system.prctl(1, 9)
os.execvpe(told["command"][0], told["command"], told["env"])
"""


class UnpackedImage:
    """The files of an image in `folder`, which is empty, and the image's configuration."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.root = folder
        with tempfile.TemporaryDirectory() as scratch:
            run("tar", "-xf", archive, "-C", scratch)
            (manifest,) = json.loads((Path(scratch) / "manifest.json").read_text())
            self.names: list[str] = manifest["RepoTags"]
            self.description: dict[str, Any] = json.loads((Path(scratch) / manifest["Config"]).read_text())
            for layer in manifest["Layers"]:
                run("tar", "--numeric-owner", "-xpf", Path(scratch) / layer, "-C", folder)
        assert not list(folder.rglob(".wh.*")), "a layer that takes files away is not understood here"

    @property
    def config(self) -> dict[str, Any]:
        """Entrypoint, Cmd, User, Env, Labels and so on, by those names."""
        found: dict[str, Any] = self.description["config"]
        return found

    @property
    def env(self) -> dict[str, str]:
        return dict(row.split("=", 1) for row in self.config["Env"])

    def command(
        self,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        entrypoint: Sequence[str] | None = None,
        app: Path | None = None,
    ) -> list[str]:
        """What runs the image's program as process 1 of its own, as the image's user, on a root it cannot write.

        `args`, `entrypoint`: instead of the image's. `env`: on top of the image's. `app`: a folder in place of /app.
        """
        user, group = map(int, self.config["User"].split(":"))
        told = {
            "root": str(self.root),
            "folder": self.config["WorkingDir"],
            "user": user,
            "group": group,
            "command": [*(entrypoint or self.config["Entrypoint"]), *(self.config["Cmd"] if args is None else args)],
            # Runtimes set HOME for a user whom the image does not know.
            "env": {"HOME": "/", **self.env, **(env or {})},
        }
        return [
            *("unshare", "--mount", "--pid", "--fork"),
            *("sh", "-c", _MOUNT, "sh", str(self.root), str(app or "")),
            *(sys.executable, "-I", "-c", _BECOME, json.dumps(told)),
        ]

    def run(self, *args: str, entrypoint: Sequence[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the image's program with these arguments to its end."""
        return subprocess.run(
            self.command(args, entrypoint=entrypoint),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )


class Contained(CorralProcess):
    """What the image runs; with `source`, `corral work` on a module `app` of that text, mounted at /app."""

    def __init__(self, image: UnpackedImage, folder: Path, redis_url: str, source: str | None = None) -> None:
        super().__init__(folder, source, redis_url)
        env = {"CORRAL_LOG_FORMAT": "json", "CORRAL_PORT": "0", "REDIS_URL": redis_url}
        if source is None:
            self._command = image.command(env=env)
        else:
            folder.chmod(0o755)  # the image's user has to read it
            self._command = image.command(["work", "app:worker"], env, app=folder)

    @property
    def pid(self) -> int:
        """The process that is number 1 inside."""
        outside = super().pid
        children = Path(f"/proc/{outside}/task/{outside}/children")
        return int(eventually_sync(lambda: children.read_text().split())[0])

    def signal(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.pid, number)
