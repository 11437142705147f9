"""`corral pools`, `corral explain` and `corral auto` on a real API server: columns, rights, and back from a number by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from corral import JobSpec, Queue
from corral_command import corral
from namespace import Namespace
from operating import make_secret, operating
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl


async def test_a_number_set_by_hand_is_taken_back_and_the_operator_decides_again(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace, within = Namespace(control_plane, kubectl.namespace), ("-n", kubectl.namespace)
    async with operating(kubectl, tmp_path), Queue("emails", redis=redis7_url) as queue:
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(target={"jobsPerReplica": 10}))
        kubectl("scale", "workerpool", "emails", "--replicas=5")
        await eventually(lambda: namespace.is_told("Manual", "True", "SetByHand"))
        await eventually(lambda: namespace.replicas() == 5)
        explained = await corral(kubectl.kubeconfig, "explain", "emails", *within)
        assert f"  automatic  `corral auto emails -n {kubectl.namespace}` lets the operator decide" in explained.out
        await queue.add_bulk([JobSpec("send")] * 70)

        ended = await corral(kubectl.kubeconfig, "auto", "emails", *within)
        assert (ended.code, ended.err) == (0, "")
        name = f"{kubectl.namespace}/emails"
        assert ended.out == f"{name} is automatic again: its replicas were set by hand to 5\n"
        assert "replicas" not in namespace.pool()["spec"]
        await eventually(lambda: namespace.replicas() == 7)
        await eventually(lambda: namespace.is_told("Manual", "False", "Automatic"))
        again = await corral(kubectl.kubeconfig, "auto", "emails", *within)
        assert (again.code, again.out) == (0, f"{name} is automatic already: its replicas are not set by hand\n")

        # The columns are the ones that kubectl shows, in every case that is here.
        await eventually(lambda: namespace.status()["counts"]["ready"] == 70, 40)
        told = (await corral(kubectl.kubeconfig, "pools", *within)).out.splitlines()
        by_kubectl = kubectl("get", "workerpools").splitlines()
        assert told[0].split()[1:] == by_kubectl[0].split()
        assert told[1].split()[1:6] == by_kubectl[1].split()[:5]
        explained = await corral(kubectl.kubeconfig, "explain", "emails", *within)
        assert "  decision  7 replicas: 70 jobs at 10 per replica\n" in explained.out
        assert "  more    when 71 jobs are ready in emails, now 70\n" in explained.out


async def test_who_may_look_but_not_change_is_told_so(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl("apply", "-f", "-", manifest=pool(replicas=3))
    kubectl("create", "serviceaccount", "viewer")
    kubectl("create", "role", "viewer", "--verb=get,list", "--resource=workerpools.corral.dev")
    kubectl("create", "rolebinding", "viewer", "--role=viewer", f"--serviceaccount={kubectl.namespace}:viewer")
    viewer = tmp_path / "viewer"
    viewer.write_text(
        json.dumps(
            {
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": control_plane.url, "certificate-authority": str(control_plane.ca)},
                    }
                ],
                "users": [{"name": "viewer", "user": {"token": kubectl("create", "token", "viewer").strip()}}],
                "contexts": [
                    {"name": "c", "context": {"cluster": "c", "user": "viewer", "namespace": kubectl.namespace}}
                ],
                "current-context": "c",
            }
        )
    )
    listed = await corral(viewer, "pools", "-o", "json")
    assert [row["name"] for row in json.loads(listed.out)] == ["emails"]
    refused = await corral(viewer, "auto", "emails")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("corral: not allowed: ")
    assert 'cannot patch resource "workerpools"' in refused.err
    assert refused.err.endswith(f"; the role edit in {kubectl.namespace} allows it\n")
    everywhere = await corral(viewer, "pools", "-A")
    assert everywhere.code == 1
    assert "the role view of the cluster (-n NAMESPACE asks for one alone) allows it" in everywhere.err
    absent = await corral(viewer, "explain", "nowhere")
    assert (absent.code, absent.out) == (1, "")
    assert f"there is no WorkerPool nowhere in the namespace {kubectl.namespace}" in absent.err
