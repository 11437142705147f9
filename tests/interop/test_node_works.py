"""We add jobs, a Node worker runs them, we read what became of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import Backoff, JobOptions, JobSpec, Keep, Queue, State
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    import redis.asyncio

pytestmark = pytest.mark.interop

UNICODE = {
    "Ключ": ["naïve", "日本語", "👩‍🚀", "/", '"', "\\", "\u2028"],
    "deep": {"a": [{"b": [[1.5, -0.25, None, True]]}]},
}


async def ended(queue: Queue, number: int) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert (counts.completed + counts.failed, counts.unfinished) == (number, 0), counts
        return True

    await eventually(check, 30)


async def test_every_kind_of_job_that_we_add_is_worked_by_node(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "standard": ({"a": 1}, {}),
        "delayed": ({"a": 1}, {"delay": 0.3}),
        "priority": ({"a": 1}, {"priority": 7}),
        "delayed with priority": ({"a": 1}, {"priority": 2097151, "delay": 0.2}),
        "lifo": ({"a": 1}, {"lifo": True}),
        "own id": ({"a": 1}, {"job_id": "müller-7/x"}),
        "fixed backoff": ({"failFirst": 2}, {"attempts": 3, "backoff": Backoff.fixed(0.05)}),
        "exponential backoff": (
            {"failFirst": 1},
            {"attempts": 3, "backoff": Backoff.exponential(seconds=0.04, jitter=0.5)},
        ),
        "no backoff": ({"failFirst": 1}, {"attempts": 2}),
        "fails": ({"fail": "boom é"}, {}),
        "fails twice": ({"fail": "boom"}, {"attempts": 2, "stack_trace_limit": 1}),
        "unrecoverable": ({"unrecoverable": "no way"}, {"attempts": 5, "backoff": 60}),
        "progress": ({"progress": {"done": 0.5}, "log": "a row"}, {"keep_logs": 1}),
        "keep": ({"a": 1}, {"remove_on_complete": Keep.for_age(3600, count=100)}),
        "traced": ({"a": 1}, {"correlation_id": "trace-1"}),
        "gone": ({"a": 1}, {"remove_on_complete": True}),
        "failed and gone": ({"fail": "boom"}, {"remove_on_fail": True}),
    }
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        jobs = {name: await queue.add(name, data, **opts) for name, (data, opts) in kinds.items()}
        await node.work(["q"], concurrency=4, name="node-1")
        await ended(queue, len(kinds) - 2)
        assert {name for name, job in jobs.items() if await queue.get_job(job.id) is None} == {
            "gone",
            "failed and gone",
        }
        for name in kinds.keys() - {"gone", "failed and gone"}:
            data, _ = kinds[name]
            fails = "fail" in data or "unrecoverable" in data
            job = await queue.get_job(jobs[name].id)
            assert job is not None
            assert await queue.get_job_state(job.id) is (State.FAILED if fails else State.COMPLETED)
            attempts = 2 if name == "fails twice" else 1 + data.get("failFirst", 0)
            assert (job.attempts_made, job.attempts_started) == (attempts, attempts), name
            assert (job.name, job.data, job.delay, job.processed_by) == (name, data, 0, "node-1")
            assert job.opts == jobs[name].opts
            assert job.processed_on is not None
            assert job.finished_on is not None
            if fails:
                assert job.failed_reason == data.get("fail", data.get("unrecoverable"))
                assert len(job.stacktrace) == 1
            else:
                assert job.returnvalue == {"echo": data, "by": "node"}
                assert len(job.stacktrace) == data.get("failFirst", 0)
        progress = await queue.get_job(jobs["progress"].id)
        assert progress is not None
        assert progress.progress == {"done": 0.5}
        assert await queue.get_job_logs(progress.id) == ["a row"]
        assert not node.process.seen("error")


@pytest.mark.parametrize("data", [[1, [2]], "text é 🐎", 12.5, False, UNICODE], ids=lambda data: type(data).__name__)
async def test_data_of_any_json_type_reaches_node_and_comes_back(
    node_env: dict[str, str], redis7_url: str, data: Any
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        job = await queue.add("ñ", data)
        await node.work(["q"])
        await ended(queue, 1)
        done = await queue.get_job(job.id)
        assert done is not None
        assert (done.name, done.returnvalue) == ("ñ", {"echo": data, "by": "node"})
        assert (await node.read("q", job.id) or {})["data"] == data


async def test_node_reads_our_options_under_its_own_names(node_env: dict[str, str], redis7_url: str) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        job = await queue.add(
            "n",
            attempts=4,
            backoff=Backoff.exponential(seconds=1, jitter=0.25),
            delay=5,
            priority=3,
            job_id="mine",
            remove_on_complete=Keep(count=5, age_s=60),
            remove_on_fail=7,
            stack_trace_limit=2,
            keep_logs=9,
            size_limit=1000,
            telemetry_metadata='{"traceparent":"00-1-2-01"}',
            omit_context=True,
            correlation_id="trace-1",
        )
        read = await node.read("q", job.id)
        assert read is not None
        assert read["state"] == "delayed"
        assert (read["delay"], read["priority"], read["data"]) == (5000, 3, {})
        assert read["opts"] == {
            "attempts": 4,
            "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.25},
            "delay": 5000,
            "priority": 3,
            "jobId": "mine",
            "removeOnComplete": {"count": 5, "age": 60},
            "removeOnFail": {"count": 7},
            "stackTraceLimit": 2,
            "keepLogs": 9,
            "sizeLimit": 1000,
            "telemetry": {"metadata": '{"traceparent":"00-1-2-01"}', "omitContext": True},
            "correlationId": "trace-1",
        }


async def test_node_runs_a_bulk_of_ours_in_order_and_counts_it(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        specs = [JobSpec(str(number), {"n": number}) for number in range(50)]
        specs.append(JobSpec("first", {}, JobOptions.checked(lifo=True)))
        specs.append(JobSpec("last", {}, JobOptions.checked(priority=1)))
        jobs = await queue.add_bulk(specs)
        assert await node.queue("q", "getJobCounts", "wait", "prioritized") == {"wait": 51, "prioritized": 1}
        await node.work(["q"], concurrency=1)
        await ended(queue, 52)
        taken = [
            fields[b"jobId"].decode()
            for _, fields in await redis7_client.xrange("bull:q:events")
            if fields[b"event"] == b"active"
        ]
        names = {job.id: job.name for job in jobs}
        assert [names[id] for id in taken] == ["first", *map(str, range(50)), "last"]


async def test_an_add_with_a_known_id_changes_nothing_for_either(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        assert (await queue.add("ours", {"n": 1}, job_id="one")).id == "one"
        assert await node.add("q", {"name": "node", "data": {"n": 2}, "opts": {"jobId": "one"}}) == ["one"]
        assert await node.add("q", {"name": "node", "data": {"n": 3}, "opts": {"jobId": "two"}}) == ["two"]
        assert (await queue.add("ours", {"n": 4}, job_id="two")).id == "two"
        names = [json.loads(await redis7_client.hget(f"bull:q:{id}", "data")) for id in ("one", "two")]
        assert names == [{"n": 1}, {"n": 3}]
        assert await redis7_client.get("bull:q:id") == b"4"
        events = [fields[b"event"] for _, fields in await redis7_client.xrange("bull:q:events")]
        assert events == [b"added", b"waiting", b"duplicated", b"added", b"waiting", b"duplicated"]
