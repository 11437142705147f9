"""Our QueueEvents beside Node's on one stream, custom events both ways, and waiting for each other's jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from corral import Event, Job, Queue, QueueEvents, QueueEventsProducer, UnrecoverableError, Worker
from corral.errors import JobFailed, JobNotFound, JobTimeout
from node import NodeError
from node_driver import NodeDriver
from running import running
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop

# Every kind of event that a worker, an add or a queue leaves.
JOBS: list[dict[str, Any]] = [
    {"name": "standard", "data": {"text": "naïve 🐎 \u2028"}},
    {"name": "prioritized", "data": {}, "opts": {"priority": 3}},
    {"name": "progress", "data": {"progress": {"é": [1, 0.5]}}},
    {"name": "delayed", "data": {}, "opts": {"delay": 100}},
    {"name": "again", "data": {"failFirst": 1}, "opts": {"attempts": 2, "backoff": 50}},
    {"name": "at once again", "data": {"failFirst": 1}, "opts": {"attempts": 2}},
    {"name": "fails", "data": {"fail": "boom é\nsecond line"}},
    {"name": "unrecoverable", "data": {"unrecoverable": "no way"}, "opts": {"attempts": 3}},
    {"name": "gone", "data": {}, "opts": {"removeOnComplete": True}},
    {"name": "custom id", "data": {}, "opts": {"jobId": "mine"}},
    {"name": "the same id", "data": {}, "opts": {"jobId": "mine"}},
    {"name": "owner", "data": {}, "opts": {"deduplication": {"id": "d", "ttl": 60_000}}},
    {"name": "discarded", "data": {}, "opts": {"deduplication": {"id": "d", "ttl": 60_000}}},
]
KINDS = {
    *("added", "waiting", "active", "completed", "failed", "retries-exhausted", "delayed", "progress", "drained"),
    *("duplicated", "deduplicated", "paused", "resumed", "removed", "waiting-children", "cleaned"),
}

NODE_NAMES = {
    "job_id": "jobId",
    "failed_reason": "failedReason",
    "attempts_made": "attemptsMade",
    "deduplication_id": "deduplicationId",
    "deduplicated_job_id": "deduplicatedJobId",
    "debounce_id": "debounceId",
}


async def grant(job: Job) -> dict[str, Any]:
    """What the processor of driver.mjs does."""
    wishes = job.data
    if "progress" in wishes:
        await job.update_progress(wishes["progress"])
    if "unrecoverable" in wishes:
        raise UnrecoverableError(wishes["unrecoverable"])
    if "fail" in wishes:
        raise RuntimeError(wishes["fail"])
    if job.attempts_made < wishes.get("failFirst", 0):
        raise RuntimeError(f"attempt {job.attempts_made + 1}")
    return {"echo": job.data, "by": "corral"}


def as_node(event: Event) -> tuple[str, dict[str, Any]]:
    """Our event as Node's listener tells it: its names; and it leaves `attemptsMade` and `count` texts."""
    fields = {NODE_NAMES.get(name, name): value for name, value in event.fields.items()}
    for name in ("attemptsMade", "count"):
        if name in fields:
            fields[name] = str(fields[name])
    return event.name, fields


def heard(node: NodeDriver) -> list[tuple[str, dict[str, Any]]]:
    """What Node's listener heard, without the second telling under `name:jobId`."""
    return [(name, fields) for name, fields in node.heard("q") if not name.endswith(f":{fields.get('jobId')}")]


@pytest.mark.parametrize("who", ["node", "corral"])
async def test_our_listener_hears_what_nodes_hears_for_every_kind_of_job(
    who: str, node_env: dict[str, str], redis7_url: str
) -> None:
    ours: list[tuple[str, dict[str, Any]]] = []
    events = QueueEvents("q", redis=redis7_url, last_event_id="0")
    events.on("*", lambda event: ours.append(as_node(event)))
    async with NodeDriver(node_env) as node, events:
        await node.call("listen", queue="q")
        async with running(*([Worker("q", grant, redis=redis7_url)] if who == "corral" else [])):
            if who == "node":
                await node.work(["q"])
            await node.add("q", *JOBS)
            await eventually(lambda: sum(name in ("completed", "failed") for name, _ in ours) == 11, 20)
        tree = {"name": "parent", "queueName": "q", "data": {}, "children": [{"name": "child", "queueName": "q"}]}
        await node.call("flow", tree=tree)
        await node.queue("q", "pause")
        await node.queue("q", "resume")
        (extra,) = await node.add("q", {"name": "removed", "data": {}, "opts": {"delay": 60_000}})
        await node.call("job", queue="q", id=extra, method="remove")
        await node.queue("q", "clean", 0, 100, "completed")

        def equal() -> bool:
            assert ours == heard(node)
            assert {name for name, _ in ours} >= KINDS
            return True

        await eventually(equal, 20)
        assert await node.call("listening", queue="q") is True
        assert not node.process.seen("died")


