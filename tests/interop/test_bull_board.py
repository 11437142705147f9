"""What Bull Board shows of queues that Corral made and works: every page of its, by the HTTP API under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from audit import audit
from board import Board
from corral import Backoff, FlowJob, FlowProducer, JobOptions, Keep, Queue, Worker
from corral.lifecycle import Complete, Fail
from corral.scripts import Settlement, Taking, settle_jobs
from node_driver import NodeDriver
from running import running
from waiting import eventually
from workshop import Workshop

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


async def ended(queue: Queue, *ids: str) -> None:
    """Wait until these jobs are completed or failed."""

    async def check() -> bool:
        states = [await queue.get_job_state(job_id) for job_id in ids]
        assert set(states) <= {"completed", "failed"}, states
        return True

    await eventually(check)


async def test_every_state_is_counted_and_shown_in_pages(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    workshop = Workshop()
    worker = Worker("q", workshop.run, redis=redis7_url)
    async with (
        Board(node_env, "q", "kids") as board,
        Queue("q", redis=redis7_url) as queue,
        FlowProducer(redis=redis7_url) as flows,
        running(worker),
    ):
        done = [(await queue.add("done")).id for _ in range(3)]
        failed = (await queue.add("bad", {"fail": "no luck"})).id
        await ended(queue, *done, failed)
        active = (await queue.add("held", {"hold": True})).id
        await eventually(lambda: workshop.running == 1)
        waiting = [(await queue.add("next")).id for _ in range(3)]
        later = (await queue.add("later", delay=3600)).id
        prioritized = [(await queue.add("urgent", priority=priority)).id for priority in (7, 3)]
        parent = (await flows.add(FlowJob("parent", "q", children=[FlowJob("child", "kids")]))).job.id

        pages = {
            "completed": done[::-1],
            "failed": [failed],
            "active": [active],
            "waiting": waiting[::-1],
            "delayed": [later],
            "prioritized": prioritized,
            "waiting-children": [parent],
        }
        for status, ids in pages.items():
            assert await board.ids("q", status) == ids, status
        assert (await board.job("q", active))["status"] == "active"
        assert await board.ids("q", "completed", page=2, per_page=2) == done[:1]
        shown = await board.page("q", "waiting", page=1, per_page=2)
        assert [job["id"] for job in shown["jobs"]] == waiting[:0:-1]
        assert shown["pagination"]["pageCount"] == 2
        every = [job_id for ids in pages.values() for job_id in ids]
        assert sorted(await board.ids("q", "latest")) == sorted(every)

        ours = await queue.get_job_counts()
        counts = {status.replace("-", "_"): number for status, number in shown["counts"].items() if status != "paused"}
        assert counts == {status.replace("-", "_"): len(ids) for status, ids in pages.items()}
        assert counts == {status: getattr(ours, status) for status in counts}
        assert shown["counts"].get("paused", 0) == 0
        assert (shown["isPaused"], shown["hasWorkers"], shown["type"]) == (False, True, "bullmq")
        assert await audit(redis7_client) == []
        workshop.let_go()


async def test_a_job_is_shown_with_all_that_happened_to_it(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    worker = Worker("q", Workshop().run, redis=redis7_url, name="pod-é")
    data = {"progress": {"done": 0.5, "of": "é"}, "log": ["first row", "zweite 🐎"], "fail_first": 2}
    bad: dict[str, Any] = {"fail": "no luck: é", "log": []}
    async with Board(node_env, "q") as board, Queue("q", redis=redis7_url) as queue:
        first = await queue.add(
            "good", data, job_id="own/id 1", attempts=5, backoff=Backoff("exponential", 10), keep_logs=5
        )
        second = await queue.add("bad", bad, remove_on_fail=Keep(100), priority=5)
        waiting = await board.job("q", first.id)
        assert (waiting["status"], waiting["attempts"], waiting["progress"]) == ("waiting", 0, 0)
        async with running(worker):
            await ended(queue, first.id, second.id)

        shown, ours = await board.job("q", first.id), await queue.get_job(first.id)
        assert ours is not None
        assert shown["id"] == "own/id 1"
        assert [shown[each] for each in ("status", "name", "attempts", "processedBy", "returnValue")] == [
            *("completed", "good", 3, "pod-é", {"echo": data})
        ]
        assert (shown["data"], shown["progress"], shown["delay"]) == (data, data["progress"], 0)
        assert [shown["timestamp"], shown["processedOn"], shown["finishedOn"]] == [
            *(ours.timestamp, ours.processed_on, ours.finished_on)
        ]
        assert shown["opts"] == {
            "attempts": 5,
            "backoff": {"type": "exponential", "delay": 10},
            "jobId": "own/id 1",
            "keepLogs": 5,
        }
        # The board turns the rows round: the newest first.
        assert ["attempt 2" in row for row in shown["stacktrace"]] == [True, False]
        assert "RuntimeError: attempt 1" in shown["stacktrace"][1]
        assert await board.look("queues", "q", first.id, "logs") == (data["log"] * 3)[-5:]
        assert await board.look("queues", "q", second.id, "logs") == []

        failed = await board.job("q", second.id)
        assert (failed["status"], failed["failedReason"], failed["isFailed"]) == ("failed", "no luck: é", True)
        assert (failed["priority"], failed["attempts"], failed["returnValue"]) == (5, 1, None)
        assert "in _granted" in failed["stacktrace"][0]
        assert failed["opts"] == {"attempts": 0, "priority": 5, "removeOnFail": {"count": 100}}
        assert (await board.ask("GET", "queues", "q", "nobody")).status == 404
        assert await audit(redis7_client) == []


@pytest.mark.parametrize("made_by", ["corral", "node"])
async def test_a_flow_is_shown_as_a_tree(
    made_by: str, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    worker = Worker("kids", Workshop().run, redis=redis7_url)
    async with (
        Board(node_env, "q", "kids", "late") as board,
        Queue("q", redis=redis7_url) as queue,
        Queue("kids", redis=redis7_url) as kids,
    ):
        root = await (a_flow_of_ours(redis7_url) if made_by == "corral" else a_flow_of_nodes(node_env))
        async with running(worker):
            await eventually(lambda: numbers(kids, completed=1, failed=1))

        shown = await board.look("queues", "q", root, "flow")
        assert (shown["nodeId"], shown["isFlowNode"]) == (root, True)
        tree = shown["flowRoot"]
        assert [tree[each] for each in ("id", "name", "state", "queueName")] == [root, "root", "waiting-children", "q"]
        assert tree["dependencies"] == {"processed": 1, "unprocessed": 1, "ignored": 1, "failed": 0}
        assert list(tree["ignoredChildFailureReasons"].values()) == ["no luck"]
        children = {child["name"]: child for child in tree["children"]}
        assert {name: (child["state"], child["queueName"]) for name, child in children.items()} == {
            "good": ("completed", "kids"),
            "bad": ("failed", "kids"),
            "middle": ("waiting-children", "late"),
        }
        assert [leaf["state"] for leaf in children["middle"]["children"]] == ["delayed"]

        # From a leaf, the board finds the way up to the root.
        leaf = children["middle"]["children"][0]
        assert (await board.look("queues", "late", leaf["id"], "flow"))["flowRoot"] == tree
        alone = await queue.add("alone")
        assert not (await board.look("queues", "q", alone.id, "flow"))["isFlowNode"]

        removed = await board.press("PUT", "q", root, "remove-unprocessed-children")
        assert removed == {"removed": 1}
        async with running(Worker("q", Workshop().run, redis=redis7_url)):
            await eventually(lambda: numbers(queue, completed=2))
        assert await audit(redis7_client) == []


async def numbers(queue: Queue, *, completed: int = 0, failed: int = 0) -> bool:
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.failed) == (completed, failed), counts
    return True


async def a_flow_of_ours(redis_url: str) -> str:
    ignored = JobOptions.checked(ignore_dependency_on_failure=True)
    leaf = FlowJob("leaf", "late", opts=JobOptions.checked(delay=3600))
    children = [
        FlowJob("good", "kids", {"log": ["a row"]}),
        FlowJob("bad", "kids", {"fail": "no luck"}, ignored),
        FlowJob("middle", "late", children=[leaf]),
    ]
    async with FlowProducer(redis=redis_url) as flows:
        return (await flows.add(FlowJob("root", "q", children=children))).job.id


async def a_flow_of_nodes(env: dict[str, str]) -> str:
    leaf = {"name": "leaf", "queueName": "late", "opts": {"delay": HOUR_MS}}
    children = [
        {"name": "good", "queueName": "kids", "data": {"log": ["a row"]}},
        {
            "name": "bad",
            "queueName": "kids",
            "data": {"fail": "no luck"},
            "opts": {"ignoreDependencyOnFailure": True},
        },
        {"name": "middle", "queueName": "late", "children": [leaf]},
    ]
    async with NodeDriver(env) as node:
        return str(await node.call("flow", tree={"name": "root", "queueName": "q", "children": children}))


async def test_workers_of_ours_are_listed_and_counted_beside_the_numbers_of_redis(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Board(node_env, "q") as board, Queue("q", redis=redis7_url) as queue:
        assert (await board.look("queues", "q", "workers"))["workers"] == []
        assert (await board.page("q"))["hasWorkers"] is False
        stats = await board.look("redis", "stats")
        assert (stats["version"][:2], stats["port"]) == ("7.", urlsplit(redis7_url).port)
        workers = [Worker("q", Workshop().run, redis=redis7_url, name=name) for name in ("pod-1", "pod-2")]
        async with running(*workers):
            await eventually(lambda: listed(board, "pod-1", "pod-2"))
            assert (await board.page("q"))["hasWorkers"] is True
            assert await queue.get_workers_count() == 2
            await eventually(lambda: idle(board, 2))
        await eventually(lambda: listed(board))
        assert await audit(redis7_client) == []


async def idle(board: Board, workers: int) -> bool:
    return await board.blocked() == workers


async def listed(board: Board, *names: str) -> bool:
    found = (await board.look("queues", "q", "workers"))["workers"]
    assert sorted(worker["name"] for worker in found) == sorted(names), found
    assert all(worker["addr"].startswith("127.0.0.1:") for worker in found)
    return True


async def test_ends_a_minute_are_charted(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    """Jobs end in the minutes 0, 0, 2 and 3 of a clock that leaps, and one fails in 3."""
    began = 1_700_000_040_000
    async with Board(node_env, "q") as board, Queue("q", redis=redis7_url) as queue:
        assert await board.look("queues", "q", "metrics") == {
            kind: {"meta": {"count": 0, "prevTS": 0, "prevCount": 0}, "data": [], "count": 0}
            for kind in ("completed", "failed")
        }
        for minute, step in [(0, DONE), (0, DONE), (2, DONE), (3, DONE), (3, BROKEN)]:
            await work_one(queue, began + minute * MINUTE_MS, step)
        charted = await board.look("queues", "q", "metrics")
        assert charted["completed"] == {
            "meta": {"count": 4, "prevTS": began + 3 * MINUTE_MS, "prevCount": 3},
            "data": [1, 0, 2],
            "count": 3,
        }
        assert (charted["failed"]["meta"]["count"], charted["failed"]["data"]) == (1, [])
        # A worker goes on where they stopped, years ago: that minute's point, and then none but the newest are kept.
        async with running(Worker("q", Workshop().run, redis=redis7_url, metrics_points=15)):
            await ended(queue, (await queue.add("now")).id)
        charted = await board.look("queues", "q", "metrics")
        assert (charted["completed"]["meta"]["count"], charted["completed"]["data"]) == (5, [0] * 14 + [1])
        assert (await queue.get_metrics("completed")).points == (0,) * 14 + (1,)
        assert await audit(redis7_client) == []


DONE = Complete("null", Keep())
BROKEN = Fail("no luck", ("stack",), Keep(), exhausted=False)


async def work_one(queue: Queue, now_ms: int, step: Complete | Fail) -> None:
    """Add a job, take it and end it, all at `now_ms`."""
    lines, keys = queue._lines, queue.keys
    await queue.add("one", timestamp=now_ms / 1000)
    taken = await settle_jobs(lines, keys, "", now_ms, [], Taking(1, "token", 30_000, ""))
    ((job_id, _),) = taken.jobs
    settled = await settle_jobs(
        lines, keys, "", now_ms, [Settlement(job_id, "token", step)], Taking(0, "", 0, "", points=15)
    )
    assert settled.codes == [0]
