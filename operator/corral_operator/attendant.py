"""One look at one pool, from what was read to what is written: decide, scale, tell."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corral_operator.counting import QueueKey
from corral_operator.decision import Decision
from corral_operator.deployment import Deployment
from corral_operator.door import Door
from corral_operator.drainage import Drainage
from corral_operator.findings import NOTHING_LOOKED_AT, Findings
from corral_operator.guard import Guard, guard_of, unheard_since
from corral_operator.inspector import Inspector
from corral_operator.metrics import OperatorMetrics
from corral_operator.news import News, news
from corral_operator.observed import Observed, Pods, QueueReading, Reading, Staff
from corral_operator.pods import pods_of
from corral_operator.pool_state import DUE, Look, PoolState, with_replicas
from corral_operator.redises import Redises
from corral_operator.refusal import ApiError
from corral_operator.report import Problem, Report, Scaled
from corral_operator.rivalry import Rivalry
from corral_operator.scaling import decide
from corral_operator.spec import Mode
from corral_operator.status import status_of, worth_building, write_now
from corral_operator.table import Table
from corral_operator.workload import Workload

PODS_EVERY_S = 5.0
"""Seconds between two lists of a Deployment's pods while it tells nothing new: those that find no node, say."""

NOT_BY_TIME = (400, 403, 422)
"""Refusals that only a person can lift."""

logger = logging.getLogger("corral.operator.pool")


