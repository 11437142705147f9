"""How many replicas a pool should have: one pure function of what was seen, what was learned and what was wished.

The rules in their order. The first four end the matter; each of the others may change the number:

    1  conflict         what is there, while somebody else writes the replicas too
    2  manual           the user's number, up to maxReplicas
    3  unknown          what is there; after fallback.after the fallback; an error is never a number
    4  never created    what is there, within the bounds
    5  wishes           up to what is wanted long enough, down to what was wanted lately, within the caps
    6  idle             zero
    7  never zero       one while anything is active, due soon, or not idle for long; one for orphans
    8  busy             never below the busy pods, where none of them can be told to take nothing more
    9  rollout          never down while one runs
    10 step             so many per 15 s
    11 bounds           the floor and the ceiling: minReplicas, maxReplicas and the schedules that hold

Beside the number, it is told which queues nobody takes from, and that more pods did no more work.
A restart forgets the wishes; so what is there counts as the first of them, and a restart never scales down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from corral_operator.consumers import Untaken, watch, without_consumer
from corral_operator.decision import Decision, Held, Reason
from corral_operator.demand import Demand, demand_of
from corral_operator.downstream import NOTHING_MEASURED, DownstreamMemory, measure
from corral_operator.givens import given, never_created, unread_of
from corral_operator.idleness import NOTHING_SEEN, IdleMemory, Idleness, look
from corral_operator.learning import Learned
from corral_operator.observed import Observed
from corral_operator.schedules import EMPTY, Agenda, Bounds, agenda_of, bounds_of
from corral_operator.sentences import reason_text, sentence
from corral_operator.spec import Busy, PoolSpec
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
    unknown_since_s: float | None = None
    """Since when there has been a queue that could not be read; None while all of them can."""
    agenda: Agenda = EMPTY
    downstream: DownstreamMemory = NOTHING_MEASURED

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
        unknown_since_s=_unknown_since(policy, observed, memory),
        agenda=agenda_of(policy.schedules, observed.wall_ms, memory.agenda),
    )
    bounds = bounds_of(policy, memory.agenda)
    unknown_s = None if memory.unknown_since_s is None else now_s - memory.unknown_since_s
    if (decision := given(policy, observed, bounds, unknown_s)) is not None:
        return decision, memory
    readings = observed.known
    untaken = watch(observed, learned, memory.untaken)
    stuck = without_consumer(untaken, now_s)
    demand = demand_of(readings, learned, stuck, policy.concurrency, observed.rivals)
    wanted, wishes = want(policy, demand, observed, bounds, memory.wishes, pod_start_s)
    idleness, idle = look(policy, observed, readings, memory.idle, pod_start_s)
    downstream = measure(observed, demand, learned, memory.downstream, policy.concurrency)
    memory = replace(memory, wishes=wishes, idle=idle, untaken=untaken, downstream=downstream)

    busy = _busy(demand, observed)
    choice = _narrow(policy, _wished(wanted, present), wanted, idleness, busy, bounds, observed, memory)
    if choice.reason is Reason.IDLE:
        # Zero overrides what arrived before it: the job that ends it is one job, not the rate of minutes ago.
        memory = replace(memory, wishes=Wishes.begin(0, now_s))
    because = reason_text(choice.reason, policy, demand, observed, idleness, bounds, pod_start_s)
    decision = Decision(
        replicas=choice.replicas,
        reason=choice.reason,
        text=sentence(policy, choice.replicas, because, choice.held, wanted.limited),
        candidates=_candidates(policy, wanted, busy, bounds),
        chosen_by=choice.reason.candidate,
        mode=policy.mode,
        held=choice.held,
        limited=wanted.limited,
        no_consumer=stuck,
        never_created=never_created(observed),
        downstream=downstream.text,
    )
    return decision, memory


def _unknown_since(policy: PoolSpec, observed: Observed, memory: PoolMemory) -> float | None:
    """Since when somebody has not known how many replicas are needed, now included."""
    if not observed.unknown and not unread_of(policy, observed):
        return None
    return observed.now_s if memory.unknown_since_s is None else memory.unknown_since_s


def _wished(wanted: Wanted, present: int) -> _Choice:
    """Rule 4: up to the low memory, down to the high one, else what is there."""
    number = max(wanted.low, min(wanted.high, present))
    if number > wanted.spare:
        return _Choice(number, Reason.WINDOW, Held(wanted.spare, Reason.WINDOW))
    if number < wanted.now:
        return _Choice(number, Reason.WINDOW, Held(wanted.now, Reason.WINDOW))
    return _Choice(number, wanted.reason)


def _busy(demand: Demand, observed: Observed) -> int | None:
    """Rule 8: how many pods must stay as they may be busy. None where busy pods are spared by other means, or not."""
    if observed.guard is not Busy.COST:
        return None
    known = observed.busy_pods
    return min(demand.active, observed.pods.present) if known is None else known


def _narrow(
    policy: PoolSpec,
    choice: _Choice,
    wanted: Wanted,
    idleness: Idleness,
    busy: int | None,
    bounds: Bounds,
    observed: Observed,
    memory: PoolMemory,
) -> _Choice:
    """Rules 6 to 11."""
    present = observed.pods.present
    if idleness.zero:
        choice = _Choice(0, Reason.IDLE)
    elif idleness.keeps is not None:
        choice = choice.at_least(1, idleness.keeps)
    if busy is not None and busy > choice.replicas:
        choice = choice.held_at(busy, Reason.BUSY)
    if observed.pods.rollout and choice.replicas < present:
        choice = choice.held_at(present, Reason.ROLLOUT)
    choice = choice.held_at(_stepped(policy, choice.replicas, present, memory), Reason.STEP)
    choice = choice.at_least(bounds.least, bounds.least_by)
    if choice.replicas > bounds.most:
        choice = _Choice(bounds.most, bounds.most_by)
    return choice


def _stepped(policy: PoolSpec, replicas: int, present: int, memory: PoolMemory) -> int:
    """Within the steps of the behavior, counted from the replicas of the last 15 s."""
    up, down = policy.behavior.up.step, policy.behavior.down.step
    if up is not None:
        replicas = min(replicas, max(present, memory.fewest.number + up))
    if down is not None:
        replicas = max(replicas, min(present, memory.most.number - down))
    return replicas


def _candidates(policy: PoolSpec, wanted: Wanted, busy: int | None, bounds: Bounds) -> dict[str, int]:
    """The numbers that were weighed; `window` is the highest remembered wish."""
    scheduled = {Reason.SCHEDULE: bounds.least, Reason.SCHEDULE_CEILING: bounds.most}
    return {
        **wanted.candidates,
        "window": min(wanted.high, bounds.most),
        **({} if busy is None else {"busy": busy}),
        "minReplicas": policy.min_replicas,
        "maxReplicas": policy.max_replicas,
        **{by.candidate: number for by, number in scheduled.items() if by in (bounds.least_by, bounds.most_by)},
    }
