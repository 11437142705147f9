"""The ten-line pool: from zero to what its queue needs and back, told at every step."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from corral_process import CorralProcess
from kubelet_played import KubeletPlayed
from namespace import Namespace
from node_driver import NodeDriver, corral_worker
from operating import make_secret, operating, untouched_by_kopf
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

JOBS = 200


def _row(kubectl: Kubectl) -> dict[str, str]:
    """The pool as `kubectl get workerpools` shows it; what is empty is left out."""
    head, row = kubectl("get", "workerpools").splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], len(row)]
    cells = {name: row[at:end].strip() for name, at, end in zip(head.split(), starts, ends, strict=True)}
    return {name: cell for name, cell in cells.items() if cell}


@pytest.mark.interop
@pytest.mark.timeout(90)
async def test_a_pool_grows_from_zero_for_a_backlog_of_node_and_goes_back_to_zero(
    bullmq: str,
    node_env: dict[str, str],
    redis7_url: str,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path: Path,
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(NodeDriver(node_env))
        await stack.enter_async_context(operating(kubectl, tmp_path))
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(target={"wait": "30s"}, idleAfter="3s"))

        # Nobody has added a job yet, and perhaps the name is misspelt.
        await eventually(lambda: namespace.replicas() == 0)
        await eventually(lambda: namespace.is_told("QueueFound", "False", "NeverCreated"))
        assert namespace.is_told("Ready", "True")
        assert namespace.is_told("Active", "False", "NeverCreated")
        row = _row(kubectl)
        assert {name: cell for name, cell in row.items() if name != "AGE"} == {
            "NAME": "emails",
            "DESIRED": "0",
            "READY": "0",
            "BUSY": "0",
            "WAITING": "0",
            "WHY": "NeverCreated",
        }

        # A backlog comes, all at once.
        jobs = [{"name": "send", "data": {"sleep": 20}, "opts": {}} for _ in range(JOBS)]
        await node.queue("emails", "addBulk", jobs)
        await eventually(lambda: (namespace.replicas() or 0) > 1)
        wanted = namespace.replicas()
        assert wanted is not None
        assert namespace.deployment()["metadata"]["generation"] == 2, "one write for all of them"
        await eventually(lambda: namespace.is_told("Active", "True", "Replicas"))
        assert namespace.is_told("QueueFound", "True", "Found")
        (event,) = await eventually(lambda: [row for row in namespace.events() if row[0] == "ScaledUp"])
        assert f"from 0 to {wanted}: {JOBS} ready jobs of" in event[1]
        assert "to start within" in event[1]
        assert namespace.status()["counts"]["waiting"] == JOBS
        assert namespace.status()["lastScale"]["to"] == wanted

        # Its pods come up; a worker beside them, since no node runs them.
        stack.enter_context(KubeletPlayed(namespace, start_s=1.0))
        await eventually(lambda: namespace.status()["pods"]["ready"] == wanted, 20)
        row = _row(kubectl)
        # They came up sooner than was taken for granted, so that fewer may do by now.
        assert 1 < int(row["DESIRED"]) <= wanted
        assert row["WAITING"] == str(JOBS)
        assert row["OLDEST"].endswith("s")
        assert row["WHY"] in ("Drain", "Window", "Flow")
        if bullmq == "5":
            stack.enter_context(CorralProcess(tmp_path, corral_worker('"emails", run'), redis7_url))
        else:
            await node.work(["emails"])
        await eventually(lambda: namespace.replicas() == 0, 40)
        await eventually(lambda: namespace.is_told("Active", "False", "Idle"))
        await eventually(lambda: _row(kubectl).get("READY") == "0")
        row = _row(kubectl)
        assert (row["DESIRED"], row["BUSY"], row["WAITING"], row["WHY"]) == ("0", "0", "0", "Idle")
        assert "OLDEST" not in row
        assert "to 0: nothing is ready, active or due within" in namespace.events()[-1][1]
        status = namespace.status()
        assert status["decision"]["text"].startswith("0 replicas: nothing is ready")
        assert status["learned"]["podStartSeconds"] >= 1
        assert status["learned"]["queues"][0]["jobSeconds"] == pytest.approx(0.02, rel=3)
        assert untouched_by_kopf(namespace)
