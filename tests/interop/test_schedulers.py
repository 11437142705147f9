"""Job schedulers shared with Node: whoever makes one, changes it and works it, exactly one iteration is pending."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from corral import InvalidJob, JobOptions, Queue, Repeat, Worker
from keyspace import dump
from node import NodeError
from node_driver import NodeDriver
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    import redis.asyncio

    from corral import Job

pytestmark = pytest.mark.interop

FAR = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000
MADRID = {"tz": "Europe/Madrid"}

# Settings of Node's, and what they are called here.
NAMES = {"startDate": "start_date", "endDate": "end_date", "jobId": "job_id", "removeOnComplete": "remove_on_complete"}
SPANS = ("every", "offset", "start_date", "end_date")

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "every": ({"every": HOUR}, {}),
    "every with all": (
        {"every": HOUR, "limit": 5, "endDate": FAR},
        {
            "name": "tick",
            "data": {"é": [1, None]},
            "opts": {"attempts": 2, "backoff": {"type": "fixed", "delay": 50}, "priority": 3},
        },
    ),
    "every from a start": ({"every": HOUR, "startDate": FAR}, {"name": "x", "opts": {"lifo": True}}),
    "every with an offset": ({"every": HOUR, "offset": 1234}, {"data": "text"}),
    "pattern": ({"pattern": "0 3 * * *", **MADRID, "endDate": FAR}, {"name": "nightly"}),
    "pattern with seconds": ({"pattern": "15 30 2 29 FEB *", "tz": "UTC"}, {}),
    "pattern from a start": ({"pattern": "0 3 * * MON#1", **MADRID, "startDate": FAR}, {"data": [1]}),
    "pattern at once": ({"pattern": "0 0 1 1 *", "tz": "UTC", "immediately": True}, {"opts": {"attempts": 3}}),
}


def in_python(settings: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """What `upsert_job_scheduler` takes, of what Node's `upsertJobScheduler` takes."""
    named = {NAMES.get(name, name): value for name, value in settings.items()}
    named |= {name: named[name] / 1000 for name in SPANS if name in named}
    opts = {NAMES.get(name, name): value for name, value in template.get("opts", {}).items()}
    if "backoff" in opts:
        opts["backoff"] = opts["backoff"]["delay"] / 1000
    rest = {name: value for name, value in template.items() if name != "opts"}
    return {**named, **rest, "opts": JobOptions.checked(**opts)}


async def told(client: redis.asyncio.Redis, queue: str) -> dict[str, Any]:
    """All keys of a queue, with the times that differ from run to run taken out."""
    keys: dict[str, Any] = {}
    for key, value in (await dump(client, f"bull:{queue}:*")).items():
        keys[_timeless(key.removeprefix(f"bull:{queue}:"))] = _told(value)
    for name in ("meta", "marker", "stalled-check", "stalled"):
        keys.pop(name, None)
    return keys


