"""What stands against a pool is told with its cause, and served again once it is mended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec, Queue
from kubelet_played import KubeletPlayed
from namespace import Namespace
from operating import make_secret, number, operating, patch
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl, Manifest
    from operator_process import OperatorProcess

# As long as the longest pause between two looks at a pool that cannot be served, and a little more.
MENDED_WITHIN = 40.0


def _template(**container: Any) -> Manifest:
    full = {"name": "worker", "image": "registry.example/emails:1.4", **container}
    return {"spec": {"containers": [{key: value for key, value in full.items() if value is not None}]}}


def _secret(name: str, **values: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


@pytest.mark.timeout(120)
async def test_what_stands_against_a_pool_is_told_and_mended(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    """All at once: one pool for each trouble."""
    namespace = Namespace(control_plane, kubectl.namespace)
    make_secret(kubectl, redis7_url)
    kubectl("apply", "-f", "-", manifest=_secret("incomplete", password="hunter2"))
    kubectl("apply", "-f", "-", manifest=_secret("invalid", url="https://:hunter2@redis.example"))
    kubectl("create", "deployment", "taken", "--image=registry.example/theirs:1", "--replicas=2")
    theirs = namespace.deployment("taken")

    def alone(name: str, **spec: Any) -> Manifest:
        """With a queue of its own: pools on one queue are told of each other."""
        return pool(name, queues=[{"name": name}], minReplicas=1, **spec)

    async with operating(kubectl, tmp_path) as operator:
        for manifest in (
            alone("taken"),
            alone("imageless", template=_template(image=None)),
            alone("bad-port", template=_template(ports=[{"containerPort": 70000}])),
            *(alone(name, redis={"secretRef": {"name": name}}) for name in ("missing", "incomplete", "invalid")),
        ):
            kubectl("apply", "-f", "-", manifest=manifest)
        expected = {
            "taken": ("NameTaken", "Deployment taken in namespace"),
            "imageless": ("TemplateInvalid", "spec.template.spec.containers[0].image: Required value"),
            "bad-port": (
                "TemplateInvalid",
                "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 70000",
            ),
            "missing": ("SecretMissing", "there is no Secret missing in namespace"),
            "incomplete": ("SecretIncomplete", "Secret incomplete holds neither url nor host, only: password"),
            "invalid": ("SecretInvalid", "Secret invalid: url is no Redis URL"),
        }
        for name, (reason, text) in expected.items():
            await eventually(partial(namespace.is_told, "Ready", "False", reason, name))
            condition = namespace.condition("Ready", name)
            assert condition is not None
            assert text in condition[2]
            assert namespace.events(name) == [(reason, condition[2])], "told once"
            assert "hunter2" not in str(namespace.pool(name))
        assert [row for row in namespace.every("deployments") if row["metadata"]["name"] != "taken"] == []
        after = namespace.deployment("taken")
        assert after["spec"] == theirs["spec"]
        assert not any("corral" in row["manager"] for row in after["metadata"]["managedFields"])

        kubectl("delete", "deployment", "taken")
        for name in ("imageless", "bad-port"):
            patch(kubectl, "workerpool", name, {"spec": {"template": _template()}})
        make_secret(kubectl, redis7_url, "missing")
        for name in ("incomplete", "invalid"):
            kubectl("apply", "-f", "-", manifest=_secret(name, url=redis7_url))
        for name in expected:
            await eventually(partial(namespace.is_told, "Ready", "True", None, name), MENDED_WITHIN)
        await eventually(lambda: {name: namespace.replicas(name) for name in expected} == dict.fromkeys(expected, 1))
        assert "hunter2" not in operator.output


async def test_a_quota_stops_the_growth_and_is_told(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    kubectl("create", "quota", "few", "--hard=pods=2")
    await eventually(lambda: (namespace.find("resourcequotas", "few") or {}).get("status", {}).get("hard"))
    async with operating(kubectl, tmp_path) as operator, Queue("emails", redis=redis7_url) as queue:
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(target={"jobsPerReplica": 10}))
        await eventually(lambda: namespace.replicas() == 0)
        await queue.add_bulk([JobSpec("send") for _ in range(50)])
        await eventually(lambda: namespace.replicas() == 5)
        await eventually(lambda: len(namespace.every("pods")) == 2)
        await eventually(lambda: namespace.is_told("Limited", "True", "Quota"))
        condition = namespace.condition("Limited")
        assert condition is not None
        assert "exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2" in condition[2]
        assert "Quota" in [reason for reason, _ in namespace.events()]
        # More work does not make it ask for more.
        await queue.add_bulk([JobSpec("send") for _ in range(50)])
        await _sees(operator, 100)
        assert namespace.replicas() == 5
        patch(kubectl, "quota", "few", {"spec": {"hard": {"pods": "50"}}})
        await eventually(lambda: namespace.replicas() == 10, 40)
        await eventually(lambda: namespace.is_told("Limited", "False"), 20)


async def test_pods_that_find_no_node_stop_the_growth_and_are_told(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path) as operator, Queue("emails", redis=redis7_url) as queue:
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(target={"jobsPerReplica": 10}))
        await eventually(lambda: namespace.replicas() == 0)
        await queue.add_bulk([JobSpec("send") for _ in range(50)])
        with KubeletPlayed(namespace, room=3) as kubelet:
            await eventually(lambda: namespace.is_told("Limited", "True", "Unschedulable"))
            await eventually(lambda: namespace.status()["pods"] == _pods(ready=3, starting=2, unschedulable=2))
            condition = namespace.condition("Limited")
            assert condition is not None
            assert "2 pods cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu." in condition[2]
            await queue.add_bulk([JobSpec("send") for _ in range(50)])
            await _sees(operator, 100)
            assert namespace.replicas() == 5
            kubelet.room = None
            await eventually(lambda: namespace.replicas() == 10, 20)
            await eventually(lambda: namespace.is_told("Limited", "False"), 20)
            await eventually(lambda: namespace.status()["pods"] == _pods(ready=10))


def _pods(**counts: int) -> dict[str, int]:
    return {"ready": 0, "starting": 0, "terminating": 0, "unschedulable": 0, "leaving": 0, **counts}


async def _sees(operator: OperatorProcess, jobs: int) -> None:
    """Wait until it has counted them, and decided."""
    await eventually(partial(_counts, operator, jobs))


async def _counts(operator: OperatorProcess, jobs: int) -> bool:
    return await number(operator, "corral_pool_jobs", state="ready") == jobs
