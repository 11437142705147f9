"""Looking after a queue as Node does: the same queue is laid out twice, each side is asked the same, and what is in
Redis afterwards is the same: every key, every event, their order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from both_sides import ask_node, found, of_job, of_queue, stage_on
from corral import JobLocked, JobNotInState, JobOfScheduler, Queue, QueueEvents, State, Worker
from jobs import NOW, Px, active, job
from keyspace import dump
from node import NodeError
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.interop

OLD = 1_500_000_000_000
"""Epoch ms, long ago."""
PARENT = "bull:up:p"
MARKED: dict[str, Any] = {"marker": {"0": 0}}


@dataclass(frozen=True)
class Case:
    """What is laid out, what is asked of us, and of Node: ("queue", method, args) or ("job", id, method, args).

    majors: the BullMQs that do the same. aside: keys that differ on purpose; see the test's comment.
    """

    keys: dict[str, Any]
    ours: Callable[[Queue], Awaitable[Any]]
    node: tuple[Any, ...]
    majors: str = "56"
    aside: tuple[str, ...] = ()


async def _obliterate(queue: Queue) -> None:
    await queue.pause()
    await queue.obliterate(force=True)


def failed(**fields: str | int) -> dict[str, str]:
    return job(finishedOn=OLD, processedOn=OLD, atm=2, ats=2, failedReason="why", stacktrace='["s"]', **fields)


def completed(**fields: str | int) -> dict[str, str]:
    return job(finishedOn=OLD, processedOn=OLD, atm=1, ats=1, returnvalue="7", **fields)


DELAYED = {"1": job(delay=60_000), "2": job(delay=9, priority=4), "delayed": {"1": NOW * 4096, "2": (NOW + 9) * 4096}}
WAITING = {**MARKED, "wait": ["3", "2", "1"], **{id: job(timestamp=OLD) for id in "123"}}
PRIORITIZED = {**MARKED, "prioritized": {"8": 5 * 2**32 + 1, "9": 6 * 2**32 + 2}, "pc": "2"} | {
    id: job(priority=int(id) - 3, timestamp=OLD) for id in "89"
}
FAILED = {"failed": {"1": OLD, "2": OLD + 1}, "1": failed(), "2": failed(parentKey=PARENT), PARENT: job()} | {
    f"{PARENT}:unsuccessful": {"bull:q:2": OLD}
}
COMPLETED = {
    "completed": {"1": OLD, "2": OLD + 1},
    "1": completed(),
    "2": completed(parentKey=PARENT),
    PARENT: job(),
} | {f"{PARENT}:processed": {"bull:q:2": "7", "bull:q:x": "8"}}
SCHEDULED = {
    "repeat": {"s": NOW},
    "repeat:s": {"name": "n", "ic": "3", "every": "1000"},
    f"repeat:s:{NOW}": job(rjk="s", delay=5),
    "delayed": {f"repeat:s:{NOW}": NOW * 4096, "1": (NOW + 9) * 4096},
    "1": job(delay=9, timestamp=OLD),
}
CHILDREN = {
    "wait": ["2", "1"],
    "1": job(parentKey=PARENT, timestamp=OLD),
    "2": job(parentKey="bull:q:up", timestamp=OLD),
    PARENT: job(),
    f"{PARENT}:dependencies": {"bull:q:1"},
    "bull:up:waiting-children": {"p": OLD},
    "up": job(),
    "up:dependencies": {"bull:q:2"},
    "waiting-children": {"up": OLD},
}
FAMILY = {
    "waiting-children": {"1": OLD},
    "1": job(),
    "1:logs": ["row"],
    "1:processed": {"bull:down:a": "1"},
    "1:failed": {"bull:down:b": "why"},
    "1:unsuccessful": {"bull:down:c": 1},
    "1:dependencies": {"bull:down:d"},
    **{f"bull:down:{id}": job(parentKey="bull:q:1") for id in "abcd"},
    "bull:down:completed": {"a": 1},
    "bull:down:failed": {"b": 1, "c": 1},
    "bull:down:delayed": {"d": NOW * 4096},
}
OWNER = {"wait": ["1"], "1": job(deid="d"), "de:d": "1", "dn:d": {"name": "n"}}


PAUSED = {"meta": {"paused": "1", "version": "bullmq:6.7.0", "opts.maxLenEvents": "10000"}}
PAUSED_BY_5 = {
    "meta": {"paused": "1", "version": "bullmq:5.81.5", "opts.maxLenEvents": "10000"},
    "paused": ["8", "7"],
    "7": job(timestamp=OLD),
    "8": job(timestamp=NOW),
}


CASES: dict[str, Case] = {
    "promote": Case(DELAYED, of_job("1", "promote"), ("job", "1", "promote")),
    "promote with a priority": Case(DELAYED, of_job("2", "promote"), ("job", "2", "promote")),
    "promote in a paused queue": Case(DELAYED | PAUSED, of_job("1", "promote"), ("job", "1", "promote"), majors="6"),
    "promote in a queue that 5 paused": Case(
        DELAYED | PAUSED_BY_5, of_job("1", "promote"), ("job", "1", "promote"), majors="5"
    ),
    "promote all jobs in a queue that 5 paused": Case(
        DELAYED | PAUSED_BY_5, of_queue("promote_jobs"), ("queue", "promoteJobs"), majors="5"
    ),
    "retry in a queue that 5 paused": Case(
        FAILED | PAUSED_BY_5, of_job("1", "retry"), ("job", "1", "retry"), majors="5"
    ),
    "retry in a paused queue": Case(FAILED | PAUSED, of_job("1", "retry"), ("job", "1", "retry"), majors="6"),
    "give a priority in a queue that 5 paused": Case(
        PAUSED_BY_5, of_job("7", "change_priority", 4), ("job", "7", "changePriority", {"priority": 4}), majors="5"
    ),
    "drain a queue that 5 paused": Case(PAUSED_BY_5, of_queue("drain"), ("queue", "drain")),
    "clean a queue that 5 paused": Case(
        PAUSED_BY_5, of_queue("clean", 10, state=State.WAITING), ("queue", "clean", 10_000, 0, "paused"), majors="5"
    ),
    "remove from a queue that 5 paused": Case(PAUSED_BY_5, of_queue("remove", "7"), ("queue", "remove", "7")),
    "retry a failed job": Case(FAILED, of_job("1", "retry"), ("job", "1", "retry", "failed")),
    "retry a child": Case(FAILED, of_job("2", "retry"), ("job", "2", "retry", "failed")),
    "retry a completed child": Case(
        COMPLETED, of_job("2", "retry", State.COMPLETED), ("job", "2", "retry", "completed")
    ),
    "retry and count from 0": Case(
        FAILED,
        of_job("1", "retry", reset_attempts_made=True, reset_attempts_started=True),
        ("job", "1", "retry", "failed", {"resetAttemptsMade": True, "resetAttemptsStarted": True}),
    ),
    "retry with lifo": Case(
        {**WAITING, "9": failed(opts='{"lifo":true}'), "failed": {"9": OLD}},
        of_job("9", "retry"),
        ("job", "9", "retry", "failed"),
    ),
    # BullMQ 5 forgets the priority.
    "retry with a priority": Case(
        {"1": failed(priority=3), "failed": {"1": OLD}}, of_job("1", "retry"), ("job", "1", "retry"), majors="6"
    ),
    "change the delay": Case(DELAYED, of_job("1", "change_delay", 40), ("job", "1", "changeDelay", 40_000)),
    "give a priority": Case(
        WAITING, of_job("2", "change_priority", 7), ("job", "2", "changePriority", {"priority": 7})
    ),
    "give a priority in front": Case(
        WAITING,
        of_job("2", "change_priority", 7, lifo=True),
        ("job", "2", "changePriority", {"priority": 7, "lifo": True}),
    ),
    "change a priority": Case(
        PRIORITIZED, of_job("8", "change_priority", 9), ("job", "8", "changePriority", {"priority": 9})
    ),
    "take a priority away": Case(
        PRIORITIZED | {"wait": ["x"], "x": job()},
        of_job("8", "change_priority", 0, lifo=True),
        ("job", "8", "changePriority", {"priority": 0, "lifo": True}),
    ),
    "change the priority of a delayed job": Case(
        DELAYED, of_job("1", "change_priority", 2), ("job", "1", "changePriority", {"priority": 2})
    ),
    "update data": Case(WAITING, of_job("1", "update_data", {"a": ["ü"]}), ("job", "1", "updateData", {"a": ["ü"]})),
    "clear logs": Case(WAITING | {"1:logs": list("abc")}, of_job("1", "clear_logs"), ("job", "1", "clearLogs")),
    "keep two log rows": Case(
        WAITING | {"1:logs": list("abc")}, of_job("1", "clear_logs", 2), ("job", "1", "clearLogs", 2)
    ),
    "free the deduplication id of a job": Case(
        OWNER, of_job("1", "remove_deduplication_key"), ("job", "1", "removeDeduplicationKey")
    ),
    "free a deduplication id": Case(
        OWNER, of_queue("remove_deduplication_key", "d"), ("queue", "removeDeduplicationKey", "d")
    ),
    "remove a waiting job": Case(WAITING, of_queue("remove", "2"), ("queue", "remove", "2")),
    "remove an owner": Case(OWNER, of_job("1", "remove"), ("job", "1", "remove")),
    "remove a delayed job": Case(DELAYED, of_job("1", "remove"), ("job", "1", "remove")),
    "remove an active job without a lock": Case(
        {"active": ["1"], "1": job()}, of_queue("remove", "1"), ("queue", "remove", "1")
    ),
    "remove the last open child": Case(CHILDREN, of_queue("remove", "1"), ("queue", "remove", "1")),
    "remove a parent with all below it": Case(FAMILY, of_queue("remove", "1"), ("queue", "remove", "1")),
    "remove a parent alone": Case(
        FAMILY,
        of_queue("remove", "1", remove_children=False),
        ("queue", "remove", "1", {"removeChildren": False}),
    ),
    # BullMQ 5 forgets the parents of children.
    "retry all failed jobs": Case(
        FAILED | MARKED | {"wait": ["9"], "9": job()}, of_queue("retry_jobs"), ("queue", "retryJobs"), majors="6"
    ),
    "retry all failed jobs without parents": Case(
        {"failed": {"4": OLD + 1, "5": OLD}, "4": failed(priority=4), "5": failed()},
        of_queue("retry_jobs"),
        ("queue", "retryJobs"),
    ),
    "retry all completed jobs": Case(
        COMPLETED,
        of_queue("retry_jobs", state=State.COMPLETED, count=1),
        ("queue", "retryJobs", {"state": "completed", "count": 1}),
        majors="6",
    ),
    "promote all jobs": Case(DELAYED, of_queue("promote_jobs"), ("queue", "promoteJobs")),
    "drain": Case(
        WAITING | PRIORITIZED | {"delayed": {"d": 1}, "d": job(delay=1)}, of_queue("drain"), ("queue", "drain")
    ),
    "drain delayed jobs, not those of schedulers": Case(
        SCHEDULED, of_queue("drain", delayed=True), ("queue", "drain", True)
    ),
    # We tell that the parent in the other queue waits again; Node does so in silence.
    "drain children": Case(CHILDREN, of_queue("drain"), ("queue", "drain"), aside=("bull:up:events",)),
    "clean completed jobs": Case(
        COMPLETED | {"completed": {"1": OLD, "2": OLD, "3": NOW}},
        of_queue("clean", 10),
        ("queue", "clean", 10_000, 0, "completed"),
    ),
    "clean failed jobs up to a limit": Case(
        FAILED, of_queue("clean", 10, limit=1, state=State.FAILED), ("queue", "clean", 10_000, 1, "failed")
    ),
    "clean waiting jobs": Case(
        WAITING | {"2": job(timestamp=NOW)},
        of_queue("clean", 10, state=State.WAITING),
        ("queue", "clean", 10_000, 0, "wait"),
    ),
    "clean prioritized jobs": Case(
        PRIORITIZED, of_queue("clean", 10, state=State.PRIORITIZED), ("queue", "clean", 10_000, 0, "prioritized")
    ),
    "clean delayed jobs, not those of schedulers": Case(
        SCHEDULED, of_queue("clean", 10, state=State.DELAYED), ("queue", "clean", 10_000, 0, "delayed")
    ),
    "clean active jobs that nobody runs": Case(
        active("1") | {"active": ["1", "2"], "2": job(timestamp=OLD), "1:lock": Px("t")},
        of_queue("clean", 10, state=State.ACTIVE),
        ("queue", "clean", 10_000, 0, "active"),
    ),
    "clean owners": Case(
        {"completed": {"1": OLD}, "1": completed(deid="d"), "de:d": "1", "dn:d": {"name": "n"}},
        of_queue("clean", 10),
        ("queue", "clean", 10_000, 0, "completed"),
    ),
    "clean nothing": Case({"1": job()}, of_queue("clean", 10), ("queue", "clean", 10_000, 0, "completed")),
    "obliterate": Case(
        WAITING
        | PRIORITIZED
        | {"failed": {"4": 1}, "4": failed()}
        | {"active": ["5"], "5": job(), "5:lock": Px("t")}
        | {"repeat": {"s": NOW}, "repeat:s": {"name": "n", "ic": "3"}, "id": "9"},
        _obliterate,
        ("queue", "obliterate", {"force": True}),
    ),
    "progress by id": Case(
        WAITING, of_queue("update_job_progress", "1", {"a": 1}), ("queue", "updateJobProgress", "1", {"a": 1})
    ),
    "a log row by id": Case(WAITING, of_queue("add_job_log", "1", "row"), ("queue", "addJobLog", "1", "row")),
    "set a global concurrency": Case(
        MARKED, of_queue("set_global_concurrency", 3), ("queue", "setGlobalConcurrency", 3)
    ),
    "set a global rate limit": Case(
        MARKED, of_queue("set_global_rate_limit", 3, 2), ("queue", "setGlobalRateLimit", 3, 2000)
    ),
    "lift a global concurrency": Case(
        {**WAITING, "meta": {"concurrency": "1"}},
        of_queue("remove_global_concurrency"),
        ("queue", "removeGlobalConcurrency"),
    ),
    "lift a global rate limit": Case(
        {**WAITING, "meta": {"max": "1", "duration": "9"}},
        of_queue("remove_global_rate_limit"),
        ("queue", "removeGlobalRateLimit"),
    ),
    "limit the rate by hand": Case(MARKED, of_queue("rate_limit", 60), ("queue", "rateLimit", 60_000)),
    "end a rate limit": Case(
        {**WAITING, "limiter": Px("9")}, of_queue("remove_rate_limit_key"), ("queue", "removeRateLimitKey")
    ),
}


async def test_what_we_write_is_what_node_writes(
    bullmq: str, node: NodeDriver, redis7_url: str, redis7_client: Any
) -> None:
    different: dict[str, Any] = {}
    idle: list[str] = []
    async with stage_on(redis7_client, redis7_url) as stage, Queue("q", redis=redis7_url) as queue:
        await node.queue("q", "waitUntilReady")
        for name, case in CASES.items():
            if bullmq not in case.majors:
                continue
            await redis7_client.flushall()
            await stage.lay(case.keys)
            before = await found(redis7_client, case.aside)
            await case.ours(queue)
            ours = await found(redis7_client, case.aside)
            await redis7_client.flushall()
            await stage.lay(case.keys)
            await ask_node(node, *case.node)
            theirs = await found(redis7_client, case.aside)
            if ours == before:
                idle.append(name)
            if ours != theirs:
                keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
                different[name] = {key: (ours.get(key), theirs.get(key)) for key in keys}
    assert different == {}
    assert idle == []


@pytest.fixture
async def node(node_env: dict[str, str]) -> AsyncIterator[NodeDriver]:
    async with NodeDriver(node_env) as driver:
        yield driver


REFUSALS: dict[str, tuple[dict[str, Any], Callable[[Queue], Awaitable[Any]], type[Exception], tuple[Any, ...]]] = {
    "promote what waits": (WAITING, of_job("1", "promote"), JobNotInState, ("1", "promote")),
    "retry what waits": (WAITING, of_job("1", "retry"), JobNotInState, ("1", "retry")),
    "delay what waits": (WAITING, of_job("1", "change_delay", 5), JobNotInState, ("1", "changeDelay", 5000)),
    "remove what runs": (active("1"), of_job("1", "remove"), JobLocked, ("1", "remove")),
    "remove the next job of a scheduler": (
        SCHEDULED,
        of_job(f"repeat:s:{NOW}", "remove"),
        JobOfScheduler,
        (f"repeat:s:{NOW}", "remove"),
    ),
}


async def test_what_we_refuse_node_refuses_and_nobody_changes_anything(
    node: NodeDriver, redis7_url: str, redis7_client: Any
) -> None:
    async with stage_on(redis7_client, redis7_url) as stage, Queue("q", redis=redis7_url) as queue:
        await node.queue("q", "waitUntilReady")
        for keys, ours, error, theirs in REFUSALS.values():
            await redis7_client.flushall()
            await stage.lay(keys)
            before = await found(redis7_client, ())
            with pytest.raises(error):
                await ours(queue)
            with pytest.raises(NodeError):
                await ask_node(node, "job", *theirs)
            assert await found(redis7_client, ()) == before


async def test_both_trim_events_alike(node: NodeDriver, redis7_url: str, redis7_client: Any) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        trimmed = []
        for trim in (node.queue("q", "trimEvents", 0), queue.trim_events(0)):
            await node.add("q", {"name": "a", "data": {}}, {"name": "b", "data": {}, "opts": {"delay": 9000}})
            trimmed.append(await trim)
            assert await redis7_client.xlen("bull:q:events") == 0
        assert trimmed == [4, 4]


async def test_obliterate_takes_what_node_leaves(node: NodeDriver, redis7_url: str, redis7_client: Any) -> None:
    keys = {"waiting-children": {"up": 1}, "up": job(), "de:d": "9", "dn:d": {"name": "n"}, "limiter": Px("1")}
    async with stage_on(redis7_client, redis7_url) as stage, Queue("q", redis=redis7_url) as queue:
        await stage.lay(keys)
        await node.queue("q", "obliterate", {})
        assert set(await dump(redis7_client)) == {f"bull:q:{name}" for name in keys}
        await queue.pause()
        await queue.obliterate()
        assert await dump(redis7_client) == {}


async def test_the_next_job_of_a_scheduler_survives_our_drain_of_what_waits(
    node: NodeDriver, redis7_url: str, redis7_client: Any
) -> None:
    pending = f"repeat:s:{NOW}"
    keys = {**SCHEDULED, "delayed": {"1": 5}, "wait": ["3", pending, "2"], "2": job(), "3": job()}
    async with stage_on(redis7_client, redis7_url) as stage, Queue("q", redis=redis7_url) as queue:
        await stage.lay(keys)
        assert await queue.drain() == 2
        assert (await dump(redis7_client))["bull:q:wait"] == [pending]
        read = await node.read("q", pending)
        assert read is not None
        assert read["state"] == "waiting"


async def test_both_read_the_same_numbers_and_pages(
    bullmq: str, node: NodeDriver, redis7_url: str, redis7_client: Any
) -> None:
    async with stage_on(redis7_client, redis7_url) as stage, Queue("q", redis=redis7_url) as queue:
        await node.queue("q", "waitUntilReady")
        ids = [f"j{n}" for n in range(40)]
        await stage.lay({id: job(priority=at % 3) for at, id in enumerate(ids)}, {"gone": job()})
        await stage.lay(
            {
                "wait": ids[:9],
                "active": ids[9:14],
                "prioritized": {id: (1 + at % 2) * 2**32 + at for at, id in enumerate(ids[14:19])},
                "delayed": {id: (NOW + at) * 4096 for at, id in enumerate(ids[19:24])},
                "waiting-children": {id: at for at, id in enumerate(ids[24:29])},
                "completed": {id: at for at, id in enumerate(ids[29:34])},
                "failed": {id: at for at, id in enumerate(ids[34:])},
                "j0:logs": list("abcdef"),
                "meta": {"concurrency": "5", "max": "3", "duration": "9000"},
                "limiter": Px("3"),
                "de:d": "j0",
                "metrics:completed": {"count": "9", "prevTS": "1795295085418", "prevCount": "7"},
                "metrics:completed:data": ["4", "0", "3"],
            }
        )

        async def theirs(method: str, *args: Any) -> Any:
            return await node.queue("q", method, *args)

        for state in ("waiting", "active", "prioritized", "delayed", "waiting-children", "completed", "failed"):
            for start, end in ((0, -1), (0, 2), (2, 4), (-2, -1), (20, 30)):
                for ascending in (False, True):
                    if start < 0 and ascending:
                        continue  # Node's lists count from the other end there, its sets do not
                    ours = [job.id for job in await queue.get_jobs(State(state), start, end, ascending=ascending)]
                    node_ids = [job["id"] for job in await theirs("getJobs", [state], start, end, ascending) if job]
                    assert ours == node_ids, (state, start, end, ascending)
        # A place without a job: Node fills a page up with later ones, we leave it out, and no job is on two pages.
        await redis7_client.rpush("bull:q:wait", "none")
        waiting = [job.id for job in await queue.get_jobs(State.WAITING)]
        assert waiting == [job["id"] for job in await theirs("getJobs", ["waiting"], 0, -1)] == ids[:9]
        counts = await theirs("getJobCounts")
        ours_counts = await queue.get_job_counts()
        assert counts["waiting"] == ours_counts.waiting
        assert counts["waiting-children"] == ours_counts.waiting_children
        for name in ("active", "prioritized", "delayed", "completed", "failed"):
            assert counts[name] == getattr(ours_counts, name)
        assert await theirs("count") == await queue.count()
        per_priority = await theirs("getCountsPerPriority", [0, 1, 2, 3])
        assert {int(priority): number for priority, number in per_priority.items()} == (
            await queue.get_counts_per_priority([0, 1, 2, 3])
        )
        for place in ((0, -1, True), (1, 3, True), (1, 3, False), (0, -1, False)):
            told = await theirs("getJobLogs", "j0", *place)
            assert told["logs"] == await queue.get_job_logs("j0", *place[:2], ascending=place[2])
            assert told["count"] == await queue.get_job_logs_count("j0")
        assert await theirs("getGlobalConcurrency") == await queue.get_global_concurrency() == 5
        limit = await queue.get_global_rate_limit()
        assert limit is not None
        assert await theirs("getGlobalRateLimit") == {"max": limit.max, "duration": limit.duration_ms}
        assert await theirs("isMaxed") is await queue.is_maxed() is True
        for most in (None, 3, 4):
            ttl = await theirs("getRateLimitTtl", *([] if most is None else [most]))
            assert abs(ttl / 1000 - await queue.get_rate_limit_ttl(most)) < 60
            assert (ttl > 0) == (most != 4)
        assert await theirs("getDeduplicationJobId", "d") == await queue.get_deduplication_job_id("d") == "j0"
        metrics = await queue.get_metrics("completed", 0, 1)
        assert await theirs("getMetrics", "completed", 0, 1) == {
            "meta": {"count": metrics.count, "prevTS": metrics.prev_ts, "prevCount": metrics.prev_count},
            "data": list(metrics.points),
            "count": metrics.length,
        }
        await redis7_client.hset("bull:q:meta", "version", f"bullmq:{bullmq}.0.0")
        assert await theirs("getVersion") == await queue.get_version() == f"bullmq:{bullmq}.0.0"


async def test_each_counts_the_workers_and_listeners_of_the_other(node: NodeDriver, redis7_url: str) -> None:
    async def nothing(job: Any) -> None: ...

    async with Queue("q", redis=redis7_url) as queue:
        await node.work(["q"], name="theirs")
        await node.work(["q"])
        await node.call("listen", queue="q")
        worker = Worker("q", nothing, redis=redis7_url, name="ours")
        task = asyncio.create_task(worker.run())

        async def three() -> bool:
            return await queue.get_workers_count() == 3

        await eventually(three)
        assert sorted(str(worker.name) for worker in await queue.get_workers()) == ["None", "ours", "theirs"]
        told = await node.queue("q", "getWorkers")
        assert sorted(client["rawname"] for client in told) == ["bull:cQ==", "bull:cQ==:w:ours", "bull:cQ==:w:theirs"]
        assert await node.queue("q", "getWorkersCount") == 3
        async with QueueEvents("q", redis=redis7_url) as events:
            events.on("completed", lambda event: None)

            async def two() -> bool:
                return len(await queue.get_queue_events()) == 2

            await eventually(two)
            assert len(await node.queue("q", "getQueueEvents")) == 2
        await worker.close()
        await task
