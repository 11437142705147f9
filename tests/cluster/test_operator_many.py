"""Many pools: all are served, and none costs a write while nothing happens."""

from __future__ import annotations

import asyncio
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

POOLS = 1000
IDLE = 30.0


@pytest.mark.timeout(600)
async def test_a_thousand_pools_made_at_once_are_all_served_and_idle_ones_cost_no_write(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    names = {f"pool-{number}" for number in range(POOLS)}
    async with operating(kubectl, tmp_path):
        make_secret(kubectl, redis7_url)
        rows = [pool(name, queues=[{"name": name}]) for name in names]
        parts = [{"apiVersion": "v1", "kind": "List", "items": rows[first::10]} for first in range(10)]
        await asyncio.gather(
            *(asyncio.to_thread(kubectl, "create", "-f", "-", manifest=part, within=120) for part in parts)
        )
        await eventually(lambda: {row["metadata"]["name"] for row in namespace.every("deployments")} == names, 240)

        def all_told() -> bool:
            return all(
                "Ready" in str(row.get("status", {}).get("conditions")) for row in namespace.every("workerpools")
            )

        await eventually(all_told, 120)
        for row in namespace.every("deployments"):
            assert row["spec"]["replicas"] == 0
        # The controller is behind the operator.
        await eventually(lambda: all(row["status"] for row in namespace.every("deployments")), 120)
        mark = namespace.mark()
        # Longer than the net under the events: each of them is looked at once.
        await stays(lambda: namespace.writes(mark) == [], IDLE + 5, 5.0)
        assert len(namespace.requests(mark)) < POOLS, "not even a read for each, but for the Secret and the watches"
