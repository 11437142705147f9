"""Operators in the test's own process that elect a leader on a pretended API server; each has a name there."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from unittest.mock import patch

from corral_operator.api import Api
from corral_operator.leader import Leader, elapsed
from reconciling import Reconciling
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kube_mock import Call, KubeMock
    from kube_objects import Change

NAMESPACE, LEASE = "default", "operators"


class Elector:
    """One operator's hand on the Lease. `ahead_s`: how much its clock has jumped; `prepared`: how often it prepared."""

    def __init__(self, kube: KubeMock, api: Api, who: str) -> None:
        self.who, self.ahead_s, self.prepared = who, 0.0, 0
        self.leader = Leader(api, NAMESPACE, LEASE, who, lambda: elapsed() + self.ahead_s)
        self.operator: Reconciling | None = None
        self._kube = kube
        self._running: asyncio.Task[None] | None = None
        self._ended = False

    def start(self) -> None:
        self._running = asyncio.create_task(self.leader.run(self._prepare))

    async def crash(self) -> None:
        """End without a word."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        if self.operator is not None:
            await self.operator.close()
            self.operator = None

    async def end(self) -> None:
        """As at SIGTERM."""
        await self.crash()
        if not self._ended:
            self._ended = True
            await self.leader.close()

    async def leads(self) -> None:
        """Wait until it may write."""
        await eventually(self.leader.writes)

    @property
    def writes(self) -> list[Call]:
        """What it wrote, or tried to, apart from the Lease."""
        return [call for call in self._kube.writes() if call.who == self.who and call.resource != "leases"]

    async def _prepare(self) -> None:
        self.prepared += 1
        if self.operator is not None:
            await self.operator.reconciler.take_over()


@asynccontextmanager
async def elector(kube: KubeMock, who: str, *, reconciles: bool = False) -> AsyncIterator[Elector]:
    """One that runs, for the length of the block; with `reconciles` it also serves the pools."""
    with patch.dict(os.environ, {"KUBECONFIG": str(kube.kubeconfig_of(who))}):
        ours = Elector(kube, await Api.connect(lambda *_: None), who)
        if reconciles:
            api = await Api.connect(lambda *_: None)
            ours.operator = Reconciling(kube, api, leads=ours.leader.writes)
            await ours.operator.reconciler.sync()
            ours.operator.start()
    ours.start()
    try:
        yield ours
    finally:
        await ours.end()


@asynccontextmanager
async def two_electors(kube: KubeMock, *, reconciles: bool = False) -> AsyncIterator[tuple[Elector, Elector]]:
    """`one`, which leads, and `two`, which has seen so."""
    async with elector(kube, "one", reconciles=reconciles) as one:
        await one.leads()
        async with elector(kube, "two", reconciles=reconciles) as two:
            await eventually(lambda: any(call.who == "two" and call.resource == "leases" for call in kube.calls))
            yield one, two


class Terms:
    """Who held the Lease from when on, by the same clock as the calls; an empty name where it was given back."""

    def __init__(self, kube: KubeMock) -> None:
        self.rows: list[tuple[float, str]] = []
        self._kube = kube
        kube.objects.told.append(self._told)

    @property
    def holders(self) -> list[str]:
        return [who for _, who in self.rows]

    def astray(self) -> list[Call]:
        """Writes of those whose term it was not."""
        return [
            call
            for call in self._kube.writes()
            if call.resource != "leases"
            if next((who for since_s, who in reversed(self.rows) if since_s <= call.at_s), None) != call.who
        ]

    def _told(self, change: Change) -> None:
        if change.at.resource == "leases" and change.kind != "DELETED":
            holder = change.body["spec"]["holderIdentity"] or ""
            if not self.rows or self.rows[-1][1] != holder:
                self.rows.append((time.monotonic(), holder))
