"""What the chart lets the operator do is what the operator does: nothing is refused, and nothing is granted for nothing."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from chart import Chart, of_kind, only
from corral import JobSpec, Queue
from helm import Helm, HelmMissingError, find_helm
from kubelet_played import KubeletPlayed
from namespace import Namespace
from operating import make_secret, operating, patch, stays
from pools import adopting, pool
from waiting import eventually, eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from control_plane import AuditEvent, ControlPlane
    from kubectl import Kubectl, Manifest

Right = tuple[str, str, str]

RBAC = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """The chart, with a helm that is new enough."""
    try:
        return Chart(Helm(find_helm(), tmp_path / "helm"))
    except HelmMissingError as missing:
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(str(missing))
        raise


@contextmanager
def _installed(chart: Chart, kubectl: Kubectl, values: dict[str, Any]) -> Iterator[list[Manifest]]:
    """The chart's ServiceAccount and its rights, in the namespace of `kubectl`."""
    objects = [one for one in chart.objects(values, namespace=kubectl.namespace) if one["kind"] in RBAC]
    together = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl("apply", "-f", "-", manifest=together)
    yield objects
    kubectl("delete", "-f", "-", "--ignore-not-found", manifest=together)


def _as_account(control_plane: ControlPlane, kubectl: Kubectl, account: str, folder: Path) -> Kubectl:
    """kubectl, and so the operator, with a token of the ServiceAccount."""
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": kubectl("create", "token", account).strip()}}]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return type(kubectl)(kubectl.program, path, folder / "kubectl", kubectl.namespace)


