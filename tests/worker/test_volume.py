"""A queue with 100,000 jobs: it is filled, read, worked and emptied, in steps that leave Redis to others in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from audit import audit
from corral import Counts, Job, JobOptions, JobSpec, Queue, State, Worker
from running import running

if TYPE_CHECKING:
    from servers import RedisServer

NUMBER = 100_000
CHUNK = 5_000

PLAIN = JobOptions()

LAY_FAILED = """
redis.call('HSET', 'bull:q:meta', 'opts.maxLenEvents', 10000)
redis.call('SET', 'bull:q:id', ARGV[1])
for id = 1, ARGV[1] do
  redis.call('HSET', 'bull:q:' .. id, 'name', 'n', 'data', '{}', 'opts', '{}', 'timestamp', 1, 'delay', 0, 'priority', 0,
    'finishedOn', 5, 'processedOn', 4, 'failedReason', 'x', 'stacktrace', '[]', 'atm', 1, 'ats', 1)
  redis.call('ZADD', 'bull:q:failed', 5, id)
end
"""
"""So many jobs that have failed: to run them all would take too long."""

pytestmark = pytest.mark.timeout(120)


async def scripts_run(client: Any) -> int:
    """How many scripts the server has run."""
    stats = await client.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def test_a_hundred_thousand_waiting_jobs_are_read_worked_and_removed(redis7_url: str) -> None:
    client: Any = redis.asyncio.from_url(redis7_url, protocol=2, socket_timeout=60)
    async with client, Queue("q", redis=redis7_url) as queue:
        for first in range(0, NUMBER, CHUNK):
            await queue.add_bulk(JobSpec("n", number, PLAIN) for number in range(first, first + CHUNK))
        assert await queue.get_job_counts() == Counts(NUMBER, 0, 0, 0, 0, 0, 0)
        await reads_pages(queue)
        done = await works_while_adds_go_on(redis7_url, queue)
        await cleans(queue, done)
        left = NUMBER + 500 - done
        before = await scripts_run(client)
        assert await queue.drain() == left
        # In steps of a thousand: others have their turn in between.
        assert await scripts_run(client) - before >= left / 1000
        assert (await queue.get_job_counts()).unfinished == 0
        assert await audit(client) == []
        assert {key.decode() async for key in client.scan_iter(match="bull:q:*")} <= {
            f"bull:q:{name}" for name in ("id", "meta", "events", "marker", "stalled-check", "metrics:completed")
        }


async def reads_pages(queue: Queue) -> None:
    for start in (0, NUMBER // 2, NUMBER - 10):
        oldest = await queue.get_jobs(State.WAITING, start, start + 9, ascending=True)
        assert [job.data for job in oldest] == list(range(start, start + 10))
    newest = await queue.get_jobs([State.WAITING, State.COMPLETED], 0, 4)
    assert [job.data for job in newest] == list(range(NUMBER - 1, NUMBER - 6, -1))
    assert await queue.get_jobs(State.WAITING, NUMBER, NUMBER + 9) == []


async def works_while_adds_go_on(url: str, queue: Queue) -> int:
    """Let 2,000 jobs or some more be run, while 500 are added; gives how many."""
    ran: list[int] = []
    enough = asyncio.Event()

    async def run(job: Job) -> int:
        ran.append(job.data)
        if len(ran) >= 2000:
            enough.set()
        await asyncio.sleep(0)
        return job.data

    async with running(Worker("q", run, redis=url, concurrency=50)):
        for number in range(500):
            await queue.add("n", NUMBER + number)
        await asyncio.wait_for(enough.wait(), 30)
    assert len(ran) == len(set(ran))
    assert sorted(ran) == list(range(len(ran)))
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.active, counts.waiting) == (len(ran), 0, NUMBER + 500 - len(ran))
    return len(ran)


async def cleans(queue: Queue, done: int) -> None:
    some = await queue.clean(0, limit=1500)
    assert len(set(some)) == 1500
    assert len(await queue.clean(0)) == done - 1500
    assert await queue.clean(0) == []


async def test_a_hundred_thousand_failed_jobs_are_retried_and_obliterated(valkey9: RedisServer) -> None:
    client: Any = redis.asyncio.from_url(valkey9.url, protocol=2, socket_timeout=60)
    async with client, Queue("q", redis=valkey9.url) as queue:
        await client.flushall()
        await client.eval(LAY_FAILED, 0, NUMBER)
        assert await queue.get_job_counts() == Counts(0, 0, 0, 0, 0, 0, failed=NUMBER)
        await queue.pause()
        before = await scripts_run(client)
        assert await queue.retry_jobs() == NUMBER
        between = await scripts_run(client)
        assert await queue.get_job_counts() == Counts(NUMBER, 0, 0, 0, 0, 0, 0)
        await queue.obliterate()
        after = await scripts_run(client)
        assert min(between - before, after - between) >= NUMBER / 1000
        assert await client.dbsize() == 0
        await queue.add("again")
        assert (await queue.get_job_counts()).waiting == 1
