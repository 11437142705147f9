"""Others that write the replicas of a Deployment, as a real API server tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral import JobSpec, Queue
from namespace import Namespace
from operating import make_secret, operating
from pools import adopting, pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

LENGTH = {"jobsPerReplica": 2}


async def test_a_real_autoscaler_on_an_adopted_deployment_makes_the_pool_hold_and_say_so(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    make_secret(kubectl, redis7_url)
    kubectl("create", "deployment", "mailer", "--image=registry.example/theirs:1", "--replicas=2")
    kubectl("autoscale", "deployment", "mailer", "--name=theirs", "--min=2", "--max=9", "--cpu-percent=80")
    kubectl("apply", "-f", "-", manifest=adopting("emails", "mailer", target=LENGTH))
    async with operating(kubectl, tmp_path), Queue("emails", redis=redis7_url) as queue:
        await queue.add_bulk([JobSpec("send") for _ in range(40)])
        await eventually(lambda: namespace.is_told("Conflict", "True", "Autoscaler"), 20)
        condition = namespace.condition("Conflict")
        assert condition is not None
        assert "Deployment mailer is scaled by HorizontalPodAutoscaler theirs too" in condition[2]
        await eventually(lambda: ("Autoscaler", condition[2]) in namespace.events())
        await eventually(lambda: namespace.status().get("decision", {}).get("reason") == "Conflict")
        assert namespace.replicas("mailer") == 2


async def test_two_pools_on_one_queue_are_both_told_by_a_real_api_server(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    make_secret(kubectl, redis7_url)
    for name in ("emails", "bulk"):
        kubectl("apply", "-f", "-", manifest=pool(name))
    async with operating(kubectl, tmp_path):
        await eventually(lambda: namespace.is_told("Conflict", "True", "SharedQueue"), 20)
        told = kubectl(
            "get", "workerpool", "bulk", "-o", "jsonpath={.status.conditions[?(@.type=='Conflict')].message}"
        )
        assert "Queue emails is served by pool emails too" in told
        kinds = kubectl("get", "workerpool", "emails", "-o", "jsonpath={.status.conditions[*].type}").split()
        assert {"Protected", "PoisonJobs", "Stuck"} <= set(kinds)
        assert kubectl("get", "workerpool", "emails", "-o", "jsonpath={.status.pods.leaving}") == "0"
