"""The probe: a pod and a Service that do what a test asks over HTTP. Its program is tests/cluster/node/probe."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import kubernetes_binaries
from image_archive import write_image
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubectl import Kubectl, Manifest
    from node_cluster import NodeCluster

IMAGE = "localhost/probe:1"

_RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    # Not `probe`: that is the pod's own name for itself.
    "metadata": {"name": "front"},
    "spec": {"selector": {"app": "probe"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


def load_probe(node: NodeCluster, folder: Path) -> None:
    """Give the node the probe's image; `folder` is for the archive."""
    program = kubernetes_binaries.node_folder() / kubernetes_binaries.PROBE
    node.load(write_image(folder / "probe.tar", IMAGE, {"probe": program}, ["/probe"]))


class Probe:
    """The pod `probe` behind the Service `front` in the namespace of `kubectl`; restricted, and Ready when this is made.

    `grace`: seconds; `memory`: its limit; the rest is its environment.
    """

    def __init__(self, kubectl: Kubectl, *, grace: int = 0, memory: str = "64Mi", **environment: str) -> None:
        self._kubectl = kubectl
        container = {
            "name": "probe",
            "image": IMAGE,
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "resources": {"limits": {"memory": memory}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            "securityContext": _RESTRICTED,
        }
        kubectl("create", "-f", "-", manifest=_pod({"terminationGracePeriodSeconds": grace, "containers": [container]}))
        kubectl("create", "-f", "-", manifest=_SERVICE)
        kubectl("wait", "--for=condition=Ready", "pod/probe", "--timeout=30s")
        self.address: str = kubectl("get", "service", "front", "-o", "jsonpath={.spec.clusterIP}")
        # The rules for a Service follow its pods a little later.
        eventually_sync(self._answers)

    def get(self, path: str) -> str:
        """What it answers, over its Service. OSError (URLError, HTTPError ...) when it does not."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def status(self) -> dict[str, Any]:
        """What the kubelet says of its container."""
        (status,) = self._kubectl.json("get", "pod", "probe")["status"]["containerStatuses"]
        return dict(status)

    def last_end(self) -> dict[str, Any] | None:
        """How its container ended before it was started again; None when it never was."""
        ended: dict[str, Any] | None = self.status()["lastState"].get("terminated")
        return ended

    @contextmanager
    def logs(self) -> Iterator[subprocess.Popen[str]]:
        """kubectl that follows its log, for as long as the block runs."""
        with background(self._kubectl, "logs", "--follow", "probe") as following:
            yield following

    def _answers(self) -> bool:
        try:
            return self.get("/") == "probe"
        except OSError:
            return False


@contextmanager
def background(kubectl: Kubectl, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A kubectl that goes on for as long as the block runs; what it prints is in `stdout`."""
    with subprocess.Popen(
        [str(kubectl.program), f"--namespace={kubectl.namespace}", f"--cache-dir={kubectl.cache}", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _pod(spec: dict[str, Any]) -> Manifest:
    metadata = {"name": "probe", "labels": {"app": "probe"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
