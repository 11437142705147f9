"""The node's containers and their images, through containerd's own client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ContainerdError(Exception):
    """containerd said no, or does not answer; the text is what its client said."""


@dataclass(frozen=True)
class Containerd:
    """`client` is the program ctr, `socket` where containerd listens."""

    client: Path
    socket: Path

    def load(self, image_tar: Path) -> None:
        """Take in a docker-archive or an OCI archive."""
        self._ctr("images", "import", str(image_tar))

    def images(self) -> list[str]:
        """The names of the images that are there, without those by digest."""
        return [name for name in self._ctr("images", "list", "-q").split() if not name.startswith("sha256:")]

    def pid(self, container: str) -> int:
        """The pid, on this machine, of the first process of the container with this id."""
        # TASK PID STATUS
        rows = (row.split() for row in self._ctr("tasks", "list").splitlines())
        for task, pid, *_ in rows:
            if task == container:
                return int(pid)
        raise ContainerdError(f"no process runs for the container {container}")

    def trouble(self) -> str | None:
        """Why it does not answer yet; None when it does."""
        try:
            self._ctr("version")
        except ContainerdError as error:
            return str(error)
        return None

    def _ctr(self, *command: str) -> str:
        ended = subprocess.run(
            [str(self.client), f"--address={self.socket}", "--namespace=k8s.io", *command],
            check=False,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise ContainerdError(f"ctr {' '.join(command)}: {ended.stderr.strip()}")
        return ended.stdout
