"""What keeps a pool from zero, and when it may go there.

Zero needs that nothing is ready, nothing active and nothing due within pod start + idleAfter, and that for idleAfter:
delayed jobs are promoted and orphans recovered by live workers only.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from corral_operator.decision import Reason
from corral_operator.observed import Observed, QueueReading
from corral_operator.spec import PoolSpec
from corral_operator.wanting import target_s

STALLED_INTERVAL_S = 30.0
"""How often workers look for stalled jobs; it takes two looks to put one back."""

IDLE_LEAST_S = 30.0
IDLE_MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class IdleMemory:
    """Since when nothing is left to do, and until when a pod stays to recover orphans."""

    idle_since_s: float | None = None
    rescue_until_s: float | None = None


NOTHING_SEEN = IdleMemory()


@dataclass(frozen=True, slots=True)
class Idleness:
    """`zero`: the pool may and shall go to zero; else `keeps` is why one pod stays, whatever the load says."""

    zero: bool
    keeps: Reason | None = None
    next_due_s: float | None = None
    idle_s: float = 0.0


def idle_after_s(policy: PoolSpec, pod_start_s: float) -> float:
    """How long nothing must be left to do: the user's word, or long enough that pods do not come and go."""
    if policy.idle_after_s is not None:
        return policy.idle_after_s
    target = target_s(policy)
    if target and pod_start_s > target * 2 / 3:  # waking takes too long to be in time: rather stay a while
        return IDLE_MOST_S
    return min(IDLE_MOST_S, max(IDLE_LEAST_S, 3 * pod_start_s))


def look(
    policy: PoolSpec, observed: Observed, readings: Iterable[QueueReading], memory: IdleMemory, pod_start_s: float
) -> tuple[Idleness, IdleMemory]:
    """Whether anything is left to do, and for how long there has not been."""
    rows, now_s = tuple(readings), observed.now_s
    active = any(row.active for row in rows)
    served = [row for row in rows if not row.paused]
    rescue_until_s = memory.rescue_until_s
    if active and not observed.pods.present:
        rescue_until_s = now_s + pod_start_s + 2 * STALLED_INTERVAL_S
    if rescue_until_s is not None and now_s >= rescue_until_s:
        rescue_until_s = None
    due_s = _next_due_s(served, observed.wall_ms)
    patience_s = idle_after_s(policy, pod_start_s)
    due_soon = due_s is not None and due_s <= pod_start_s + patience_s
    if active or due_soon or rescue_until_s is not None or any(row.ready or row.soon_due for row in served):
        return (
            Idleness(False, _keeps(active, due_soon, rescue_until_s, now_s), due_s),
            IdleMemory(None, rescue_until_s),
        )
    since_s = now_s if memory.idle_since_s is None else memory.idle_since_s
    zero = observed.pods.present == 0 or now_s - since_s >= patience_s
    return Idleness(zero, None if zero else Reason.NOT_IDLE_YET, due_s, now_s - since_s), IdleMemory(since_s, None)


def _keeps(active: bool, due_soon: bool, rescue_until_s: float | None, now_s: float) -> Reason | None:
    """Why one pod stays. None when jobs are ready: then the load itself asks for one."""
    if rescue_until_s is not None:
        return Reason.ORPHANS
    if active:
        return Reason.ACTIVE
    return Reason.DUE_SOON if due_soon else Reason.DRAIN


def _next_due_s(readings: Iterable[QueueReading], wall_ms: int) -> float | None:
    times = [row.next_due_ms for row in readings if row.next_due_ms is not None]
    return max(0.0, (min(times) - wall_ms) / 1000) if times else None
