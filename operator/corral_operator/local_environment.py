"""The environment of a replica that runs as a local process: what its container would have, as far as it can be here.

A rendered container says `env` as values, as keys of the pool's own Secret, and as fields of the pod. These three have
a meaning without a cluster; anything else is looked for in the environment of `corral up`. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from corral.errors import ConfigurationError

_REFERENCE = re.compile(r"\$(?:(\$)|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")

# What was set for workers of the user's own is not for those of a pool.
_FOREIGN = ("CORRAL_", "REDIS_", "POD_")

_AT_HAND = {"CORRAL_LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}
"""What a person who reads the logs wants, unless the manifest says otherwise."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a replica has from the shell that `corral up` was started in."""
    return {**{name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}, **_AT_HAND}


def container_environment(
    container: Mapping[str, Any],
    *,
    pool: str,
    secret_name: str,
    secret: Mapping[str, str],
    fields: Mapping[str, str],
    environ: Mapping[str, str],
) -> dict[str, str]:
    """The rows of `env`, with their references resolved in order, as Kubernetes does.

    `secret` is the content of the pool's Secret as text, `fields` the pod's fields by their path. Raises
    ConfigurationError for a row that cannot be read, or has no value here.
    """
    rows = container.get("env") or []
    if not isinstance(rows, list):
        raise ConfigurationError(f"WorkerPool {pool}: env of its container must be a list of names with values")
    values: dict[str, str] = {}
    for index, row in enumerate(rows):
        name = _name(row, f"WorkerPool {pool}: env[{index}] of its container")
        source = row.get("valueFrom")
        if source is None:
            values[name] = expanded(_text(row, f"WorkerPool {pool}: {name} in env of its container"), values)
            continue
        key, field = _part(source, "secretKeyRef"), _part(source, "fieldRef")
        if key.get("name") == secret_name and key.get("key") in secret:
            values[name] = secret[key["key"]]
        elif field.get("fieldPath") in fields:
            values[name] = fields[field["fieldPath"]]
        elif name in environ:
            values[name] = environ[name]
        elif not key.get("optional") and not _part(source, "configMapKeyRef").get("optional"):
            raise ConfigurationError(
                f"WorkerPool {pool}: {name} comes from the cluster (valueFrom), which is not here; "
                f"set {name} in the environment of corral up"
            )
    return values


def expanded(text: str, values: Mapping[str, str]) -> str:
    """With $(NAME) replaced where NAME has a value, and $$ for a plain $: in values, command and args alike."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] else values.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def elsewhere(container: Mapping[str, Any]) -> Iterable[str]:
    """The ConfigMaps and Secrets of `envFrom`, whose names nobody knows here: `ConfigMap flags`."""
    rows = container.get("envFrom")
    for row in rows if isinstance(rows, list) else ():
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if name := _part(row, field).get("name"):
                yield f"{kind} {name}"


def _name(row: Any, where: str) -> str:
    name = row.get("name") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not name or "=" in name:
        raise ConfigurationError(f"{where} needs a name and a value, like {{name: LEVEL, value: debug}}")
    return name


def _text(row: Mapping[str, Any], where: str) -> str:
    value = row.get("value")
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{where} must be text; put its value in quotes")
    return value or ""


def _part(source: Any, field: str) -> Mapping[str, Any]:
    part = source.get(field) if isinstance(source, Mapping) else None
    return part if isinstance(part, Mapping) else {}
