"""A Deployment of the user's: the operator writes its replicas, and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral import JobSpec, Queue
from namespace import Namespace
from operating import make_secret, operating, untouched_by_kopf
from pools import adopting
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import redis.asyncio

    from control_plane import ControlPlane
    from kubectl import Kubectl, Manifest


def _without_replicas(deployment: Manifest) -> tuple[Any, ...]:
    metadata = deployment["metadata"]
    spec = {key: value for key, value in deployment["spec"].items() if key != "replicas"}
    kept = {key: value for key, value in metadata["annotations"].items() if not key.startswith("deployment.kubernetes")}
    return spec, metadata["labels"], kept, metadata.get("ownerReferences"), metadata.get("finalizers")


def _fields(deployment: Manifest) -> dict[str, Any]:
    """What each manager with Corral's name owns."""
    rows = deployment["metadata"]["managedFields"]
    return {row["manager"]: row["fieldsV1"] for row in rows if "corral" in row["manager"]}


async def test_only_the_replicas_of_an_adopted_deployment_change(
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path: Path,
    redis7_url: str,
    redis7_client: redis.asyncio.Redis,
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path), Queue("emails", redis=redis7_url) as queue:
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=adopting("emails", "mailer", idleAfter="1s"))
        # The pool may well be there before the Deployment.
        await eventually(lambda: namespace.is_told("Ready", "False", "DeploymentNotFound"))
        condition = namespace.condition("Ready")
        assert condition is not None
        assert "there is no Deployment mailer in namespace" in condition[2]
        reason, text = namespace.events()[-1]
        assert (reason, text) == ("DeploymentNotFound", condition[2])

        kubectl("create", "deployment", "mailer", "--image=registry.example/theirs:1", "--replicas=2")
        kubectl("annotate", "deployment", "mailer", "team=mail")
        before = _without_replicas(namespace.deployment("mailer"))
        await eventually(lambda: namespace.is_told("Ready", "True"))
        assert namespace.replicas("mailer") == 2, "nobody ever created the queue: what is there stays"
        assert namespace.status()["selector"] == "app=mailer"

        await queue.add_bulk([JobSpec("send", {}) for _ in range(300)])
        await eventually(lambda: (namespace.replicas("mailer") or 0) > 2)
        assert _fields(namespace.deployment("mailer")) == {"corral-scale": {"f:spec": {"f:replicas": {}}}}
        await redis7_client.flushall()
        await eventually(lambda: namespace.replicas("mailer") == 0, 20)

        found = namespace.deployment("mailer")
        assert _without_replicas(found) == before
        assert _fields(found) == {}, "the API server notes no owner of a zero"
        deployments = [event for event in namespace.writes() if event["objectRef"]["resource"] == "deployments"]
        assert deployments
        assert {event["objectRef"].get("subresource") for event in deployments} == {"scale"}
        assert namespace.find("deployments", "emails") is None
        assert untouched_by_kopf(namespace)


async def test_an_adopted_deployment_that_vanishes_is_told_and_taken_up_again(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    create = ("create", "deployment", "mailer", "--image=registry.example/theirs:1")
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl(*create)
        kubectl("apply", "-f", "-", manifest=adopting("emails", "mailer", minReplicas=3))
        await eventually(lambda: namespace.replicas("mailer") == 3)
        kubectl("delete", "deployment", "mailer")
        await eventually(lambda: namespace.is_told("Ready", "False", "DeploymentNotFound"))
        kubectl(*create)
        await eventually(lambda: namespace.replicas("mailer") == 3)
        await eventually(lambda: namespace.is_told("Ready", "True"))
