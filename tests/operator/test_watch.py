"""The watch over connections that die without a word: it is begun anew within a bounded time, and that is told."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from corral_operator import handlers
from corral_operator.api import Api
from corral_operator.handlers import Watch
from corral_operator.metrics import OperatorMetrics
from pools import pool
from relay import Relay
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from corral_operator.table import Pool
    from kube_mock import KubeMock


class Hearing:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.pools: list[str] = []
        self.silences: list[str] = []
        self.died = asyncio.Event()

    def pool(self, row: Pool, deleted: bool) -> None:
        self.pools.append(f"-{row.key.name}" if deleted else row.key.name)


@asynccontextmanager
async def _hearing(kubeconfig: Path) -> AsyncIterator[Hearing]:
    with patch.dict(os.environ, {"KUBECONFIG": str(kubeconfig)}):
        api = await Api.connect(lambda *_: None)
        hearing = Hearing()
        watch = Watch(api.access, (), hearing.pool, lambda *_: None, hearing.died.set, hearing.silences.append)
        watch.start()
        try:
            yield hearing
        finally:
            await watch.stop()
            await api.close()


def _through(kube: KubeMock, relay: Relay) -> Path:
    """The way to the API server through the relay."""
    path = kube.kubeconfig.with_name("kubeconfig-relay")
    path.write_text(kube.kubeconfig.read_text().replace(f":{kube.port}", f":{relay.port}"))
    return path


def _watches(kube: KubeMock) -> int:
    return sum(call.verb == "WATCH" for call in kube.calls)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ENDS_AFTER_S", 1)
    monkeypatch.setattr(handlers, "SILENT_S", 2.0)


async def test_a_watch_whose_connection_hangs_is_noticed_renewed_and_told(
    empty_kube: KubeMock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kube = empty_kube
    monkeypatch.setattr(handlers, "ENDS_AFTER_S", 60)
    async with Relay(kube.port) as relay, _hearing(_through(kube, relay)) as hearing:
        kube.add("workerpools", pool("before"))
        await eventually(lambda: hearing.pools == ["before"])
        await eventually(lambda: _watches(kube) == 2)
        relay.freeze()
        kube.add("workerpools", pool("meanwhile"))
        with caplog.at_level(logging.WARNING, "corral.operator.watch"):
            await eventually(lambda: "meanwhile" in hearing.pools)
            await eventually(lambda: set(hearing.silences) >= {"workerpools", "deployments"})
        assert "the watch of workerpools was silent for 2 s" in caplog.text
        assert hearing.pools.count("before") == 1, "it goes on where it was"
        assert not hearing.died.is_set()


async def test_a_watch_that_ends_as_it_was_asked_to_is_begun_anew_without_a_word_and_misses_nothing(
    empty_kube: KubeMock,
) -> None:
    kube = empty_kube
    async with _hearing(kube.kubeconfig) as hearing:
        for number in range(6):
            kube.add("workerpools", pool(f"pool-{number}"))
            await eventually(lambda number=number: _watches(kube) >= 2 * (number + 1))  # type: ignore[misc]
        await eventually(lambda: len(hearing.pools) == 6)
        assert hearing.pools == [f"pool-{number}" for number in range(6)]
        assert hearing.silences == []
        assert not hearing.died.is_set()


def test_silences_are_counted_by_resource() -> None:
    metrics = OperatorMetrics()
    metrics.watch_silent("workerpools")
    assert b'corral_watch_silences_total{resource="workerpools"} 1.0' in metrics.render()[0]
