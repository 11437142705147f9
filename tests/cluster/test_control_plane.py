"""The cluster that the tests of this folder stand on: what the others take for granted."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import kubernetes_binaries
from control_plane import ControlPlane
from go_programs import Programs, find_go
from kubectl import KubectlError
from waiting import eventually_sync

if TYPE_CHECKING:
    from pathlib import Path

    from kubectl import Kubectl


def _deployment() -> dict[str, Any]:
    labels = {"app": "emails"}
    pod = {"containers": [{"name": "worker", "image": "registry.example/emails:1.4"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "emails"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def test_the_controllers_make_pods_and_take_them_away_with_their_owner(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=_deployment())
    eventually_sync(lambda: len(kubectl("get", "pods", "-o", "name").split()) == 2)
    kubectl("delete", "deployment", "emails")
    eventually_sync(lambda: kubectl("get", "pods,replicasets", "-o", "name") == "")


def test_rights_are_checked(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "nobody")
    nobody = f"--as=system:serviceaccount:{kubectl.namespace}:nobody"
    assert "forbidden" in kubectl.refusal("get", "workerpools", nobody)
    kubectl("create", "role", "reader", "--verb=list", "--resource=workerpools.corral.dev")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:nobody")
    eventually_sync(lambda: _taken(kubectl, "get", "workerpools", nobody))


def test_the_audit_log_tells_who_did_what(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "seen")

    def created() -> list[dict[str, Any]]:
        return [
            event
            for event in control_plane.audit()
            if event["verb"] == "create" and event["objectRef"].get("namespace") == kubectl.namespace
            if event["objectRef"]["resource"] == "configmaps" and event["user"]["username"] == "admin"
        ]

    (event,) = eventually_sync(created)
    assert event["responseStatus"]["code"] == 201
    assert "requestObject" not in event


def test_the_api_server_comes_back_with_its_data_and_its_log(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "kept")
    before = len(control_plane.audit())
    control_plane.stop_api_server()
    with pytest.raises(KubectlError):
        kubectl("get", "configmaps")
    control_plane.start_api_server()
    assert "configmap/kept" in kubectl("get", "configmaps", "-o", "name")
    assert len(control_plane.audit()) > before


def test_closing_leaves_no_process_and_no_file(control_plane: ControlPlane) -> None:
    """Another one, beside that of the session."""
    assert control_plane.directory.exists()
    with ControlPlane(kubernetes_binaries.compiled()) as other:
        assert other.url != control_plane.url
        processes = list(other.daemons.processes.values())
        assert len(processes) == 3
        directory = other.directory
    assert [process.poll() for process in processes if process.poll() is None] == []
    assert not directory.exists()


def test_a_part_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    for name in kubernetes_binaries.PROGRAMS:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho no room left >&2\nexit 3\n")
        program.chmod(0o755)
    with pytest.raises(Exception, match=r"(?s)etcd ended with 3 while starting.*no room left"), ControlPlane(tmp_path):
        pass


def test_what_is_not_compiled_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(kubernetes_binaries.BinariesMissingError, match=r"python tests/parts/kubernetes_binaries\.py"):
        kubernetes_binaries.compiled()


def test_what_is_compiled_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    programs = kubernetes_binaries.folder()
    programs.mkdir(parents=True)
    for name in kubernetes_binaries.PROGRAMS:
        (programs / name).touch()
    monkeypatch.setattr(Programs, "_compile", lambda *_: pytest.fail("compiled again"))
    assert kubernetes_binaries.compile_missing() == programs == kubernetes_binaries.compiled()


def test_a_go_that_is_too_old_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere" / "python"))
    with pytest.raises(kubernetes_binaries.BinariesMissingError, match=r"needs Go 1\.26 or newer.*is go1\.19\.8"):
        find_go("1.26")


def _taken(kubectl: Kubectl, *arguments: str) -> bool:
    try:
        kubectl(*arguments)
    except (KubectlError, subprocess.TimeoutExpired):
        return False
    return True
