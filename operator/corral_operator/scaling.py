"""How many replicas a pool should have: one pure function of what was seen, what was learned and what was wished.

The rules in their order. The first three end the matter; each of the others may change the number:

    1  manual           the user's number
    2  unknown          what is there; an error is never a number
    3  never created    what is there, or minReplicas
    4  wishes           up to what is wanted long enough, down to what was wanted lately, within the caps
    5  idle             zero
    6  never zero       one while anything is active, due soon, or not idle for long; one for orphans
    7  busy             never below the active jobs, as far as pods are there
    8  rollout          never down while one runs
    9  step             so many per 15 s
    10 bounds           minReplicas, maxReplicas

A restart forgets the wishes; so what is there counts as the first of them, and a restart never scales down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from corral_operator.consumers import Untaken, watch, without_consumer
from corral_operator.decision import Decision, Held, Reason
from corral_operator.demand import demand_of
from corral_operator.idleness import NOTHING_SEEN, IdleMemory, Idleness, look
from corral_operator.learning import Learned
from corral_operator.observed import Observed
from corral_operator.sentences import reason_text, sentence, unknown_text
from corral_operator.spec import PoolSpec
from corral_operator.wanting import Wanted, Wishes, want
from corral_operator.wishes import Highest, Lowest

STEP_PERIOD_S = 15.0
DEFAULT_POD_START_S = 15.0


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What `decide` remembers of one pool; small, whatever happens."""

    wishes: Wishes
    fewest: Lowest
    """The fewest replicas of the last 15 s, from which a step up counts; and the most, for a step down."""
    most: Highest
    idle: IdleMemory = NOTHING_SEEN
    untaken: tuple[Untaken, ...] = ()

    @classmethod
    def begin(cls, present: int, now_s: float) -> "PoolMemory":
        """What is there is the first wish."""
        return cls(Wishes.begin(present, now_s), Lowest.begin(present, now_s), Highest.begin(present, now_s))


@dataclass(frozen=True, slots=True)
class _Choice:
    """A number on its way through the rules."""

    replicas: int
    reason: Reason
    held: Held | None = None

    def at_least(self, floor: int, reason: Reason) -> "_Choice":
        if floor <= self.replicas:
            return self
        held = self.held if self.held is not None and self.held.wanted > floor else None
        return _Choice(floor, reason, held)

    def held_at(self, replicas: int, because: Reason) -> "_Choice":
        return self if replicas == self.replicas else _Choice(replicas, because, Held(self.replicas, because))


def decide(
    policy: PoolSpec,
    observed: Observed,
    learned: Mapping[str, Learned],
    memory: PoolMemory | None,
    *,
    pod_start_s: float = DEFAULT_POD_START_S,
) -> tuple[Decision, PoolMemory]:
    """How many replicas this pool should have now, and what to remember for the next time.

    `learned` has an entry for every queue that was read; `memory` is None the first time; `pod_start_s` is how long a
    pod takes from its creation until it is ready (p95).
    """
    present, now_s = observed.pods.present, observed.now_s
    memory = memory or PoolMemory.begin(present, now_s)
    memory = replace(
        memory,
        fewest=memory.fewest.then(present, now_s, STEP_PERIOD_S),
        most=memory.most.then(present, now_s, STEP_PERIOD_S),
    )
    if (given := _given(policy, observed)) is not None:
        return given, memory
    readings = observed.known
    untaken = watch(readings, learned, observed.pods, memory.untaken, now_s)
    stuck = without_consumer(untaken, now_s)
    demand = demand_of(readings, learned, stuck, policy.concurrency)
    wanted, wishes = want(policy, demand, observed, memory.wishes, pod_start_s)
    idleness, idle = look(policy, observed, readings, memory.idle, pod_start_s)
    memory = replace(memory, wishes=wishes, idle=idle, untaken=untaken)

    choice = _narrow(policy, _wished(wanted, present), wanted, idleness, demand.active, observed, memory)
    if choice.reason is Reason.IDLE:
        # Zero overrides what arrived before it: the job that ends it is one job, not the rate of minutes ago.
        memory = replace(memory, wishes=Wishes.begin(0, now_s))
    because = reason_text(choice.reason, policy, demand, observed, idleness, pod_start_s)
    decision = Decision(
        replicas=choice.replicas,
        reason=choice.reason,
        text=sentence(policy, choice.replicas, because, choice.held, wanted.limited),
        candidates=_candidates(policy, wanted, min(demand.active, present)),
        chosen_by=_name(choice.reason),
        mode=policy.mode,
        held=choice.held,
        limited=wanted.limited,
        no_consumer=stuck,
        never_created=_never_created(observed),
    )
    return decision, memory


