"""Decisions that ask no load: set by hand, in conflict, unknown, never created. Pure."""

from collections.abc import Mapping

from corral_operator.decision import Decision, Reason
from corral_operator.observed import Observed
from corral_operator.schedules import Bounds
from corral_operator.sentences import sentence, span, unknown_text
from corral_operator.spec import FallbackPolicy, PoolSpec


def unread_of(policy: PoolSpec, observed: Observed) -> tuple[str, ...]:
    """The queues of the pool that nobody has read yet, neither well nor badly."""
    read = {row.name for row in observed.known} | {row.queue for row in observed.unknown}
    return tuple(name for name in policy.queues if name not in read)


def given(policy: PoolSpec, observed: Observed, bounds: Bounds, unknown_s: float | None) -> Decision | None:
    """The decision, if there is one that asks no load. `unknown_s`: for how long a queue could not be read; or None."""
    if observed.rivals.holds:
        return _conflict(policy, observed)
    if policy.replicas is not None:
        text = f"set by hand to {policy.replicas}, until removed"
        return _plain(policy, observed, min(policy.replicas, policy.max_replicas), Reason.MANUAL, text)
    if unknown_s is not None:
        return _blind(policy, observed, bounds, unknown_s)
    # One queue of several that nobody created counts as empty: the others are reason enough to scale.
    if all(row.never_created for row in observed.known):
        return _never_created(policy, observed, bounds)
    return None


def _never_created(policy: PoolSpec, observed: Observed, bounds: Bounds) -> Decision:
    """What is there, within the bounds; a bound that makes the number is told."""
    present = observed.pods.present
    stays = min(bounds.most, max(bounds.least, present))
    told = [f"nobody has ever created {', '.join(policy.queues)}"]
    if stays == bounds.least > 0:
        told.append(f"{bounds.floor.text if bounds.floor else 'minReplicas'} asks for no fewer")
    elif stays < present or (stays == bounds.most and bounds.ceiling):
        told.append(f"{bounds.ceiling.text if bounds.ceiling else 'maxReplicas'} allows no more")
    text = "; ".join([*told, "what is there stays until a job comes"])
    return _plain(policy, observed, stays, Reason.NEVER_CREATED, text)


def _conflict(policy: PoolSpec, observed: Observed) -> Decision:
    names = ", ".join(observed.rivals.holds)
    text = f"the replicas of its Deployment are written by {names} as well; what is there stays until only one does"
    return _plain(policy, observed, observed.pods.present, Reason.CONFLICT, text)


def _blind(policy: PoolSpec, observed: Observed, bounds: Bounds, unknown_s: float) -> Decision:
    """What is there; after a while, what the user wants then."""
    present, fallback = observed.pods.present, policy.fallback
    text = unknown_text(observed.unknown, unread_of(policy, observed))
    if fallback.replicas is None or unknown_s < fallback.after_s:
        return _plain(policy, observed, present, Reason.UNKNOWN, f"{text}; what is there stays")
    wanted = fallback.replicas if fallback.policy is FallbackPolicy.REPLICAS else max(fallback.replicas, present)
    wanted = max(bounds.least, min(bounds.most, wanted))
    if observed.pods.rollout:
        wanted = max(wanted, present)
    told = f"the fallback {fallback.policy} {fallback.replicas} holds after {span(fallback.after_s)}: {text}"
    return _plain(policy, observed, wanted, Reason.FALLBACK, told, {"fallback": wanted})


def _plain(
    policy: PoolSpec,
    observed: Observed,
    replicas: int,
    reason: Reason,
    text: str,
    candidates: Mapping[str, int] | None = None,
) -> Decision:
    bounds = {"minReplicas": policy.min_replicas, "maxReplicas": policy.max_replicas}
    return Decision(
        replicas=replicas,
        reason=reason,
        text=sentence(policy, replicas, text),
        candidates={"present": observed.pods.present, **(candidates or {}), **bounds},
        chosen_by=reason.candidate,
        mode=policy.mode,
        never_created=never_created(observed),
    )


def never_created(observed: Observed) -> tuple[str, ...]:
    """The queues that nobody ever created."""
    return tuple(row.name for row in observed.known if row.never_created)
