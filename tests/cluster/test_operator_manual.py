"""A number set by hand: with `kubectl scale`, until it is taken away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from corral import Queue
from namespace import Namespace
from operating import make_secret, operating, patch, untouched_by_kopf
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl


async def test_a_number_set_by_hand_holds_until_it_is_removed(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path), Queue("emails", redis=redis7_url) as queue:
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(idleAfter="1s", maxReplicas=8))
        await eventually(lambda: namespace.is_told("Manual", "False", "Automatic"))
        assert namespace.replicas() == 0

        kubectl("scale", "workerpool", "emails", "--replicas=5")
        await eventually(lambda: namespace.replicas() == 5)
        await eventually(lambda: namespace.is_told("Manual", "True", "SetByHand"))
        condition = namespace.condition("Manual")
        assert condition is not None
        assert condition[2].endswith(f"corral auto emails -n {kubectl.namespace}")
        await eventually(lambda: namespace.status()["decision"]["reason"] == "Manual")
        assert namespace.events()[-1] == ("ScaledUp", "from 0 to 5: set by hand to 5, until removed")
        await eventually(
            lambda: kubectl.json("get", "workerpool", "emails", "--subresource=scale")["status"]["replicas"]
        )
        scale = kubectl.json("get", "workerpool", "emails", "--subresource=scale")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (5, 5)

        # Neither a backlog nor the manifest applied again changes it; more than the maximum is not given.
        await asyncio.gather(*(queue.add("send", {}) for _ in range(300)))
        kubectl("apply", "-f", "-", manifest=pool(idleAfter="1s", maxReplicas=8))
        await eventually(lambda: namespace.status()["counts"]["waiting"] == 300, 40)
        assert namespace.replicas() == 5
        kubectl("scale", "workerpool", "emails", "--replicas=50")
        await eventually(lambda: namespace.replicas() == 8)
        await eventually(lambda: namespace.is_told("Limited", "True", "MaxReplicas"))
        kubectl("scale", "workerpool", "emails", "--replicas=0")
        await eventually(lambda: namespace.replicas() == 0)
        await eventually(lambda: namespace.is_told("Active", "False", "Manual"))

        # Removed, as `corral auto` does.
        patch(kubectl, "workerpool", "emails", {"spec": {"replicas": None}})
        await eventually(lambda: (namespace.replicas() or 0) > 0)
        await eventually(lambda: namespace.is_told("Manual", "False", "Automatic"))
        assert "replicas" not in namespace.pool()["spec"]
        assert untouched_by_kopf(namespace)


async def test_changes_that_follow_each_other_closely_all_arrive(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool())
        for number in (1, 4, 2, 7, 3):
            kubectl("scale", "workerpool", "emails", f"--replicas={number}")
        await eventually(lambda: namespace.replicas() == 3)
        await eventually(lambda: namespace.status()["observedGeneration"] == namespace.pool()["metadata"]["generation"])
        assert namespace.status()["desired"] == 3
