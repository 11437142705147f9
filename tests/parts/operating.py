"""An operator for one test: in the test's namespace, with the Secret of its pools, and looked after at the end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from operator_process import OperatorProcess
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from kubectl import Kubectl, Manifest
    from namespace import Namespace


@asynccontextmanager
async def operating(
    kubectl: Kubectl, folder: Path, *args: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[OperatorProcess]:
    """An operator that watches; `args` in place of `--namespace` of the test. It has to end well within 5 s."""
    with OperatorProcess(folder, kubectl.kubeconfig, args or ("--namespace", kubectl.namespace), env) as operator:
        await watching(operator)
        yield operator
        operator.signal()
        assert await operator.wait(5) == 0
        assert operator.said("", level="ERROR") == []


async def watching(operator: OperatorProcess) -> None:
    """Wait until it has listed everything and watches."""
    await operator.serving()
    await eventually(lambda: operator.said("^watching"))


async def number(operator: OperatorProcess, name: str, **labels: str) -> float | None:
    """One number of its metrics page, as of this moment; None when it is not there."""
    _, body = await operator.get("/metrics")
    for family in text_string_to_metric_families(body):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                return found.value
    return None


def make_secret(kubectl: Kubectl, url: str, name: str = "redis") -> None:
    """The way to Redis, as a user makes it."""
    kubectl("create", "secret", "generic", name, f"--from-literal=url={url}")


def patch(kubectl: Kubectl, kind: str, name: str, change: Manifest) -> None:
    """A merge patch, as a user makes it."""
    kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change))


async def stays(check: Callable[[], object], seconds: float, every: float = 0.2) -> None:
    """An AssertionError as soon as the check does not hold, within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert check(), "it did not stay so"
        await asyncio.sleep(every)


def untouched_by_kopf(namespace: Namespace) -> bool:
    """The watch only listens: nothing of it is ever on an object, no finalizer, no annotation, no field of its own."""
    rows = [*namespace.every("workerpools"), *namespace.every("deployments")]
    return bool(rows) and not any("kopf" in json.dumps(row).lower() for row in rows)
