"""Pools on this machine for the length of a block: the loop, the processes, and what they tell. For `up` and `demo`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from corral_operator.metrics import OperatorMetrics
from corral_operator.pool_state import PoolState
from corral_operator.processes import Processes
from corral_operator.reconcile import Reconciler
from corral_operator.replica import Replica
from corral_operator.table import Pool

SHOW_S = 0.5
"""Seconds between two pictures."""


class LocalView(Protocol):
    """What is told line by line, and the picture of all pools."""

    def tell(self, text: str) -> None:
        """Something happened."""

    def show(self, rows: Sequence[tuple[PoolState, Sequence[Replica]]]) -> None:
        """How every pool is."""


class LocalRun:
    """The pools of one block."""

    def __init__(self, processes: Processes, reconciler: Reconciler, view: LocalView) -> None:
        self.processes = processes
        self._reconciler = reconciler
        self._view = view

    def rows(self) -> list[tuple[PoolState, Sequence[Replica]]]:
        """Every pool with its replicas, by name."""
        states = sorted(self._reconciler.roster, key=lambda state: state.key)
        return [(state, self.processes.replicas(state.key)) for state in states]

    async def keep(self) -> None:
        """Decide, watch over the processes and show them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconciler.run())
            group.create_task(self.processes.run(self._reconciler.roster.deployment_changed))
            group.create_task(self._show())

    async def drain(self) -> None:
        """No more decisions; SIGTERM to every replica, and back when all are gone."""
        await self._reconciler.close()
        await self.processes.drain()
        self._view.show(self.rows())

    async def close(self) -> None:
        """Whatever is left is killed."""
        await self._reconciler.close()
        self.processes.kill()

    async def _show(self) -> None:
        while True:
            self._view.show(self.rows())
            await asyncio.sleep(SHOW_S)


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
        view.tell(f"{pool.key.name}: {reason}: {text}" if warning else f"{pool.key.name}: {text}")

    processes = Processes(pools, url, folder, environ, told=told, writes=writes)
    for pool in pools:
        processes.check(pool)
    reconciler = Reconciler(processes, OperatorMetrics())
    await reconciler.sync()
    run = LocalRun(processes, reconciler, view)
    try:
        yield run
    finally:
        await run.close()