def _told(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return _told(json.loads(value)) if value[:1] in "{[" else _timeless(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {_timeless(name): _told(each) for name, each in value.items() if name not in ("offset", "delay", "pb")}
    if isinstance(value, list):
        return [_told(each) for each in value]
    if isinstance(value, int | float) and value > 1e12 and value != FAR:
        return "ms"
    return value


def _timeless(text: str) -> str:
    return re.sub(r"\b1[78]\d{11}\b", "MS", text)


async def iterations(client: redis.asyncio.Redis, queue: str, scheduler: str) -> list[str]:
    """Ids of a scheduler's iterations that wait or are delayed, seen in one moment."""
    async with client.pipeline(transaction=True) as calls:
        for name in ("wait", "paused"):
            calls.lrange(f"bull:{queue}:{name}", 0, -1)
        for name in ("delayed", "prioritized"):
            calls.zrange(f"bull:{queue}:{name}", 0, -1)
        rows = await calls.execute()
    start = f"repeat:{scheduler}:"
    return [id.decode() for row in rows for id in row if id.decode().startswith(start)]


async def ended(client: redis.asyncio.Redis, queue: str, scheduler: str) -> list[int]:
    """The ms of the iterations that were completed, in that order."""
    entries = await client.xrange(f"bull:{queue}:events")
    ids = [fields[b"jobId"].decode() for _, fields in entries if fields[b"event"] == b"completed"]
    return [int(id.rsplit(":", 1)[1]) for id in ids if id.startswith(f"repeat:{scheduler}:")]


async def echo(job: Job) -> Any:
    return {"echo": job.data, "by": "corral"}


async def test_records_iterations_and_events_are_nodes(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("ours", redis=redis7_url) as queue:
        for id, (settings, template) in SHAPES.items():
            for _ in range(2):  # made, then replaced
                theirs = await node.queue("node", "upsertJobScheduler", id, settings, template)
                ours = await queue.upsert_job_scheduler(id, **in_python(settings, template))
                assert ours is not None
                if settings.keys() & {"startDate", "offset", "tz"} and "immediately" not in settings:
                    assert ours.id == theirs["id"]
            node_reads = await node.queue("ours", "getJobScheduler", id)
            node_own = await node.queue("node", "getJobScheduler", id)
            assert _told({**node_reads, "offset": 0}) == _told({**node_own, "offset": 0})
        assert await told(redis7_client, "ours") == await told(redis7_client, "node")
        assert {each["key"] for each in await node.queue("ours", "getJobSchedulers")} == SHAPES.keys()
        assert await node.queue("ours", "getJobSchedulersCount") == len(SHAPES)
        left = {each.id: each for each in await queue.get_job_schedulers()}
        async with Queue("node", redis=redis7_url) as theirs_too:
            right = {each.id: each for each in await theirs_too.get_job_schedulers()}
        timeless = {"next_ms": None, "offset_ms": None}
        assert {id: replace(each, **timeless) for id, each in left.items()} == {
            id: replace(each, **timeless) for id, each in right.items()
        }


@pytest.mark.parametrize("shape", ["every", "every with all", "pattern at once"])
async def test_the_iteration_that_a_worker_makes_is_nodes(
    shape: str, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    settings, template = SHAPES[shape]
    async with NodeDriver(node_env) as node, Queue("ours", redis=redis7_url) as queue:
        await node.queue("node", "upsertJobScheduler", "s", settings, template)
        await queue.upsert_job_scheduler("s", **in_python(settings, template))
        await node.work(["node"])
        await eventually(lambda: ended(redis7_client, "node", "s"))
        await node.call("rest")
        async with running(Worker("ours", echo, redis=redis7_url, metrics_points=0)):
            await eventually(lambda: ended(redis7_client, "ours", "s"))
        left, right = await told(redis7_client, "ours"), await told(redis7_client, "node")
    for keys in (left, right):
        for name in [name for name in keys if name.startswith("repeat:s:")]:
            for field in ("returnvalue", "nrjid"):  # who worked; written by BullMQ 5 only
                keys[name].pop(field, None)
        keys["events"] = [{n: v for n, v in each.items() if n != "returnvalue"} for each in keys["events"]]
    # BullMQ 5 writes the data into the record once more.
    if node_env["BULLMQ"] == "5":
        left["repeat:s"].pop("data", None)
        right["repeat:s"].pop("data", None)
    assert left == right


@pytest.mark.parametrize("maker", ["node", "ours"])
@pytest.mark.parametrize("worker", ["node", "ours"])
async def test_whoever_makes_one_and_whoever_works_it_it_goes_on(
    maker: str, worker: str, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    shapes = {"ev": {"every": 100}, "cr": {"pattern": "* * * * * *", "tz": "UTC"}}
    template = {"name": "tick", "data": {"t": 1}, "opts": {"removeOnComplete": {"count": 100}}}

    async def done() -> bool:
        enough = {"ev": 6, "cr": 2}
        return all([len(await ended(redis7_client, "q", id)) >= count for id, count in enough.items()])

    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        for id, settings in shapes.items():
            if maker == "node":
                await node.queue("q", "upsertJobScheduler", id, settings, template)
            else:
                opts = JobOptions.from_wire(template["opts"])  # type: ignore[arg-type]
                given = in_python(settings, {"name": "tick", "data": {"t": 1}})
                await queue.upsert_job_scheduler(id, **(given | {"opts": opts}))
        if worker == "node":
            await node.work(["q"])
            await eventually(done, 20)
            await node.call("rest")
        else:
            async with running(Worker("q", echo, redis=redis7_url)):
                await eventually(done, 20)
        for id, every in (("ev", 100), ("cr", 1000)):
            (left,) = await iterations(redis7_client, "q", id)
            found = await queue.get_job_scheduler(id)
            assert found is not None
            assert left == f"repeat:{id}:{found.next_ms}"
            times = await ended(redis7_client, "q", id)
            assert times == sorted(set(times))
            assert {(later - sooner) % every for sooner, later in pairwise(times)} == {0}
            assert found.iterations == len(times) + 1
            job = await queue.get_job(left)
            assert job is not None
            assert (job.name, job.data, job.scheduler_id) == ("tick", {"t": 1}, id)


@pytest.mark.timeout(90)
async def test_workers_of_all_kinds_at_once_make_no_fork_and_no_gap(
    with_node: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    most = 0
    five, six = ({"BULLMQ": version, "REDIS_URL": redis7_url} for version in ("5", "6"))
    async with NodeDriver(five) as node5, NodeDriver(six) as node6, Queue("q", redis=redis7_url) as queue:
        await queue.upsert_job_scheduler("ours", every=0.05, data={"of": "ours"})
        await node5.queue("q", "upsertJobScheduler", "five", {"every": 50}, {"data": {"of": "five"}})
        await node6.queue("q", "upsertJobScheduler", "six", {"every": 50}, {"data": {"of": "six"}})

        async def many() -> bool:
            nonlocal most
            counts = []
            for id in ("ours", "five", "six"):
                most = max(most, len(await iterations(redis7_client, "q", id)))
                counts.append(len(await ended(redis7_client, "q", id)))
            return min(counts) >= 150

        workers = [Worker("q", echo, redis=redis7_url) for _ in range(2)]
        async with running(*workers):
            await node5.work(["q"])
            await node6.work(["q"])
            await eventually(many, 60)
            await node5.call("rest")
            await node6.call("rest")
        assert most == 1
        by: dict[str, int] = {}
        for id in ("ours", "five", "six"):
            assert len(await iterations(redis7_client, "q", id)) == 1
            times = await ended(redis7_client, "q", id)
            assert len(times) == len(set(times))
            assert {(later - sooner) % 50 for sooner, later in pairwise(sorted(times))} == {0}
            found = await queue.get_job_scheduler(id)
            assert found is not None
            assert found.iterations == len(times) + 1
            for ms in times:
                job = await queue.get_job(f"repeat:{id}:{ms}")
                assert job is not None
                assert (job.data, job.attempts_started) == ({"of": id}, 1)
                by[job.returnvalue["by"]] = by.get(job.returnvalue["by"], 0) + 1
    assert by.keys() == {"corral", "node"}
    assert min(by.values()) > 30, by


async def test_each_changes_what_the_other_made_and_one_iteration_is_pending(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        first = await node.queue("q", "upsertJobScheduler", "s", {"every": HOUR, "startDate": FAR}, {"data": 1})
        same = await queue.upsert_job_scheduler("s", every=HOUR / 1000, data=2)
        assert same is not None
        assert same.id == first["id"]
        assert await iterations(redis7_client, "q", "s") == [same.id]
        cron = await queue.upsert_job_scheduler("s", pattern="0 3 * * *", tz="UTC")
        assert cron is not None
        assert await iterations(redis7_client, "q", "s") == [cron.id]
        again = await node.queue("q", "upsertJobScheduler", "s", {"pattern": "0 3 * * *", "tz": "UTC"}, {"data": 3})
        assert again["id"] == cron.id
        back = await node.queue("q", "upsertJobScheduler", "s", {"every": HOUR}, {"data": 4})
        kept = await queue.upsert_job_scheduler("s", every=HOUR / 1000, data=5)
        assert kept is not None
        assert kept.id == back["id"]
        assert await iterations(redis7_client, "q", "s") == [kept.id]


@pytest.mark.parametrize("pauser", ["node", "ours"])
async def test_on_a_paused_queue_too_one_iteration_is_pending(
    pauser: str, node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        await node.queue("q", "upsertJobScheduler", "s", {"every": HOUR}, {"data": 1})
        await (node.queue("q", "pause") if pauser == "node" else queue.pause())
        for data in range(3):
            await queue.upsert_job_scheduler("s", every=HOUR / 1000, data=data)
        (id,) = await iterations(redis7_client, "q", "s")
        await node.queue("q", "resume")
        await node.work(["q"])
        await eventually(lambda: ended(redis7_client, "q", "s"))
        job = await queue.get_job(id)
        assert job is not None
        assert job.returnvalue["echo"] == 2
        assert len(await iterations(redis7_client, "q", "s")) == 1


async def test_a_limit_and_an_end_stop_it_whoever_works(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        end = int(datetime.now(UTC).timestamp() * 1000) + 1500
        await node.queue("q", "upsertJobScheduler", "limit", {"every": 50, "limit": 4}, {})
        await node.queue("q", "upsertJobScheduler", "end", {"every": 200, "endDate": end}, {})
        await queue.upsert_job_scheduler("cron", pattern="* * * * * *", limit=2, tz="UTC")

        async def over() -> bool:
            assert [await iterations(redis7_client, "q", id) for id in ("limit", "end", "cron")] == [[], [], []]
            assert (await queue.get_job_counts()).unfinished == 0
            return True

        async with running(Worker("q", echo, redis=redis7_url)):
            await eventually(over, 15)
        assert len(await ended(redis7_client, "q", "limit")) == 4
        assert len(await ended(redis7_client, "q", "cron")) == 2
        times = await ended(redis7_client, "q", "end")
        assert len(times) >= 3
        assert max(times) <= end + 200
        # The records stay, as Node leaves them.
        assert await node.queue("q", "getJobSchedulersCount") == 3


async def test_each_removes_what_the_other_made(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("ours", redis=redis7_url) as ours:
        for name in ("node", "ours"):
            async with Queue(name, redis=redis7_url) as queue:
                await queue.upsert_job_scheduler("delayed", every=1, start_date=FAR / 1000)
                await node.queue(name, "upsertJobScheduler", "waiting", {"every": HOUR}, {})
        for id in ("delayed", "waiting", "unknown"):
            assert await node.queue("node", "removeJobScheduler", id) == await ours.remove_job_scheduler(id)
        assert await told(redis7_client, "ours") == await told(redis7_client, "node")


async def test_the_repeat_option_meets_the_repeatable_job_of_node_5(
    with_node: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with (
        NodeDriver({"BULLMQ": "5", "REDIS_URL": redis7_url}) as node,
        Queue("q", redis=redis7_url) as queue,
    ):
        pattern = {"pattern": "0 3 * * *", **MADRID}
        (theirs,) = await node.add("q", {"name": "tick", "data": {"t": 1}, "opts": {"repeat": pattern}})
        ours = await queue.add("tick", {"t": 2}, repeat=Repeat(pattern="0 3 * * *", tz="Europe/Madrid"))
        assert ours.id == theirs
        assert await queue.get_job_schedulers_count() == 1
        assert len(await iterations(redis7_client, "q", str(ours.scheduler_id))) == 1


LEGACY = {
    "every": {"every": 100},
    "pattern": {"pattern": "* * * * * *", "tz": "UTC"},
    "limit": {"every": 50, "limit": 4},
}


@pytest.mark.parametrize("kind", LEGACY)
async def test_a_repeatable_job_of_node_5_goes_on_with_its_data_under_every_worker(
    kind: str, with_node: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    five, six = ({"BULLMQ": version, "REDIS_URL": redis7_url} for version in ("5", "6"))
    async with NodeDriver(five) as node5, NodeDriver(six) as node6, Queue("q", redis=redis7_url) as queue:
        job = {"name": "tick", "data": {"keep": "me"}, "opts": {"repeat": LEGACY[kind], "attempts": 2}}
        (first,) = await node5.add("q", job)
        key = first.split(":")[1]
        (before,) = await queue.get_job_schedulers()
        assert (before.id, before.name, before.iterations, before.data) == (key, "tick", None, None)

        async def more(count: int) -> bool:
            return len(await ended(redis7_client, "q", key)) >= count

        async with running(Worker("q", echo, redis=redis7_url)):
            await eventually(lambda: more(4 if kind == "limit" else 2), 10)
        if kind == "limit":
            assert (await iterations(redis7_client, "q", key), len(await ended(redis7_client, "q", key))) == ([], 4)
        else:
            for place, node in enumerate((node5, node6)):
                await node.work(["q"])
                await eventually(lambda place=place: more(4 + 2 * place), 10)  # type: ignore[misc]
                await node.call("rest")
            assert len(await iterations(redis7_client, "q", key)) == 1
        for ms in await ended(redis7_client, "q", key):
            done = await queue.get_job(f"repeat:{key}:{ms}")
            assert done is not None
            assert (done.name, done.data, done.opts.attempts) == ("tick", {"keep": "me"}, 2)


@pytest.mark.parametrize("kind", ["every", "pattern"])
async def test_the_oldest_repeatable_jobs_go_on_and_node_5_still_knows_them(
    kind: str, with_node: None, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    settings = LEGACY[kind]
    key = "tick:::UTC:* * * * * *" if kind == "pattern" else "tick::::100"
    # Node 5 goes on with such a key where it finds one, and makes none any more.
    await redis7_client.zadd("bull:q:repeat", {key: 1})
    async with NodeDriver({"BULLMQ": "5", "REDIS_URL": redis7_url}) as node, Queue("q", redis=redis7_url) as queue:
        job = {"name": "tick", "data": {"keep": "me"}, "opts": {"repeat": settings}}
        (first,) = await node.add("q", job)
        made_of = first.split(":")[1]
        assert re.fullmatch(r"[0-9a-f]{32}", made_of)

        async def more(count: int) -> bool:
            return len(await ended(redis7_client, "q", made_of)) >= count

        async with running(Worker("q", echo, redis=redis7_url)):
            await eventually(lambda: more(3), 10)
        (mine,) = await iterations(redis7_client, "q", made_of)
        assert float(mine.rsplit(":", 1)[1]) == await redis7_client.zscore("bull:q:repeat", key)
        await node.work(["q"])
        await eventually(lambda: more(6), 10)
        await node.call("rest")
        assert len(await iterations(redis7_client, "q", made_of)) == 1
        for ms in await ended(redis7_client, "q", made_of):
            done = await queue.get_job(f"repeat:{made_of}:{ms}")
            assert done is not None
            assert (done.name, done.data, done.scheduler_id) == ("tick", {"keep": "me"}, key)
        assert await queue.remove_job_scheduler(key)
        assert (await queue.get_job_counts()).unfinished == 0


REFUSED: dict[str, dict[str, Any]] = {
    "both": {"every": HOUR, "pattern": "* * * * *"},
    "neither": {},
    "immediately from a start": {"pattern": "* * * * *", "immediately": True, "startDate": FAR},
    "an end that has passed": {"every": HOUR, "endDate": 1_700_000_000_000},
    "no pattern": {"pattern": "nonsense"},
    "no zone": {"pattern": "* * * * *", "tz": "Mars/Olympus"},
}


async def test_what_node_refuses_is_refused(
    node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with NodeDriver(node_env) as node, Queue("q", redis=redis7_url) as queue:
        for settings in REFUSED.values():
            with pytest.raises(NodeError):
                await node.queue("q", "upsertJobScheduler", "s", settings, {})
            with pytest.raises(InvalidJob):
                await queue.upsert_job_scheduler("s", **in_python(settings, {}))
        assert await redis7_client.exists("bull:q:repeat") == 0
