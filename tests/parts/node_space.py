"""The room that a node runs in: a network of its own, and a view of the file system of its own.

The node's programs write to fixed places (/var/lib/kubelet, /run/containerd ...) and set the kernel's settings. In the
room those are folders and files below the node's own folder, empty and copied. Its mounts are seen by nobody else, and
go with its last process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cgroups

if TYPE_CHECKING:
    from node_place import NodePlace

_FOLDERS = ("/run", "/var/lib", "/var/log")
# What the kubelet sets for the whole machine: here it sets copies.
_KERNEL = tuple(
    f"/proc/sys/{name}"
    for name in (
        *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
        *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
    )
)
_GONE_WITHIN = 10.0


class SpaceError(Exception):
    """The room could not be made or cleared; the text says what was said."""


class NodeSpace:
    """The room at one place, from `open` until `clear(place)`."""

    def __init__(self, place: NodePlace) -> None:
        self.place = place
        # The room is there as long as a process is in it: this one does nothing else.
        self._keeper: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self.place.directory.mkdir(parents=True, mode=0o700)
        cgroups.make(self.place.name)
        self._keeper = subprocess.Popen(
            ["env", self.place.mark, "unshare", "--mount", "--net", "sh", "-c", "echo in; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as said:
            if said.readline() != b"in\n":
                raise SpaceError("unshare made no namespaces; what it said is above")
        self._furnish()
        self._connect(self._keeper.pid)

    @property
    def enter(self) -> tuple[str, ...]:
        """Goes before a command that shall run in the room, and be known by the mark."""
        assert self._keeper is not None, "the room is not open"
        of_keeper = f"/proc/{self._keeper.pid}/ns"
        return ("env", self.place.mark, "nsenter", f"--net={of_keeper}/net", f"--mount={of_keeper}/mnt", "--")

    def seen(self, path: Path) -> Path:
        """Where this machine sees what the room has at `path`, below one of its own folders."""
        return self.place.directory / "root" / path.relative_to("/")

    def leave(self) -> None:
        """Take note of the keeper's end."""
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()

    def _furnish(self) -> None:
        """Put the node's own folders and files where its programs look for them."""
        mounts = [(self.seen(Path(name)), name) for name in _FOLDERS]
        for own, _ in mounts:
            own.mkdir(parents=True)
        for name in _KERNEL:
            own = self.seen(Path(name))
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(Path(name).read_text())
            mounts.append((own, name))
        bind = "\n".join(f"mount --bind {own} {name}" for own, name in mounts)
        _run(*self.enter, "sh", "-e", stdin=bind)

    def _connect(self, keeper: int) -> None:
        """One link between this machine and the room, and no way out of the room beyond this machine."""
        place, via = self.place, f"via {self.place.address}"
        _ip(
            # With these nothing for the node ever goes to the machine's own router, whether the node is up or not.
            *(f"route replace unreachable {addresses} metric 9999" for addresses in place.ranges),
            f"link add {place.name} type veth peer name eth0 netns {keeper}",
            f"address add {place.host_address}/24 dev {place.name}",
            f"link set {place.name} up",
            *(f"route add {addresses} {via}" for addresses in (place.pods, place.services)),
        )
        _ip(
            "link set lo up",
            f"address add {place.address}/24 dev eth0",
            "link set eth0 up",
            # The API server calls webhooks behind Services: a route, or it would not even try.
            f"route add {place.services} dev eth0",
            within=self.enter,
        )
        _run(*self.enter, "tee", "/proc/sys/net/ipv4/ip_forward", stdin="1")


def clear(place: NodePlace) -> None:
    """Take away all that is or was at the place, whoever left it and however far it came. Only for who has claimed it."""
    deadline = time.monotonic() + _GONE_WITHIN
    while left := processes(place):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise SpaceError(f"still there after SIGKILL: processes {sorted(left)}")
        time.sleep(0.02)
    for gone in (
        f"link delete {place.name}",
        *(f"route delete unreachable {addresses} metric 9999" for addresses in place.ranges),
    ):
        with contextlib.suppress(SpaceError):
            _ip(gone)
    while cgroups.exist(place.name):
        cgroups.remove(place.name)
        if time.monotonic() > deadline:
            raise SpaceError(f"still there without its processes: the control group {place.name}")
    if place.directory.exists():
        shutil.rmtree(place.directory)
    # The last one out.
    with contextlib.suppress(OSError):
        place.directory.parent.rmdir()


def processes(place: NodePlace) -> set[int]:
    """The pids of everything that runs for the node at this place: its programs by their mark, pods by their group."""
    mark = place.mark.encode()
    marked = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # It may have ended meanwhile.
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    marked.add(int(entry.name))
    return marked | cgroups.processes(place.name)


def _ip(*commands: str, within: tuple[str, ...] = ()) -> None:
    _run(*within, "ip", "-batch", "-", stdin="\n".join(commands))


def _run(*command: str, stdin: str) -> None:
    ended = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SpaceError(f"{' '.join(command)}: {ended.stderr.strip()}")
