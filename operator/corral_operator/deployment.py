"""A Deployment, reduced to what a pool has to know of it. Pure.

The watch tells of every Deployment, and most belong to nobody here: only these few fields of each are kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from corral_operator.render import RENDERED

APPLIER = "corral"
"""Field manager of what the pool renders."""

SCALER = "corral-scale"
"""Field manager of the replicas. A manager of its own: a render that leaves them out must not take them away."""


class Key(NamedTuple):
    """An object within a cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """As the API server told of it last. `replicas` is what is asked for, the other numbers are pods that exist."""

    key: Key
    uid: str
    version: int
    generation: int
    observed_generation: int
    owner_uid: str | None
    selector: str
    replicas: int
    total: int
    ready: int
    updated: int
    terminating: int
    rendered: str | None
    """Digest of what was rendered last; None when nothing was."""
    replicas_claimed: bool
    """Somebody besides the render owns `spec.replicas`, so that a render without it leaves it as it is."""
    quota_text: str | None
    """What the API server said when it refused a pod; None when it refuses none."""
    stuck: bool
    """A rollout makes no progress: it was paused, or takes too long."""

    @property
    def settled(self) -> bool:
        """As many pods as asked for, all of them new and ready: nobody has to look at each."""
        seen = self.observed_generation >= self.generation
        return seen and self.replicas == self.total == self.ready == self.updated and not self.quota_text

    @property
    def rollout(self) -> bool:
        """Pods of two templates exist, and the old ones are being replaced."""
        return self.updated < self.total and not self.stuck


def read_deployment(body: Mapping[str, Any]) -> Deployment:
    """From the API server's object."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    conditions = {row.get("type"): row for row in status.get("conditions") or ()}
    failure = conditions.get("ReplicaFailure") or {}
    return Deployment(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        version=version_of(metadata),
        generation=metadata.get("generation") or 0,
        observed_generation=status.get("observedGeneration") or 0,
        owner_uid=_owner(metadata),
        selector=selector_text(spec.get("selector") or {}),
        replicas=1 if (replicas := spec.get("replicas")) is None else replicas,
        total=status.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        updated=status.get("updatedReplicas") or 0,
        terminating=status.get("terminatingReplicas") or 0,
        rendered=(metadata.get("annotations") or {}).get(RENDERED),
        replicas_claimed=_claimed(metadata.get("managedFields") or ()),
        quota_text=failure.get("message") if failure.get("status") == "True" else None,
        stuck=bool(spec.get("paused"))
        or (conditions.get("Progressing") or {}).get("reason") == "ProgressDeadlineExceeded",
    )


def version_of(metadata: Mapping[str, Any]) -> int:
    """The resource version as a number, which is what it is in every API server that stores in etcd; 0 if it is none."""
    text = str(metadata.get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def selector_text(selector: Mapping[str, Any]) -> str:
    """A label selector as the text that a LIST takes: `a=b,c in (d,e),!f`."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for row in selector.get("matchExpressions") or ():
        key, values = row["key"], ",".join(row.get("values") or ())
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[row["operator"]]
        )
    return ",".join(terms)


def _owner(metadata: Mapping[str, Any]) -> str | None:
    return next((row["uid"] for row in metadata.get("ownerReferences") or () if row.get("controller")), None)


def _claimed(managed: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        "f:replicas" in ((row.get("fieldsV1") or {}).get("f:spec") or {})
        for row in managed
        if (row.get("manager"), row.get("operation")) != (APPLIER, "Apply")
    )
