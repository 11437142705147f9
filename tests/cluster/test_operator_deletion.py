"""What a deleted pool leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from namespace import Namespace
from operating import make_secret, operating, patch, stays
from pools import adopting, pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

# The garbage collector looks for new kinds of objects every 30 s, and WorkerPools may be that new.
COLLECTED_WITHIN = 60.0
pytestmark = pytest.mark.timeout(120)


async def test_a_pool_takes_its_deployment_with_it_and_leaves_an_adopted_one_as_it_is(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("create", "deployment", "theirs", "--image=registry.example/theirs:1", "--replicas=2")
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=3))
        kubectl("apply", "-f", "-", manifest=adopting("adopter", "theirs", minReplicas=4))
        await eventually(lambda: (namespace.replicas(), namespace.replicas("theirs")) == (3, 4))
        await eventually(lambda: len(namespace.every("pods")) == 7)
        (owner,) = namespace.deployment()["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("WorkerPool", "emails", True)

        kubectl("delete", "workerpools", "emails", "adopter")
        await eventually(lambda: namespace.find("deployments", "emails") is None, COLLECTED_WITHIN)
        await eventually(lambda: len(namespace.every("pods")) == 4)
        assert namespace.replicas("theirs") == 4
        mark = namespace.mark()
        await stays(lambda: namespace.find("deployments", "emails") is None, 3)
        assert namespace.requests(mark) == [], "what is gone is nothing to look at"


async def test_a_pool_deleted_in_the_foreground_goes_last_and_nothing_is_made_anew(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=3))
        await eventually(lambda: len(namespace.every("pods")) == 3)
        uid = namespace.deployment()["metadata"]["uid"]
        # Held by somebody's finalizer, so that there is time to see what the operator does meanwhile.
        patch(kubectl, "workerpool", "emails", {"metadata": {"finalizers": ["tests.corral.dev/held"]}})
        try:
            kubectl("delete", "workerpool", "emails", "--cascade=foreground", "--wait=false")
            await eventually(lambda: namespace.find("deployments", "emails") is None, COLLECTED_WITHIN)
            await stays(lambda: namespace.find("deployments", "emails") is None, 3)
        finally:
            patch(kubectl, "workerpool", "emails", {"metadata": {"finalizers": None}})
        await eventually(lambda: namespace.find("workerpools", "emails") is None)
        await eventually(lambda: namespace.every("pods") == [])
        made = [event for event in namespace.writes() if event["responseStatus"]["code"] == 201]
        assert [event["objectRef"]["resource"] for event in made].count("deployments") == 1
        # One of the same name, at once: a pool of its own with a Deployment of its own.
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=1))
        await eventually(lambda: namespace.replicas() == 1)
        assert namespace.deployment()["metadata"]["uid"] != uid


async def test_a_pool_made_again_before_the_old_deployment_is_gone_gets_its_own(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=2))
        await eventually(lambda: namespace.replicas() == 2)
        kubectl("replace", "--force", "-f", "-", manifest=pool(minReplicas=3))
        await eventually(lambda: namespace.replicas() == 3, COLLECTED_WITHIN)
        (owner,) = namespace.deployment()["metadata"]["ownerReferences"]
        assert owner["uid"] == namespace.pool()["metadata"]["uid"]
        await eventually(lambda: namespace.is_told("Ready", "True"))


async def test_an_orphaned_deployment_is_nobodys_and_a_new_pool_leaves_it_alone(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=2))
        await eventually(lambda: namespace.replicas() == 2)
        kubectl("delete", "workerpool", "emails", "--cascade=orphan")
        await eventually(lambda: not namespace.deployment()["metadata"].get("ownerReferences"))
        mark = namespace.mark()
        kubectl("apply", "-f", "-", manifest=pool(minReplicas=5))
        await eventually(lambda: namespace.is_told("Ready", "False", "NameTaken"))
        assert namespace.replicas() == 2
        assert {event["objectRef"]["resource"] for event in namespace.writes(mark)} == {"workerpools", "events"}
