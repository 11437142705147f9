"""Control groups of one name, in every hierarchy that this machine has (one of cgroup v2, several of v1)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Of cgroup v2, where a group has only those that the one above it hands on. The kubelet wants all that there are.
_CONTROLLERS = ("cpu", "cpuset", "memory", "hugetlb", "pids")


def _hierarchies() -> list[Path]:
    rows = (row.split() for row in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(row[1]) for row in rows if row[2] in ("cgroup", "cgroup2")]


def make(name: str) -> None:
    """Make the group, empty and without limits."""
    for hierarchy in _hierarchies():
        if (handed_on := hierarchy / "cgroup.subtree_control").exists():
            there = (hierarchy / "cgroup.controllers").read_text().split()
            handed_on.write_text(" ".join(f"+{controller}" for controller in _CONTROLLERS if controller in there))
        (hierarchy / name).mkdir(exist_ok=True)


def processes(name: str) -> set[int]:
    """The pids of everything in the group and in those below it."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for below, _, _ in os.walk(hierarchy / name):
            # A group may go while it is read.
            with contextlib.suppress(OSError):
                found.update(map(int, (Path(below) / "cgroup.procs").read_text().split()))
    # Zero is a process that this one cannot see.
    return found - {0}


def remove(name: str) -> None:
    """Remove the group and those below it, where they are empty and there."""
    for hierarchy in _hierarchies():
        for below, _, _ in os.walk(hierarchy / name, topdown=False):
            with contextlib.suppress(OSError):
                Path(below).rmdir()


def exist(name: str) -> bool:
    return any((hierarchy / name).exists() for hierarchy in _hierarchies())
