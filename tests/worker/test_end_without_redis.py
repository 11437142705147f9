"""A worker that has nothing to write ends at once, whether Redis is there or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from corral import Job, Worker
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import RedisServer


async def run(job: Job) -> None:
    """Nothing to do."""


async def test_a_take_under_way_does_not_hold_up_the_end(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    worker = Worker("q", run, redis=server.url)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: worker.shift is not None and worker.shift.unready is None)
    server.stop()
    await eventually(lambda: worker.shift is not None and any(work.account.outage for work in worker.shift.works), 20)
    async with asyncio.timeout(20):
        await worker.close(grace=120)
        await task
