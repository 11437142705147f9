"""Dead letters beside Node: what its workers failed moves and comes back, and its clients see letters as plain jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit import audit
from corral import Backoff, Queue, State
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop


async def ends_as(queue: Queue, job_id: str, state: State) -> None:
    async def check() -> bool:
        return await queue.get_job_state(job_id) == state

    await eventually(check, 30)


async def test_what_a_node_worker_failed_goes_there_and_back(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with (
        NodeDriver(node_env) as node,
        Queue("q", redis=redis7_url) as queue,
        Queue("q-dead", redis=redis7_url) as dead,
    ):
        added = await queue.add("n", {"fail": "boom é"}, attempts=2, backoff=Backoff.fixed(0.01), correlation_id="c")
        await node.work(["q"])
        await ends_as(queue, added.id, State.FAILED)
        letter = await queue.move_to_dead_letters(added.id, to="q-dead")
        assert letter.dead_letter is not None
        assert (letter.dead_letter.reason, letter.dead_letter.attempts_made) == ("boom é", 2)
        assert len(letter.dead_letter.stacktrace) == 2
        assert letter.opts.correlation_id == "c"

        seen = await node.read("q-dead", letter.id)
        assert seen is not None
        assert (seen["name"], seen["data"], seen["state"]) == ("n", {"fail": "boom é"}, "waiting")
        assert seen["opts"]["deadLetter"]["id"] == added.id
        assert await node.queue("q-dead", "getWaitingCount") == 1
        assert await node.queue("q-dead", "removeOrphanedJobs") == 0
        assert await node.read("q", added.id) is None

        # Somebody mends the data in a dashboard, and replays.
        await node.call("job", queue="q-dead", id=letter.id, method="updateData", args=[{"mended": True}])
        back = await dead.replay(letter.id)
        assert (back.id, back.opts, back.attempts_made) == (added.id, added.opts, 0)
        await ends_as(queue, added.id, State.COMPLETED)
        assert (await queue.get_job(added.id)).returnvalue == {"echo": {"mended": True}, "by": "node"}  # type: ignore[union-attr]
        assert await audit(redis7_client) == []


async def test_a_node_worker_runs_letters_and_they_still_know_where_they_came_from(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with (
        NodeDriver(node_env) as node,
        Queue("q", redis=redis7_url) as queue,
        Queue("q-dead", redis=redis7_url) as dead,
    ):
        added = await queue.add("n", {"failFirst": 1})
        await node.work(["q"])
        await ends_as(queue, added.id, State.FAILED)
        await node.call("rest")
        letter = await queue.move_to_dead_letters(added.id, to="q-dead")
        await node.work(["q-dead"])
        await ends_as(dead, letter.id, State.FAILED)  # attempts begin anew for the letter, too
        await node.call("job", queue="q-dead", id=letter.id, method="retry")
        await ends_as(dead, letter.id, State.COMPLETED)
        await node.call("rest")
        back = await dead.replay(letter.id)
        assert (back.opts, await back.get_state()) == (added.opts, State.WAITING)
        assert await audit(redis7_client) == []
