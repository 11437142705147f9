"""WorkerPools from a YAML file, as `kubectl apply -f` takes them. Pure: text in, pools out.

Other kinds in the file (a Secret, a Service) are left aside: here they have no meaning.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from corral.errors import ConfigurationError
from corral_operator.container import find_worker
from corral_operator.deployment import Key
from corral_operator.spec import API_VERSION, KIND, Runtime, SpecError, read_spec
from corral_operator.table import Pool

NAMESPACE = "local"
"""Of a pool that names none."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def read_pools(text: str, source: str) -> list[Pool]:
    """The pools of a file. Raises ConfigurationError that names `source`, the pool and the field."""
    try:
        documents = [body for body in yaml.safe_load_all(text) if body is not None]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is not YAML: {_mistake(error)}") from None
    bodies = [body for document in documents for body in _unfolded(document)]
    pools = [_pool(body, source) for body in bodies if body.get("kind") == KIND]
    if not pools:
        raise ConfigurationError(f"{source} holds no WorkerPool; write one: kind: WorkerPool")
    names = [pool.key.name for pool in pools]
    # In two namespaces too: on this machine there is one place for its processes and logs.
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{source} holds WorkerPool {name} twice; give one of them another name")
    return pools


def command_of(pool: Pool) -> list[str]:
    """What a replica of this pool runs here, as written. Raises ConfigurationError when its manifest does not say."""
    container = worker_of(pool.spec.get("template"))
    command, arguments = _words(pool, container, "command"), _words(pool, container, "args")
    if command:
        return command + arguments
    if arguments and pool.spec.get("runtime", Runtime.CORRAL) == Runtime.CORRAL:
        # The entrypoint of Corral's image; here, the same program.
        return [sys.executable, "-m", "corral", *arguments]
    if arguments:
        raise ConfigurationError(
            f"WorkerPool {pool.key.name}: its container has args and no command, and what its image would run with them "
            "is not known here; say the program, like command: [node, worker.js]"
        )
    raise ConfigurationError(
        f"WorkerPool {pool.key.name}: its container has neither command nor args, and its image is not run here; "
        "say what runs, like args: [work, emails:worker]"
    )


def worker_of(template: Any) -> Mapping[str, Any]:
    """The container of a pod template that is called `worker`, or else the first; empty when there is none."""
    return find_worker(template) or {}


def _pool(body: Mapping[str, Any], source: str) -> Pool:
    metadata, spec = _mapping(body.get("metadata")), _mapping(body.get("spec"))
    name = metadata.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{source} holds a WorkerPool whose metadata.name is {name!r}; give it one of lower-case letters, digits "
            "and hyphens, 63 at most"
        )
    if body.get("apiVersion") != API_VERSION:
        raise ConfigurationError(
            f"{source}: WorkerPool {name}: apiVersion must be {API_VERSION}, got {body.get('apiVersion')!r}"
        )
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
    """A document, or the documents of a List (`kubectl get -o yaml`)."""
    if not isinstance(document, Mapping):
        return []
    items = document.get("items")
    if str(document.get("kind")).endswith("List") and isinstance(items, list):
        return [item for item in items if isinstance(item, Mapping)]
    return [document]


def _mistake(error: yaml.YAMLError) -> str:
    """Where and what, without the line itself: it may be that of a password."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(pool: Pool, container: Mapping[str, Any], field: str) -> list[str]:
    words = container.get(field)
    if words is None:
        return []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConfigurationError(
            f"WorkerPool {pool.key.name}: {field} of its container must be a list of texts, like [work, emails:worker]; "
            "numbers go in quotes"
        )
    return words