class Attendant:
    """`clock` gives seconds, monotonic, the same as the loop's; `everybody` all pools."""

    def __init__(
        self,
        door: Door,
        table: Table,
        redises: Redises,
        metrics: OperatorMetrics,
        clock: Callable[[], float],
        everybody: Callable[[], Iterable[PoolState]],
    ) -> None:
        self._door = door
        self._table = table
        self._metrics = metrics
        self._clock = clock
        self._drainage = Drainage(door, redises, clock, metrics.orders_written)
        self._inspector = Inspector(door, redises, clock)
        self._rivalry = Rivalry(door, everybody, clock)
        self._workload = Workload(door, table)
        self._since_s = time.time() // 1  # as the API server tells times

    async def attend(self, state: PoolState, readings: Mapping[QueueKey, Reading]) -> Report | None:
        """Everything there is to do for a pool now. None when it has vanished meanwhile, or the API server refused."""
        try:
            return await self._attend(state, readings)
        except ApiError as error:
            self.give_way(state, error)
            return None

    async def _attend(self, state: PoolState, readings: Mapping[QueueKey, Reading]) -> Report | None:
        problem, deployment, observed, decision, refusal = state.problem, None, None, None, None
        guard, findings = None, NOTHING_LOOKED_AT
        if problem is None:
            deployment, problem = await self._workload.of(state)
        hindered = problem is not None
        if state.spec is not None:
            observed, guard, blind = await self._observe(state, readings, deployment)
            # A template that is refused leaves the Deployment of before, and that is served on.
            if problem is None or deployment is not None:
                problem, decision = problem or blind, self._decide(state, observed)
                deployment, refusal = await self._act(state, decision, deployment, observed)
                findings = await self._inspector.look(state, deployment, observed)
        if refusal is not None and refusal.code in NOT_BY_TIME:
            problem = Problem("Forbidden", f"the operator may not write the replicas: {refusal.text}")
        report = self._report(state, observed, decision, deployment, problem, guard, findings)
        self._metrics.pool_seen(state.key.namespace, state.key.name, report)
        if not await self._tell(state, report):
            return None
        if refusal is not None:
            raise refusal
        if hindered:
            state.postpone(self._clock())
        else:
            state.schedule(decision, observed, deployment, self._clock())
        return report

    async def _observe(
        self, state: PoolState, readings: Mapping[QueueKey, Reading], deployment: Deployment | None
    ) -> tuple[Observed, Guard, Problem | None]:
        """What there is; how busy pods are protected; and why nobody could look at its pods, if so: then the Deployment's own counts have to do."""
        assert state.spec is not None
        rows, problem = None, None
        try:
            rows = await self._pods(state, deployment) if deployment is not None else None
        except ApiError as error:
            if error.code != 403:
                raise
            problem = Problem("Forbidden", f"the operator may not list pods: {error.text}")
        wall_ms = int(time.time() * 1000)
        pods = pods_of(deployment, rows, wall_ms) if deployment is not None else Pods(present=0)
        keys = [QueueKey(state.spec.prefix, name) for name in state.spec.queues]
        # Without a Secret the pool has turned to another one since they were read: they may be of another Redis.
        known = tuple(readings[key] for key in keys if key in readings) if state.secret is not None else ()
        now_s = self._clock()
        staff = state.crew(known, now_s)
        guard = _guard(state, staff, known, pods.ready, now_s)
        rests = state.asleep and not pods.present and not any(map(_has_work, known))
        rivals = await self._rivalry.of(state, rests=rests)
        return Observed(now_s, wall_ms, known, pods, staff, guard.busy, rivals), guard, problem

    async def _pods(self, state: PoolState, deployment: Deployment) -> tuple[Mapping[str, Any], ...] | None:
        """Its pods, while they are not all ready; listed anew when the Deployment has news, and every few seconds."""
        now_s = self._clock()
        looked = state.looked
        if deployment.settled and (looked is None or not deployment.total):
            state.looked = None
            return None
        if looked is None or looked.version != deployment.version or now_s - looked.at_s >= PODS_EVERY_S:
            rows = tuple(await self._door.pods(deployment.key.namespace, deployment.selector))
            looked = Look(deployment.version, now_s, rows)
            state.starts = state.starts.with_pods(rows, self._since_s)
        # Settled: this look was the last, and told how long the last pods took to start.
        state.looked = None if deployment.settled else looked
        return looked.pods

    def _decide(self, state: PoolState, observed: Observed) -> Decision:
        assert state.spec is not None
        state.learn(observed.readings, observed.now_s)
        decision, state.memory = decide(
            state.spec, observed, state.learned, state.memory, pod_start_s=state.pod_start_s
        )
        self._metrics.decided(decision.reason)
        return decision

    async def _act(
        self, state: PoolState, decision: Decision, deployment: Deployment | None, observed: Observed
    ) -> tuple[Deployment | None, ApiError | None]:
        """Bring the replicas nearer to the decided number; gives the Deployment as it is then, or what was refused."""
        assert state.spec is not None
        state.leaving = 0
        if deployment is None or not self._door.writes:
            return deployment, None
        if state.spec.mode is not Mode.AUTO:
            if not state.departures.under_way:
                return deployment, None
            # It was stopped in the middle of a scale-down: who was told or marked is let off.
            decision = replace(decision, replicas=deployment.replicas)
        try:
            replicas = await self._drainage.toward(state, decision, deployment, observed)
        except ApiError as error:
            return deployment, error
        if deployment.replicas == replicas or state.spec.mode is not Mode.AUTO:
            return deployment, None
        return await self._scale(state, decision, deployment, replicas)

    async def _scale(
        self, state: PoolState, decision: Decision, deployment: Deployment, replicas: int
    ) -> tuple[Deployment | None, ApiError | None]:
        """Write the replicas."""
        before = deployment.replicas
        try:
            version = await self._door.scale(deployment.key, replicas, deployment.uid)
        except ApiError as error:
            if error.code == 404:
                self._table.deployments.drop(deployment.key, deployment.uid, deployment.version)
            return deployment, error
        told = self._table.deployments.get(deployment.key)
        if told is not None and told.uid == deployment.uid and told.version >= version:
            deployment = told  # the watch was faster than the answer
        else:
            deployment = with_replicas(deployment, replicas, version)
            self._table.deployments.put(deployment)
        if state.own_generation is not None:
            state.own_generation = max(state.own_generation, deployment.generation)
        if replicas > before and state.looked is None:
            state.looked = DUE
        state.scaled = Scaled(before, replicas, int(time.time() * 1000), decision.reason)
        self._metrics.scaled("up" if replicas > before else "down")
        finish = f", {state.leaving} more finish their jobs" if state.leaving else ""
        logger.info("%s: %d -> %d replicas%s; %s", state.key, before, replicas, finish, decision.text)
        return deployment, None

    def _report(
        self,
        state: PoolState,
        observed: Observed | None,
        decision: Decision | None,
        deployment: Deployment | None,
        problem: Problem | None,
        guard: Guard | None,
        findings: Findings,
    ) -> Report:
        return Report(
            pool=state.spec,
            generation=state.pool.generation,
            wall_ms=int(time.time() * 1000),
            observed=observed,
            decision=decision,
            learned=state.learned,
            selector=deployment.selector if deployment is not None else None,
            replicas=deployment.total if deployment is not None else None,
            problem=problem,
            scaled=state.scaled,
            pod_start_s=state.starts.median_s,
            pod_start_p95_s=state.starts.p95_s,
            guard=guard,
            findings=findings,
            leaving=state.leaving,
        )

    async def _tell(self, state: PoolState, report: Report) -> bool:
        """Status and events; False when the pool has vanished. Raises ApiError."""
        previous, now_s = state.pool.status, self._clock()
        told, since_s = state.told or previous, now_s - state.reported_at
        if not self._door.writes or now_s < state.mute_until or not worth_building(report, told, since_s):
            return True
        status = status_of(report, previous)
        if not write_now(told, status, since_s):
            return True
        try:
            written = await self._door.write_status(state.pool, status)
        except ApiError as error:
            if error.code == 404:
                state.missing = True
                return False
            # No reason to decide more slowly; nobody but the log can be told.
            state.status_refused(error.code, error.retry_after_s, self._clock())
            level = logging.INFO if error.code == 409 else logging.WARNING
            logger.log(level, "%s: the status is refused (%s): %s", state.key, error.reason, error.text)
            return True
        state.reported_at, state.told, state.status_failures = now_s, status, 0
        self._table.pools.put(written)
        # The watch may have told of a newer one before the answer came.
        newest = self._table.pools.get(state.key)
        if newest is not None and newest.uid == state.pool.uid and state.take(newest):
            state.wake(now_s)  # the spec is newer than what was just looked at
        await self._events(state, news(previous, status))
        return True

    async def _events(self, state: PoolState, told: list[News]) -> None:
        """For `kubectl describe`. An event that is refused is no reason to stop, and is not sent again."""
        for row in told:
            try:
                await self._door.tell(state.pool, row.reason, row.text, warning=row.warning)
            except ApiError as error:
                logger.warning("%s: the event %s could not be written: %s", state.key, row.reason, error.text)

    def give_way(self, state: PoolState, error: ApiError) -> None:
        """Leave the API server alone for a while, and say why."""
        state.refused(error.code, error.retry_after_s, self._clock())
        level = logging.INFO if error.code == 409 else logging.WARNING
        logger.log(
            level,
            "%s: the API server refused (%s): %s; again in %.1f s",
            state.key,
            error.reason,
            error.text,
            state.not_before - self._clock(),
        )


def _has_work(row: Reading) -> bool:
    return not isinstance(row, QueueReading) or bool(row.ready or row.active or row.soon_due)


def _guard(state: PoolState, staff: Staff, readings: Sequence[Reading], ready: int, now_s: float) -> Guard:
    """How its busy pods are protected; remembers since when nobody beats."""
    assert state.spec is not None
    read = [row for row in readings if isinstance(row, QueueReading) and row.workers is not None]
    departures = state.departures
    since_s = unheard_since(departures.unheard_since_s, staff, ready, now_s, read=len(read) == len(state.spec.queues))
    if since_s != departures.unheard_since_s:
        state.departures = replace(departures, unheard_since_s=since_s)
    return guard_of(
        state.spec,
        staff,
        orders_refused=state.orders_refused,
        unheard_s=0.0 if since_s is None else now_s - since_s,
        nameless_s=0.0 if departures.nameless_since_s is None else now_s - departures.nameless_since_s,
        foreign=departures.foreign,
    )
