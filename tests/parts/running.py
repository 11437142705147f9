"""A worker in the test's own event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from corral import Worker
    from corral.metrics import Metrics


@asynccontextmanager
async def running(*workers: Worker, metrics: Metrics | None = None, grace: float = 5.0) -> AsyncIterator[None]:
    """Run workers until the block ends; then close them. An error of theirs is raised."""
    tasks = [asyncio.create_task(worker.run(metrics=metrics)) for worker in workers]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        await asyncio.gather(*(worker.close(grace) for worker in workers))
        await asyncio.gather(*tasks)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """One number of the metrics page; 0 when it is not there."""
    body, _ = metrics.render()
    for family in text_string_to_metric_families(body.decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return 0.0
