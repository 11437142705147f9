"""Fewer replicas without harm: surplus pods are told to take nothing more, and leave when they are idle.

event          when
------------   -----------------------------------------------------------------------
DrainTooLong   a pod is still busy after protection.maxDrain, and is told to end all the same
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from corral.beat_record import ORDER_S
from corral.errors import RedisRefused, RedisUnavailable
from corral_operator import orders
from corral_operator.decision import Decision
from corral_operator.departures import Departures, Listed
from corral_operator.deployment import Deployment
from corral_operator.door import Door
from corral_operator.observed import Observed, WorkerReading
from corral_operator.orders import Command, Post
from corral_operator.pods import LOWEST_COST, LivePod, live_pods
from corral_operator.pool_state import PoolState
from corral_operator.presence import is_pod_of
from corral_operator.redises import Redises
from corral_operator.refusal import ApiError
from corral_operator.spec import Busy, PoolSpec, Runtime
from corral_operator.victims import Plan, Scene, plan_of

LIST_S = 5.0
"""A list of the pods is believed for so long while nothing is written and the Deployment tells nothing new."""

MARKS_S = 10.0
"""No more marks are written so long after a look began: orders that stand then are relied on for longer."""

ASK_AGAIN_S = 300.0
"""Seconds until Redis is asked again whether it takes orders, after it refused."""

TIDY_AGAIN_S = 30.0
"""Seconds until marks are looked for again, after the API server refused."""

TOO_LONG = "DrainTooLong"

logger = logging.getLogger("corral.operator.drainage")


@dataclass(frozen=True, slots=True)
class _Case:
    """One pool at one look. `said`: what its workers say; None when not all of them were read."""

    state: PoolState
    spec: PoolSpec
    wanted: int
    deployment: Deployment
    observed: Observed
    said: Mapping[Post, WorkerReading] | None

    @property
    def guard(self) -> Busy:
        """As decided with. But where no worker beats there is nobody to wait for, unless a job is in somebody's hands."""
        guard, beats = self.observed.guard, self.observed.staff.beats
        nobody = self.said is not None and not beats and not any(row.active for row in self.observed.known)
        return Busy.COST if guard is Busy.DRAIN and nobody else guard

    @property
    def kept(self) -> Departures:
        return self.state.departures

    def keep(self, **what: Any) -> None:
        if any(getattr(self.kept, name) != value for name, value in what.items()):
            self.state.departures = replace(self.kept, **what)


