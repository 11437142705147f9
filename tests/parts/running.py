"""A worker in the test's own event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from corral.errors import RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from corral import Queue, Worker
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


async def all_completed(queue: Queue, number: int) -> bool:
    """So many jobs have completed, none failed and none is left; an AssertionError until then, and False while Redis is
    away."""
    try:
        counts = await queue.get_job_counts()
    except RedisUnavailable:
        return False
    assert (counts.completed, counts.unfinished, counts.failed) == (number, 0, 0), counts
    return True


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """One number of the metrics page; 0 when it is not there."""
    body, _ = metrics.render()
    for family in text_string_to_metric_families(body.decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return 0.0
