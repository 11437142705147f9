"""The jobs that a resume of BullMQ 5 loses are found and put back, and Node's own search finds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit import audit
from corral import OrphanKind, Queue
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop


@pytest.fixture
def five(with_node: None, redis7_url: str) -> dict[str, str]:
    return {"BULLMQ": "5", "REDIS_URL": redis7_url}


@pytest.fixture
def six(with_node: None, redis7_url: str) -> dict[str, str]:
    return {"BULLMQ": "6", "REDIS_URL": redis7_url}


JOBS = [{"name": "n", "data": {}, "opts": {}}]


@pytest.mark.parametrize("pauses", ["5", "6"])
async def test_what_a_mixed_pause_loses_is_healed(
    five: dict[str, str], six: dict[str, str], pauses: str, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(five) as node5, NodeDriver(six) as node6, Queue("q", redis=redis7_url) as queue:
        await node5.add("q", *JOBS * 3)
        pausing, adding = (node5, node6) if pauses == "5" else (node6, node5)
        await pausing.queue("q", "pause")
        await adding.add("q", *JOBS * 2)
        at_risk = await queue.find_orphans()
        assert {orphan.kind for orphan in at_risk} == {OrphanKind.AT_RISK}
        await node5.queue("q", "resume")
        lost = await queue.find_orphans()
        assert {orphan.kind for orphan in lost} == {OrphanKind.NO_STATE}
        assert len(lost) == (2 if pauses == "5" else 3)
        assert await queue.put_back_orphans() == len(lost)
        assert await audit(redis7_client, wakes=True) == []
        await node6.work(["q"])

        async def all_done() -> bool:
            return bool((await queue.get_job_counts()).completed == 5)

        await eventually(all_done, 30)


@pytest.mark.parametrize("pauses", ["5", "6"])
async def test_put_back_before_the_resume_nothing_is_lost(
    five: dict[str, str], six: dict[str, str], pauses: str, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(five) as node5, NodeDriver(six) as node6, Queue("q", redis=redis7_url) as queue:
        await node5.add("q", *JOBS * 3)
        pausing, adding = (node5, node6) if pauses == "5" else (node6, node5)
        await pausing.queue("q", "pause")
        await adding.add("q", *JOBS * 2)
        assert await queue.put_back_orphans() == (2 if pauses == "5" else 3)
        await node5.queue("q", "resume")
        assert await queue.find_orphans() == []
        assert await redis7_client.llen("bull:q:wait") == 5
        assert await audit(redis7_client) == []


async def test_node_removes_what_we_find(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await node.add("q", *JOBS * 4)
        await queue.add("late", delay=60, deduplication="d")
        await node.queue("q", "upsertJobScheduler", "s", {"every": 60000})
        await redis7_client.lrem("bull:q:wait", 1, "2")
        await redis7_client.lrem("bull:q:wait", 1, "3")
        assert sorted(orphan.job_id for orphan in await queue.find_orphans()) == ["2", "3"]
        assert await node.queue("q", "removeOrphanedJobs") == 2
        assert await queue.find_orphans() == []
        assert await audit(redis7_client) == []
