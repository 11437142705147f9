"""WorkerPools for the tests, as kubectl takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubectl import Manifest

API_VERSION = "corral.dev/v1alpha1"


def pool(name: str = "emails", **spec: Any) -> Manifest:
    """The smallest pool, and what `spec` says otherwise; a field that is None is left out."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkerPool",
        "metadata": {"name": name},
        "spec": {field: value for field, value in ({**_smallest(), **spec}).items() if value is not None},
    }


def adopting(name: str = "emails", deployment: str = "emails", **spec: Any) -> Manifest:
    """A pool over a Deployment of the user's."""
    return pool(name, **{"template": None, "deploymentRef": {"name": deployment}, **spec})


def _smallest() -> dict[str, Any]:
    return {
        "redis": {"secretRef": {"name": "redis"}},
        "queues": [{"name": "emails"}],
        "maxReplicas": 20,
        "template": {"spec": {"containers": [{"name": "worker", "image": "registry.example/emails:1.4"}]}},
    }
