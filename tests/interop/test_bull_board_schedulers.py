"""Bull Board and our job schedulers: it lists, runs, edits and removes them, and our worker makes the iterations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from audit import audit
from board import Board
from corral import JobOptions, Queue, State, Worker
from node_driver import NodeDriver
from running import running
from waiting import eventually
from workshop import Workshop

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop

HOUR_MS = 3_600_000


async def only(board: Board) -> dict[str, Any]:
    """The only scheduler that the board lists."""
    (shown,) = (await board.look("job-schedulers", queueName="q"))["schedulers"]
    return dict(shown)


async def test_a_scheduler_is_listed_with_its_runs(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Board(node_env, "q") as board, Queue("q", redis=redis7_url) as queue:
        opts = JobOptions.checked(attempts=3)
        first = await queue.upsert_job_scheduler("hourly", every=3600, limit=9, name="report", data={"n": 1}, opts=opts)
        assert first is not None
        shown = await only(board)
        assert shown == {
            "id": "hourly",
            "queueName": "q",
            "name": "report",
            "every": HOUR_MS,
            "limit": 9,
            "next": shown["next"],
            "nextRunJobId": first.id,
            "iterationCount": 1,
            "template": {"data": {"n": 1}, "opts": {"attempts": 3}},
        }
        async with running(Worker("q", Workshop().run, redis=redis7_url)):
            await eventually(lambda: reached(queue, first.id, State.COMPLETED))
        again = await only(board)
        assert (again["iterationCount"], again["next"]) == (2, shown["next"] + HOUR_MS)
        assert again["lastRunJobId"] == first.id
        assert abs(again["lastRun"] - time.time() * 1000) < 60_000
        assert (await board.job("q", again["nextRunJobId"]))["status"] == "delayed"
        assert (await board.page("q"))["jobSchedulerCount"] == 1

        # The run that it waits for cannot be taken away from it, an earlier one can.
        refused = await board.ask("PUT", "queues", "q", again["nextRunJobId"], "clean")
        assert (refused.status, refused.error) == (400, "ERRORS.JOB_BELONGS_TO_JOB_SCHEDULER")
        await board.press("PUT", "q", first.id, "clean")

        await queue.upsert_job_scheduler("hourly", pattern="30 4 * * *", tz="Europe/Berlin", name="report")
        patterned = await only(board)
        assert (patterned["pattern"], patterned["tz"]) == ("30 4 * * *", "Europe/Berlin")
        assert "every" not in patterned
        assert await audit(redis7_client) == []


async def reached(queue: Queue, job_id: str, state: State) -> bool:
    return await queue.get_job_state(job_id) is state


@pytest.mark.parametrize("made_by", ["corral", "node"])
async def test_a_scheduler_is_run_edited_and_removed(
    made_by: str, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    workshop = Workshop()
    async with Board(node_env, "q") as board, Queue("q", redis=redis7_url) as queue:
        if made_by == "corral":
            await queue.upsert_job_scheduler("yearly", pattern="0 0 1 1 *", name="report", data={"n": 1})
        else:
            async with NodeDriver(node_env) as node:
                template = {"name": "report", "data": {"n": 1}}
                await node.queue("q", "upsertJobScheduler", "yearly", {"pattern": "0 0 1 1 *"}, template)
        async with running(Worker("q", workshop.run, redis=redis7_url)):
            before = await only(board)
            ran = (await board.press("PUT", "q", "job-schedulers", "yearly", "run"))["job"]
            assert (ran["name"], ran["data"]) == ("report", {"n": 1})
            await eventually(lambda: reached(queue, ran["id"], State.COMPLETED))
            assert await only(board) == before

            await board.press("PATCH", "q", "job-schedulers", "yearly", body={"every": 50})
            await eventually(lambda: len(workshop.ran) >= 4)
            scheduler = await queue.get_job_scheduler("yearly")
            assert scheduler is not None
            assert (scheduler.every_ms, scheduler.pattern, scheduler.data) == (50, None, {"n": 1})
            refused = await board.ask(
                "PATCH", "queues", "q", "job-schedulers", "yearly", body={"pattern": "no pattern at all"}
            )
            assert (refused.status, refused.error) == (400, "ERRORS.INVALID_SCHEDULER_PATTERN")

            await board.press("PUT", "q", "job-schedulers", "yearly", "remove")
            await eventually(lambda: over(queue))
            assert await queue.get_job_schedulers_count() == 0
            gone = await board.ask("PUT", "queues", "q", "job-schedulers", "yearly", "remove")
            assert (gone.status, gone.error) == (404, "ERRORS.JOB_SCHEDULER_NOT_FOUND")
        assert set(workshop.ran) == {"report"}
        assert await audit(redis7_client) == []


async def over(queue: Queue) -> bool:
    return (await queue.get_job_counts()).unfinished == 0
