"""The environment of a replica that is a local process: what its container would have."""

from __future__ import annotations

from typing import Any

import pytest

from corral import ConfigurationError
from corral_operator.local_environment import container_environment, elsewhere, expanded, inherited

URL = "redis://:s3cret@127.0.0.1:6379"


def resolved(*rows: Any, **environ: str) -> dict[str, str]:
    return container_environment(
        {"env": list(rows)},
        pool="emails",
        secret_name="redis",
        secret={"url": URL},
        fields={"metadata.name": "emails-1"},
        environ=environ,
    )


def refusal(*rows: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        resolved(*rows)
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


def key_of(secret: str, key: str, **more: Any) -> dict[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def test_values_keys_of_the_pools_secret_and_fields_of_the_pod_are_resolved() -> None:
    assert resolved(
        {"name": "LEVEL", "value": "debug"},
        {"name": "EMPTY"},
        {"name": "REDIS_URL", **key_of("redis", "url")},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ) == {"LEVEL": "debug", "EMPTY": "", "REDIS_URL": URL, "POD_NAME": "emails-1"}


def test_a_reference_finds_what_was_said_before_it_and_nothing_else() -> None:
    values = resolved(
        {"name": "EARLY", "value": "$(HOST)"},
        {"name": "HOST", "value": "db"},
        {"name": "LATE", "value": "tcp://$(HOST):$(PORT) $$(HOST) $HOST 5$"},
    )
    assert (values["EARLY"], values["LATE"]) == ("$(HOST)", "tcp://db:$(PORT) $(HOST) $HOST 5$")
    assert expanded("$(HOST)", values) == "db"


def test_what_the_cluster_holds_is_taken_from_the_environment_of_corral_up() -> None:
    row = {"name": "TOKEN", **key_of("mailer", "token")}
    assert resolved(row, TOKEN="mine") == {"TOKEN": "mine"}
    told = "WorkerPool emails: TOKEN comes from the cluster (valueFrom), which is not here; "
    assert refusal(row) == told + "set TOKEN in the environment of corral up"


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "status.podIP"}},
        {"configMapKeyRef": {"name": "flags", "key": "beta"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
        {"secretKeyRef": {"name": "redis", "key": "password"}},
        {"secretKeyRef": "redis"},
        "text",
    ],
)
def test_any_other_source_is_refused_with_the_cure(source: Any) -> None:
    assert "set TOKEN in the environment of corral up" in refusal({"name": "TOKEN", "valueFrom": source})


def test_what_is_optional_is_left_out() -> None:
    assert resolved({"name": "A", **key_of("mailer", "token", optional=True)}) == {}
    assert resolved({"name": "B", "valueFrom": {"configMapKeyRef": {"name": "flags", "optional": True}}}) == {}


@pytest.mark.parametrize("row", ["LEVEL=debug", {"value": "debug"}, {"name": ""}, {"name": 7}, {"name": "A=B"}, None])
def test_a_row_without_a_name_is_told_by_its_place(row: Any) -> None:
    assert refusal({"name": "A"}, row).startswith("WorkerPool emails: env[1] of its container needs a name and a value")


@pytest.mark.parametrize("value", [5, True, ["a"]])
def test_a_value_that_is_no_text_is_refused_by_its_name(value: Any) -> None:
    assert refusal({"name": "LEVEL", "value": value}) == (
        "WorkerPool emails: LEVEL in env of its container must be text; put its value in quotes"
    )


def test_an_environment_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="env of its container must be a list of names with values"):
        container_environment({"env": {"A": "b"}}, pool="emails", secret_name="redis", secret={}, fields={}, environ={})


def test_the_shell_lends_everything_but_what_is_meant_for_other_workers() -> None:
    shell = {"PATH": "/bin", "HOME": "/root", "REDIS_URL": URL, "CORRAL_QUEUES": "other", "POD_NAME": "other-1"}
    assert inherited(shell) == {
        "PATH": "/bin",
        "HOME": "/root",
        "CORRAL_LOG_FORMAT": "text",
        "PYTHONUNBUFFERED": "1",
    }


def test_whole_config_maps_and_secrets_of_the_cluster_are_named() -> None:
    rows = [{"configMapRef": {"name": "flags"}}, {"prefix": "A_", "secretRef": {"name": "mailer"}}, "text", {}]
    assert list(elsewhere({"envFrom": rows})) == ["ConfigMap flags", "Secret mailer"]
    assert list(elsewhere({"envFrom": "text"})) == []
