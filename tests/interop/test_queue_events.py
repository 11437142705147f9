"""What Node hears of our worker: the events stream, QueueEvents, the list of workers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from corral import Job, Queue, UnrecoverableError, Worker
from corral.address import make_pool
from corral.clock import now_ms
from corral.connection import Line
from corral.scripts import Taking, settle_jobs
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import redis.asyncio

pytestmark = pytest.mark.interop


async def run(job: Job) -> dict[str, Any]:
    """What the processor of driver.mjs does."""
    wishes = job.data
    if "sleep" in wishes:
        await asyncio.sleep(wishes["sleep"] / 1000)
    if "progress" in wishes:
        await job.update_progress(wishes["progress"])
    if "unrecoverable" in wishes:
        raise UnrecoverableError(wishes["unrecoverable"])
    if "fail" in wishes:
        raise RuntimeError(wishes["fail"])
    if job.attempts_made < wishes.get("failFirst", 0):
        raise RuntimeError(f"attempt {job.attempts_made + 1}")
    return {"echo": job.data, "by": "corral"}


@asynccontextmanager
async def working(queues: Sequence[str], redis_url: str, **options: Any) -> AsyncIterator[Worker]:
    worker = Worker(queues, run, redis=redis_url, **options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.close(grace=0)
        await task


Event = tuple[tuple[str, Any], ...]

# Each kind has a queue of its own, so that its stream is its own. The sequences are those of the wire format.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "standard": ({}, {}, ["added", "waiting", "active<waiting", "completed<active", "drained"]),
    "prioritized": ({}, {"priority": 3}, ["added", "waiting", "active<waiting", "completed<active", "drained"]),
    "lifo": ({}, {"lifo": True}, ["added", "waiting", "active<waiting", "completed<active", "drained"]),
    "gone": ({}, {"removeOnComplete": True}, ["added", "waiting", "active<waiting", "completed<active", "drained"]),
    "progress": (
        {"progress": {"é": [1, 0.5]}},
        {},
        ["added", "waiting", "active<waiting", "progress", "completed<active", "drained"],
    ),
    "delayed": (
        {},
        {"delay": 150},
        ["added", "delayed", "waiting<delayed", "active<waiting", "completed<active", "drained"],
    ),
    "delayed with priority": (
        {},
        {"delay": 150, "priority": 3},
        ["added", "delayed", "waiting<delayed", "active<waiting", "completed<active", "drained"],
    ),
    "failed once with backoff": (
        {"failFirst": 1},
        {"attempts": 2, "backoff": 80},
        [
            *("added", "waiting", "active<waiting", "delayed", "waiting<delayed", "active<waiting"),
            *("completed<active", "drained"),
        ],
    ),
    "failed once without backoff": (
        {"failFirst": 1},
        {"attempts": 2},
        ["added", "waiting", "active<waiting", "waiting<active", "active<waiting", "completed<active", "drained"],
    ),
    "failed once with priority": (
        {"failFirst": 1},
        {"attempts": 2, "priority": 9},
        ["added", "waiting", "active<waiting", "waiting<active", "active<waiting", "completed<active", "drained"],
    ),
    "only attempt": (
        {"fail": "boom é"},
        {},
        ["added", "waiting", "active<waiting", "failed<active", "retries-exhausted", "drained"],
    ),
    "last of two": (
        {"fail": "boom"},
        {"attempts": 2},
        [
            *("added", "waiting", "active<waiting", "waiting<active", "active<waiting"),
            *("failed<active", "retries-exhausted", "drained"),
        ],
    ),
    "unrecoverable": (
        {"unrecoverable": "no way"},
        {"attempts": 3, "backoff": 1000},
        ["added", "waiting", "active<waiting", "failed<active", "drained"],
    ),
    "unrecoverable at the last attempt": (
        {"unrecoverable": "no way"},
        {"attempts": 1},
        ["added", "waiting", "active<waiting", "failed<active", "retries-exhausted", "drained"],
    ),
}


async def stream(client: redis.asyncio.Redis, queue: str) -> list[Event]:
    """A queue's events in order, without what differs from run to run: ids and absolute times."""
    events = []
    for _, raw in await client.xrange(f"bull:{queue}:events"):
        fields: dict[str, Any] = {name.decode(): value.decode() for name, value in raw.items()}
        for name in ("returnvalue", "data"):
            if name in fields:
                fields[name] = json.loads(fields[name])
        if isinstance(fields.get("returnvalue"), dict):
            fields["returnvalue"]["by"] = "someone"
        if "delay" in fields:
            assert abs(int(fields["delay"]) - now_ms()) < 300_000, "the delay of an event is an absolute time"
            fields["delay"] = "absolute"
        events.append(tuple(fields.items()))
    return events


def words(events: list[Event]) -> list[str]:
    """Names of events, with where the job came from, as the wire format writes them."""
    found = []
    for event in events:
        fields = dict(event)
        found.append(fields["event"] + (f"<{fields['prev']}" if "prev" in fields else ""))
    return found


