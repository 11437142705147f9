"""Scaling down on a real control plane: whom the ReplicaSet controller takes, and whom the operator lets it take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest.mock import patch as patched

import pytest
import redis.asyncio

from corral_operator.api import Api
from corral_operator.cluster import Cluster
from corral_operator.deployment import Key
from corral_operator.pods import DELETION_COST, LOWEST_COST
from corral_operator.refusal import ApiError
from kubelet_played import KubeletPlayed
from namespace import Namespace
from operating import make_secret, operating, patch
from played_workers import played_workers
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

PODS = 12


def _names(namespace: Namespace) -> set[str]:
    rows = namespace.every("pods")
    return {row["metadata"]["name"] for row in rows if "deletionTimestamp" not in row["metadata"]}


def _costs(namespace: Namespace) -> dict[str, str]:
    found = {row["metadata"]["name"]: row["metadata"].get("annotations", {}) for row in namespace.every("pods")}
    return {name: rows[DELETION_COST] for name, rows in found.items() if DELETION_COST in rows}


async def test_the_pods_that_said_so_are_deleted_and_no_busy_one(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    async with (
        redis.asyncio.from_url(redis7_url, protocol=2) as client,
        operating(kubectl, tmp_path) as operator,
    ):
        await client.hset("bull:emails:meta", "version", "bullmq:5.0.0")
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool(replicas=PODS))
        with KubeletPlayed(namespace):
            await eventually(lambda: namespace.status().get("pods", {}).get("ready") == PODS, 30)
            names = sorted(_names(namespace))
            async with played_workers(client, *names) as workers:
                busy = set(names[::3])
                for name in busy:
                    workers[name].busy = 1
                await eventually(lambda: all(len(worker.ordered) > 3 for worker in workers.values()))
                patch(kubectl, "workerpool", "emails", {"spec": {"replicas": 2}})
                await eventually(lambda: namespace.replicas() == len(busy), 30)
                await eventually(lambda: _names(namespace) == busy)
                assert operator.said(rf"12 -> {len(busy)} replicas, 2 more finish their jobs")
                # Load returns: everybody takes again, and nobody is left marked.
                patch(kubectl, "workerpool", "emails", {"spec": {"replicas": len(busy)}})
                await eventually(lambda: not any(workers[name].ordered[-1] for name in busy))
                assert _costs(namespace) == {}
                # And their turn comes as soon as they are idle.
                patch(kubectl, "workerpool", "emails", {"spec": {"replicas": 2}})
                last = sorted(busy)[-2:]
                for name in busy - set(last):
                    workers[name].busy = 0
                await eventually(lambda: _names(namespace) == set(last), 30)
                assert _costs(namespace) == {}


async def test_a_mark_never_reaches_a_namesake_and_a_pod_that_is_gone_is_left_at_that(
    control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    container = {"name": "worker", "image": "registry.example/emails:1.4"}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}, "spec": {"containers": [container]}}
    # A namespace gets its ServiceAccount a moment after it was made.
    await eventually(lambda: namespace.find("serviceaccounts", "default"))
    kubectl("apply", "-f", "-", manifest=made)
    (found,) = namespace.every("pods")
    with patched.dict(os.environ, {"KUBECONFIG": str(kubectl.kubeconfig)}):
        api = await Api.connect(lambda verb, resource, code: None)
    try:
        cluster = Cluster(api)
        await cluster.mark(namespace.name, "lone", "another-uid", LOWEST_COST)
        await cluster.mark(namespace.name, "gone", "any-uid", LOWEST_COST)
        assert _costs(namespace) == {}
        await cluster.mark(namespace.name, "lone", found["metadata"]["uid"], LOWEST_COST)
        assert _costs(namespace) == {"lone": LOWEST_COST}
        await cluster.mark(namespace.name, "lone", found["metadata"]["uid"], None)
        assert _costs(namespace) == {}
    finally:
        await api.close()


async def test_autoscalers_are_listed_with_their_deployment_and_nobody_needs_keda(
    control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "emails"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
    kinds = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    kubectl("apply", "-f", "-", manifest={**kinds, "metadata": {"name": "mine"}, "spec": spec})
    other = {**spec, "scaleTargetRef": {**target, "kind": "StatefulSet"}}
    kubectl("apply", "-f", "-", manifest={**kinds, "metadata": {"name": "other"}, "spec": other})
    with patched.dict(os.environ, {"KUBECONFIG": str(kubectl.kubeconfig)}):
        api = await Api.connect(lambda verb, resource, code: None)
    try:
        rows = await Cluster(api).autoscalers(kubectl.namespace)
        assert rows == [("HorizontalPodAutoscaler", "mine", "emails")]
    finally:
        await api.close()


async def test_the_replicas_of_a_namesake_are_never_written(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    labels = {"app": "emails"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "x"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "emails"}, "spec": spec}
    kubectl("apply", "-f", "-", manifest=made)
    namespace = Namespace(control_plane, kubectl.namespace)
    with patched.dict(os.environ, {"KUBECONFIG": str(kubectl.kubeconfig)}):
        api = await Api.connect(lambda verb, resource, code: None)
    key = Key(kubectl.namespace, "emails")
    try:
        with pytest.raises(ApiError, match="Precondition failed") as caught:
            await Cluster(api).scale(key, 1, "another-uid")
        assert (caught.value.code, namespace.replicas()) == (409, 0)
        await Cluster(api).scale(key, 1, namespace.deployment()["metadata"]["uid"])
        assert namespace.replicas() == 1
    finally:
        await api.close()