class Drainage:
    """`clock` gives seconds, monotonic, the same as the loop's; `ordered` counts the orders that were written."""

    def __init__(
        self, door: Door, redises: Redises, clock: Callable[[], float], ordered: Callable[[int], None]
    ) -> None:
        self._door = door
        self._redises = redises
        self._clock = clock
        self._ordered = ordered

    async def toward(self, state: PoolState, decision: Decision, deployment: Deployment, observed: Observed) -> int:
        """One step towards the decided number; gives how many replicas to write now. Raises ApiError."""
        assert state.spec is not None
        case = _Case(state, state.spec, decision.replicas, deployment, observed, _said(state.spec, observed))
        if not deployment.total and not deployment.replicas:
            case.keep(checked=True)  # no pods, no marks
        if case.kept.nameless_since_s is not None:
            named = any(is_pod_of(deployment.key.name, pod) for pod in observed.staff.members)
            case.keep(nameless_since_s=None if named else case.kept.nameless_since_s)
        await self._ask_leave(case)
        if _idle(case):
            await self._order(case, (), ())
            return case.wanted
        try:
            return await self._step(case)
        except ApiError as error:
            if case.wanted < deployment.replicas:
                raise
            # What is only tidied up must not stand in the way of more replicas.
            logger.warning("%s: old marks could not be looked for: %s", state.key, error.text)
            case.keep(refused_until_s=observed.now_s + TIDY_AGAIN_S)
            return case.wanted

    async def _step(self, case: _Case) -> int:
        listed = await self._pods(case)
        plan = _plan(case, listed)
        present = case.deployment.replicas
        if (plan.replicas < present or plan.unmarks) and listed.at_s < case.observed.now_s:
            # What is written must rest on the pods of this moment.
            listed = await self._list(case)
            plan = _plan(case, listed)
        taken = await self._order(case, plan.victims, listed.pods)
        if not taken and case.said is not None and case.guard is Busy.DRAIN and plan.replicas < present:
            # Redis has gone since it was read: nothing is lowered on guesses.
            plan = replace(plan, replicas=present, marks=(), overdue=())
        plan = await self._mark(case, plan)
        await self._tell(case, plan.overdue)
        _remember(case, plan, listed, done=taken)
        return plan.replicas

    async def _mark(self, case: _Case, plan: Plan) -> Plan:
        """Write the marks; gives what came of the plan. If they take long, the others and the number wait for the next
        look: an order that the plan relies on may run out."""
        begun_s, namespace = case.observed.now_s, case.deployment.key.namespace
        costs = [*((pod, None) for pod in plan.unmarks), *((pod, LOWEST_COST) for pod in plan.marks)]
        for done, (pod, cost) in enumerate(costs, start=1):
            await self._door.mark(namespace, pod.name, pod.uid, cost)
            if self._clock() - begun_s >= MARKS_S:
                return replace(
                    plan,
                    replicas=max(plan.replicas, case.deployment.replicas),
                    unmarks=plan.unmarks[:done],
                    marks=plan.marks[: max(0, done - len(plan.unmarks))],
                    overdue=(),
                )
        return plan

    # --- the pods ---

    async def _pods(self, case: _Case) -> Listed:
        listed = case.kept.listed
        if listed is None or listed.version != case.deployment.version:
            return await self._list(case)
        return listed if case.observed.now_s - listed.at_s < LIST_S else await self._list(case)

    async def _list(self, case: _Case) -> Listed:
        rows = await self._door.pods(case.deployment.key.namespace, case.deployment.selector)
        listed = Listed(case.deployment.version, self._clock(), live_pods(rows))
        members, now_s = case.observed.staff.members, case.observed.now_s
        ready = [pod.name for pod in listed.pods if pod.ready]
        nameless = case.observed.staff.beats and ready and not any(name in members for name in ready)
        before = case.kept.nameless_since_s
        case.keep(
            checked=True,
            listed=listed,
            foreign=tuple(sorted(pod.name for pod in listed.pods if pod.foreign_cost)),
            nameless_since_s=None if not nameless else now_s if before is None else before,
        )
        return listed

    # --- the orders ---

    async def _order(self, case: _Case, victims: Sequence[LivePod], living: Sequence[LivePod]) -> bool:
        """Write and take back orders; False when Redis could not be asked, or refused."""
        now_s = case.observed.now_s
        if case.said is None:
            # Nobody can take them back; they run out.
            lasting = {post: row for post, row in case.kept.orders.items() if orders.stands(row, now_s, ORDER_S)}
            if len(lasting) < len(case.kept.orders):
                case.keep(orders=lasting)
            return not lasting
        members, names = case.observed.staff.members, {pod.name for pod in victims}
        # One that somebody else took away counts as never given.
        standing = {post: row for post, row in case.kept.orders.items() if _stands_there(case.said, post)}
        chosen = [members[name] for name in names if name in members]
        spared = [members[pod.name] for pod in living if pod.name in members and pod.name not in names]
        given = orders.to_write(chosen, case.said, standing, now_s)
        taken = orders.to_take_back(spared, case.said, case.kept.orders, names, now_s)
        if not given and not taken:
            case.keep(orders=standing)
            return True
        prefix, staff = case.spec.prefix, case.observed.staff
        redis_ms = case.observed.wall_ms if staff.redis_ms is None else staff.redis_ms
        writes = orders.writes(given, prefix, redis_ms)
        replies = await self._send(case, [*writes, *orders.removals(taken, prefix)])
        if replies is None:
            return False
        self._ordered(sum(not isinstance(reply, RedisUnavailable) for reply in replies[: len(writes) : 2]))
        pods = {post: member.pod for member in chosen for post in orders.posts_of(member)}
        kept = orders.written(given, replies[: len(writes)], standing, pods, now_s)
        case.keep(orders={post: row for post, row in kept.items() if post not in taken})
        return not self._refused(case, replies)

    async def _ask_leave(self, case: _Case) -> None:
        """Whether orders may be written at all: before they are needed, and now and then while they may not."""
        kept, now_s = case.kept, case.observed.now_s
        drains = case.spec.protection.busy is Busy.DRAIN and case.spec.runtime is Runtime.CORRAL
        if not drains or case.said is None or (kept.asked_of == case.state.secret and now_s < kept.ask_at_s):
            return
        case.keep(asked_of=case.state.secret, ask_at_s=now_s + ASK_AGAIN_S)
        replies = await self._send(case, orders.probes(case.spec.queues, case.spec.prefix))
        if replies is not None and not self._refused(case, replies):
            case.state.orders_refused = None
            case.keep(ask_at_s=inf)

    async def _send(self, case: _Case, commands: Sequence[Command]) -> list[Any] | None:
        """The replies; None when Redis gave none, or another operator leads by now."""
        assert case.state.secret is not None
        if not self._door.writes:
            return None
        try:
            return await self._redises.of(case.state.secret).send(commands)
        except RedisUnavailable as error:
            logger.warning("%s: orders could not be written: %s", case.state.key, error)
            return None

    def _refused(self, case: _Case, replies: Sequence[Any]) -> bool:
        error = orders.refusal(replies)
        if error is None:
            return False
        if isinstance(error, RedisRefused) and error.code == orders.NO_PERMISSION:
            # Without the error's own cure: that is for workers.
            said = f"{error.code} {error.command}".rstrip()
            if case.state.orders_refused is None:
                logger.warning("%s: Redis refuses orders to workers: %s", case.state.key, said)
            case.state.orders_refused = said
            case.keep(orders={}, asked_of=case.state.secret, ask_at_s=case.observed.now_s + ASK_AGAIN_S)
        else:
            logger.warning("%s: orders were refused: %s", case.state.key, error)
        return True

    async def _tell(self, case: _Case, overdue: Sequence[LivePod]) -> None:
        new = [pod for pod in overdue if pod.uid not in case.kept.told]
        if not new:
            return
        names = ", ".join(pod.name for pod in new)
        minutes = case.spec.protection.max_drain_s / 60
        text = (
            f"still busy, or not known to be idle, after {minutes:.3g} min (protection.maxDrain): {names}; told to end "
            f"all the same, with {case.spec.grace_s:g} s (gracePeriod) to finish"
        )
        logger.warning("%s: %s", case.state.key, text)
        try:
            await self._door.tell(case.state.pool, TOO_LONG, text, warning=True)
        except ApiError as error:
            logger.warning("%s: the event %s could not be written: %s", case.state.key, TOO_LONG, error.text)


