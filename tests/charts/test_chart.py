"""The chart as a whole: it is clean, its values are told, and two releases do not get into each other's way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart import CHART, of_kind, only
from corral.version import __version__

if TYPE_CHECKING:
    from chart import Chart
    from kubectl import Manifest

DIGEST = "sha256:" + "0123456789abcdef" * 4

# Values as people give them; each set must be clean, and reach the objects as it is.
INSTALLATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one namespace": {"scope": "namespaces"},
    "some namespaces": {"scope": "namespaces", "namespaces": ["team-a", "team-b", "123"]},
    "without the rest": {
        "replicaCount": 1,
        "crds": {"enabled": False},
        "metricsService": {"create": False},
        "serviceAccount": {"create": False, "name": "mine"},
    },
    "everything": {
        "dryRun": True,
        "replicaCount": 3,
        "image": {"repository": "registry.example/corral", "digest": DIGEST, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "log": {"format": "text", "level": "debug"},
        "extraEnv": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "serviceAccount": {"name": "123", "annotations": {"who": "me"}},
        "metricsService": {"annotations": {"more": "yes"}},
        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "true"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "ops", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
    },
}  # fmt: skip


def _key(found: Manifest) -> tuple[str, str, str]:
    return found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_the_chart_is_clean_with(chart: Chart, values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in chart.lint(values)
    objects = chart.objects(values)
    assert len({_key(found) for found in objects}) == len(objects)
    assert only(objects, "Deployment")


def test_the_chart_has_the_version_of_what_it_installs() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def test_a_kubernetes_too_old_for_the_rules_of_the_resource_is_refused(chart: Chart) -> None:
    assert "kubeVersion: >=1.29.0-0" in chart.refusal({}, "--kube-version", "1.28.15")
    assert chart.objects({}, "--kube-version", "1.29.0")


def test_every_value_has_a_place_in_the_schema_and_no_more() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(schema) == {*values, "global"}
    for name, value in values.items():
        # Some of resources is optional; of the other groups every part has a default.
        if "properties" in schema[name] and value and name != "resources":
            assert set(schema[name]["properties"]) == set(value), name


def test_every_value_has_a_comment_above_itself_or_above_each_of_its_parts() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    parts: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        if re.match(r"\w+:", line):
            parts[number] = []
        elif re.match(r"  \w+:", line):
            parts[max(parts)].append(number)

    def told(number: int) -> bool:
        return re.match(r" *#", lines[number - 1]) is not None

    for number, inner in parts.items():
        assert told(number) or (inner and all(map(told, inner))), lines[number]


def test_two_releases_never_make_the_same_object(chart: Chart) -> None:
    """One name in two namespaces; two names in one; names that differ by what is added to them, or only at their end."""
    long = "r" * 52
    releases = [
        ("corral", "a"),
        ("corral", "b"),
        ("mails", "a"),
        ("mails-corral", "a"),
        (f"{long}a", "a"),
        (f"{long}b", "a"),
    ]
    without = {"crds": {"enabled": False}}
    for values in (without, {**without, "scope": "namespaces", "namespaces": ["shared"]}):
        keys = [_key(one) for name, where in releases for one in chart.objects(values, release=name, namespace=where)]
        assert sorted(set(keys)) == sorted(keys)


@pytest.mark.parametrize("release", ["corral", "true", "x" * 53, "corral-" + "x" * 46, "x" * 49 + "-yz"])
def test_a_release_of_any_name_has_names_that_kubernetes_takes(chart: Chart, release: str) -> None:
    objects = chart.objects(release=release)
    names = {one["metadata"]["name"] for one in objects if "namespace" in one["metadata"]}
    assert len(names) == 1
    # The strictest of them all is a Service's.
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", names.pop())
    for labels in (one["metadata"]["labels"] for one in objects):
        assert labels["app.kubernetes.io/instance"] == release
        assert all(re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,61})?[A-Za-z0-9]", text) for text in labels.values())


def test_a_name_of_digits_stays_text(chart: Chart) -> None:
    objects = chart.objects({"serviceAccount": {"name": "1"}}, release="1", namespace="1")
    assert {one["metadata"].get("namespace", "1") for one in objects} == {"1"}
    assert {one["metadata"]["labels"]["app.kubernetes.io/instance"] for one in objects} == {"1"}
    assert only(objects, "ServiceAccount")["metadata"]["name"] == "1"
    assert only(objects, "ClusterRoleBinding")["subjects"][0] == {
        "kind": "ServiceAccount",
        "name": "1",
        "namespace": "1",
    }


def test_what_is_installed_finds_itself(chart: Chart) -> None:
    objects = chart.objects({"podLabels": {"team": "a", "app.kubernetes.io/name": "other"}})
    deployment = only(objects, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["team"] == "a"
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    service = only(objects, "Service")["spec"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert service["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]


def test_the_service_is_found_by_a_prometheus_that_goes_by_annotations(chart: Chart) -> None:
    annotations = only(chart.objects(), "Service")["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == "8080"
    assert not of_kind(chart.objects({"metricsService": {"create": False}}), "Service")
