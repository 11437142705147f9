"""The sentence of a decision: why so many replicas and not more or fewer, for a person who did not read the code."""

from collections.abc import Iterable

from corral_operator.decision import Held, Limited, Reason
from corral_operator.demand import Demand
from corral_operator.figures import figure
from corral_operator.idleness import Idleness, idle_after_s
from corral_operator.observed import Observed, Unknown
from corral_operator.schedules import Bounds
from corral_operator.spec import LengthTarget, Mode, PoolSpec, WaitTarget
from corral_operator.wanting import deadlines, is_long, target_s

_HELD = {
    Reason.WINDOW: "the window of the behavior holds it",
    Reason.ROLLOUT: "nothing is scaled down while a rollout runs",
    Reason.STEP: "the step of the behavior allows no more at once",
    Reason.BUSY: "busy pods stay, since none of them can be told to take nothing more",
}

_PREFIX = {Mode.DRY_RUN: "dry run, nothing is written: ", Mode.PAUSED: "paused, nothing is written: ", Mode.AUTO: ""}


def count(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def span(seconds: float) -> str:
    """`0.48 s`, `90 s`, `12 min`, `3 h`: two or three figures are enough."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 300:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.0f} h"


def sentence(
    policy: PoolSpec, replicas: int, because: str, held: Held | None = None, limited: Limited | None = None
) -> str:
    """The number, its reason, and what holds or limits it."""
    parts = [f"{_PREFIX[policy.mode]}{count(replicas, 'replica')}: {because}"]
    if held is not None and held.because in _HELD:
        parts.append(
            f"{held.wanted:,} would do, but {_HELD[held.because]}"
            if held.wanted < replicas
            else f"{held.wanted:,} are wanted, but {_HELD[held.because]}"
        )
    if limited is not None:
        parts.append(f"{limited.wanted:,} are wanted, but {limited.text}")
    return "; ".join(parts)


def unknown_text(unknown: Iterable[Unknown], missing: Iterable[str]) -> str:
    """Which queues could not be read, and why."""
    told = [f"queue {row.queue} cannot be read ({row.cause}: {row.text})" for row in unknown]
    told += [f"queue {name} was not read yet" for name in missing]
    return "; ".join(told)


def reason_text(
    reason: Reason,
    policy: PoolSpec,
    demand: Demand,
    observed: Observed,
    idleness: Idleness,
    bounds: Bounds,
    pod_start_s: float,
) -> str:
    """What a reason means with the numbers of this moment."""
    if reason is Reason.IDLE:
        return f"nothing is ready, active or due within {_horizon(policy, pod_start_s)}"
    if reason is Reason.NOT_IDLE_YET:
        return f"nothing to do for {span(idleness.idle_s)} of {span(idle_after_s(policy, pod_start_s))}"
    if reason is Reason.ACTIVE:
        return f"{count(demand.active, 'active job')} must not be left alone"
    if reason is Reason.DUE_SOON:
        return f"a delayed job is due in {span(idleness.next_due_s or 0.0)}"
    if reason is Reason.ORPHANS:
        return f"{count(demand.active, 'job')} were left active when no pod ran; one pod recovers them"
    if reason is Reason.BUSY:
        return _busy_text(demand, observed)
    load = load_text(policy, demand, pod_start_s)
    if reason is Reason.MIN_REPLICAS:
        return f"minReplicas; {load}"
    if reason is Reason.SCHEDULE and bounds.floor is not None:
        return f"{bounds.floor.text} asks for no fewer; {load}"
    if reason is Reason.SCHEDULE_CEILING and bounds.ceiling is not None:
        return f"{bounds.ceiling.text} allows no more; {load}"
    return load


def _busy_text(demand: Demand, observed: Observed) -> str:
    present = count(observed.pods.present, "pod")
    if (busy := observed.busy_pods) is None:
        return f"{count(demand.active, 'job')} active, and nobody says in which of {present}"
    return f"{busy:,} of {present} hold jobs"


def load_text(policy: PoolSpec, demand: Demand, pod_start_s: float) -> str:
    """What waits and what arrives, and what the target makes of it."""
    slots = "" if policy.concurrency == 1 else f", {policy.concurrency} at once per pod"
    share = ", this pool's share of what others serve too" if demand.shared else ""
    if isinstance(policy.target, LengthTarget):
        jobs = demand.ready + demand.soon + demand.running
        return f"{count(jobs, 'job')} at {policy.target.jobs_per_replica:g} per replica{share}"
    parts = []
    if demand.ready or demand.soon:
        parts.append(_waiting_text(policy, demand, pod_start_s))
    if demand.offered:
        parts.append(_arriving_text(policy, demand, pod_start_s))
    return " and ".join(parts) + slots + share if parts else "nothing waits and nothing arrives"


def _waiting_text(policy: PoolSpec, demand: Demand, pod_start_s: float) -> str:
    ready_by, soon_by = deadlines(policy, demand, pod_start_s)
    by = ready_by if demand.ready else soon_by
    jobs, work_s = demand.work(by, soon=not demand.ready)
    soon = f" and {demand.soon:,} due soon" if demand.soon else ""
    mean = f" of {span(work_s / jobs)}" if jobs else ""
    return f"{count(demand.ready, 'ready job')}{soon}{mean} to start within {span(by.left_s)}"


def _arriving_text(policy: PoolSpec, demand: Demand, pod_start_s: float) -> str:
    rate, offered = figure(demand.arrival_rate), figure(demand.offered)
    flow = f"{rate} jobs/s of {span(demand.service_s)} keep {offered} slots busy"
    if is_long(policy, demand, pod_start_s):
        return f"{flow}, with one to spare: a pod started for a waiting job is in time"
    percentile = policy.target.percentile if isinstance(policy.target, WaitTarget) else 95
    return f"{flow}, so that {percentile:g} % wait less than {span(target_s(policy))}"


def _horizon(policy: PoolSpec, pod_start_s: float) -> str:
    return span(pod_start_s + idle_after_s(policy, pod_start_s))
