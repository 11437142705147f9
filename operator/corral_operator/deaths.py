"""Containers that died, and when those that run began: what the pods of a pool tell of the ends of its workers. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from corral_operator.container import find_worker
from corral_operator.stamps import epoch_ms

OOM_KILLED = "OOMKilled"


class Death(NamedTuple):
    """One end of a worker's container that was no clean one. Times in epoch ms, as whole seconds."""

    pod: str
    began_ms: int
    ended_ms: int
    reason: str
    """The kubelet's word: OOMKilled, Error, ..."""
    exit_code: int
    memory: str | None = None
    """The container's memory limit as its user wrote it; None without one."""

    def struck(self, taken_ms: int) -> bool:
        """Whether a job that was taken then was in its hands. The kubelet tells whole seconds, rounded down."""
        return self.began_ms <= taken_ms < self.ended_ms + 1000


class PodSeen(NamedTuple):
    """A pod of the pool. `since_ms`: when the container that runs now began; None while none does."""

    since_ms: int | None
    deaths: tuple[Death, ...] = ()


def pods_seen(pods: Iterable[Mapping[str, Any]]) -> dict[str, PodSeen]:
    """Those that are not told to end, by name."""
    return {pod["metadata"]["name"]: _pod(pod) for pod in pods if pod["metadata"].get("name") and not _is_ending(pod)}


def _is_ending(pod: Mapping[str, Any]) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _pod(pod: Mapping[str, Any]) -> PodSeen:
    container = find_worker(pod) or {}
    rows = (pod.get("status") or {}).get("containerStatuses") or ()
    row: Mapping[str, Any] = next((row for row in rows if row.get("name") == container.get("name")), {})
    state, last = row.get("state") or {}, row.get("lastState") or {}
    ends = [end for end in (state.get("terminated"), last.get("terminated")) if end]
    deaths = [_death(pod["metadata"]["name"], end, _memory(container)) for end in ends]
    running = epoch_ms((state.get("running") or {}).get("startedAt"))
    return PodSeen(running, tuple(death for death in deaths if death is not None))


def _death(pod: str, end: Mapping[str, Any], memory: str | None) -> Death | None:
    began_ms, ended_ms, code = epoch_ms(end.get("startedAt")), epoch_ms(end.get("finishedAt")), end.get("exitCode")
    if began_ms is None or ended_ms is None or not isinstance(code, int) or code == 0:
        return None
    return Death(pod, began_ms, ended_ms, str(end.get("reason") or "Error"), code, memory)


def _memory(container: Mapping[str, Any]) -> str | None:
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else str(limit)
