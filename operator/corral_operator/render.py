"""The Deployment of a pool that has a template, as server-side apply takes it. Pure: the same pool, the same text.

Only what the user left out is added (`container.py` has the rules for names that belong together); nothing that the
template says is removed or changed but for

- the label and annotation of the pod that are ours alone: corral.dev/pool, which the selector needs, and
  corral.dev/redis-secret, which rolls the pool when the Secret changes;
- terminationGracePeriodSeconds, where the pool has a `gracePeriod`: the user said both, and the pool's word goes first.

What has the wrong shape in a template stays as it is: the API server refuses it, and says it best.
`spec.replicas` is never here: it has one writer, and that is not the render.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from corral_operator.container import (
    TLS_FOLDER,
    TLS_VOLUME,
    confinement,
    environment,
    find_worker,
    has_address,
    health_port,
    names,
    port_row,
    probes,
)
from corral_operator.secret import RedisSecret
from corral_operator.spec import API_VERSION, KIND, PoolSpec, Runtime

POOL = "corral.dev/pool"
"""Label of pods and Deployment: the pool's name."""

RENDERED = "corral.dev/rendered"
"""Annotation of the Deployment: digest of the manifest without it. The same digest: nothing to apply."""

REDIS_SECRET = "corral.dev/redis-secret"  # noqa: S105 - the name of an annotation
"""Annotation of the pods: digest of the Secret they were started with."""

_NAME = "app.kubernetes.io/name"
_SCRAPE = "prometheus.io/"


def deployment(pool: PoolSpec, secret: RedisSecret, *, pool_uid: str) -> dict[str, Any]:
    """The manifest, without `spec.replicas`. `pool` must have a template."""
    labels = {
        _NAME: "corral-worker",
        "app.kubernetes.io/instance": pool.name,
        "app.kubernetes.io/managed-by": "corral",
        POOL: pool.name,
    }
    template = _template(pool, secret, labels)
    manifest: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": pool.name,
            "namespace": pool.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": pool.name,
                    "uid": pool_uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": {POOL: pool.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": template,
        },
    }
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["metadata"]["annotations"] = {RENDERED: hashlib.sha256(text.encode()).hexdigest()[:16]}
    return manifest


def _template(pool: PoolSpec, secret: RedisSecret, labels: Mapping[str, str]) -> dict[str, Any]:
    template: dict[str, Any] = _copy(pool.template or {})
    metadata, spec = _inner(template, "metadata"), _inner(template, "spec")
    of_the_pod = _inner(metadata, "labels")
    _fill(of_the_pod, labels)
    of_the_pod[POOL] = pool.name
    annotations = _inner(metadata, "annotations")
    annotations[REDIS_SECRET] = secret.digest
    if pool.grace_period_s is not None or spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = math.ceil(pool.grace_s)
    container = find_worker(template)
    if container is None:
        return template
    if secret.tls_files and not has_address(container):
        _add_tls_files(spec, container, pool.redis_secret, secret.tls_files)
    if pool.runtime is Runtime.CORRAL and (port := health_port(container)):
        _fill(container, probes(port))
        _add_rows(container, "ports", [port_row(port, container)], by="containerPort")
        # The three say one thing: a port of ours beside a path of the user's would be nobody's metrics.
        if not any(str(name).startswith(_SCRAPE) for name in annotations):
            scrape = {"scrape": "true", "port": str(port), "path": "/metrics"}
            annotations.update({_SCRAPE + name: value for name, value in scrape.items()})
    if pool.runtime is Runtime.CORRAL:
        _fill(container, {"securityContext": confinement(spec)})
    # First, so that a $(REDIS_URL) in a value of the user's finds it.
    _add_rows(container, "env", environment(pool, secret, container), by="name", first=True)
    return template


def _add_tls_files(spec: dict[str, Any], container: dict[str, Any], secret_name: str, files: Iterable[str]) -> None:
    items = [{"key": file, "path": file} for file in files]
    volume = {"name": TLS_VOLUME, "secret": {"secretName": secret_name, "items": items}}
    mount = {"name": TLS_VOLUME, "mountPath": TLS_FOLDER, "readOnly": True}
    _add_rows(spec, "volumes", [volume], by="name")
    _add_rows(container, "volumeMounts", [mount], by="mountPath")


def _inner(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping inside, made when it is absent. One of the wrong shape stays, and what is added to it is lost."""
    if parent.get(key) is None:
        parent[key] = {}
    inner = parent[key]
    return inner if isinstance(inner, dict) else {}


def _fill(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    target.update({key: value for key, value in values.items() if target.get(key) is None})


def _add_rows(
    parent: dict[str, Any], key: str, rows: Iterable[dict[str, Any]], *, by: str, first: bool = False
) -> None:
    if parent.get(key) is None:
        parent[key] = []
    own = parent[key]
    if isinstance(own, list):
        new = [row for row in rows if row[by] not in names(own, by)]
        own[:] = [*new, *own] if first else [*own, *new]


def _copy(value: Any) -> Any:
    """Plain mappings and lists, whatever kind of them the watch hands out; never the user's own."""
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list | tuple) else value
