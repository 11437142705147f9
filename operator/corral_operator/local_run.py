"""Pools on this machine for the length of a block: the loop, the processes, and what they tell. For `up` and `demo`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from corral_operator.conditions import UNREAD
from corral_operator.decision import Reason
from corral_operator.letterbox import collect
from corral_operator.metrics import OperatorMetrics
from corral_operator.pool_state import PoolState
from corral_operator.processes import REPLICA_DIED, Processes
from corral_operator.reconcile import Reconciler
from corral_operator.replica import Replica
from corral_operator.table import Pool

SHOW_S = 0.5
"""Seconds between two pictures."""

LETTERS_S = 0.5
"""Seconds between two looks for what other processes ask."""

LAST_LOOK_S = 2.0
"""Seconds that the last look at the queues may take, when all replicas are gone."""

TOLD = ("NothingTaken", "SharedQueue", "DrainTooLong")
"""The events that neither a decision nor a finding tells: a queue from which no worker takes, one that two pools serve,
and a busy replica that is ended all the same."""


class LocalView(Protocol):
    """What is told line by line, and the picture of all pools."""

    def tell(self, text: str) -> None:
        """Something happened."""

    def show(self, rows: Sequence[tuple[PoolState, Sequence[Replica]]]) -> None:
        """How every pool is."""


class LocalRun:
    """The pools of one block."""

    def __init__(self, processes: Processes, reconciler: Reconciler, view: LocalView, folder: Path) -> None:
        self.processes = processes
        self._folder = folder
        self._reconciler = reconciler
        self._view = view
        self._draining = False
        self._told: dict[str, tuple[object, ...]] = {}

    def rows(self) -> list[tuple[PoolState, Sequence[Replica]]]:
        """Every pool with its replicas, by name. While they drain, without what the loop would decide."""
        states = sorted(self._reconciler.roster, key=lambda state: state.key)
        return [
            (_undecided(state) if self._draining else state, self.processes.replicas(state.key)) for state in states
        ]

    async def keep(self) -> None:
        """Decide, watch over the processes and show them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconciler.run())
            group.create_task(self.processes.run(self._reconciler.roster.deployment_changed))
            group.create_task(self._show())
            group.create_task(self._answer_letters())

    async def drain(self) -> None:
        """SIGTERM to every replica, and back when all are gone. The queues are read on, but nothing is started."""
        self._draining = True
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._reconciler.run()), group.create_task(self._show())]
            await self.processes.drain()
            for task in others:
                task.cancel()
        # What is shown in the end is what they left.
        for state in self._reconciler.roster:
            state.wake(float("-inf"))
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                await self._reconciler.once()
        self._view.show(self.rows())

    async def close(self) -> None:
        """Whatever is left is killed."""
        await self._reconciler.close()
        self.processes.kill()

    async def _answer_letters(self) -> None:
        while True:
            for key in collect(self._folder):
                if (pool := self.processes.make_automatic(key)) is not None:
                    self._reconciler.roster.pool_changed(pool)
                    self._view.tell(f"{key.name}: automatic again, until the file says replicas anew")
            await asyncio.sleep(LETTERS_S)

    async def _show(self) -> None:
        while True:
            rows = self.rows()
            for state, _ in rows:
                self._tell_decision(state)
            # The last picture is `drain`'s: until it has looked once more, these are figures of before.
            if not self._draining or any(replicas for _, replicas in rows):
                self._view.show(rows)
            await asyncio.sleep(SHOW_S)

    def _tell_decision(self, state: PoolState) -> None:
        """Once for every other number of replicas, and when it is not known what to decide, or known again."""
        text, report = why(state), state.report
        if not text or report is None:
            return
        decision = report.decision
        gist = (None, text) if decision is None else (decision.replicas, _unread(decision.reason))
        if self._told.get(state.key.name) != gist:
            self._told[state.key.name] = gist
            self._view.tell(f"{state.key.name}: {text}")


def _unread(reason: Reason) -> Reason | None:
    return reason if reason in UNREAD else None


def why(state: PoolState) -> str:
    """The sentence of the last decision, or what stands against one; empty while there is neither."""
    report = state.report
    if report is None:
        return ""
    if report.problem is not None:
        text = f"{report.problem.cause}: {report.problem.text}"
    else:
        text = report.decision.text if report.decision is not None else ""
    # Nobody reads a Secret here: its content is the one URL.
    return text.replace("the Secret", "the URL of Redis")


def _undecided(state: PoolState) -> PoolState:
    report = state.report
    return state if report is None else replace(state, report=replace(report, decision=None))


@asynccontextmanager
async def local_run(
    pools: Sequence[Pool],
    url: str,
    folder: Path,
    environ: Mapping[str, str],
    view: LocalView,
    *,
    writes: bool = True,
) -> AsyncIterator[LocalRun]:
    """Pools on this machine. Raises ConfigurationError for one whose environment is not here."""

    def told(pool: Pool, reason: str, text: str, warning: bool) -> None:
        if reason == REPLICA_DIED:
            view.tell(text)
        elif reason in TOLD:
            view.tell(f"{pool.key.name}: {text}")

    processes = Processes(pools, url, folder, environ, told=told, writes=writes)
    missing = [(pool, text) for pool in pools for text in processes.check(pool)]
    reconciler = Reconciler(processes, OperatorMetrics())
    await reconciler.sync()
    for pool, text in missing:
        view.tell(f"{pool.key.name}: {text}")
    run = LocalRun(processes, reconciler, view, folder)
    try:
        yield run
    finally:
        await run.close()
