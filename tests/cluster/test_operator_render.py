"""What the operator writes into a Deployment of its own, and what it leaves to others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from namespace import Namespace
from operating import make_secret, operating, patch, stays, untouched_by_kopf
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl, Manifest

RESTARTED = "kubectl.kubernetes.io/restartedAt"


def _template(image: str = "registry.example/emails:1.4", **container: Any) -> Manifest:
    return {"spec": {"containers": [{"name": "worker", "image": image, **container}]}}


@asynccontextmanager
async def _rendered(
    control_plane: ControlPlane, kubectl: Kubectl, folder: Path, url: str, template: Manifest
) -> AsyncIterator[Namespace]:
    """A pool whose Deployment is there."""
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, folder):
        make_secret(kubectl, url)
        kubectl("apply", "-f", "-", manifest=pool(template=template))
        await eventually(lambda: namespace.find("deployments", "emails"))
        yield namespace
        assert untouched_by_kopf(namespace)


def _env(namespace: Namespace) -> dict[str, Any]:
    return {row["name"]: row for row in namespace.container()["env"]}


async def test_a_render_writes_what_is_new_and_leaves_what_others_wrote(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    before = _template(env=[{"name": "REGION", "value": "eu"}, {"name": "LANG", "value": "C"}])
    async with _rendered(control_plane, kubectl, tmp_path, redis7_url, before) as namespace:
        assert {"REGION", "LANG", "REDIS_URL", "CORRAL_QUEUES", "POD_NAME"} <= _env(namespace).keys()
        kubectl("rollout", "restart", "deployment", "emails")
        kubectl("label", "deployment", "emails", "team=mail")
        sidecar = {"name": "mesh", "image": "registry.example/mesh:2"}
        kubectl(
            *("apply", "--server-side", "--field-manager=injector", "-f", "-"),
            manifest={
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "emails"},
                "spec": {"template": {"spec": {"containers": [sidecar]}}},
            },
        )
        restarted = namespace.deployment()["spec"]["template"]["metadata"]["annotations"][RESTARTED]

        after = _template("registry.example/emails:1.5", env=[{"name": "REGION", "value": "us"}])
        patch(kubectl, "workerpool", "emails", {"spec": {"template": after}})
        await eventually(lambda: namespace.container()["image"] == "registry.example/emails:1.5")
        found = namespace.deployment()
        template = found["spec"]["template"]
        assert _env(namespace)["REGION"]["value"] == "us"
        assert "LANG" not in _env(namespace), "what was taken out of the template is taken out of the Deployment"
        assert template["metadata"]["annotations"][RESTARTED] == restarted
        assert [row["image"] for row in template["spec"]["containers"] if row["name"] == "mesh"] == [sidecar["image"]]
        assert found["metadata"]["labels"]["team"] == "mail"


async def test_a_render_never_touches_the_replicas(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    async with _rendered(control_plane, kubectl, tmp_path, redis7_url, _template()) as namespace:
        # Right after it was made: nobody has written the replicas since.
        patch(kubectl, "workerpool", "emails", {"spec": {"template": _template("registry.example/emails:1.5")}})
        await eventually(lambda: namespace.container()["image"] == "registry.example/emails:1.5")
        assert namespace.replicas() == 0
        # Nobody ever created the queue: what is there stays.
        kubectl("scale", "deployment", "emails", "--replicas=7")
        await eventually(lambda: len(namespace.every("pods")) == 7)
        patch(kubectl, "workerpool", "emails", {"spec": {"template": _template("registry.example/emails:1.6")}})
        await eventually(lambda: namespace.container()["image"] == "registry.example/emails:1.6")
        await stays(lambda: namespace.replicas() == 7, 3)
        assert namespace.scalings() == []
        told = [text for reason, text in namespace.events(kind="Deployment") if reason == "ScalingReplicaSet"]
        assert told[0].endswith("from 0 to 7"), "there was never a pod that nobody asked for"


async def test_what_somebody_changes_in_the_rendered_part_is_put_back(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    async with _rendered(control_plane, kubectl, tmp_path, redis7_url, _template()) as namespace:
        kubectl("set", "image", "deployment/emails", "worker=registry.example/emails:edited")
        await eventually(lambda: namespace.container()["image"] == "registry.example/emails:1.4")
        kubectl("delete", "deployment", "emails")
        await eventually(lambda: namespace.find("deployments", "emails"))
        assert namespace.replicas() == 0


async def test_another_secret_rolls_the_pods_and_the_same_one_written_again_does_not(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    async with _rendered(control_plane, kubectl, tmp_path, redis7_url, _template()) as namespace:

        def digest() -> str:
            return str(namespace.deployment()["spec"]["template"]["metadata"]["annotations"]["corral.dev/redis-secret"])

        first, generation = digest(), namespace.deployment()["metadata"]["generation"]
        make_secret(kubectl, redis7_url, "same")
        make_secret(kubectl, redis7_url.removesuffix("0") + "1", "other")
        patch(kubectl, "workerpool", "emails", {"spec": {"redis": {"secretRef": {"name": "other"}}}})
        await eventually(lambda: digest() != first)
        source = _env(namespace)["REDIS_URL"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": "other", "key": "url"}
        patch(kubectl, "workerpool", "emails", {"spec": {"redis": {"secretRef": {"name": "same"}}}})
        await eventually(lambda: digest() == first)
        assert namespace.deployment()["metadata"]["generation"] == generation + 2


@pytest.mark.parametrize("mode", ["DryRun", "Paused"])
async def test_a_pool_that_may_not_act_makes_no_deployment_but_tells_what_it_would_do(
    mode: str, control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(mode=mode, minReplicas=3))
        await eventually(lambda: namespace.status().get("desired") == 3)
        assert namespace.status()["decision"]["text"].startswith(("dry run, nothing", "paused, nothing"))
        assert namespace.find("deployments", "emails") is None
        patch(kubectl, "workerpool", "emails", {"spec": {"mode": "Auto"}})
        await eventually(lambda: namespace.replicas() == 3)
        patch(kubectl, "workerpool", "emails", {"spec": {"mode": mode, "minReplicas": 4}})
        await eventually(lambda: namespace.status()["desired"] == 4)
        assert namespace.replicas() == 3
