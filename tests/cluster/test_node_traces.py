"""A node leaves nothing on the machine, however it ends, and two do not get into each other's way."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cgroups
import go_programs
import kubernetes_binaries
import node_packages
import node_space
from node_cluster import NodeCluster
from node_place import PLACES, PlacesTakenError
from probe import Probe, load_probe
from waiting import eventually_sync

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from node_place import NodePlace

_UP_AND_WAIT = """
from node_cluster import NodeCluster
node = NodeCluster().up()
print(node.place.number, flush=True)
input()
"""

# Paths that a node on the machine itself would write to.
_FIXED = [
    *("/run/containerd", "/run/nri", "/run/netns", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni"),
    *("/var/log/pods", "/var/log/containers", "/etc/kubernetes", "/opt/containerd", "/usr/libexec/kubernetes"),
]
_SETTINGS = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"]


def test_a_second_node_runs_beside_the_first_and_leaves_nothing(own_node: NodeCluster, tmp_path: Path) -> None:
    with NodeCluster() as second:
        assert second.place != own_node.place
        load_probe(second, tmp_path)
        assert Probe(second.kubectl).get("/") == "probe"
        assert set(_traces(second.place)) == {"processes", "cgroup", "folder", "link", "routes", "claim"}
        logs = {log.name for log in second.logs_folder.iterdir()}
        assert {"kubelet.log", "containerd.log", "kube-apiserver.log"} <= logs
        room = second.exec_on_node("readlink", "/proc/self/ns/mnt").strip()
        assert _in_room(room)
    assert _traces(second.place) == []
    # A process that was killed is seen for a moment yet.
    eventually_sync(lambda: _in_room(room) == [], within=5)
    assert _machine() == BEFORE
    assert " Ready " in own_node.kubectl("get", "node")


def test_what_a_killed_run_left_is_cleared_by_the_next(own_node: NodeCluster) -> None:
    place = _killed_run()
    left = node_space.processes(place)
    assert left
    with NodeCluster() as next_run:
        assert not left & node_space.processes(place)
        # As the first free place it is the next one's.
        assert next_run.place == place
        assert " Ready " in next_run.kubectl("get", "node")
    assert _traces(place) == []
    assert " Ready " in own_node.kubectl("get", "node")


def test_a_node_that_cannot_start_tells_why_and_leaves_nothing(
    own_node: NodeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    second = NodeCluster()
    broken = tmp_path / kubernetes_binaries.CONTAINERD
    broken.write_text("#!/bin/sh\necho no room left >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(second, "_programs", tmp_path)
    with pytest.raises(Exception, match=r"(?s)containerd ended with 3 while starting.*no room left"):
        second.up()
    assert _traces(second.place) == []
    assert _machine() == BEFORE


def test_more_nodes_than_places_are_told(monkeypatch: pytest.MonkeyPatch, own_node: NodeCluster) -> None:
    monkeypatch.setattr("node_cluster.PLACES", (own_node.place,))
    with pytest.raises(PlacesTakenError, match="1 nodes of Corral's tests run on this machine already"):
        NodeCluster().up()
    assert " Ready " in own_node.kubectl("get", "node")


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(node_packages.NodeImpossibleError, match=r"needs root.*CORRAL_TEST_KUBECONFIG"):
        NodeCluster()


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(
        node_packages.NodeImpossibleError, match=r"needs runc, iproute2, nftables, util-linux: `apt-get"
    ):
        NodeCluster()


def test_a_root_without_rights_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho Operation not permitted >&2; exit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(node_packages.NodeImpossibleError, match=r"this root may not make: Operation not permitted"):
        NodeCluster()


def test_a_node_that_is_not_compiled_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_packages, "demand", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(go_programs.BinariesMissingError, match=r"missing: .*kubelet.*containerd.*coredns"):
        NodeCluster()


def _killed_run() -> NodePlace:
    """The place of a node whose test run was ended by SIGKILL."""
    started: AbstractContextManager[subprocess.Popen[str]] = subprocess.Popen(
        [sys.executable, "-c", _UP_AND_WAIT],
        env={**os.environ, "PYTHONPATH": str(Path(node_space.__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started as run:
        assert run.stdout is not None
        place = PLACES[int(run.stdout.readline())]
        run.kill()
    return place


def _traces(place: NodePlace) -> list[str]:
    """What of a node is to be seen on the machine. Its mounts never are: they are in a view of their own."""
    claim = place.claim()
    if claim is not None:
        claim.close()
    seen = {
        "processes": node_space.processes(place),
        "cgroup": cgroups.exist(place.name),
        "folder": place.directory.exists(),
        "link": Path("/sys/class/net", place.name).exists(),
        "routes": [row for row in _routes() if any(addresses in row for addresses in place.ranges)],
        "mounts": place.name in Path("/proc/self/mounts").read_text(),
        "claim": claim is None,
    }
    return [name for name, found in seen.items() if found]


def _in_room(room: str) -> list[str]:
    """The processes that have this view of the file system."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "ns" / "mnt") == room:
                found.append(entry.name)
    return found


def _routes() -> list[str]:
    told = subprocess.run(["ip", "route", "show", "table", "all"], check=True, capture_output=True, text=True)
    return told.stdout.splitlines()


def _machine() -> object:
    """What a node could change on the machine that does not bear its name."""
    paths = [Path(path).exists() for path in _FIXED]
    settings = [file.read_text() for file in (Path("/proc/sys", name) for name in _SETTINGS) if file.exists()]
    return paths, settings


# As it was before the session's node came up.
BEFORE = _machine()
