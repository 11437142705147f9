"""Fixtures over a real Kubernetes: a control plane alone, and one with a node that runs pods.

The tests of this folder run only when asked for: `pytest -m cluster`.

The cluster of a user takes its place when CORRAL_TEST_KUBECONFIG, or else KUBECONFIG, names one. What was not there
before is taken away again.
"""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kit_images
from asked_for import MARKER, cannot_run, only_when_asked_for
from buildah import ImageError
from control_plane import Cluster, ControlPlane
from go_programs import BinariesMissingError
from helm import HelmMissingError, find_helm
from kit import Kit
from kit_place import Place
from kubectl import Kubectl, KubectlError
from kubernetes_binaries import KUBECTL, compiled
from node_cluster import NodeCluster
from node_packages import NodeImpossibleError
from node_place import PlacesTakenError
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
CRD = FOLDER.parents[1] / "charts" / "corral" / "files" / "workerpools.corral.dev.yaml"

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only_when_asked_for(config, items, FOLDER)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the WorkerPool resource in it, for tests that need no pod to run."""
    with _made(tmp_path_factory.mktemp("kubectl"), with_node=False) as made, _resource(made.kubectl):
        yield made


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the WorkerPool resource in it, where pods run."""
    with _made(tmp_path_factory.mktemp("kubectl"), with_node=True) as made, _resource(made.kubectl):
        yield made


@pytest.fixture(scope="session")
def own_node(node_cluster: Cluster) -> NodeCluster:
    """For tests that give the node images, or look at its processes."""
    if node_cluster.node is None:
        pytest.skip("the nodes of a cluster of the user's are not ours to work on")
    return node_cluster.node


@pytest.fixture(scope="session")
def control_plane(cluster: Cluster) -> ControlPlane:
    """For tests that stop the API server or read its audit log."""
    if cluster.control_plane is None:
        pytest.skip("a cluster of the user's is not ours to stop, and its audit log not ours to read")
    return cluster.control_plane


@pytest.fixture(scope="session")
def crd_file() -> Path:
    """The WorkerPool resource as it is shipped."""
    return CRD


@pytest.fixture
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    """kubectl in an empty namespace of the test's own: `kubectl("get", "workerpools")`."""
    with _namespace(cluster.kubectl) as kubectl:
        yield kubectl


@pytest.fixture
def node_kubectl(node_cluster: Cluster) -> Iterator[Kubectl]:
    """The same where pods run."""
    with _namespace(node_cluster.kubectl) as kubectl:
        yield kubectl


@contextmanager
def _namespace(kubectl: Kubectl) -> Iterator[Kubectl]:
    name = f"corral-test-{os.getpid()}-{next(_numbers)}"
    kubectl("create", "namespace", name)
    yield kubectl.within(name)
    kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def _made(cache: Path, *, with_node: bool) -> Iterator[Cluster]:
    of_user = os.environ.get("CORRAL_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    try:
        if of_user:
            program = shutil.which("kubectl") or compiled() / KUBECTL
            yield Cluster(Kubectl(Path(program), Path(of_user), cache), control_plane=None)
        elif with_node:
            with NodeCluster() as node:
                yield Cluster(node.kubectl, node.control_plane, node)
        else:
            with ControlPlane(compiled()) as ours:
                yield Cluster(ours.kubectl, ours)
    except (BinariesMissingError, NodeImpossibleError, PlacesTakenError) as missing:
        cannot_run(str(missing))


@contextmanager
def _resource(kubectl: Kubectl) -> Iterator[None]:
    name = "crd/workerpools.corral.dev"
    was_there = kubectl("get", name, "--ignore-not-found") != ""
    kubectl("apply", "-f", str(CRD))
    kubectl("wait", "--for=condition=Established", name)
    eventually_sync(lambda: _served(kubectl))
    yield
    if not was_there:
        kubectl("delete", name)


def _served(kubectl: Kubectl) -> bool:
    """Established is not yet known everywhere: kubectl checks against a description that is published a little later."""
    try:
        return "KIND" in kubectl("explain", "workerpools")
    except KubectlError:
        return False


# --- the kit: a cluster of its own, for `helm install` begins from nothing ---


@pytest.fixture(scope="session")
def bare_kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A cluster that knows nothing of Corral, and the kit at hand."""
    with _made(tmp_path_factory.mktemp("kubectl"), with_node=True) as made:
        if made.node is None and kit_images.registry() is None:
            cannot_run("the cluster needs the tests' images: see tests/parts/kit_images.py for CORRAL_TEST_REGISTRY")
        try:
            with Kit(made, tmp_path_factory.mktemp("kit"), find_helm()) as kit:
                yield kit
        except (HelmMissingError, ImageError) as missing:
            cannot_run(str(missing))


@pytest.fixture(scope="session")
def kit(bare_kit: Kit) -> Kit:
    """The same, with the operator Ready."""
    if bare_kit.installed_at is None:
        bare_kit.install()
    return bare_kit


@pytest.fixture(scope="session")
def place(kit: Kit) -> Iterator[Place]:
    """A namespace with a Redis for the tests that do no harm to it."""
    with Place(kit, f"corral-kit-{os.getpid()}") as place:
        yield place.start_redis()


@pytest.fixture
def own_place(kit: Kit) -> Iterator[Place]:
    """One for a test alone."""
    with Place(kit, f"corral-kit-{os.getpid()}-{next(_numbers)}") as place:
        yield place.start_redis()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured (`record_property`)."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