def _granted(objects: list[Manifest], account: Manifest) -> set[Right]:
    """The rights of the roles that are bound to the account."""
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in objects
        if one["kind"].endswith("Binding") and account["metadata"]["name"] in [row["name"] for row in one["subjects"]]
    }
    roles = [one for one in objects if (one["kind"], one["metadata"]["name"]) in bound]
    assert roles
    rules = [rule for role in roles for rule in role["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _lease(objects: list[Manifest]) -> str:
    """The only one that the operator may use."""
    rules = [rule for one in of_kind(objects, "Role") for rule in one["rules"]]
    (name,) = [name for rule in rules if rule["resources"] == ["leases"] for name in rule["resourceNames"]]
    return str(name)


def _used(events: list[AuditEvent]) -> set[Right]:
    rights = set()
    for event in events:
        if "objectRef" not in event:
            continue  # discovery, which everybody may
        what = event["objectRef"]
        resource = "/".join(part for part in (what["resource"], what.get("subresource")) if part)
        right = (what.get("apiGroup", ""), resource, event["verb"])
        rights.add(right)
        # An apply or a PUT that makes the object needs both.
        if right[2] in ("patch", "update") and event["responseStatus"]["code"] == 201:
            rights.add((right[0], right[1], "create"))
    return rights


@pytest.mark.parametrize(
    ("scope", "secrets"),
    [("cluster", []), ("namespaces", []), ("namespaces", ["redis"])],
    ids=["cluster", "namespaces", "named-secrets"],
)
async def test_the_operator_uses_every_right_that_the_chart_grants_and_needs_no_other(
    scope: str,
    secrets: list[str],
    chart: Chart,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path: Path,
    redis7_url: str,
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    with _installed(chart, kubectl, {"scope": scope, "secretNames": secrets}) as objects:
        account = only(objects, "ServiceAccount")
        name = account["metadata"]["name"]
        who = f"system:serviceaccount:{kubectl.namespace}:{name}"
        operators = _as_account(control_plane, kubectl, name, tmp_path)
        asked = ["list", "workerpools.corral.dev", *(["--all-namespaces"] if scope == "cluster" else [])]
        eventually_sync(lambda: "yes" in operators("auth", "can-i", *asked))
        # Each binding takes effect a little later than it is made.
        eventually_sync(lambda: "yes" in operators("auth", "can-i", "update", f"leases/{_lease(objects)}"))
        # Empty: all namespaces, as the chart says it to the pod.
        args = ("--namespace", kubectl.namespace) if scope == "namespaces" else ("--namespace", "")
        mark = namespace.mark()
        env = {"CORRAL_LEASE": f"{kubectl.namespace}/{_lease(objects)}"}
        async with operating(operators, tmp_path, *args, env=env), Queue("emails", redis=redis7_url) as queue:
            make_secret(kubectl, redis7_url)
            kubectl("apply", "-f", "-", manifest=pool(idleAfter="1s"))
            await eventually(lambda: namespace.replicas() == 0)
            await queue.add_bulk([JobSpec("send") for _ in range(100)])
            await eventually(lambda: (namespace.replicas() or 0) > 1)
            with KubeletPlayed(namespace):
                await eventually(lambda: namespace.status()["pods"]["ready"] > 1)
            patch(kubectl, "workerpool", "emails", {"spec": {"maxReplicas": 1}})
            await eventually(lambda: namespace.replicas() == 1)
            kubectl("create", "deployment", "theirs", "--image=registry.example/theirs", "--replicas=1")
            kubectl("apply", "-f", "-", manifest=adopting("adopting", "theirs", minReplicas=2))
            await eventually(lambda: namespace.replicas("theirs") == 2)
            kubectl("delete", "deployment", "emails")
            await eventually(lambda: namespace.replicas() == 1)
            await eventually(lambda: namespace.is_told("Ready", "True"))
            await eventually(lambda: len(namespace.events()) >= 3)
        events = [event for event in control_plane.audit()[mark:] if event["user"]["username"] == who]
        # Not what kubectl asked with the same token.
        events = [event for event in events if not event["userAgent"].startswith("kubectl")]
        # Nor what it tried where an earlier test's namespace is ending, which refuses everybody.
        here = (None, kubectl.namespace)
        events = [event for event in events if event.get("objectRef", {}).get("namespace") in here]
        assert [event["requestURI"] for event in events if event["responseStatus"]["code"] in (401, 403)] == []
        assert _used(events) == _granted(objects, account)
        if scope == "namespaces":
            assert not of_kind(objects, "ClusterRoleBinding")


async def test_with_a_role_and_named_secrets_only_pools_are_served_and_another_secret_is_told(
    chart: Chart, control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    values = {"scope": "namespaces", "secretNames": ["redis", "redis-eu"]}
    with _installed(chart, kubectl, values) as objects:
        assert not of_kind(objects, "ClusterRole")
        operators = _as_account(control_plane, kubectl, only(objects, "ServiceAccount")["metadata"]["name"], tmp_path)
        eventually_sync(lambda: "yes" in operators("auth", "can-i", "list", "workerpools.corral.dev"))
        operators.refusal("auth", "can-i", "get", "secrets/other")
        async with operating(operators, tmp_path):
            for number, name in enumerate(("redis", "redis-eu", "other"), 1):
                make_secret(kubectl, redis7_url, name)
                of = {"redis": {"secretRef": {"name": name}}, "minReplicas": number}
                kubectl("apply", "-f", "-", manifest=pool(f"on-{name}", **of))
            await eventually(lambda: namespace.replicas("on-redis") == 1)
            await eventually(lambda: namespace.replicas("on-redis-eu") == 2)
            await eventually(lambda: namespace.is_told("Ready", "False", "Forbidden", "on-other"))
            told = namespace.condition("Ready", "on-other")
            assert told is not None
            assert "may not read Secret other" in told[2]
            assert namespace.find("deployments", "on-other") is None


async def test_a_right_that_is_missing_is_told_at_the_pool(
    chart: Chart, control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    with _installed(chart, kubectl, {"scope": "namespaces"}) as objects:
        (role,) = [one for one in of_kind(objects, "Role") if "resourceNames" not in one["rules"][0]]
        name = only(objects, "ServiceAccount")["metadata"]["name"]

        def allow(*denied: str) -> None:
            rules = [rule for rule in role["rules"] if not set(denied) & set(rule["resources"])]
            kubectl("apply", "-f", "-", manifest={**role, "rules": rules})

        allow("secrets")
        operators = _as_account(control_plane, kubectl, name, tmp_path)
        eventually_sync(lambda: "yes" in operators("auth", "can-i", "list", "workerpools.corral.dev"))
        async with operating(operators, tmp_path):
            make_secret(kubectl, redis7_url)
            kubectl("apply", "-f", "-", manifest=pool(minReplicas=2))
            await eventually(lambda: namespace.is_told("Ready", "False", "Forbidden"))
            condition = namespace.condition("Ready")
            assert condition is not None
            assert "the operator may not read Secret redis: secrets" in condition[2]
            allow("deployments/scale")
            text = "the operator may not write the replicas"
            await eventually(lambda: text in (namespace.condition("Ready") or ("", "", ""))[2], 30)
            allow()
            await eventually(lambda: namespace.is_told("Ready", "True"), 40)
            assert namespace.replicas() == 2


async def test_without_the_right_to_its_lease_the_operator_writes_nothing_and_says_what_it_needs(
    chart: Chart, control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    with _installed(chart, kubectl, {"scope": "namespaces"}) as objects:
        operators = _as_account(control_plane, kubectl, only(objects, "ServiceAccount")["metadata"]["name"], tmp_path)
        eventually_sync(lambda: "yes" in operators("auth", "can-i", "list", "workerpools.corral.dev"))
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=pool())
        args = ("--namespace", kubectl.namespace)
        other = {"CORRAL_LEASE": f"{kubectl.namespace}/another"}
        async with operating(operators, tmp_path / "other", *args, env=other) as operator:
            cure = (
                f"allow get, create and update of leases.coordination.k8s.io another in namespace {kubectl.namespace}"
            )
            await eventually(lambda: operator.said(cure, level="WARNING"))
            assert (await operator.get("/readyz"))[0] == 200
            await stays(lambda: namespace.writes() == [] and len(operator.said(cure)) == 1, 3)
