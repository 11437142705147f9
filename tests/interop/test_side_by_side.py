"""`corral work` and a Node worker on one queue, at the same time."""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING

import pytest

from corral import JobOptions, JobSpec, Queue
from corral_process import CorralProcess
from node_driver import NodeDriver, corral_worker
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import redis.asyncio

pytestmark = pytest.mark.interop


async def test_two_workers_share_a_queue_and_each_job_runs_once(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        with CorralProcess(tmp_path, corral_worker("'q', run, concurrency=5"), redis7_url) as process:
            await process.serving()
            await node.work(["q"], concurrency=5)
            # Half by each producer, of several kinds, while both work.
            for first in range(0, 150, 50):
                kinds = ({}, {"priority": 3}, {"delay": 0.05}, {"attempts": 2})
                await queue.add_bulk(
                    JobSpec("ours", {"sleep": 5, "failFirst": n % 4 == 3}, JobOptions.checked(**kinds[n % 4]))
                    for n in range(first, first + 50)
                )
                node_kinds = ({}, {"priority": 3}, {"delay": 50}, {"attempts": 2, "backoff": 20})
                await node.add(
                    "q",
                    *(
                        {"name": "node", "data": {"sleep": 5, "failFirst": n % 4 == 3}, "opts": node_kinds[n % 4]}
                        for n in range(first, first + 50)
                    ),
                )

            async def done() -> bool:
                counts = await queue.get_job_counts()
                assert (counts.completed, counts.failed, counts.unfinished) == (300, 0, 0), counts
                return True

            await eventually(done, 40)
            assert not process.said(".", "ERROR")
            assert not node.process.seen("error")
    by: collections.Counter[str] = collections.Counter()
    for job_id in range(1, 301):
        fields = await redis7_client.hgetall(f"bull:q:{job_id}")
        data = json.loads(fields[b"data"])
        runs = b"2" if data["failFirst"] else b"1"
        assert (fields[b"ats"], fields[b"atm"], fields.get(b"stc")) == (runs, runs, None)
        by[json.loads(fields[b"returnvalue"])["by"]] += 1
    assert by.total() == 300
    assert by.keys() == {"corral", "node"}
    assert min(by.values()) > 20, by
    ends = collections.Counter(
        fields[b"jobId"]
        for _, fields in await redis7_client.xrange("bull:q:events")
        if fields[b"event"] == b"completed"
    )
    assert len(ends) == 300
    assert set(ends.values()) == {1}


async def test_a_worker_of_one_kind_recovers_the_jobs_of_a_killed_one_of_the_other(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str
) -> None:
    async with Queue("q", redis=redis7_url) as queue:

        async def active() -> bool:
            return (await queue.get_job_counts()).active == 2

        async def done(number: int) -> bool:
            return (await queue.get_job_counts()).completed == number

        node_options = {"concurrency": 2, "lockDuration": 1000, "stalledInterval": 300}
        ours = corral_worker("'q', run, concurrency=2, lock_duration=1, stalled_interval=0.3")
        slow = ours.replace("sleep / 1000", "1000")
        await queue.add_bulk([JobSpec("n", {"sleep": 10})] * 2)
        # Ours dies, Node's recovers.
        with CorralProcess(tmp_path / "slow", slow, redis7_url) as process:
            await eventually(active, 20)
            await process.kill()
        async with NodeDriver(node_env) as node:
            await node.work(["q"], **node_options)
            await eventually(lambda: done(2), 30)
        # Node's dies, ours recovers.
        await queue.add_bulk([JobSpec("n", {"sleep": 3_600_000})] * 2)
        node = NodeDriver(node_env)
        async with node:
            await node.work(["q"], **node_options)
            await eventually(active, 20)
            await node.process.kill()
        fast = ours.replace("sleep / 1000", "0")
        with CorralProcess(tmp_path / "fast", fast, redis7_url):
            await eventually(lambda: done(4), 30)
        for job_id, by in (("1", "node"), ("2", "node"), ("3", "corral"), ("4", "corral")):
            job = await queue.get_job(job_id)
            assert job is not None
            assert (job.stalled_counter, job.attempts_made, job.attempts_started) == (1, 1, 2)
            assert job.returnvalue["by"] == by