async def test_custom_events_are_heard_on_both_sides_and_end_nobodys_listener(
    node_env: dict[str, str], redis7_url: str
) -> None:
    async with (
        NodeDriver(node_env) as node,
        QueueEvents("q", redis=redis7_url) as events,
        QueueEventsProducer("q", redis=redis7_url) as producer,
    ):
        await node.call("listen", queue="q")
        await node.call("publish", queue="q", event={"eventName": "theirs", "jobId": "7", "some": "é", "number": 5})
        await producer.publish_event(
            "ours", jobId="8", some="\u2028 🐎", nested={"a": [1, None]}, flag=True, number=1.5
        )
        await producer.publish_event("bare")
        await producer.publish_event("__proto__", constructor="x", prev="y")
        async with asyncio.timeout(10):
            found = [as_node(await anext(events)) for _ in range(4)]
        await eventually(lambda: len(heard(node)) == 4, 10)
        assert found == heard(node)
        assert found[0] == ("theirs", {"jobId": "7", "some": "é", "number": "5"})
        assert found[1] == (
            "ours",
            {"jobId": "8", "some": "\u2028 🐎", "nested": '{"a":[1,null]}', "flag": "true", "number": "1.5"},
        )
        assert await node.call("listening", queue="q") is True
        assert not node.process.seen("error")


async def test_node_counts_our_listeners(node_env: dict[str, str], redis7_url: str) -> None:
    async with NodeDriver(node_env) as node:
        before = len(await node.queue("grüße", "getQueueEvents"))
        events = QueueEvents("grüße", redis=redis7_url)
        events.on("*", print)
        async with events:

            async def counted() -> bool:
                return len(await node.queue("grüße", "getQueueEvents")) == before + 1

            await eventually(counted, 10)


async def test_a_text_that_is_not_json_ends_nodes_listener_and_not_ours(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, QueueEvents("q", redis=redis7_url) as events:
        await node.call("listen", queue="q")
        await redis7_client.xadd("bull:q:events", {"event": "completed", "jobId": "1", "returnvalue": "NaN"})
        await redis7_client.xadd("bull:q:events", {"event": "next"})
        async with asyncio.timeout(10):
            assert [(await anext(events)).name for _ in range(2)] == ["completed", "next"]
        await eventually(lambda: node.process.seen("died"), 10)


async def test_node_waits_for_jobs_that_our_worker_ends(node_env: dict[str, str], redis7_url: str) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await node.call("listen", queue="q")
        fine, fails = await queue.add("n", {"x": 1}), await queue.add("n", {"fail": "boom"})
        gone = await queue.add("n", {}, remove_on_complete=True)
        calls = [asyncio.create_task(node.call("finished", queue="q", id=job.id)) for job in (fine, fails, gone)]
        await node.queue("q", "getJobCounts")
        async with running(Worker("q", grant, redis=redis7_url)):
            assert await calls[0] == {"echo": {"x": 1}, "by": "corral"}
            with pytest.raises(NodeError, match="boom"):
                await calls[1]
            assert await calls[2] == {"echo": {}, "by": "corral"}
        assert await node.call("finished", queue="q", id=fine.id) == {"echo": {"x": 1}, "by": "corral"}
        with pytest.raises(NodeError, match="boom"):
            await node.call("finished", queue="q", id=fails.id)


async def test_we_wait_for_jobs_that_nodes_worker_ends(node_env: dict[str, str], redis7_url: str) -> None:
    async with (
        NodeDriver(node_env) as node,
        Queue("q", redis=redis7_url) as queue,
        QueueEvents("q", redis=redis7_url) as events,
    ):
        fine, fails = await queue.add("n", {"x": 1}), await queue.add("n", {"fail": "boom"})
        gone, later = await queue.add("n", {}, remove_on_complete=True), await queue.add("n", delay=3600)

        async def wait(job: Job, timeout: float = 20) -> Any:
            return await job.wait_until_finished(events, timeout=timeout)

        waits = [asyncio.create_task(wait(job)) for job in (fine, fails, gone, later)]
        await eventually(lambda: len(events.watch()._waiting) == 4)
        await node.work(["q"])
        assert await waits[0] == {"echo": {"x": 1}, "by": "node"}
        with pytest.raises(JobFailed) as caught:
            await waits[1]
        assert caught.value.reason == "boom"
        assert await waits[2] == {"echo": {}, "by": "node"}
        with pytest.raises(JobTimeout):
            await wait(later, 0.1)
        await node.call("job", queue="q", id=later.id, method="remove")
        with pytest.raises(JobNotFound):
            await waits[3]
        assert await wait(fine) == {"echo": {"x": 1}, "by": "node"}
