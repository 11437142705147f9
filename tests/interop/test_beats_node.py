"""Corral's own keys lie beside BullMQ's: no call of Node's Queue stumbles over them, and none removes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from beating import Staff
from corral import Job, Queue, Worker
from corral.beat_record import BeatState
from node_driver import NodeDriver
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.interop

GETTERS: tuple[tuple[str, Any], ...] = (
    ("getJobCounts", []),
    ("getJobs", [[], 0, -1]),
    ("getCountsPerPriority", [[0, 1]]),
    ("count", []),
    ("getWorkers", []),
    ("getWorkersCount", []),
    ("getMetrics", ["completed", 0, -1]),
    ("getJobSchedulers", [0, -1]),
    ("getGlobalConcurrency", []),
    ("getRateLimitTtl", []),
    ("getVersion", []),
    ("isPaused", []),
    ("isMaxed", []),
    ("exportPrometheusMetrics", []),
    ("trimEvents", [10]),
    ("clean", [0, 0, "completed"]),
    ("retryJobs", [{}]),
    ("promoteJobs", [{}]),
    ("drain", [True]),
)

OWN = [b"bull:q:corral:beats", b"bull:q:corral:orders", b"bull:q:corral:workers"]


async def run(job: Job) -> str:
    return job.name


@pytest.fixture
async def node(node_env: dict[str, str]) -> AsyncIterator[NodeDriver]:
    async with NodeDriver(node_env) as driver:
        yield driver


@pytest.fixture
def staff(redis7_client: Any) -> Staff:
    return Staff(redis7_client)


async def own(client: Any) -> list[bytes]:
    # Where a test takes long, there has been a look, which expires by itself.
    return sorted(set(await client.keys("*corral*")) - {b"bull:q:corral:look"})


async def quiet(staff: Staff) -> bool:
    return (await staff.beat()).state is BeatState.QUIET


@pytest.mark.parametrize(("method", "args"), GETTERS, ids=[name for name, _ in GETTERS])
async def test_no_node_call_stumbles_over_corrals_keys(
    node: NodeDriver, staff: Staff, redis7_url: str, redis7_client: Any, method: str, args: list[Any]
) -> None:
    async with running(Worker("q", run, redis=redis7_url)):
        record = await eventually(staff.beat)
        await staff.order(record.worker)
        await node.add("q", {"name": "n", "data": {}, "opts": {}})
        before = await own(redis7_client)
        assert before == OWN
        await node.queue("q", method, *args)
        assert await own(redis7_client) == OWN
        assert await audit(redis7_client) == []


async def test_corrals_keys_survive_nodes_obliterate_and_the_worker_goes_on(
    node: NodeDriver, staff: Staff, redis7_url: str, redis7_client: Any
) -> None:
    async with Queue("q", redis=redis7_url) as queue, running(Worker("q", run, redis=redis7_url)):
        record = await eventually(staff.beat)
        await staff.order(record.worker)
        await eventually(lambda: quiet(staff))
        await queue.add("x")
        await node.queue("q", "pause")
        await node.queue("q", "obliterate", {"force": True})
        assert await own(redis7_client) == OWN
        assert await redis7_client.exists("bull:q:wait", "bull:q:1", "bull:q:id") == 0
        await staff.take_back(record.worker)
        await node.add("q", {"name": "again", "data": {}, "opts": {}})

        async def done() -> bool:
            return (await queue.get_job_counts()).completed == 1

        await eventually(done)
        assert (await staff.beat()).worker == record.worker


async def test_corrals_keys_survive_nodes_removal_of_orphans(
    node: NodeDriver, staff: Staff, redis7_url: str, redis7_client: Any
) -> None:
    async with Queue("q", redis=redis7_url) as queue, running(worker := Worker("q", run, redis=redis7_url)):
        record = await eventually(staff.beat)
        await worker.pause()
        await staff.order(record.worker)
        await node.add("q", *[{"name": "n", "data": {}, "opts": {}}] * 3)
        await redis7_client.lrem("bull:q:wait", 1, "2")
        assert [orphan.job_id for orphan in await queue.find_orphans()] == ["2"]
        assert await node.queue("q", "removeOrphanedJobs") == 1
        assert await own(redis7_client) == OWN
        assert (await staff.beat()).worker == record.worker
        assert await staff.ordered() == [record.worker.encode()]
        assert await audit(redis7_client) == []


async def test_our_own_removal_of_orphans_leaves_them_and_our_obliterate_does_not(
    staff: Staff, redis7_url: str, redis7_client: Any
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        async with running(Worker("q", run, redis=redis7_url)):
            record = await eventually(staff.beat)
            await staff.order(record.worker)
            assert await queue.remove_orphaned_jobs() == 0
            assert await own(redis7_client) == OWN
            await queue.pause()
            await queue.obliterate(force=True)
            # A living worker soon says that it is there.
            await eventually(staff.beat)
        await staff.order("gone")
        await queue.pause()
        await queue.obliterate()
        assert await redis7_client.keys("*") == []
