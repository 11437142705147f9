"""Node adds jobs, `corral work` runs them, Node reads what became of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import Queue
from corral_process import CorralProcess
from node_driver import NodeDriver, corral_worker
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import redis.asyncio

pytestmark = pytest.mark.interop

COMPLETED = {
    *("atm", "ats", "data", "delay", "finishedOn", "name", "opts"),
    *("pb", "priority", "processedOn", "returnvalue", "timestamp"),
}
FAILED = COMPLETED - {"returnvalue"} | {"failedReason", "stacktrace"}
RETRIED = COMPLETED | FAILED

UNICODE = {
    "Ключ": ["naïve", "日本語", "👩‍🚀", "/", '"', "\\", "\u2028"],
    "deep": {"a": [{"b": [[1.5, -0.25, None, True]]}]},
}

DATA: dict[str, Any] = {
    "null": None,
    "list": [1, [2, {"three": 3}], "four"],
    "text": "just a text, with é and 🐎",
    "number": 12.5,
    "false": False,
    "empty": {},
    "unicode": UNICODE,
    "large": {"text": "x" * 300_000},
}


async def ended(queue: Queue, number: int) -> None:
    async def check() -> bool:
        counts = await queue.get_job_counts()
        assert (counts.completed + counts.failed, counts.unfinished) == (number, 0), counts
        return True

    await eventually(check, 30)


async def fields_of(client: redis.asyncio.Redis, queue: str, job_id: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (await client.hgetall(f"bull:{queue}:{job_id}")).items()}


async def test_every_kind_of_job_that_node_adds_is_worked_by_corral_work(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "standard": ({"a": 1}, {}),
        "delayed": ({"a": 1}, {"delay": 300}),
        "priority": ({"a": 1}, {"priority": 7}),
        "delayed with priority": ({"a": 1}, {"priority": 2097151, "delay": 200}),
        "lifo": ({"a": 1}, {"lifo": True}),
        "own id": ({"a": 1}, {"jobId": "müller-7/x"}),
        "fixed backoff": ({"failFirst": 2}, {"attempts": 3, "backoff": 50}),
        "exponential backoff": (
            {"failFirst": 1},
            {"attempts": 3, "backoff": {"type": "exponential", "delay": 40, "jitter": 0.5}},
        ),
        "no backoff": ({"failFirst": 1}, {"attempts": 2}),
        "fails": ({"fail": "boom é"}, {}),
        "fails twice": ({"fail": "boom"}, {"attempts": 2, "stackTraceLimit": 1}),
        "unrecoverable": ({"unrecoverable": "no way"}, {"attempts": 5, "backoff": 60_000}),
        "progress": ({"progress": {"done": 0.5}, "log": "a row"}, {"keepLogs": 1}),
        "keep two": ({"a": 1}, {"removeOnComplete": {"count": 100, "age": 3600}}),
        "unknown options": ({"a": 1}, {"mine": {"x": [1, None]}, "telemetry": {"metadata": "trace"}}),
        "gone": ({"a": 1}, {"removeOnComplete": True}),
        "failed and gone": ({"fail": "boom"}, {"removeOnFail": True}),
    }
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        jobs = [{"name": name, "data": data, "opts": opts} for name, (data, opts) in kinds.items()]
        ids = dict(zip(kinds, await node.add("q", *jobs), strict=True))
        before = {name: await fields_of(redis7_client, "q", job_id) for name, job_id in ids.items()}
        with CorralProcess(
            tmp_path, corral_worker("'q', run, concurrency=4"), redis7_url, {"POD_NAME": "pod-é"}
        ) as process:
            await ended(queue, len(kinds) - 2)
            assert {name for name in kinds if await node.read("q", ids[name]) is None} == {"gone", "failed and gone"}
            await eventually(lambda: len(process.job_ends) >= len(kinds))
            process.signal()
            assert await process.wait() == 0

        for name in kinds.keys() - {"gone", "failed and gone"}:
            data, _ = kinds[name]
            fails = "fail" in data or "unrecoverable" in data
            after = await fields_of(redis7_client, "q", ids[name])
            read = await node.read("q", ids[name])
            assert read is not None
            wanted = FAILED if fails else RETRIED if "failFirst" in data else COMPLETED
            assert set(after) - {"progress"} == wanted, name
            # What the producer wrote is as it was, but for the delay, which promotion clears and a backoff sets.
            assert {each: after[each] for each in before[name] if each != "delay"} == {
                each: value for each, value in before[name].items() if each != "delay"
            }
            attempts = 2 if name == "fails twice" else 1 + data.get("failFirst", 0)
            assert (after["atm"], after["ats"]) == (str(attempts), str(attempts)), name
            assert after["delay"] == "0", name
            assert read["state"] == ("failed" if fails else "completed")
            assert read["attemptsMade"] == attempts
            assert read["processedBy"] == "pod-é"
            assert read["data"] == data
            assert all(isinstance(time, int) and time > 1.6e12 for time in read["times"])
            if fails:
                assert read["failedReason"] == data.get("fail", data.get("unrecoverable"))
                assert len(read["stacktrace"]) == 1
                assert "Error" in read["stacktrace"][0]
            else:
                assert read["returnvalue"] == {"echo": data, "by": "corral"}
                assert len(read["stacktrace"]) == data.get("failFirst", 0)
        assert (await node.read("q", ids["progress"]) or {})["progress"] == {"done": 0.5}
        assert (await node.queue("q", "getJobLogs", ids["progress"]))["logs"] == ["a row"]
        assert await node.queue(
            "q", "getJobCounts", "completed", "failed", "wait", "active", "delayed", "prioritized"
        ) == {
            "completed": 12,
            "failed": 3,
            "wait": 0,
            "active": 0,
            "delayed": 0,
            "prioritized": 0,
        }
    left = {key.decode() async for key in redis7_client.scan_iter("bull:q:*")}
    of_queue = {f"bull:q:{part}" for part in ("id", "meta", "events", "completed", "failed", "marker", "stalled-check")}
    of_jobs = {f"bull:q:{id}" for name, id in ids.items() if "gone" not in name} | {f"bull:q:{ids['progress']}:logs"}
    assert of_jobs <= left
    assert left - of_jobs <= of_queue | {
        "bull:q:pc",
        "bull:q:stalled",
        "bull:q:metrics:completed",
        "bull:q:metrics:failed",
    }


async def test_data_of_any_json_type_reaches_our_processor_and_comes_back_to_node(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        ids = await node.add("q", *({"name": f"{name} ñ", "data": data} for name, data in DATA.items()))
        with CorralProcess(tmp_path, corral_worker("'q', run"), redis7_url):
            await ended(queue, len(DATA))
        for job_id, (name, data) in zip(ids, DATA.items(), strict=True):
            read = await node.read("q", job_id)
            assert read is not None
            assert (read["name"], read["data"]) == (f"{name} ñ", data)
            assert read["returnvalue"] == {"echo": data, "by": "corral"}
            # A worker without a name writes no `pb`.
            assert set(await fields_of(redis7_client, "q", job_id)) == COMPLETED - {"pb"}


async def test_jobs_run_in_the_order_that_bullmq_gives_them(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        order = {
            "p2": {"priority": 2},
            "p1 a": {"priority": 1},
            "a": {},
            "b": {},
            "first": {"lifo": True},
            "p1 b": {"priority": 1},
        }
        await node.add("q", *({"name": name, "data": {}, "opts": opts} for name, opts in order.items()))
        with CorralProcess(tmp_path, corral_worker("'q', run, concurrency=1"), redis7_url):
            await ended(queue, len(order))
    names = {}
    taken = []
    for _, fields in await redis7_client.xrange("bull:q:events"):
        if fields[b"event"] == b"added":
            names[fields[b"jobId"]] = fields[b"name"].decode()
        if fields[b"event"] == b"active":
            taken.append(names[fields[b"jobId"]])
    assert taken == ["first", "a", "b", "p1 a", "p1 b", "p2"]


async def test_retention_that_node_asked_for_is_kept(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node:
        jobs = [{"name": str(number), "data": {}, "opts": {"removeOnComplete": 3}} for number in range(8)]
        jobs += [{"name": "x", "data": {"fail": "x"}, "opts": {"removeOnFail": {"count": 2}}} for _ in range(5)]
        ids = await node.add("q", *jobs)
        with CorralProcess(tmp_path, corral_worker("'q', run, concurrency=1"), redis7_url) as process:
            await eventually(lambda: len(process.job_ends) == len(jobs), 30)
        assert await redis7_client.zrange("bull:q:completed", 0, -1) == [id.encode() for id in ids[5:8]]
        assert await redis7_client.zrange("bull:q:failed", 0, -1) == [id.encode() for id in ids[-2:]]
        hashes = [job_id for job_id in ids if await redis7_client.exists(f"bull:q:{job_id}")]
        assert hashes == [*ids[5:8], *ids[-2:]]


@pytest.mark.parametrize("policy", [{}, {"failParentOnFailure": True}, {"ignoreDependencyOnFailure": True}])
async def test_a_flow_of_node_goes_through_our_worker(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str, policy: dict[str, Any]
) -> None:
    fails = {"fail": "boom"} if policy else {"fine": True}
    tree = {
        "name": "parent",
        "queueName": "parents",
        "data": {"whole": "flow"},
        "children": [
            {"name": "here", "queueName": "parents", "data": {"n": 1}},
            {"name": "there", "queueName": "others", "data": fails, "opts": policy},
        ],
    }
    async with NodeDriver(node_env) as node, Queue("parents", redis=redis7_url) as parents:
        parent = await node.call("flow", tree=tree)
        assert (await node.read("parents", parent) or {})["state"] == "waiting-children"
        with CorralProcess(tmp_path, corral_worker("['parents', 'others'], run, concurrency=2"), redis7_url):
            await ended(parents, 2)
        values = await node.call("job", queue="parents", id=parent, method="getChildrenValues")
        read = await node.read("parents", parent)
        assert read is not None
        own = [{"echo": {"n": 1}, "by": "corral"}]
        child_key = None
        if "failParentOnFailure" in policy:
            assert read["state"] == "failed"
            child_key = read["failedReason"].removeprefix("child ").removesuffix(" failed")
            assert child_key.startswith("bull:others:")
            assert read["attemptsMade"] == 1
            assert read["returnvalue"] is None
            # The other child may have ended before or after.
            assert list(values.values()) in ([], own)
        else:
            assert read["state"] == "completed"
            assert read["returnvalue"] == {"echo": {"whole": "flow"}, "by": "corral"}
            others = [] if policy else [{"echo": {"fine": True}, "by": "corral"}]
            assert sorted(map(json.dumps, values.values())) == sorted(map(json.dumps, own + others))
        if "ignoreDependencyOnFailure" in policy:
            ignored = await node.call("job", queue="parents", id=parent, method="getIgnoredChildrenFailures")
            assert list(ignored.values()) == ["boom"]


async def test_the_parent_of_a_flow_is_worked_after_its_children(
    tmp_path: Path, node_env: dict[str, str], redis7_url: str
) -> None:
    leaf = {"name": "leaf", "queueName": "flow", "data": {"sleep": 50}}
    middle = {"name": "middle", "queueName": "flow", "data": {}, "children": [leaf, leaf]}
    tree = {"name": "root", "queueName": "flow", "data": {}, "children": [middle, middle]}
    async with NodeDriver(node_env) as node, Queue("flow", redis=redis7_url) as queue:
        await node.call("flow", tree=tree)
        with CorralProcess(tmp_path, corral_worker("'flow', run, concurrency=5"), redis7_url) as process:
            await ended(queue, 7)
            await eventually(lambda: len(process.job_ends) == 7)
            order = [line["name"] for line in process.job_ends]
    assert order[-1] == "root"
    assert sorted(order[:2]) == ["leaf", "leaf"]
    assert order.index("middle") >= 2
