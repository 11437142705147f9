"""Deduplication beside Node's: the same story told on two queues leaves the same keys and the same events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import Deduplication, Queue, Worker
from node_driver import NodeDriver
from running import running
from twins import portrait
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

    from corral import Job

pytestmark = pytest.mark.interop

# name of the story -> adds, one after another: data, delay in s, what Python says of deduplication, what Node says.
STORIES: dict[str, list[tuple[Any, float, Deduplication, dict[str, Any]]]] = {
    "simple": [(1, 0, Deduplication("x"), {"id": "x"})] * 3,
    "of two ids": [
        (1, 0, Deduplication("x"), {"id": "x"}),
        (2, 0, Deduplication("y"), {"id": "y"}),
        (3, 0, Deduplication("x"), {"id": "x"}),
    ],
    "throttle": [(1, 0, Deduplication("x", 3600), {"id": "x", "ttl": 3_600_000})] * 2,
    "extend": [(1, 0, Deduplication("x", 3600, extend=True), {"id": "x", "ttl": 3_600_000, "extend": True})] * 2,
    "debounce": [
        (1, 600, Deduplication("x", 3600, True, True), {"id": "x", "ttl": 3_600_000, "extend": True, "replace": True}),
        (2, 700, Deduplication("x", 3600, True, True), {"id": "x", "ttl": 3_600_000, "extend": True, "replace": True}),
    ],
    "replace without a ttl": [
        (1, 600, Deduplication("x", replace=True), {"id": "x", "replace": True}),
        (2, 700, Deduplication("x", replace=True), {"id": "x", "replace": True}),
        (3, 0, Deduplication("x", replace=True), {"id": "x", "replace": True}),
        (4, 0, Deduplication("x", replace=True), {"id": "x", "replace": True}),
    ],
    "reschedule": [
        (1, 600, Deduplication("x", reschedule=True), {"id": "x", "reschedule": True}),
        (2, 700, Deduplication("x", reschedule=True), {"id": "x", "reschedule": True}),
    ],
    "keep last, while it waits": [
        (
            1,
            0,
            Deduplication("x", 3600, keep_last_if_active=True),
            {"id": "x", "ttl": 3_600_000, "keepLastIfActive": True},
        ),
    ]
    * 2,
}


@pytest.mark.parametrize("story", STORIES)
async def test_a_story_ends_as_nodes_does(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis, bullmq: str, story: str
) -> None:
    async with NodeDriver(node_env) as node, Queue("ours", redis=redis7_url) as queue:
        ours, nodes = [], []
        for data, delay, deduplication, wire in STORIES[story]:
            job = await queue.add("n", {"d": data}, delay=delay, deduplication=deduplication)
            ours.append(job.id)
            opts = {"deduplication": wire} | ({"delay": delay * 1000} if delay else {})
            nodes += await node.add("nodes", {"name": "n", "data": {"d": data}, "opts": opts})
    assert ours == nodes
    mine, theirs = await portrait(redis7_client, "ours"), await portrait(redis7_client, "nodes")
    # BullMQ 5 tells of it under the older name too.
    theirs["events"] = [event for event in theirs["events"] if event["event"] != "debounced"]
    if (bullmq, story) == ("5", "reschedule"):
        # BullMQ 5 does not know it: it turns the add away and leaves the delay.
        assert mine["events"].pop()["event"] == "delayed"
        assert (mine["1"].pop("delay"), theirs["1"].pop("delay")) == ("700000", "600000")
    assert mine == theirs


@pytest.mark.parametrize("who_works", ["node", "corral"])
async def test_the_last_add_while_its_owner_runs_follows_it_whoever_works(
    node_env: dict[str, str], redis7_url: str, who_works: str
) -> None:
    ran: list[Any] = []

    async def run(job: Job) -> None:
        ran.append(job.data["n"])
        if job.data["n"] == 1:
            await add_two()

    async def add_two() -> None:
        for n in (2, 3):
            await queue.add("n", {"n": n}, deduplication=last)

    last = Deduplication("x", keep_last_if_active=True)
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await queue.add("n", {"n": 1, "sleep": 1500}, deduplication=last)
        if who_works == "corral":
            async with running(Worker("q", run, redis=redis7_url)):
                await eventually(lambda: ran == [1, 3])
            return
        await node.work(["q"])
        await eventually(lambda: counted(queue, active=1))
        await add_two()
        await eventually(lambda: counted(queue, completed=2))
        last_job = await queue.get_job("3")
        assert last_job is not None
        assert last_job.data == {"n": 3}
        assert await queue.get_job("2") is None


async def counted(queue: Queue, **states: int) -> bool:
    counts = await queue.get_job_counts()
    return all(getattr(counts, state) == number for state, number in states.items())
