"""WorkerPools from a YAML file, as `kubectl apply -f` takes them. Pure: text in, pools out.

Other kinds in the file (a Secret, a Service) are left aside: here they have no meaning.
"""

import sys
from collections.abc import Mapping
from typing import Any

import yaml

from corral.errors import ConfigurationError
from corral_operator.deployment import Key
from corral_operator.spec import Runtime, SpecError, read_spec
from corral_operator.table import Pool

NAMESPACE = "local"
"""Of a pool that names none."""


def read_pools(text: str, source: str) -> list[Pool]:
    """The pools of a file. Raises ConfigurationError that names `source`, the pool and the field."""
    try:
        documents = [body for body in yaml.safe_load_all(text) if body is not None]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    bodies = [body for document in documents for body in _unfolded(document)]
    pools = [_pool(body, source) for body in bodies if body.get("kind") == "WorkerPool"]
    if not pools:
        raise ConfigurationError(f"{source} holds no WorkerPool; write one: kind: WorkerPool")
    keys = [pool.key for pool in pools]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigurationError(f"{source} holds WorkerPool {key.name} twice; give one of them another name")
    return pools


def command_of(pool: Pool) -> list[str]:
    """What a replica of this pool runs here. Raises ConfigurationError when its manifest does not say."""
    container = _worker(pool.spec)
    command, arguments = _words(container.get("command")), _words(container.get("args"))
    if command:
        return command + arguments
    if arguments and pool.spec.get("runtime", Runtime.CORRAL) == Runtime.CORRAL:
        # The entrypoint of Corral's image; here, the same program.
        return [sys.executable, "-m", "corral", *arguments]
    raise ConfigurationError(
        f"WorkerPool {pool.key.name}: its container has neither command nor args that could run without its image; "
        "say what runs, like args: [work, emails:worker]"
        + ("" if not arguments else " (args alone are enough for runtime Corral only)")
    )


def _pool(body: Mapping[str, Any], source: str) -> Pool:
    metadata, spec = _mapping(body.get("metadata")), _mapping(body.get("spec"))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{source} holds a WorkerPool without metadata.name; give it one")
    key = Key(str(metadata.get("namespace") or NAMESPACE), name)
    try:
        read = read_spec(key.name, key.namespace, spec)
    except SpecError as error:
        raise ConfigurationError(f"{source}: WorkerPool {name}: {error}") from None
    if read.deployment_ref is not None:
        raise ConfigurationError(
            f"{source}: WorkerPool {name} adopts a Deployment, and there is none on this machine; "
            "give it spec.template instead of spec.deploymentRef"
        )
    pool = Pool(key, uid=f"local-{key}", version=1, generation=1, spec=spec, status={})
    command_of(pool)
    return pool


def _unfolded(document: Any) -> list[Mapping[str, Any]]:
    """A document, or the documents of a List."""
    if not isinstance(document, Mapping):
        return []
    items = document.get("items")
    if document.get("kind") == "List" and isinstance(items, list):
        return [item for item in items if isinstance(item, Mapping)]
    return [document]


def _worker(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container called `worker`, or else the first."""
    rows = _mapping(_mapping(spec.get("template")).get("spec")).get("containers")
    there = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return next((row for row in there if row.get("name") == "worker"), there[0] if there else {})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: Any) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []
