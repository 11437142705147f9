"""The operator's pod as the chart makes it: what it may do on its node, what it is told, and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chart import of_kind, only

if TYPE_CHECKING:
    from chart import Chart
    from kubectl import Manifest

DIGEST = "sha256:" + "0123456789abcdef" * 4

# Volumes that the Pod Security Standard `restricted` allows.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(spec: Manifest) -> list[str]:
    """What in a pod's spec the Pod Security Standard `restricted` forbids; written from its page, rule by rule."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"volume {one['name']}" for one in spec.get("volumes", []) if not set(one) - {"name"} <= VOLUMES]
    of_pod = spec.get("securityContext", {})
    found += ["sysctls"] if of_pod.get("sysctls") else []
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = {**of_pod, **own}
        rules = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities.drop": own.get("capabilities", {}).get("drop") == ["ALL"],
            "capabilities.add": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "procMount": own.get("procMount", "Default") == "Default",
        }
        found += [rule for rule, kept in rules.items() if not kept]
    return found


def test_the_pod_is_one_that_a_restricted_namespace_takes(chart: Chart) -> None:
    assert violations(chart.pod()["spec"]) == []
    assert set(violations({"containers": [{}], "hostNetwork": True, "volumes": [{"name": "v", "hostPath": {}}]})) == {
        *("hostNetwork", "volume v", "allowPrivilegeEscalation"),
        *("capabilities.drop", "runAsNonRoot", "seccompProfile"),
    }


def test_the_pod_writes_nowhere_but_to_a_small_tmp_in_memory(chart: Chart) -> None:
    spec = chart.pod()["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (65532, 65532)


def test_two_operators_that_are_never_both_away_and_end_within_ten_seconds(chart: Chart) -> None:
    deployment = only(chart.objects(), "Deployment")["spec"]
    one_more = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert (deployment["replicas"], deployment["strategy"]) == (2, one_more)
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    # Soft: on a cluster of one node both run there.
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"] == deployment["selector"]
    budget = only(chart.objects(), "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment["selector"]}
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] == 10


def test_one_operator_alone_stands_in_the_way_of_no_drain(chart: Chart) -> None:
    objects = chart.objects({"replicaCount": 1})
    assert only(objects, "Deployment")["spec"]["replicas"] == 1
    assert not of_kind(objects, "PodDisruptionBudget")


def test_the_probes_ask_what_the_operator_answers(chart: Chart) -> None:
    container = chart.container()
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {
        "startupProbe": {"path": "/startupz", "port": "http"},
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }


@pytest.mark.parametrize(
    ("values", "args"),
    [
        ({}, ["operator"]),
        ({"dryRun": True}, ["operator", "--dry-run"]),
        ({"scope": "namespaces"}, ["operator", "--namespace=corral-system"]),
        ({"scope": "namespaces", "namespaces": ["a", "1"]}, ["operator", "--namespace=a", "--namespace=1"]),
    ],
)
def test_the_operator_is_told_what_to_serve(chart: Chart, values: dict[str, Any], args: list[str]) -> None:
    container = chart.container(values)
    assert container["args"] == args
    assert "command" not in container


def test_the_environment_is_the_charts_and_then_the_users(chart: Chart) -> None:
    more = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "N", "value": "1"}]
    container = chart.container({"log": {"level": "debug"}, "extraEnv": more})
    ours = [
        {"name": "CORRAL_LEASE", "value": "corral-system/corral-operator"},
        {"name": "CORRAL_LOG_FORMAT", "value": "json"},
        {"name": "CORRAL_LOG_LEVEL", "value": "debug"},
    ]
    assert container["env"] == ours + more


def test_no_service_of_the_namespace_gets_into_the_environment(chart: Chart) -> None:
    """A Service named `corral` would set CORRAL_PORT to tcp://..., and the operator would not start."""
    assert chart.pod()["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "corral-operator:0.1.0"),
        ({"tag": "1.10"}, "corral-operator:1.10"),
        ({"repository": "registry.example:5000/a/corral", "tag": "1"}, "registry.example:5000/a/corral:1"),
        ({"tag": "1.10", "digest": DIGEST}, f"corral-operator@{DIGEST}"),
    ],
)
def test_the_image_goes_by_tag_or_by_digest(chart: Chart, image: dict[str, str], expected: str) -> None:
    container = chart.container({"image": image})
    assert (container["image"], container["imagePullPolicy"]) == (expected, "IfNotPresent")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imagePullSecrets", [{"name": "registry"}]),
        ("priorityClassName", "system-cluster-critical"),
        ("nodeSelector", {"kubernetes.io/arch": "amd64"}),
        ("tolerations", [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]),
        ("affinity", {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}),
    ],
)
def test_what_is_said_of_the_pod_reaches_it(chart: Chart, name: str, value: Any) -> None:
    assert name not in chart.pod()["spec"]
    assert chart.pod({name: value})["spec"][name] == value


def test_annotations_and_resources_reach_the_pod(chart: Chart) -> None:
    assert "annotations" not in chart.pod()["metadata"]
    assert chart.pod({"podAnnotations": {"note": "true"}})["metadata"]["annotations"] == {"note": "true"}
    assert chart.container()["resources"]["requests"] == {"cpu": "100m", "memory": "128Mi"}
    limited = chart.container({"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}})
    assert limited["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
