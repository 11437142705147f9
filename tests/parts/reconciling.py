"""The operator's loop in the test's own process, on a pretended API server whose changes it hears of at once."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from corral_operator.api import Api
from corral_operator.cluster import Cluster
from corral_operator.deployment import read_deployment
from corral_operator.metrics import OperatorMetrics
from corral_operator.reconcile import Reconciler
from corral_operator.table import read_pool
from kube_mock import POOLS
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from kube_mock import KubeMock
    from kube_objects import Change


class Reconciling:
    """A Reconciler and what it was made with. `deaf`: its watch tells it nothing while this is True."""

    def __init__(
        self,
        kube: KubeMock,
        api: Api,
        namespaces: Sequence[str] = (),
        *,
        writes: bool = True,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.metrics = OperatorMetrics()
        self.api = api
        self.cluster = Cluster(api, namespaces, writes=writes, leads=leads)
        # The loop's own time, which a test may let run faster (`quick_time`); else it is time.monotonic.
        self.reconciler = Reconciler(self.cluster, self.metrics, asyncio.get_running_loop().time)
        self.deaf = False
        self.running: asyncio.Task[None] | None = None
        self.broke: list[str] = []
        """What broke where nobody waits for it: a callback, or a task that nobody asks how it ended."""
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.broke.append(repr(context)))
        self._kube = kube
        kube.objects.told.append(self._told)

    def start(self) -> None:
        """Run the loop; `sync` comes first."""
        self.running = asyncio.create_task(self.reconciler.run())

    async def close(self) -> None:
        """End it; an error that ended it before is raised, and AssertionError for one that nobody saw."""
        self._kube.objects.told.remove(self._told)
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        await self.reconciler.close()
        await self.api.close()
        assert self.broke == []
        if self.running is not None and not self.running.cancelled():
            self.running.result()

    def shown(self, name: str = "emails") -> list[str]:
        """The lines of the metrics that are about a pool."""
        text = self.metrics.render()[0].decode()
        return [line for line in text.splitlines() if f'pool="{name}"' in line]

    @property
    def looks(self) -> int:
        """Decisions so far, of all pools."""
        samples = (sample for family in self.metrics.registry.collect() for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name == "corral_decisions_total"))

    async def look(self, times: int = 3) -> None:
        """Wait for so many decisions more."""
        until = self.looks + times
        await eventually(lambda: self.looks >= until)

    def _told(self, change: Change) -> None:
        if not self.deaf:
            # Not at once: a watch tells of a change after the call that made it was answered, or before.
            asyncio.get_running_loop().call_soon(self._tell, change)

    def _tell(self, change: Change) -> None:
        roster, deleted = self.reconciler.roster, change.kind == "DELETED"
        if change.at.resource == POOLS:
            roster.pool_changed(read_pool(change.body), deleted=deleted)
        elif change.at.resource == "deployments":
            roster.deployment_changed(read_deployment(change.body), deleted=deleted)


@asynccontextmanager
async def reconciling(
    kube: KubeMock,
    namespaces: Sequence[str] = (),
    *,
    writes: bool = True,
    leads: Callable[[], bool] = lambda: True,
    runs: bool = True,
) -> AsyncIterator[Reconciling]:
    """For the length of the block; with `runs` the pools are listed and the loop runs."""
    with patch.dict(os.environ, {"KUBECONFIG": str(kube.kubeconfig)}):
        metrics = OperatorMetrics()
        operator = Reconciling(kube, await Api.connect(metrics.api_call), namespaces, writes=writes, leads=leads)
    try:
        if runs:
            await operator.reconciler.sync()
            operator.start()
        yield operator
    finally:
        await operator.close()
