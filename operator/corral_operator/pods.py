"""The pods of a Deployment: how many are ready, starting, ending, without a node, and how long they took. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from corral_operator.deployment import Deployment
from corral_operator.observed import Pods

REMEMBERED_STARTS = 50
"""How many pod starts the quantiles are taken of."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

LOWEST_COST = "-2147483648"
"""What Corral marks a pod with that is to go first: nobody's cost can be lower."""

_TEMPLATE = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class LivePod:
    """A pod that has not ended and is not ending. `pending`: none of its containers has run yet."""

    name: str
    uid: str
    ready: bool = True
    pending: bool = False
    created_s: float = 0.0
    """Epoch seconds."""
    template: str = ""
    """Which version of the pod template it was made of."""
    cost: str | None = None

    @property
    def marked(self) -> bool:
        """By Corral."""
        return self.cost == LOWEST_COST

    @property
    def foreign_cost(self) -> bool:
        """Somebody else says when it is to go."""
        return self.cost is not None and not self.marked


def live_pods(pods: Iterable[Mapping[str, Any]]) -> tuple[LivePod, ...]:
    """Those of these that are left to choose from."""
    return tuple(_live(pod) for pod in _running(pods) if not pod["metadata"].get("deletionTimestamp"))


def _live(pod: Mapping[str, Any]) -> LivePod:
    metadata = pod["metadata"]
    return LivePod(
        name=metadata["name"],
        uid=metadata["uid"],
        ready=_condition(pod, "Ready", "True") is not None,
        pending=(pod.get("status") or {}).get("phase") == "Pending",
        created_s=_created_s(pod),
        template=(metadata.get("labels") or {}).get(_TEMPLATE, ""),
        cost=(metadata.get("annotations") or {}).get(DELETION_COST),
    )


def _running(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


@dataclass(frozen=True, slots=True)
class Starts:
    """How long the latest pods took from their creation until they were ready, by pod."""

    seconds: tuple[tuple[str, float], ...] = ()
    kept_s: float | None = None
    """The median and the 95th percentile of before a restart, for as long as nothing was measured."""
    kept_p95_s: float | None = None
    counted: frozenset[str] = frozenset()
    """Pods that were counted and may still be there: one that loses its readiness and gets it back starts no second time."""

    def with_pods(self, pods: Iterable[Mapping[str, Any]], since_s: float = 0.0) -> "Starts":
        """With the pods that are ready now and were not counted yet.

        Those created before `since_s`, epoch seconds, are left out: when they were ready first is not to be seen.
        """
        there = {pod["metadata"]["uid"]: pod for pod in pods}
        new = [
            (uid, took)
            for uid, pod in there.items()
            if uid not in self.counted and _created_s(pod) >= since_s and (took := _took(pod))
        ]
        if not new:
            return self
        counted = (self.counted & there.keys()) | {uid for uid, _ in new}
        return Starts((*self.seconds, *new)[-REMEMBERED_STARTS:], self.kept_s, self.kept_p95_s, counted)

    @property
    def median_s(self) -> float | None:
        """The middle; None when nothing is known."""
        return self._quantile(0.5) if self.seconds else self.kept_s

    @property
    def p95_s(self) -> float | None:
        """So long or less, nearly always; None when nothing is known."""
        return self._quantile(0.95) if self.seconds else self.kept_p95_s

    def _quantile(self, share: float) -> float:
        ordered = sorted(took for _, took in self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def pods_of(deployment: Deployment, pods: Iterable[Mapping[str, Any]] | None, wall_ms: int) -> Pods:
    """What there is. `pods` are the API server's objects; None when nobody looked, since the Deployment is settled."""
    if pods is None:
        return Pods(
            present=deployment.replicas,
            ready=deployment.ready,
            terminating=deployment.terminating,
            quota_text=deployment.quota_text,
            rollout=deployment.rollout,
        )
    rows = _running(pods)
    ending = [pod for pod in rows if pod["metadata"].get("deletionTimestamp")]
    living = [pod for pod in rows if not pod["metadata"].get("deletionTimestamp")]
    starting = [pod for pod in living if not _condition(pod, "Ready", "True")]
    homeless = [row for pod in starting if (row := _condition(pod, "PodScheduled", "False")) and _unschedulable(row)]
    return Pods(
        present=deployment.replicas,
        ready=len(living) - len(starting),
        starting_ages_s=tuple(_age_s(pod, wall_ms) for pod in starting),
        terminating=len(ending),
        unschedulable=len(homeless),
        unschedulable_text=homeless[0].get("message") if homeless else None,
        quota_text=deployment.quota_text,
        rollout=deployment.rollout,
    )


def _condition(pod: Mapping[str, Any], name: str, status: str) -> Mapping[str, Any] | None:
    rows = (pod.get("status") or {}).get("conditions") or ()
    return next((row for row in rows if row.get("type") == name and row.get("status") == status), None)


def _unschedulable(scheduled: Mapping[str, Any]) -> bool:
    return scheduled.get("reason") == "Unschedulable"


def _age_s(pod: Mapping[str, Any], wall_ms: int) -> float:
    # The API server's clock against ours: a pod from the future is a new one.
    return max(0.0, wall_ms / 1000 - _created_s(pod))


def _took(pod: Mapping[str, Any]) -> float | None:
    """Seconds to ready; None when it is not, or was for a second time (then it tells nothing of a start)."""
    ready = _condition(pod, "Ready", "True")
    restarts = sum(row.get("restartCount", 0) for row in (pod.get("status") or {}).get("containerStatuses") or ())
    if ready is None or restarts or not ready.get("lastTransitionTime"):
        return None
    # Both times are whole seconds: half a second is what that hides on average.
    return max(0.5, _epoch_s(ready["lastTransitionTime"]) - _created_s(pod))


def _created_s(pod: Mapping[str, Any]) -> float:
    return _epoch_s(pod["metadata"]["creationTimestamp"])


def _epoch_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