def _given(policy: PoolSpec, observed: Observed) -> Decision | None:
    """Rules 1 to 3: decisions that ask no load. None when there is one to ask."""
    present, most = observed.pods.present, policy.max_replicas
    if policy.replicas is not None:
        text = f"set by hand to {policy.replicas}, until removed"
        return _plain(policy, observed, min(policy.replicas, most), Reason.MANUAL, text)
    read = {row.name for row in observed.known} | {row.queue for row in observed.unknown}
    missing = [name for name in policy.queues if name not in read]
    if observed.unknown or missing:
        return _plain(policy, observed, present, Reason.UNKNOWN, unknown_text(observed.unknown, missing))
    # One queue of several that nobody created counts as empty: the others are reason enough to scale.
    if all(row.never_created for row in observed.known):
        names = ", ".join(policy.queues)
        text = f"nobody has ever created {names}; what is there stays until a job comes"
        stays = min(most, max(policy.min_replicas, present))
        return _plain(policy, observed, stays, Reason.NEVER_CREATED, text)
    return None


def _plain(policy: PoolSpec, observed: Observed, replicas: int, reason: Reason, text: str) -> Decision:
    return Decision(
        replicas=replicas,
        reason=reason,
        text=sentence(policy, replicas, text),
        candidates={
            "present": observed.pods.present,
            "minReplicas": policy.min_replicas,
            "maxReplicas": policy.max_replicas,
        },
        chosen_by=_name(reason),
        mode=policy.mode,
        never_created=_never_created(observed),
    )


def _wished(wanted: Wanted, present: int) -> _Choice:
    """Rule 4: up to the low memory, down to the high one, else what is there."""
    number = max(wanted.low, min(wanted.high, present))
    if number > wanted.spare:
        return _Choice(number, Reason.WINDOW, Held(wanted.spare, Reason.WINDOW))
    if number < wanted.now:
        return _Choice(number, Reason.WINDOW, Held(wanted.now, Reason.WINDOW))
    return _Choice(number, wanted.reason)


def _narrow(
    policy: PoolSpec,
    choice: _Choice,
    wanted: Wanted,
    idleness: Idleness,
    active: int,
    observed: Observed,
    memory: PoolMemory,
) -> _Choice:
    """Rules 5 to 10."""
    present = observed.pods.present
    if idleness.zero:
        choice = _Choice(0, Reason.IDLE)
    elif idleness.keeps is not None:
        choice = choice.at_least(1, idleness.keeps)
    # Without the cordon nobody says who is busy: as many pods as jobs are active may be.
    if (busy := min(active, present)) > choice.replicas:
        choice = choice.held_at(busy, Reason.BUSY)
    if observed.pods.rollout and choice.replicas < present:
        choice = choice.held_at(present, Reason.ROLLOUT)
    choice = choice.held_at(_stepped(policy, choice.replicas, present, memory), Reason.STEP)
    choice = choice.at_least(policy.min_replicas, Reason.MIN_REPLICAS)
    if choice.replicas > policy.max_replicas:
        choice = _Choice(policy.max_replicas, Reason.MAX_REPLICAS)
    return choice


def _stepped(policy: PoolSpec, replicas: int, present: int, memory: PoolMemory) -> int:
    """Within the steps of the behavior, counted from the replicas of the last 15 s."""
    up, down = policy.behavior.up.step, policy.behavior.down.step
    if up is not None:
        replicas = min(replicas, max(present, memory.fewest.number + up))
    if down is not None:
        replicas = max(replicas, min(present, memory.most.number - down))
    return replicas


def _candidates(policy: PoolSpec, wanted: Wanted, busy: int) -> dict[str, int]:
    """The numbers that were weighed; `window` is the highest remembered wish."""
    return {
        **wanted.candidates,
        "window": min(wanted.high, policy.max_replicas),
        "busy": busy,
        "minReplicas": policy.min_replicas,
        "maxReplicas": policy.max_replicas,
    }


def _never_created(observed: Observed) -> tuple[str, ...]:
    return tuple(row.name for row in observed.known if row.never_created)


def _name(reason: Reason) -> str:
    """The candidate's name of a reason: `minReplicas` for MinReplicas."""
    return reason.value[0].lower() + reason.value[1:]