def _said(spec: PoolSpec, observed: Observed) -> Mapping[Post, WorkerReading] | None:
    read = [row for row in observed.known if row.workers is not None and row.name in spec.queues]
    return orders.heard(read) if len(read) == len(spec.queues) else None


def _stands_there(said: Mapping[Post, WorkerReading], post: Post) -> bool:
    return post not in said or said[post].quiet_until_ms is not None


def _idle(case: _Case) -> bool:
    """There is nothing to lower, to take back or to look for."""
    lowers = case.wanted < case.deployment.replicas and case.guard is not Busy.NONE
    if lowers or case.kept.listed is not None:
        return False
    return case.kept.checked or case.observed.now_s < case.kept.refused_until_s


def _plan(case: _Case, listed: Listed) -> Plan:
    kept, staff, now_s, said = case.kept, case.observed.staff, case.observed.now_s, case.said
    obedient = [
        member.pod
        for member in staff.members.values()
        if said is not None and orders.obeys(member, said, kept.orders, now_s)
    ]
    return plan_of(
        Scene(
            pods=listed.pods,
            present=case.deployment.replicas,
            wanted=case.wanted,
            staff=staff,
            now_s=now_s,
            guard=case.guard,
            max_drain_s=case.spec.protection.max_drain_s,
            safe=frozenset(obedient),
            ordered=frozenset(row.pod for row in kept.orders.values()),
            since=kept.since,
            held_since_s=kept.held_since_s,
            rollout=case.observed.pods.rollout,
        )
    )


def _remember(case: _Case, plan: Plan, listed: Listed, *, done: bool) -> None:
    """The list is kept as long as there is something to take back."""
    case.state.leaving = plan.waiting
    marked = {pod for pod in listed.pods if pod.marked} - set(plan.unmarks) | set(plan.marks)
    over = done and not plan.victims and not marked and plan.replicas == case.wanted
    case.keep(
        since=plan.since,
        held_since_s=plan.held_since_s,
        told=(case.kept.told | {pod.uid for pod in plan.overdue}) if not over else frozenset(),
        listed=None if over else _written(listed, plan),
    )


def _written(listed: Listed, plan: Plan) -> Listed:
    """The list as it is after the marks were written."""
    costs = dict.fromkeys(plan.marks, LOWEST_COST) | dict.fromkeys(plan.unmarks)
    return listed._replace(pods=tuple(replace(pod, cost=costs.get(pod, pod.cost)) for pod in listed.pods))