async def test_each_kind_of_job_leaves_the_events_that_nodes_worker_leaves(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    ours = {kind: f"ours {kind}" for kind in KINDS}
    nodes = {kind: f"node {kind}" for kind in KINDS}
    async with NodeDriver(node_env) as node, working(list(ours.values()), redis7_url, concurrency=len(KINDS)):
        await node.work(list(nodes.values()))
        for kind, (data, opts, _) in KINDS.items():
            for queue in (ours[kind], nodes[kind]):
                await node.add(queue, {"name": kind, "data": data, "opts": opts})

        async def drained() -> bool:
            for queue in (*ours.values(), *nodes.values()):
                found = words(await stream(redis7_client, queue))
                assert found[-1:] == ["drained"], f"{queue}: {found}"
            return True

        await eventually(drained, 30)
    for kind, (_, _, sequence) in KINDS.items():
        found = await stream(redis7_client, ours[kind])
        assert words(found) == sequence, kind
        assert found == await stream(redis7_client, nodes[kind]), kind


async def test_queue_events_of_node_hears_all_that_our_worker_does_and_lives_on(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await node.call("listen", queue="q")
        # A job that was taken by a worker which is no more.
        lost = await queue.add("lost", {})
        line = Line(make_pool(redis7_url))
        taken = await settle_jobs(line, queue.keys, "", now_ms(), [], Taking(1, "gone", 50, ""))
        assert [job_id for job_id, _ in taken.jobs] == [lost.id]
        await line.close()
        async with working(["q"], redis7_url, stalled_interval=0.2, concurrency=3):
            await eventually(lambda: ("stalled", {"jobId": lost.id}) in node.heard("q"), 20)
            fine = await queue.add("fine", {"text": "naïve 🐎 \u2028", "progress": {"half": 0.5}})
            later = await queue.add("later", {}, delay=0.1)
            fails = await queue.add("fails", {"fail": "boom é\nsecond line"})
            again = await queue.add("again", {"failFirst": 1}, attempts=2, backoff=0.05)
            await queue.pause()
            await queue.resume()

            def heard(name: str, job_id: str | None = None) -> list[dict[str, Any]]:
                return [
                    fields
                    for event, fields in node.heard("q")
                    if event == name and (job_id is None or (fields or {}).get("jobId") == job_id)
                ]

            for job in (lost, fine, later, again):
                await eventually(lambda job=job: heard("completed", job.id), 20)
            await eventually(lambda: heard("retries-exhausted", fails.id), 20)
            await eventually(lambda: heard("drained"), 20)
            (completed,) = heard("completed", fine.id)
            assert completed["returnvalue"] == {"echo": fine.data, "by": "corral"}
            assert completed["prev"] == "active"
            assert heard("progress", fine.id) == [{"jobId": fine.id, "data": {"half": 0.5}}]
            (failed,) = heard("failed", fails.id)
            assert (failed["failedReason"], failed["prev"]) == ("boom é\nsecond line", "active")
            assert len(heard("delayed", later.id)) == len(heard("delayed", again.id)) == 1
            assert heard("paused") == heard("resumed") == [{}]
            for name in ("added", "waiting", "active"):
                assert heard(name, fine.id)
        assert await node.call("listening", queue="q") is True
        assert not node.process.seen("died")
        assert not node.process.seen("error")
        # What could end its loop never gets into the stream: a value that is not JSON.
        for _, fields in await redis7_client.xrange("bull:q:events"):
            for name in (b"returnvalue", b"data"):
                if name in fields:
                    json.loads(fields[name], parse_constant=pytest.fail)


async def test_a_return_value_or_progress_that_is_not_json_never_reaches_nodes_listener(
    node_env: dict[str, str], redis7_url: str
) -> None:
    async def returns(job: Job) -> Any:
        if job.name == "progress":
            await job.update_progress(float("inf"))
        return {"nan": float("nan"), "set": {1}, "surrogate": "\ud800", "nothing": None}[job.name]

    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await node.call("listen", queue="q")
        worker = Worker("q", returns, redis=redis7_url)
        task = asyncio.create_task(worker.run())
        bad = [await queue.add(name) for name in ("nan", "set", "surrogate", "progress")]
        good = await queue.add("nothing")
        await eventually(lambda: any(name == "completed" for name, _ in node.heard("q")), 20)
        completed = [fields for name, fields in node.heard("q") if name == "completed"]
        assert completed == [{"jobId": good.id, "returnvalue": None, "prev": "active"}]
        failed = {fields["jobId"]: fields["failedReason"] for name, fields in node.heard("q") if name == "failed"}
        assert failed.keys() == {job.id for job in bad}
        assert all("is not JSON" in reason for reason in failed.values()), failed
        assert await node.call("listening", queue="q") is True
        await worker.close(grace=0)
        await task


async def test_node_counts_our_workers_and_names_them(node_env: dict[str, str], redis7_url: str) -> None:
    async with NodeDriver(node_env) as node:

        async def names(number: int) -> list[str]:
            workers = await node.queue("grüße", "getWorkers")
            assert len(workers) == number, workers
            assert await node.queue("grüße", "getWorkersCount") == number
            return sorted(worker["rawname"] for worker in workers)

        async with working(["grüße", "other"], redis7_url, name="pod-1"), working(["grüße"], redis7_url):
            encoded = "bull:Z3LDvMOfZQ=="
            assert await eventually(lambda: names(2), 20) == [encoded, f"{encoded}:w:pod-1"]
            # Two workers of Node's beside them.
            await node.work(["grüße", "other"], name="node")
            await eventually(lambda: names(3), 20)
            (job_id,) = await node.add("other", {"name": "n", "data": {}})
            await eventually(lambda: node.read("other", job_id), 20)
            await node.call("rest")

        async def none() -> bool:
            return not await names(0)

        await eventually(none, 20)
