"""Whatever a template holds, rendering loses nothing of it, and what was rendered renders to itself."""

from __future__ import annotations

import copy
from base64 import b64encode
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from corral_operator.render import deployment
from corral_operator.secret import RedisSecret, read_secret
from corral_operator.spec import PoolSpec, Runtime

values = st.none() | st.booleans() | st.integers(-5, 9000) | st.sampled_from(["x", "worker", "health", "$(A)", "8080"])
junk = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
env_names = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "CORRAL_PORT", "CORRAL_GRACE", "POD_NAME", "OTHER"]


def rows(field: str, called: list[Any]) -> st.SearchStrategy[Any]:
    """Entries with different names."""
    row = st.fixed_dictionaries(
        {field: st.sampled_from(called)}, optional={"value": values, "protocol": st.just("TCP")}
    )
    return st.lists(row, max_size=3, unique_by=lambda entry: entry[field])


containers = st.fixed_dictionaries(
    {"name": st.sampled_from(["worker", "proxy"])},
    optional={
        "env": rows("name", env_names) | junk,
        "ports": rows("containerPort", [8080, 9000]) | junk,
        "volumeMounts": rows("mountPath", ["/data", "/var/run/secrets/corral-redis"]) | junk,
        "livenessProbe": junk,
        "image": junk,
    },
)
annotations = st.dictionaries(st.sampled_from(["prometheus.io/port", "note", "corral.dev/redis-secret"]), values)
labels = st.dictionaries(st.sampled_from(["team", "app.kubernetes.io/name", "corral.dev/pool"]), values)
templates = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(containers, max_size=3) | junk},
            optional={
                "volumes": rows("name", ["corral-redis", "data"]) | junk,
                "terminationGracePeriodSeconds": values,
                "affinity": junk,
            },
        )
        | junk
    },
    optional={
        "metadata": st.fixed_dictionaries({}, optional={"labels": labels | junk, "annotations": annotations | junk})
        | junk
    },
)
PEM = "-----BEGIN CERTIFICATE-----"
SECRETS: list[dict[str, str]] = [
    {"url": "redis://h"},
    {"host": "h", "port": "1", "password": "x"},
    {"url": "rediss://h", "ca.crt": PEM, "tls.crt": PEM, "tls.key": PEM},
]
secrets = st.sampled_from(SECRETS).map(
    lambda texts: read_secret("redis", {key: b64encode(text.encode()).decode() for key, text in texts.items()})
)
pools = st.builds(
    PoolSpec,
    name=st.just("mailers"),
    namespace=st.just("shop"),
    redis_secret=st.just("redis"),
    queues=st.just(("emails", "sms")),
    max_replicas=st.just(20),
    runtime=st.sampled_from(list(Runtime)),
    grace_period_s=st.sampled_from([None, 90.0]),
    template=templates,
)


def kept(before: Any, after: Any) -> bool:
    """Whatever stands in `before` stands in `after`; a null may have been filled, a list got more entries."""
    if before is None:
        return True
    if isinstance(before, dict):
        return isinstance(after, dict) and all(
            key in after and kept(value, after[key]) for key, value in before.items()
        )
    if isinstance(before, list):
        rest = iter(after)
        return isinstance(after, list) and all(any(kept(value, other) for other in rest) for value in before)
    return type(before) is type(after) and bool(before == after)


def without_documented(template: Any, *, grace: bool) -> Any:
    """The template without what the render may change."""
    template = copy.deepcopy(template)
    metadata, spec = template.get("metadata"), template.get("spec")
    if isinstance(metadata, dict):
        for field, name in (("labels", "corral.dev/pool"), ("annotations", "corral.dev/redis-secret")):
            if isinstance(metadata.get(field), dict):
                metadata[field].pop(name, None)
    if grace and isinstance(spec, dict):
        spec.pop("terminationGracePeriodSeconds", None)
    return template


@settings(deadline=None)
@given(pools, secrets)
def test_nothing_of_the_users_is_lost_or_changed(pool: PoolSpec, secret: RedisSecret) -> None:
    before = copy.deepcopy(pool.template)
    after = deployment(pool, secret, pool_uid="uid-1")["spec"]["template"]
    assert pool.template == before
    assert kept(without_documented(before, grace=pool.grace_period_s is not None), after)


@settings(deadline=None)
@given(pools, secrets)
def test_what_was_rendered_renders_to_itself(pool: PoolSpec, secret: RedisSecret) -> None:
    once = deployment(pool, secret, pool_uid="uid-1")
    again = replace(pool, template=once["spec"]["template"])
    assert deployment(again, secret, pool_uid="uid-1") == once
    assert deployment(pool, secret, pool_uid="uid-1") == once
