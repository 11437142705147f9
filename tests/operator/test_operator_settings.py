"""How the operator is run: options before the environment, and every wrong word told by its name."""

from __future__ import annotations

import pytest

from corral.errors import ConfigurationError
from corral_operator.settings import OperatorSettings


def test_without_a_word_it_serves_all_namespaces() -> None:
    assert OperatorSettings.read({}) == OperatorSettings(
        namespaces=(), dry_run=False, port=8080, livez_stall=120.0, log_format=None, log_level="info"
    )


def test_the_environment_is_read() -> None:
    environ = {
        "CORRAL_NAMESPACES": " a, b,,a ",
        "CORRAL_PORT": "0",
        "CORRAL_LIVEZ_STALL": "30s",
        "CORRAL_LOG_FORMAT": "json",
        "CORRAL_LOG_LEVEL": "debug",
    }
    assert OperatorSettings.read(environ) == OperatorSettings(
        namespaces=("a", "b"), port=0, livez_stall=30.0, log_format="json", log_level="debug"
    )


def test_an_option_goes_before_the_environment() -> None:
    read = OperatorSettings.read({"CORRAL_NAMESPACES": "a"}, namespaces=["c", "b", "c"], dry_run=True)
    assert (read.namespaces, read.dry_run) == (("c", "b"), True)


def test_a_pod_is_told_by_what_kubernetes_sets_in_it() -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    assert OperatorSettings.read(pod).in_cluster
    assert not OperatorSettings.read({**pod, "KUBECONFIG": "/another/cluster"}).in_cluster
    assert not OperatorSettings.read({}).in_cluster


def test_a_lease_is_named_with_its_namespace_and_there_is_none_by_default() -> None:
    assert OperatorSettings.read({"CORRAL_LEASE": "corral-system/corral-operator"}).lease == (
        "corral-system",
        "corral-operator",
    )
    assert OperatorSettings.read({}).lease is OperatorSettings.read({"CORRAL_LEASE": ""}).lease is None


@pytest.mark.parametrize("text", ["operators", "a/", "/b", "a/b/c", "A/b", "a/../b"])
def test_a_lease_that_cannot_be_one_is_told_with_the_cure(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"CORRAL_LEASE takes NAMESPACE/NAME, like .*; not '{text}'"):
        OperatorSettings.read({"CORRAL_LEASE": text})


@pytest.mark.parametrize(("name", "text"), [("CORRAL_PORT", "http"), ("CORRAL_LIVEZ_STALL", "soon")])
def test_a_wrong_value_is_told_by_the_name_of_its_variable(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} takes .*{text}"):
        OperatorSettings.read({name: text})


@pytest.mark.parametrize(
    ("environ", "in_cluster"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "/kubeconfig"}, False),
        ({"KUBECONFIG": "/kubeconfig"}, False),
    ],
)
def test_a_pod_uses_its_own_cluster_unless_it_is_told_of_another(environ: dict[str, str], in_cluster: bool) -> None:
    assert OperatorSettings.read(environ).in_cluster is in_cluster
