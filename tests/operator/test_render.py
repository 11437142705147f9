"""The Deployment of a pool, row by row of what a pool adds, and that nothing of the user's is lost on the way."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from corral_operator.render import RENDERED, deployment
from corral_operator.secret import RedisSecret, read_secret
from corral_operator.spec import PoolSpec, read_spec

PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
IMAGE = "registry.example/emails:1.4"


def secret_of(**texts: str) -> RedisSecret:
    """Of a Secret with these keys; `ca_crt` stands for ca.crt."""
    return read_secret(
        "redis", {key.replace("_", "."): b64encode(text.encode()).decode() for key, text in texts.items()}
    )


BY_URL = secret_of(url="redis://:s3cret@h")
BY_PARTS = secret_of(host="h", port="1", password="s3cret")
WITH_TLS = secret_of(url="rediss://:s3cret@h", ca_crt=PEM, tls_crt=PEM, tls_key=PEM)


def pool_of(template: Any = None, **changes: Any) -> PoolSpec:
    spec = {
        "redis": {"secretRef": {"name": "redis"}},
        "queues": [{"name": "emails"}, {"name": "sms"}],
        "maxReplicas": 20,
        "template": template or {"spec": {"containers": [{"name": "worker", "image": IMAGE}]}},
    }
    return read_spec("mailers", "shop", {**spec, **changes})


def of_container(**fields: Any) -> dict[str, Any]:
    """A template with one container."""
    return {"spec": {"containers": [{"name": "worker", "image": IMAGE, **fields}]}}


def render(pool: PoolSpec | None = None, secret: RedisSecret = BY_URL) -> dict[str, Any]:
    return deployment(pool or pool_of(), secret, pool_uid="uid-1")


def template_of(pool: PoolSpec | None = None, secret: RedisSecret = BY_URL) -> dict[str, Any]:
    template: dict[str, Any] = render(pool, secret)["spec"]["template"]
    return template


def container_of(pool: PoolSpec | None = None, secret: RedisSecret = BY_URL) -> dict[str, Any]:
    container: dict[str, Any] = template_of(pool, secret)["spec"]["containers"][0]
    return container


def env_of(pool: PoolSpec | None = None, secret: RedisSecret = BY_URL) -> dict[str, Any]:
    """By name: the value, or where it is from."""
    rows = container_of(pool, secret)["env"]
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row["value"] if "value" in row else row.get("valueFrom") for row in rows}


def secret_key(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "redis", "key": key}}


def test_the_deployment_is_the_pools() -> None:
    manifest = render()
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
    metadata = manifest["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("mailers", "shop")
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "corral.dev/v1alpha1",
            "kind": "WorkerPool",
            "name": "mailers",
            "uid": "uid-1",
            "controller": True,
        }
    ]
    assert list(metadata["annotations"]) == [RENDERED]
    assert set(manifest["spec"]) == {"selector", "strategy", "template"}  # and no replicas


LABELS = {
    "app.kubernetes.io/name": "corral-worker",
    "app.kubernetes.io/instance": "mailers",
    "app.kubernetes.io/managed-by": "corral",
    "corral.dev/pool": "mailers",
}


def test_labels_are_on_both_and_the_selector_is_the_pool_alone() -> None:
    manifest = render()
    assert manifest["metadata"]["labels"] == LABELS
    assert manifest["spec"]["template"]["metadata"]["labels"] == LABELS
    assert manifest["spec"]["selector"] == {"matchLabels": {"corral.dev/pool": "mailers"}}


def test_the_users_labels_stay_but_for_the_one_that_the_selector_needs() -> None:
    own = {"team": "mail", "app.kubernetes.io/name": "emails", "corral.dev/pool": "other"}
    found = template_of(pool_of({"metadata": {"labels": own}, **of_container()}))["metadata"]["labels"]
    assert found == {**LABELS, **own, "corral.dev/pool": "mailers"}


def test_a_rollout_never_has_fewer_pods() -> None:
    assert render()["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
    }


def test_a_secret_with_a_url_gives_redis_url() -> None:
    env = env_of()
    assert env["REDIS_URL"] == secret_key("url")
    assert [name for name in env if name.startswith("REDIS_")] == ["REDIS_URL"]


def test_a_secret_of_parts_gives_the_parts_that_it_has() -> None:
    env = {name: value for name, value in env_of(secret=BY_PARTS).items() if name.startswith("REDIS_")}
    assert env == {
        "REDIS_HOST": secret_key("host"),
        "REDIS_PORT": secret_key("port"),
        "REDIS_PASSWORD": secret_key("password"),
    }


def test_a_secret_of_sentinels_gives_them_and_the_name_of_their_primary() -> None:
    texts = {"sentinels": "a:1,b:1", "master": "mymaster", "username": "u", "password": "p", "ca.crt": PEM, "host": "h"}
    secret = read_secret("redis", {key: b64encode(text.encode()).decode() for key, text in texts.items()})
    env = {name: value for name, value in env_of(secret=secret).items() if name.startswith("REDIS_")}
    assert env == {
        "REDIS_SENTINELS": secret_key("sentinels"),
        "REDIS_MASTER": secret_key("master"),
        "REDIS_USERNAME": secret_key("username"),
        "REDIS_PASSWORD": secret_key("password"),
        "REDIS_TLS_CA": "/var/run/secrets/corral-redis/ca.crt",
    }


@pytest.mark.parametrize("name", ["REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS"])
@pytest.mark.parametrize("secret", [BY_PARTS, WITH_TLS])
def test_who_names_an_address_gets_nothing_of_the_secrets(name: str, secret: RedisSecret) -> None:
    own = {"name": name, "value": "mine"}
    template = template_of(pool_of(of_container(env=[own])), secret)
    rows = template["spec"]["containers"][0]["env"]
    assert [row for row in rows if row["name"].startswith("REDIS_")] == [own]
    assert "volumes" not in template["spec"]
    assert "volumeMounts" not in template["spec"]["containers"][0]


def test_a_name_that_the_user_has_stays_and_the_others_come() -> None:
    own = [
        {"name": "REDIS_PASSWORD", "value": "mine"},
        {"name": "CORRAL_CONCURRENCY", "value": "7"},
        {"name": "POD_NAME"},
    ]
    env = env_of(pool_of(of_container(env=own)), BY_PARTS)
    assert (env["REDIS_PASSWORD"], env["CORRAL_CONCURRENCY"], env["POD_NAME"]) == ("mine", "7", None)
    assert (env["REDIS_HOST"], env["CORRAL_PREFIX"]) == (secret_key("host"), "bull")


def test_ours_stand_before_the_users_so_that_they_may_refer_to_them() -> None:
    rows = container_of(pool_of(of_container(env=[{"name": "QUEUE_URL", "value": "$(REDIS_URL)"}])))["env"]
    assert rows[0]["name"] == "REDIS_URL"
    assert rows[-1] == {"name": "QUEUE_URL", "value": "$(REDIS_URL)"}


def test_tls_files_are_mounted_and_named() -> None:
    template = template_of(secret=WITH_TLS)
    folder = "/var/run/secrets/corral-redis"
    items = [{"key": name, "path": name} for name in ("ca.crt", "tls.crt", "tls.key")]
    assert template["spec"]["volumes"] == [{"name": "corral-redis", "secret": {"secretName": "redis", "items": items}}]
    mounts = template["spec"]["containers"][0]["volumeMounts"]
    assert mounts == [{"name": "corral-redis", "mountPath": folder, "readOnly": True}]
    env = env_of(secret=WITH_TLS)
    assert env["REDIS_TLS_CA"] == f"{folder}/ca.crt"
    assert env["REDIS_TLS_CERT"] == f"{folder}/tls.crt"
    assert env["REDIS_TLS_KEY"] == f"{folder}/tls.key"


def test_only_the_tls_files_that_are_there_are_named() -> None:
    secret = secret_of(host="h", ca_crt=PEM)
    assert [name for name in env_of(secret=secret) if "TLS" in name] == ["REDIS_TLS_CA"]
    assert template_of(secret=secret)["spec"]["volumes"][0]["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert "volumes" not in template_of(secret=BY_URL)["spec"]


def test_the_users_volumes_stay() -> None:
    data = {"name": "data", "emptyDir": {}}
    mine = {"name": "corral-redis", "projected": {"sources": []}}
    mount = {"name": "data", "mountPath": "/data"}
    template = of_container(volumeMounts=[mount])
    template["spec"]["volumes"] = [data]
    found = template_of(pool_of(template), WITH_TLS)["spec"]
    assert found["volumes"][0] == data
    assert found["containers"][0]["volumeMounts"][0] == mount
    assert [len(found["volumes"]), len(found["containers"][0]["volumeMounts"])] == [2, 2]
    template["spec"]["volumes"] = [mine]
    assert template_of(pool_of(template), WITH_TLS)["spec"]["volumes"] == [mine]


def test_a_changed_secret_changes_the_pods() -> None:
    first, second = render(), render(secret=secret_of(url="redis://:other@h"))
    for manifest, secret in ((first, BY_URL), (second, secret_of(url="redis://:other@h"))):
        annotations = manifest["spec"]["template"]["metadata"]["annotations"]
        assert annotations["corral.dev/redis-secret"] == secret.digest
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]


def test_no_value_of_the_secret_is_in_the_manifest() -> None:
    for secret in (BY_URL, BY_PARTS, WITH_TLS):
        text = json.dumps(render(secret=secret))
        assert "s3cret" not in text
        assert "BEGIN" not in text


def test_the_spec_is_told_to_the_worker() -> None:
    env = env_of(pool_of(prefix="{jobs}", concurrency=5))
    assert (env["CORRAL_PREFIX"], env["CORRAL_QUEUES"]) == ("{jobs}", "emails,sms")
    assert (env["CORRAL_CONCURRENCY"], env["CORRAL_POOL"]) == ("5", "mailers")
    assert env["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert env["POD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_a_dollar_in_a_name_is_no_reference_to_a_variable() -> None:
    env = env_of(pool_of(prefix="a$(POD_NAME)$$", queues=[{"name": "$(HOME)"}]))
    assert env["CORRAL_PREFIX"] == "a$$(POD_NAME)$$$$"
    assert env["CORRAL_QUEUES"] == "$$(HOME)"


@pytest.mark.parametrize(
    ("said", "of_the_template", "seconds", "grace"),
    [
        (None, None, 60, "60"),
        ("10m", None, 600, "600"),
        ("168h", None, 604800, "604800"),
        ("1500ms", None, 2, "1.5"),
        (None, 300, 300, "300"),
        (None, 0, 0, "0"),
        ("10m", 30, 600, "600"),
        (None, "soon", "soon", "60"),
    ],
)
def test_the_grace_is_the_pods_and_the_workers(
    said: str | None, of_the_template: object, seconds: object, grace: str
) -> None:
    template = of_container()
    template["spec"]["terminationGracePeriodSeconds"] = of_the_template
    pool = pool_of(template, gracePeriod=said)
    assert template_of(pool)["spec"]["terminationGracePeriodSeconds"] == seconds
    assert env_of(pool)["CORRAL_GRACE"] == grace


def test_a_corral_worker_is_probed_and_scraped_on_its_port() -> None:
    template, container = template_of(), container_of()
    assert container["ports"] == [{"name": "health", "containerPort": 8080, "protocol": "TCP"}]
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {
        "startupProbe": {"path": "/startupz", "port": 8080},
        "livenessProbe": {"path": "/livez", "port": 8080},
        "readinessProbe": {"path": "/readyz", "port": 8080},
    }
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert (startup["periodSeconds"], startup["failureThreshold"]) == (1, 120)
    assert (liveness["periodSeconds"], liveness["failureThreshold"], liveness["timeoutSeconds"]) == (10, 3, 5)
    assert container["readinessProbe"]["periodSeconds"] == 2
    annotations = template["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if name.startswith("prometheus.io/")} == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }
    # Said, so that neither an image nor a Service named `corral` moves the worker away from its probes.
    assert env_of()["CORRAL_PORT"] == "8080"


def test_any_worker_gets_everything_but_probes_and_port() -> None:
    pool = pool_of(runtime="Any")
    container = container_of(pool)
    assert set(container) == {"name", "image", "env"}
    assert list(template_of(pool)["metadata"]["annotations"]) == ["corral.dev/redis-secret"]
    assert list(env_of(pool)) == [name for name in env_of() if name != "CORRAL_PORT"]


def test_probes_and_port_follow_the_users_port() -> None:
    pool = pool_of(of_container(env=[{"name": "CORRAL_PORT", "value": " 9000"}]))
    container = container_of(pool)
    assert container["ports"] == [{"name": "health", "containerPort": 9000, "protocol": "TCP"}]
    assert {container[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        9000
    }
    assert template_of(pool)["metadata"]["annotations"]["prometheus.io/port"] == "9000"
    assert env_of(pool)["CORRAL_PORT"] == " 9000"


@pytest.mark.parametrize(
    "row", [{"value": "0"}, {"value": "x"}, {"value": "65536"}, {"value": "9" * 5000}, {"valueFrom": {}}, {}]
)
def test_a_port_that_nobody_can_tell_is_not_probed(row: dict[str, Any]) -> None:
    pool = pool_of(of_container(env=[{"name": "CORRAL_PORT", **row}]))
    assert set(container_of(pool)) == {"name", "image", "env", "securityContext"}
    assert list(template_of(pool)["metadata"]["annotations"]) == ["corral.dev/redis-secret"]


def test_a_corral_worker_is_confined_as_the_strictest_namespaces_ask() -> None:
    confined = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container_of()["securityContext"] == confined
    assert "securityContext" not in container_of(pool_of(runtime="Any"))


@pytest.mark.parametrize("own", [{}, {"runAsUser": 0}, {"privileged": True}])
def test_who_has_a_security_context_keeps_exactly_that(own: dict[str, Any]) -> None:
    assert container_of(pool_of(of_container(securityContext=own)))["securityContext"] == own


@pytest.mark.parametrize("said", [{"runAsUser": 0}, {"runAsNonRoot": False}])
def test_as_whom_the_pod_runs_is_not_contradicted(said: dict[str, Any]) -> None:
    template = of_container()
    template["spec"]["securityContext"] = said
    assert "runAsNonRoot" not in container_of(pool_of(template))["securityContext"]
    template["spec"]["securityContext"] = {"fsGroup": 1}
    assert container_of(pool_of(template))["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ([{"containerPort": 8080}], []),
        ([{"name": "web", "containerPort": 8080}], []),
        ([{"name": "health", "containerPort": 9000}], [{"containerPort": 8080, "protocol": "TCP"}]),
        ([{"containerPort": 9000}], [{"name": "health", "containerPort": 8080, "protocol": "TCP"}]),
    ],
)
def test_the_users_ports_stay(own: list[dict[str, Any]], added: list[dict[str, Any]]) -> None:
    assert container_of(pool_of(of_container(ports=own)))["ports"] == own + added


def test_the_users_probe_stays_and_the_others_come() -> None:
    own = {"exec": {"command": ["true"]}}
    container = container_of(pool_of(of_container(livenessProbe=own)))
    assert container["livenessProbe"] == own
    assert container["startupProbe"]["httpGet"]["path"] == "/startupz"


def test_who_has_a_scrape_annotation_keeps_it_and_gets_none() -> None:
    own = {"prometheus.io/port": "9100"}
    found = template_of(pool_of({"metadata": {"annotations": own}, **of_container()}))["metadata"]["annotations"]
    assert found == {**own, "corral.dev/redis-secret": BY_URL.digest}


@pytest.mark.parametrize(("called", "index"), [(["proxy", "worker"], 1), (["app", "proxy"], 0)])
def test_the_container_is_the_one_called_worker_or_else_the_first(called: list[str], index: int) -> None:
    template = {"spec": {"containers": [{"name": name, "image": IMAGE} for name in called]}}
    found = template_of(pool_of(template))["spec"]["containers"]
    assert [("env" in container) for container in found] == [place == index for place in range(2)]
    assert found[1 - index] == template["spec"]["containers"][1 - index]


def test_a_pool_of_the_other_kind_has_another_digest_and_the_same_has_the_same() -> None:
    pool = pool_of()
    digest = render(pool)["metadata"]["annotations"][RENDERED]
    assert render(pool_of())["metadata"]["annotations"][RENDERED] == digest
    # How many replicas there shall be is not for the render.
    assert render(pool_of(maxReplicas=5, minReplicas=1, mode="Paused"))["metadata"]["annotations"][RENDERED] == digest
    for other in (pool_of(concurrency=2), pool_of(gracePeriod="61s"), replace(pool, name="other")):
        assert render(other)["metadata"]["annotations"][RENDERED] != digest


def test_a_view_of_a_mapping_is_read_and_left_alone() -> None:
    template = MappingProxyType({"spec": MappingProxyType({"containers": (MappingProxyType({"name": "worker"}),)})})
    found = render(pool_of(template))
    json.dumps(found)
    assert found == render(pool_of({"spec": {"containers": [{"name": "worker"}]}}))
    assert list(template["spec"]) == ["containers"]
