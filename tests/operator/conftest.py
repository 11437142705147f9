"""Fixtures of the operator's tests: a pretended API server, with the Secret of an empty Redis in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import Queue
from corral_operator import pool_state, reconcile, secret_store
from kube_mock import KubeMock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def empty_kube(tmp_path: Path) -> AsyncIterator[KubeMock]:
    """An API server with nothing in it."""
    async with KubeMock(tmp_path / "kubeconfig") as kube:
        yield kube


@pytest.fixture
def kube(empty_kube: KubeMock, redis7_url: str) -> KubeMock:
    """With the Secret `redis`, which leads to an empty Redis."""
    empty_kube.add_secret(redis7_url)
    return empty_kube


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's spans, short: ticks, pauses after a refusal or a problem, and how long a bad Secret is believed."""
    for module in (pool_state, reconcile):
        monkeypatch.setattr(module, "TICK_S", 0.1)
    monkeypatch.setattr(pool_state, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(pool_state, "PROBLEM_PAUSE_S", 0.2)
    monkeypatch.setattr(secret_store, "AGAIN_S", 0.2)


@pytest.fixture
async def emails(redis7_url: str) -> AsyncIterator[Queue]:
    """The queue of the smallest pool, never touched by anybody."""
    async with Queue("emails", redis=redis7_url) as queue:
        yield queue
