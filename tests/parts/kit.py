"""The kit on a cluster, as its users have it: what they type, the operator, and a way to look at all of it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import yaml

import kit_images
from chart import read_objects
from kit_source import EXAMPLES, commands, copy_to
from kubectl import KubectlError
from probe import background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from control_plane import Cluster
    from kubectl import Kubectl, Manifest
    from node_cluster import NodeCluster

SYSTEM = "corral-system"
CRD = "crd/workerpools.corral.dev"
OPERATOR = "app.kubernetes.io/component=operator"

_API_WITHIN = 10.0


class KitError(Exception):
    """A command failed; the text is what it said."""


class Kit:
    """One cluster with the kit at hand; also a context manager. What it put on the cluster is gone afterwards.

    `folder` is for its files, `helm` the program.
    """

    def __init__(self, cluster: Cluster, folder: Path, helm: Path) -> None:
        self._cluster, self._folder, self._helm = cluster, folder, helm
        self._ends = ExitStack()
        self.source = folder / "source"
        self.installed_at: float | None = None
        """When `helm install` began, in epoch seconds; None before."""

    @property
    def kubectl(self) -> Kubectl:
        return self._cluster.kubectl

    @property
    def node(self) -> NodeCluster | None:
        """The node, where it is the tests' own."""
        return self._cluster.node

    # --- what a user types ---

    def run(self, command: str, *, namespace: str = "default", within: float = 60.0) -> str:
        """Run a command of the README as it stands there; what it printed. KitError when it fails."""
        with self.running(command, namespace=namespace) as process:
            printed, said = process.communicate(timeout=within)
        if process.returncode:
            raise KitError(f"{command}: {said.strip()}")
        return printed

    @contextmanager
    def running(self, command: str, *, namespace: str) -> Iterator[subprocess.Popen[str]]:
        """The same for one that does not end by itself: it is ended with the block."""
        with subprocess.Popen(
            shlex.split(command),
            cwd=self.source,
            env=self._environment(namespace),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def manifest(self, name: str) -> list[Manifest]:
        """The objects of a file of manifests/examples."""
        return read_objects((self.source / EXAMPLES / name).read_text("utf-8"))

    # --- the operator ---

    def install(self) -> None:
        """The README's first command, and the wait for what it starts."""
        self.installed_at = time.time()
        self.run(commands()[0])
        self.await_operator()

    def await_operator(self) -> None:
        """Wait until the operator is there as its Deployment wants it, and Ready."""
        kubectl = self.kubectl.within(SYSTEM)
        try:
            kubectl("rollout", "status", "deployment/corral-operator", "--timeout=60s", within=65)
        except KubectlError as error:
            pods = kubectl("describe", "pods", "--selector", OPERATOR)
            log = kubectl("logs", "--selector", OPERATOR, "--tail=20", "--ignore-errors")
            raise KitError(f"the operator is not Ready: {error}\n{pods[-3000:]}\n{log}") from error

    def operator_pod(self) -> Manifest:
        """The pod of the operator that leads; an AssertionError while none does."""
        lease = self.get(f"apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/corral-operator")
        assert lease is not None, "there is no lease yet"
        name = str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
        pods = self.listed(f"api/v1/namespaces/{SYSTEM}/pods?labelSelector={OPERATOR}")
        pods = [pod for pod in pods if pod["metadata"]["name"] == name and "deletionTimestamp" not in pod["metadata"]]
        assert pods, f"the operator that leads has gone: {name}"
        return pods[0]

    # --- the cluster ---

    def kill(self, pod: str, namespace: str) -> None:
        """SIGKILL to the only container of a pod, as a crash would end it. Only with a node of the tests' own."""
        assert self.node is not None
        os.kill(self.node.pid_of(pod, namespace=namespace), signal.SIGKILL)

    def get(self, path: str) -> Manifest | None:
        """What the API server has at a path; None when nothing is there. Cheaper than a kubectl for every look."""
        try:
            with urllib.request.urlopen(f"{self._api}/{path}", timeout=_API_WITHIN) as answer:
                found: Manifest = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def listed(self, path: str) -> list[Manifest]:
        """The rows of a list."""
        rows = self.get(path)
        assert rows is not None, f"there is nothing at {path}"
        return [dict(row) for row in rows["items"]]

    @contextmanager
    def namespace(self, name: str) -> Iterator[Kubectl]:
        """A namespace where only the pods run that the strictest rules admit."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("create", "-f", "-", manifest=manifest)
        try:
            yield self.kubectl.within(name)
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    # --- life ---

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            copy_to(self.source)
            if self.node is not None:
                for image in kit_images.built():
                    self.node.load(image.tar)
            proxy = ends.enter_context(background(self.kubectl, "proxy", "--port=0"))
            assert proxy.stdout is not None
            # Starting to serve on 127.0.0.1:43210
            self._api = f"http://{proxy.stdout.readline().split()[-1]}"
            if self.get("apis/corral.dev/v1alpha1") is not None:
                raise KitError("Corral is on this cluster already; the tests begin from nothing")
            ends.callback(self._leave)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _leave(self) -> None:
        """A node of the tests' own ends with all that is on it."""
        if self.node is None and self.installed_at is not None:
            for command in (f"helm uninstall corral -n {SYSTEM} --ignore-not-found", f"kubectl delete {CRD}"):
                self.run(command)
            self.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", "--wait=false")

    def _environment(self, namespace: str) -> dict[str, str]:
        """A shell's, whose kubectl and helm mean this cluster and, where nobody says another, this namespace."""
        programs = f"{self._helm.parent}:{self.kubectl.program.parent}"
        folders = {f"HELM_{kind}_HOME": str(self._folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))},
            **folders,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(self._kubeconfig(namespace)),
            "KUBECTL_KUBERC": "false",
        }

    def _kubeconfig(self, namespace: str) -> Path:
        file = self._folder / f"kubeconfig-{namespace}"
        if not file.exists():
            config: dict[str, Any] = yaml.safe_load(self._cluster.kubeconfig.read_text("utf-8"))
            (context,) = [row for row in config["contexts"] if row["name"] == config["current-context"]]
            context["context"]["namespace"] = namespace
            file.touch(mode=0o600)
            file.write_text(yaml.safe_dump(config))
        return file
