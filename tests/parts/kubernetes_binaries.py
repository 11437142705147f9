"""A Kubernetes compiled from Go modules: the control plane, and a node for machines that can have one.

`python tests/parts/kubernetes_binaries.py` compiles what is missing and installs the node's Debian packages: about 12
minutes on two cores the first time, no time afterwards. Versions are pinned in tests/cluster/control_plane and
tests/cluster/node.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import node_packages
from go_programs import BinariesMissingError, GoModule, Programs, have_go

ETCD, API_SERVER, CONTROLLER_MANAGER, KUBECTL = PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
)
SCHEDULER, KUBELET, KUBE_PROXY = _KUBERNETES_ON_NODE = ("kube-scheduler", "kubelet", "kube-proxy")
CONTAINERD, CTR, COREDNS, PAUSE, PROBE = ("containerd", "ctr", "coredns", "pause", "probe")

HOW_TO_COMPILE = "python tests/parts/kubernetes_binaries.py"

_CLUSTER = Path(__file__).resolve().parents[1] / "cluster"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_CONTAINERD_PACKAGES = "github.com/containerd/containerd/v2/cmd"
_CNI_PACKAGES = "github.com/containernetworking/plugins/plugins"

_log = logging.getLogger("kubernetes")

_kubernetes = GoModule("kubernetes", _CLUSTER / "control_plane")
# Without cgo: `pause` and `probe` run in images that hold nothing else, and the rest needs no C compiler either.
_node = GoModule("node", _CLUSTER / "node", {"CGO_ENABLED": "0"})


def _version_flags() -> str:
    """A module knows its version, Kubernetes does not: without this, clients refuse the server as one of unknown age."""
    version = _kubernetes.pinned(r"^\tk8s\.io/kubernetes (v\S+)")
    major, minor = version.removeprefix("v").split(".")[:2]
    says = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X {_VERSION_PACKAGE}.{key}={value}" for key, value in says.items())


def _commands(*names: str) -> Programs:
    return Programs(_kubernetes, {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}, _version_flags())


_CONTROL_PLANE = (
    Programs(_kubernetes, {ETCD: "go.etcd.io/etcd/server/v3"}),
    _commands(API_SERVER, CONTROLLER_MANAGER, KUBECTL),
)
_NODE = (
    _commands(*_KUBERNETES_ON_NODE),
    Programs(
        _node,
        {
            **{name: f"{_CONTAINERD_PACKAGES}/{name}" for name in (CONTAINERD, "containerd-shim-runc-v2", CTR)},
            "host-local": f"{_CNI_PACKAGES}/ipam/host-local",
            "ptp": f"{_CNI_PACKAGES}/main/ptp",
            **{name: f"./{name}" for name in (COREDNS, PAUSE, PROBE)},
        },
    ),
)


def folder() -> Path:
    """Where Kubernetes' programs of these versions are, or will be."""
    return _kubernetes.folder


def node_folder() -> Path:
    """Where the node's other programs are, or will be."""
    return _node.folder


def compiled(*, with_node: bool = False) -> Path:
    """`folder()`, when the programs are there: those of the control plane, and those of the node in both folders.

    Else BinariesMissingError.
    """
    if missing := [name for programs in _wanted(with_node=with_node) for name in programs.missing()]:
        raise BinariesMissingError(
            f"Kubernetes is not compiled yet (missing: {', '.join(missing)}). `{HOW_TO_COMPILE}` does it, in about "
            "12 minutes the first time; or name a cluster of yours in CORRAL_TEST_KUBECONFIG"
        )
    return folder()


def compile_missing(*, with_node: bool = False) -> Path:
    """Compile what is not there yet, and give `folder()`."""
    for programs in _wanted(with_node=with_node):
        programs.compile_missing()
    return folder()


def _wanted(*, with_node: bool) -> tuple[Programs, ...]:
    return _CONTROL_PLANE + (_NODE if with_node else ())


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with_node = True
    try:
        node_packages.install()
    except node_packages.NodeImpossibleError as error:
        # The control plane needs none of it. Tests that need the node say this again.
        _log.warning("without a node: %s", error)
        with_node = False
    try:
        if any(programs.missing() for programs in _wanted(with_node=with_node)):
            _log.info("compiling Kubernetes for the tests: about 12 minutes, once")
            have_go(_kubernetes.go)
        compile_missing(with_node=with_node)
    except BinariesMissingError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
