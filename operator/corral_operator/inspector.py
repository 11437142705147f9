"""The closer look at a pool, now and then: jobs that kill their workers, workers that fell silent, parents left waiting.

Every 30 s, and at once when something points to trouble: a worker falls silent, or a pod is not ready any more. Pods are
listed only where they can tell something. What cannot be read leaves the answer of the look before.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from corral.errors import RedisUnavailable
from corral_operator.blame import with_jobs
from corral_operator.deaths import PodSeen, pods_seen
from corral_operator.deployment import Deployment
from corral_operator.door import Door
from corral_operator.findings import (
    NOTHING_LOOKED_AT,
    SILENT_WORKERS,
    Findings,
    Inspected,
    orphans,
    poison,
    silent,
    waiting,
)
from corral_operator.inspection import (
    Look,
    Seen,
    look_at_jobs,
    look_at_parents,
)
from corral_operator.observed import Observed, QueueReading
from corral_operator.pool_state import PoolState
from corral_operator.redises import Redises
from corral_operator.refusal import ApiError
from corral_operator.signs import (
    ALERT_S,
    EVERY_S,
    alerted_by,
    by_queue,
    failed_of,
    gone_workers,
    is_due,
    is_stuck,
    next_place,
    nothing_to_see,
    suspects_of,
)

NOTHING_FOUND = Findings(looked=True)

KNOWN_PARENTS = 5
"""Parents of a queue that are looked at again because they waited for ever before."""


class Inspector:
    """`clock` gives seconds, monotonic, the same as the loop's."""

    def __init__(self, door: Door, redises: Redises, clock: Callable[[], float]) -> None:
        self._door = door
        self._redises = redises
        self._clock = clock

    async def look(self, state: PoolState, deployment: Deployment | None, observed: Observed) -> Findings:
        """What is wrong; the last look's answer while no new one is due."""
        if state.secret is None or state.spec is None or not observed.known:
            return NOTHING_LOOKED_AT
        now_s = self._clock()
        before = state.inspected
        if before is None:
            # Spread over the time between two looks, so that a thousand pools are not looked at all at once.
            before = Inspected(now_s - zlib.crc32(str(state.key).encode()) % EVERY_S)
        alerted = alerted_by(before, observed, now_s)
        state.inspected = alerted
        if nothing_to_see(alerted, observed):
            state.inspected = replace(alerted, findings=NOTHING_FOUND)
            return NOTHING_FOUND
        if not is_due(before, alerted, now_s):
            return alerted.findings
        state.inspected = alerted = replace(alerted, at_s=now_s)
        try:
            state.inspected = await self._looked(state, deployment, observed, alerted, now_s)
        except RedisUnavailable:
            return alerted.findings  # the next look at the queues tells of it
        return state.inspected.findings

    async def _looked(
        self, state: PoolState, deployment: Deployment | None, observed: Observed, before: Inspected, now_s: float
    ) -> Inspected:
        assert state.spec is not None
        gone = gone_workers(observed)
        seen = await self._read(state, observed.known, gone, before)
        suspects = suspects_of(seen.jobs, before.silent)
        pods = None
        if suspects and deployment is not None:
            news = suspects != before.suspects or now_s < before.alert_until_s
            pods = await self._pods(state, deployment, listed=news)
        cases = with_jobs(before.cases, seen.jobs, pods)
        stuck = [] if pods is None else [name for name in before.silent if is_stuck(name, pods, observed, gone)]
        # Without a list of pods there was nothing new to be learned of the silent ones.
        quiet = before.findings.of((SILENT_WORKERS,)) if pods is None and before.silent else silent(stuck)
        rows = (
            *poison(seen.jobs, cases, observed.wall_ms),
            *quiet,
            *orphans(seen.jobs, beats=observed.staff.beats, ready=observed.pods.ready),
            *waiting(seen.parents),
        )
        return replace(
            before,
            alert_until_s=now_s + ALERT_S if suspects - before.suspects else before.alert_until_s,
            failed=failed_of(observed),
            suspects=suspects,
            cases=cases,
            parents=by_queue(seen.parents),
            places={row.name: next_place(row, before.places.get(row.name, 0)) for row in observed.known},
            findings=Findings(rows, looked=not observed.unknown),
        )

    async def _read(
        self, state: PoolState, readings: Sequence[QueueReading], gone: frozenset[str], before: Inspected
    ) -> Seen:
        """All queues in the same three round trips. Raises RedisUnavailable."""
        assert state.spec is not None
        prefix = state.spec.prefix
        looks: list[Look] = []
        for row in readings:
            looks.append(look_at_jobs(row, prefix, gone, before.cases.of(row.name)))
            known = before.parents.get(row.name, ())[:KNOWN_PARENTS]
            looks.append(look_at_parents(row, prefix, before.places.get(row.name, 0), known))
        ended: list[Seen] = []
        asking = [(look, commands) for look in looks if (commands := _go_on(look, None, ended)) is not None]
        while asking:
            replies = iter(await self._send(state, [command for _, some in asking for command in some]))
            told = [(look, [next(replies) for _ in some]) for look, some in asking]
            asking = [(look, commands) for look, rows in told if (commands := _go_on(look, rows, ended)) is not None]
        return Seen(
            tuple(job for seen in ended for job in seen.jobs), tuple(row for seen in ended for row in seen.parents)
        )

    async def _send(self, state: PoolState, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        assert state.secret is not None
        return await self._redises.of(state.secret).send(commands)

    async def _pods(self, state: PoolState, deployment: Deployment, *, listed: bool) -> dict[str, PodSeen] | None:
        """The pool's pods; None when they are not known. Those that were listed anyway cost nothing."""
        if state.looked is not None and state.looked.pods:
            return pods_seen(state.looked.pods)
        if not listed:
            return None
        try:
            return pods_seen(await self._door.pods(deployment.key.namespace, deployment.selector))
        except ApiError:
            return None  # whoever may not list them is told so elsewhere


def _go_on(look: Look, replies: list[Any] | None, ended: list[Seen]) -> Any:
    """The next commands of a look; None when it has ended, and then what it saw is among the `ended`."""
    try:
        return look.send(replies)  # type: ignore[arg-type]  # a generator begins with None
    except StopIteration as stop:
        ended.append(stop.value)
        return None
