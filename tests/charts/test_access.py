"""Who may do what: the operator exactly what it does, and people what they may do to Deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chart import of_kind, only

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chart import Chart
    from kubectl import Manifest

# Everything that the operator asks of the API server: a verb more is a right that nobody needs, one less a 403.
OPERATOR = {
    ("corral.dev", "workerpools", "list"),
    ("corral.dev", "workerpools", "watch"),
    ("corral.dev", "workerpools/status", "patch"),
    ("apps", "deployments", "get"),
    ("apps", "deployments", "list"),
    ("apps", "deployments", "watch"),
    ("apps", "deployments", "create"),
    ("apps", "deployments", "patch"),
    ("apps", "deployments/scale", "patch"),
    ("", "secrets", "get"),
    ("", "pods", "list"),
    ("", "pods", "patch"),
    ("autoscaling", "horizontalpodautoscalers", "list"),
    ("keda.sh", "scaledobjects", "list"),
    ("", "events", "create"),
}
# Where the release is, and to one name.
LEASE = {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
KINDS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def _rights(roles: Iterable[Manifest]) -> set[tuple[str, str, str]]:
    rules = [rule for role in roles for rule in role["rules"]]
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in rules)
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _of_pools(objects: list[Manifest], kind: str) -> list[Manifest]:
    """Without what is there for the Lease."""
    return [one for one in of_kind(objects, kind) if one["metadata"]["name"] != "corral-operator"]


def _for_people(role: Manifest) -> set[str]:
    return {label.removeprefix(AGGREGATE) for label in role["metadata"]["labels"] if label.startswith(AGGREGATE)}


def test_for_the_whole_cluster_the_operator_has_one_cluster_role(chart: Chart) -> None:
    objects = chart.objects()
    binding = only(objects, "ClusterRoleBinding")
    roles = [one for one in of_kind(objects, "ClusterRole") if one["metadata"]["name"] == binding["roleRef"]["name"]]
    assert len(roles) == 1
    assert _rights(roles) == OPERATOR
    assert _for_people(roles[0]) == set()
    assert binding["roleRef"]["kind"] == "ClusterRole"
    account = only(objects, "ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert _of_pools(objects, "Role") + _of_pools(objects, "RoleBinding") == []


@pytest.mark.parametrize("namespaces", [[], ["team-a"], ["team-a", "team-b"]])
def test_for_namespaces_it_has_a_role_in_each_and_nothing_for_the_cluster(chart: Chart, namespaces: list[str]) -> None:
    objects = chart.objects({"scope": "namespaces", "namespaces": namespaces})
    roles, bindings = _of_pools(objects, "Role"), _of_pools(objects, "RoleBinding")
    for found in (roles, bindings):
        assert [one["metadata"]["namespace"] for one in found] == (namespaces or ["corral-system"])
    for role, binding in zip(roles, bindings, strict=True):
        assert _rights([role]) == OPERATOR
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
        assert [(one["name"], one["namespace"]) for one in binding["subjects"]] == [
            ("corral-operator", "corral-system")
        ]
    assert not of_kind(objects, "ClusterRole") + of_kind(objects, "ClusterRoleBinding")


@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
def test_it_may_use_one_lease_and_that_in_its_own_namespace(chart: Chart, scope: str) -> None:
    objects = chart.objects({"scope": scope, "namespaces": ["team-a"] if scope == "namespaces" else []})
    (role,) = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == "corral-operator"]
    (binding,) = [one for one in of_kind(objects, "RoleBinding") if one["metadata"]["name"] == "corral-operator"]
    (rule,) = role["rules"]
    assert rule.pop("resourceNames") == ["corral-operator"]
    assert _rights([role]) == LEASE
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "corral-system"
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "corral-operator"}
    told = chart.container({"scope": scope})["env"][0]
    assert told == {"name": "CORRAL_LEASE", "value": "corral-system/corral-operator"}


@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
def test_it_may_read_the_named_secrets_and_no_other(chart: Chart, scope: str) -> None:
    def rule(**values: Any) -> Manifest:
        roles = [one for one in chart.objects({"scope": scope, **values}) if one["kind"] in ("Role", "ClusterRole")]
        (found,) = [rule for role in roles for rule in role["rules"] if rule["resources"] == ["secrets"]]
        return dict(found)

    assert rule(secretNames=["redis", "redis-eu"]) == {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["redis", "redis-eu"],
        "verbs": ["get"],
    }
    assert rule() == {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def test_people_may_do_to_pools_what_they_may_do_to_deployments(chart: Chart) -> None:
    people = {
        tuple(sorted(_for_people(one))): one for one in of_kind(chart.objects(), "ClusterRole") if _for_people(one)
    }
    assert set(people) == {("admin", "edit", "view"), ("admin", "edit")}
    assert _rights([people["admin", "edit", "view"]]) == {
        *(("corral.dev", "workerpools", verb) for verb in ("get", "list", "watch")),
        ("corral.dev", "workerpools/scale", "get"),
    }
    assert _rights([people["admin", "edit"]]) == {
        *(("corral.dev", "workerpools", verb) for verb in ("create", "update", "patch", "delete", "deletecollection")),
        *(("corral.dev", "workerpools/scale", verb) for verb in ("update", "patch")),
    }


@pytest.mark.parametrize(
    ("values", "name", "made"),
    [
        ({}, "corral-operator", True),
        ({"name": "mine"}, "mine", True),
        ({"create": False, "name": "mine"}, "mine", False),
    ],
)
def test_the_pod_and_the_rights_are_of_one_service_account(
    chart: Chart, values: dict[str, Any], name: str, made: bool
) -> None:
    for scope in ("cluster", "namespaces"):
        objects = chart.objects({"serviceAccount": values, "scope": scope})
        assert [one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")] == [name] * made
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (name, True)
        bindings = [one for one in objects if one["kind"].endswith("Binding")]
        assert [subject["name"] for one in bindings for subject in one["subjects"]] == [name, name]


def test_the_service_account_takes_annotations_and_hands_its_token_to_nobody_else(chart: Chart) -> None:
    account = only(chart.objects({"serviceAccount": {"annotations": {"who": "me"}}}), "ServiceAccount")
    assert account["metadata"]["annotations"] == {"who": "me"}
    assert account["automountServiceAccountToken"] is False
