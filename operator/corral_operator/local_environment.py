"""The environment of a replica that runs as a local process: what its container would have, as far as it can be here.

A rendered container says `env` as values, as keys of the pool's own Secret, and as fields of the pod. These three have
a meaning without a cluster; anything else is looked for in the environment of `corral up`. Pure.
"""

import re
from collections.abc import Mapping
from typing import Any

from corral.errors import ConfigurationError

_REFERENCE = re.compile(r"\$(?:(\$)|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")

# What was set for workers of the user's own is not for those of a pool.
_FOREIGN = ("CORRAL_", "REDIS_", "POD_")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a replica has from the shell that `corral up` was started in."""
    return {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}


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
    ConfigurationError for a row that has no value here.
    """
    values: dict[str, str] = {}
    for row in container.get("env") or ():
        name = row["name"]
        if (source := row.get("valueFrom")) is None:
            values[name] = _expanded(str(row.get("value") or ""), values)
            continue
        key, field = source.get("secretKeyRef") or {}, source.get("fieldRef") or {}
        if key.get("name") == secret_name and key.get("key") in secret:
            values[name] = secret[key["key"]]
        elif field.get("fieldPath") in fields:
            values[name] = fields[field["fieldPath"]]
        elif name in environ:
            values[name] = environ[name]
        elif not key.get("optional") and not (source.get("configMapKeyRef") or {}).get("optional"):
            raise ConfigurationError(
                f"WorkerPool {pool}: {name} comes from the cluster (valueFrom), which is not here; "
                f"set {name} in the environment of corral up"
            )
    return values


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """With $(NAME) replaced where NAME was said before, and $$ for a plain $."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] else values.get(found[2], found[0])

    return _REFERENCE.sub(value, text)
