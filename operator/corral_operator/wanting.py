"""What the load wants of a pool, now and lately: flow for what arrives, drain for what waits, or the length rule.

Caps come before memory: a wish that could never be granted is not remembered. Then two memories answer: `low`, what was
wanted long enough to go up to, and `high`, what was wanted recently enough not to go below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from corral_operator.decision import Limited, Reason
from corral_operator.demand import Demand
from corral_operator.formulas import Crew, Deadline, drain_slots, flow_slots, pods_for
from corral_operator.observed import Observed, Pods
from corral_operator.schedules import Bounds
from corral_operator.spec import LengthTarget, PoolSpec, WaitTarget
from corral_operator.wishes import Highest, Lowest

UP_ARRIVES_S = 30.0
DOWN_ARRIVES_S = 120.0
LONG_JOBS = 5
"""Jobs of more than so many targets are long: no slots stand by for them."""

DRAIN_PERCENTILE = 95.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was wished, for both directions: by what waits and by what arrives."""

    up_waits: Lowest
    up_arrives: Lowest
    down_waits: Highest
    down_arrives: Highest

    @classmethod
    def begin(cls, present: int, now_s: float) -> "Wishes":
        """What is there is the first wish."""
        low, high = Lowest.begin(present, now_s), Highest.begin(present, now_s)
        return cls(low, low, high, high)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Replicas, capped. `candidates` are the wishes of this moment by name, `now` the highest of them."""

    candidates: Mapping[str, int]
    now: int
    spare: int
    """The same with the tolerance on the load: what a scale-down would leave."""
    low: int
    high: int
    reason: Reason
    """Whose wish `now` is."""
    limited: Limited | None


def want(
    policy: PoolSpec, demand: Demand, observed: Observed, bounds: Bounds, wishes: Wishes, pod_start_s: float
) -> tuple[Wanted, Wishes]:
    """The wishes of this moment, and what they leave to remember."""
    spare_load = 1 + policy.behavior.tolerance / 100
    if isinstance(policy.target, LengthTarget):
        length = pods_for((demand.ready + demand.soon + demand.running) / policy.target.jobs_per_replica, 1)
        raw, waits, spare, reason = {"length": length}, length, length, Reason.LENGTH
        wanted = length
    else:
        raw = _load(policy, demand, observed.pods, pod_start_s)
        waits, spare = raw["drain"], _flow(policy, demand, pod_start_s, load=spare_load)
        reason = Reason.DRAIN if waits and waits >= raw["flow"] else Reason.FLOW
        free = raw if demand.cap.reason is None else _load(policy, demand.unlimited(), observed.pods, pod_start_s)
        wanted = max(free.values())
    cap, limited = _cap(policy, demand, observed.pods, bounds, wanted)
    capped = {name: min(number, cap) for name, number in raw.items()}
    waits, spare, arrives = min(waits, cap), min(spare, cap), capped.get("flow", 0)
    wishes = _remember(policy, wishes, (waits, arrives, spare), observed.now_s, pod_start_s)
    return Wanted(
        candidates=capped,
        now=max(waits, arrives),
        spare=max(waits, spare),
        low=max(wishes.up_waits.number, wishes.up_arrives.number),
        high=max(wishes.down_waits.number, wishes.down_arrives.number),
        reason=reason,
        limited=limited,
    ), wishes


def target_s(policy: PoolSpec) -> float:
    """The target as a time; a plain length rule has none."""
    return 0.0 if isinstance(policy.target, LengthTarget) else policy.target.seconds


def is_long(policy: PoolSpec, demand: Demand, pod_start_s: float) -> bool:
    """Jobs so long, and pods so quick to start, that a pod started when a job waits is in time."""
    target = target_s(policy)
    return demand.service_s > LONG_JOBS * target and pod_start_s <= target * 2 / 3


def deadlines(policy: PoolSpec, demand: Demand, pod_start_s: float) -> tuple[Deadline, Deadline]:
    """Until when the ready jobs must have started, and those that fall due within a pod start."""
    target = target_s(policy)
    return (
        Deadline.of(target - demand.oldest_age_s, target, pod_start_s),
        Deadline.of(target + pod_start_s, target, pod_start_s),
    )


def _load(policy: PoolSpec, demand: Demand, pods: Pods, pod_start_s: float) -> dict[str, int]:
    """What arrives and what waits, in pods."""
    return {
        "flow": _flow(policy, demand, pod_start_s, load=1.0),
        "drain": _drain(policy, demand, pods, pod_start_s),
    }


def _flow(policy: PoolSpec, demand: Demand, pod_start_s: float, *, load: float) -> int:
    offered = demand.offered * load
    if offered <= 0:
        return 0
    if is_long(policy, demand, pod_start_s):
        return pods_for(int(offered) + 1, policy.concurrency)
    percentile = policy.target.percentile if isinstance(policy.target, WaitTarget) else DRAIN_PERCENTILE
    # Searched a little past the maximum, so that a limit can tell what it forbids.
    most = 2 * policy.max_replicas * policy.concurrency + 1
    slots = flow_slots(offered, target_s(policy), demand.remaining_s, percentile, most)
    return pods_for(slots, policy.concurrency)


def _drain(policy: PoolSpec, demand: Demand, pods: Pods, pod_start_s: float) -> int:
    crew = Crew(policy.concurrency, pods.staffed, tuple(max(0.0, pod_start_s - age) for age in pods.on_the_way))
    ready_by, soon_by = deadlines(policy, demand, pod_start_s)
    jobs, work_s = demand.work(ready_by, soon=False)
    slots = drain_slots(jobs, work_s, ready_by, crew)
    if demand.soon:
        jobs, work_s = demand.work(soon_by, soon=True)
        slots = max(slots, drain_slots(jobs, work_s, soon_by, crew))
    return pods_for(slots, policy.concurrency)


def _cap(policy: PoolSpec, demand: Demand, pods: Pods, bounds: Bounds, wanted: int) -> tuple[int, Limited | None]:
    """The lowest of what may be, and what it forbids."""
    told = f"maxReplicas is {bounds.most}"
    if bounds.ceiling is not None:
        told = f"{bounds.ceiling.text} allows {bounds.most}"
    if pods.terminating:
        told += f", and {pods.terminating} more pods are still ending"
    caps = [(bounds.most, bounds.most_by, told)]
    limit = demand.cap
    if limit.reason is not None:
        text = f"its limit lets {limit.slots:.3g} jobs run at once"
        if limit.reason is Reason.NO_CONSUMER:
            text = "nobody takes from the queue, and one pod is enough for that"
        caps.append((pods_for(limit.slots, policy.concurrency), limit.reason, text))
    # Growth stops at what is there; one pod may always be tried, or nothing would ever tell that there is room again.
    there = max(pods.present, 1)
    if pods.quota_text is not None:
        caps.append((there, Reason.QUOTA, pods.quota_text))
    if pods.unschedulable:
        text = pods.unschedulable_text or "no node takes them"
        caps.append((there, Reason.UNSCHEDULABLE, f"{pods.unschedulable} pods cannot be scheduled: {text}"))
    cap, reason, text = min(caps, key=lambda row: row[0])
    return cap, Limited(wanted, reason, text) if wanted > cap else None


def _remember(
    policy: PoolSpec, wishes: Wishes, numbers: tuple[int, int, int], now_s: float, pod_start_s: float
) -> Wishes:
    """The four memories with this moment's wishes: by what waits, by what arrives, and the latter with its spare."""
    waits, arrives, spare = numbers
    up, down = policy.behavior.up.window_s, policy.behavior.down.window_s
    # The length rule counts what waits and what runs: up at once, down as slowly as what arrives.
    lengthwise = isinstance(policy.target, LengthTarget)
    down_waits_s = DOWN_ARRIVES_S if lengthwise else pod_start_s
    return replace(
        wishes,
        up_waits=wishes.up_waits.then(waits, now_s, 0.0 if up is None else up),
        up_arrives=wishes.up_arrives.then(arrives, now_s, UP_ARRIVES_S if up is None else up),
        down_waits=wishes.down_waits.then(waits, now_s, down_waits_s if down is None else down),
        down_arrives=wishes.down_arrives.then(spare, now_s, DOWN_ARRIVES_S if down is None else down),
    )
