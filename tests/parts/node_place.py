"""Where a node of the tests lives on this machine: names and addresses, and the claim to them.

There are four places, so that test runs may go side by side. A claim is a name in the kernel that goes with its
process, however that ends: a place that can be claimed is one whose owner is gone, and what it left may be removed.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

_PLACES = 4
_PARENT = Path("/var/cache/corral-tests")


class PlacesTakenError(Exception):
    """As many nodes as there are places run already."""


@dataclass(frozen=True)
class NodePlace:
    """One of the places. Everything on the machine that belongs to its node bears `name`, or lies in these ranges."""

    number: int

    @property
    def name(self) -> str:
        """Of the network link, the cgroup and the folder."""
        return f"corral-node-{self.number}"

    @property
    def directory(self) -> Path:
        """On a disk: images are unpacked into it, and overlayfs wants a real file system below."""
        return _PARENT / self.name

    @property
    def host_address(self) -> str:
        """This machine, as pods reach it."""
        return f"10.231.{self.number}.1"

    @property
    def address(self) -> str:
        """The node, and with it the API server and DNS."""
        return f"10.231.{self.number}.2"

    @property
    def pods(self) -> str:
        return f"10.232.{self.number}.0/24"

    @property
    def services(self) -> str:
        return f"10.233.{self.number}.0/24"

    @property
    def ranges(self) -> tuple[str, str, str]:
        """Every address of it."""
        return (f"10.231.{self.number}.0/24", self.pods, self.services)

    @property
    def mark(self) -> str:
        """The environment variable by which a process of the node is known."""
        return f"CORRAL_TEST_NODE={self.directory}"

    def claim(self) -> socket.socket | None:
        """The claim, held until it is closed; None when another process has it."""
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0{self.name}")
        except OSError as error:
            claim.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return claim


PLACES = tuple(NodePlace(number) for number in range(_PLACES))
