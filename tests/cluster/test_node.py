"""The node that tests run pods on: what the others take for granted."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from probe import IMAGE, Probe, background, load_probe
from waiting import eventually_sync

if TYPE_CHECKING:
    from kubectl import Kubectl
    from node_cluster import NodeCluster


@pytest.fixture(scope="module")
def node(own_node: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> NodeCluster:
    load_probe(own_node, tmp_path_factory.mktemp("image"))
    return own_node


@pytest.fixture
def kubectl(node: NodeCluster, node_kubectl: Kubectl) -> Kubectl:
    """In a namespace whose pods find the probe's image."""
    return node_kubectl


def test_an_image_that_was_loaded_is_there(node: NodeCluster) -> None:
    assert IMAGE in node.images()


def test_a_restricted_pod_is_ready_and_answers_over_its_service(kubectl: Kubectl) -> None:
    kubectl("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    probe = Probe(kubectl)
    assert probe.get("/") == "probe"
    assert "read-only file system" in probe.get("/write?path=/file")


def test_pods_find_services_by_name_and_nothing_outside(kubectl: Kubectl) -> None:
    probe = Probe(kubectl)
    assert probe.get("/lookup?name=front") == probe.address
    assert probe.get(f"/lookup?name=front.{kubectl.namespace}.svc.cluster.local") == probe.address
    with pytest.raises(urllib.error.HTTPError, match="404"):
        probe.get("/lookup?name=nowhere.example.")
    with pytest.raises(urllib.error.HTTPError, match="502"):
        probe.get("/fetch?url=http://203.0.113.1/")


def test_a_pod_reaches_itself_and_the_api_server_over_services(kubectl: Kubectl) -> None:
    probe = Probe(kubectl)
    assert probe.get("/fetch?url=http://front/") == "probe"
    # It was reached: it speaks TLS only, and says so.
    assert "HTTPS server" in probe.get("/fetch?url=http://kubernetes.default:443/")


def test_pods_reach_a_server_of_this_machine(node: NodeCluster, kubectl: Kubectl) -> None:
    probe = Probe(kubectl)
    with HTTPServer((node.host_address, 0), _Greeter) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert probe.get(f"/fetch?url=http://{node.host_address}:{server.server_port}/") == "hello"
        finally:
            server.shutdown()
            thread.join()


def test_exec_logs_and_port_forward_go_through_the_api_server(kubectl: Kubectl) -> None:
    Probe(kubectl)
    assert kubectl("exec", "probe", "--", "/probe", "echo", "hello") == "hello\n"
    assert kubectl("logs", "probe") == "serving\n"
    with background(kubectl, "port-forward", "pod/probe", ":8080") as forwarding:
        assert forwarding.stdout is not None
        # Forwarding from 127.0.0.1:43210 -> 8080
        port = forwarding.stdout.readline().split(":")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"probe"


def test_a_deleted_pod_is_told_and_has_its_grace_period(kubectl: Kubectl) -> None:
    with Probe(kubectl, grace=30, LINGER="2").logs() as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "serving\n"
        kubectl("delete", "pod", "probe", "--wait=false")
        assert following.stdout.read() == "told to end\nending\n"


def test_a_pod_that_outlives_its_grace_period_is_killed(kubectl: Kubectl) -> None:
    with Probe(kubectl, grace=1, LINGER="60").logs() as following:
        kubectl("delete", "pod", "probe")
        assert following.stdout is not None
        assert following.stdout.read() == "serving\ntold to end\n"


def test_a_container_over_its_memory_limit_is_killed(kubectl: Kubectl) -> None:
    probe = Probe(kubectl, memory="32Mi")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        probe.get("/fill")
    ended = eventually_sync(probe.last_end)
    assert ended is not None
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    eventually_sync(lambda: probe.status()["ready"])


def test_the_process_of_a_container_can_be_killed(node: NodeCluster, kubectl: Kubectl) -> None:
    probe = Probe(kubectl)
    pid = node.pid_of("probe", "probe", namespace=kubectl.namespace)
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"/probe\0"
    os.kill(pid, signal.SIGKILL)
    ended = eventually_sync(probe.last_end)
    assert ended is not None
    assert (ended["reason"], ended["exitCode"]) == ("Error", 137)
    eventually_sync(lambda: probe.status()["ready"])
    assert node.pid_of("probe", namespace=kubectl.namespace) != pid


class _Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Nothing."""
