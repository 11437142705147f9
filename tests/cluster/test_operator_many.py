"""Many pools: all are served, and none costs a write while nothing happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from namespace import Namespace
from operating import make_secret, operating, stays
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

POOLS = 100
IDLE = 30.0


@pytest.mark.timeout(120)
async def test_a_hundred_pools_made_at_once_are_all_served_and_idle_ones_cost_no_write(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    names = {f"pool-{number}" for number in range(POOLS)}
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        rows = [pool(name, queues=[{"name": name}]) for name in names]
        kubectl("create", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": rows})
        await eventually(lambda: {row["metadata"]["name"] for row in namespace.every("deployments")} == names, 30)

        def all_told() -> bool:
            return all(
                "Ready" in str(row.get("status", {}).get("conditions")) for row in namespace.every("workerpools")
            )

        await eventually(all_told, 20)
        for row in namespace.every("deployments"):
            assert row["spec"]["replicas"] == 0
        # The controller is behind the operator.
        await eventually(lambda: all(row["status"] for row in namespace.every("deployments")), 20)
        mark = namespace.mark()
        # Longer than the net under the events: each of them is looked at once.
        await stays(lambda: namespace.writes(mark) == [], IDLE + 5, 5.0)
        assert len(namespace.requests(mark)) < POOLS, "not even a read for each, but for the Secret and the watches"
