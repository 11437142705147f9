"""What a pool adds to the container of its worker: environment, TLS files, port and probes. Pure.

Everything is added by name, and only where the user has nothing of that name. Some names say one thing together:

- REDIS_*: who sets REDIS_URL, REDIS_HOST or REDIS_SENTINELS has an address; half of it from the Secret would be nobody's.
- port, probes and CORRAL_PORT: they follow the user's CORRAL_PORT. Where that is not a number (0, or a `valueFrom`)
  nobody knows the port, and there is nothing to probe.
- securityContext: the user's or ours, never a mixture. Only with runtime Corral, whose image does not run as root.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from corral_operator.secret import RedisSecret
from corral_operator.spec import PoolSpec, Runtime

HEALTH_PORT = 8080
TLS_FOLDER = "/var/run/secrets/corral-redis"
TLS_VOLUME = "corral-redis"

_ADDRESS = {"REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS"}
_TLS_WORDS = {"ca.crt": "REDIS_TLS_CA", "tls.crt": "REDIS_TLS_CERT", "tls.key": "REDIS_TLS_KEY"}


def has_address(container: Mapping[str, Any]) -> bool:
    """The user says where Redis is, so that nothing of the Secret is added."""
    return not _ADDRESS.isdisjoint(names(container.get("env"), "name"))


def health_port(container: Mapping[str, Any]) -> int | None:
    """Where the worker answers probes; None when nobody can tell."""
    row = next((row for row in rows_of(container.get("env")) if row.get("name") == "CORRAL_PORT"), None)
    if row is None:
        return HEALTH_PORT
    text = str(row.get("value", "")).strip()
    return int(text) if text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535 else None


def environment(pool: PoolSpec, secret: RedisSecret, container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every row of `env` that the pool has for this container, whether the user has it too or not."""
    rows = [] if has_address(container) else _redis(pool.redis_secret, secret)
    rows += [
        _literal("CORRAL_PREFIX", pool.prefix),
        _literal("CORRAL_QUEUES", ",".join(pool.queues)),
        _literal("CORRAL_CONCURRENCY", str(pool.concurrency)),
        _literal("CORRAL_POOL", pool.name),
        _literal("CORRAL_GRACE", f"{pool.grace_s:.3f}".rstrip("0").rstrip(".")),
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]
    if pool.runtime is Runtime.CORRAL and (port := health_port(container)):
        # Said, though it is the default: an image may say another one, and beside a Service named `corral`
        # Kubernetes gives every pod a CORRAL_PORT that is no number.
        rows.append(_literal("CORRAL_PORT", str(port)))
    return rows


def probes(port: int) -> dict[str, Any]:
    """Liveness asks for the event loop alone. Readiness is asked often: a pod counts from when it is Ready."""
    return {
        "startupProbe": _probe("/startupz", port, period_s=1, failures=120),
        "livenessProbe": _probe("/livez", port, period_s=10, failures=3),
        "readinessProbe": _probe("/readyz", port, period_s=2, failures=3),
    }


def confinement(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the strictest namespaces (Pod Security *restricted*) ask of a container; Corral's image needs no more.

    `spec` is the pod's: who says there as whom it runs, is not contradicted.
    """
    of_the_pod = spec.get("securityContext")
    said = isinstance(of_the_pod, Mapping) and not {"runAsUser", "runAsNonRoot"}.isdisjoint(of_the_pod)
    return {
        **({} if said else {"runAsNonRoot": True}),
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def port_row(port: int, container: Mapping[str, Any]) -> dict[str, Any]:
    """The port's entry, named `health` unless that name is taken."""
    row = {"containerPort": port, "protocol": "TCP"}
    return row if "health" in names(container.get("ports"), "name") else {"name": "health", **row}


def find_worker(template: Any) -> dict[str, Any] | None:
    """The container of a pod template that is called `worker`, or else the first; None when there is none."""
    spec = template.get("spec") if isinstance(template, Mapping) else None
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    there = [row for row in containers if isinstance(row, dict)] if isinstance(containers, list) else []
    return next((row for row in there if row.get("name") == "worker"), there[0] if there else None)


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """The entries of a list of mappings; what is none is nobody's entry."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def names(value: Any, by: str) -> set[Any]:
    """What the entries of a list are called, in their field `by`."""
    return {name for row in rows_of(value) if isinstance(name := row.get(by), str | int)}


def _redis(secret_name: str, secret: RedisSecret) -> list[dict[str, Any]]:
    address: Iterable[dict[str, Any]] = (
        {"name": f"REDIS_{part.upper()}", "valueFrom": {"secretKeyRef": {"name": secret_name, "key": part}}}
        for part in secret.parts
    )
    files = (_literal(_TLS_WORDS[file], f"{TLS_FOLDER}/{file}") for file in secret.tls_files)
    return [*address, *files]


def _literal(name: str, value: str) -> dict[str, Any]:
    """Kubernetes replaces $(NAME) in a value; a doubled $ stands for itself."""
    return {"name": name, "value": value.replace("$", "$$")}


def _probe(path: str, port: int, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }
