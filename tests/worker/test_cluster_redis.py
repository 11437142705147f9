"""A Redis Cluster: every call goes to the node that has the queue, wherever that is and whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from corral import (
    ConfigurationError,
    FlowJob,
    FlowProducer,
    JobSpec,
    Queue,
    QueueEvents,
    RedisRefused,
    Worker,
    script,
    scripts,
)
from corral.address import make_pool
from corral.connection import Line, Lines
from corral.errors import RedisUnavailable
from corral.sync import FlowProducer as SyncFlowProducer
from corral.sync import Queue as SyncQueue
from failover import caught_up
from redis_cluster import RedisCluster
from running import all_completed, running
from waiting import eventually, eventually_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from corral import Job

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def shared(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    with RedisCluster(request.param) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: RedisCluster) -> RedisCluster:
    """Empty; its nodes stay."""
    shared.clear()
    return shared


@pytest.fixture
async def line(cluster: RedisCluster) -> AsyncIterator[Line]:
    line = Line(make_pool(cluster.nodes[0].url))
    yield line
    await line.close()


def _keys(cluster: RedisCluster) -> list[str]:
    """One on each node."""
    return [f"{{{cluster.tag_at(index)}}}:k" for index in range(3)]


async def test_any_node_leads_to_every_key(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        line = Line(make_pool(node.url))
        for key in _keys(cluster):
            await line.call("INCR", key)
        await line.close()
    assert [int(cluster.command(cluster.node_of(key), "GET", key)) for key in _keys(cluster)] == [3, 3, 3]


async def test_commands_for_several_nodes_go_out_together_and_come_back_in_order(
    cluster: RedisCluster, line: Line
) -> None:
    keys = _keys(cluster)
    assert await line.call_many([("SET", key, key) for key in keys]) == [b"OK"] * 3
    order = [keys[place] for place in (2, 0, 1, 0, 2)]
    assert await line.call_many([("GET", key) for key in order]) == [key.encode() for key in order]
    wrong, right = await line.call_each([("LLEN", keys[1]), ("GET", keys[2])])
    assert (wrong.code, right) == ("WRONGTYPE", keys[2].encode())
    assert len(line._connections) == 3


async def test_what_was_told_of_a_node_is_remembered(cluster: RedisCluster, line: Line) -> None:
    key = _keys(cluster)[2]
    for _ in range(3):
        await line.call("GET", key)
    # The script that a queue is read by is called where the queue is: nothing more is redirected.
    stats = cluster.command(cluster.nodes[0], "INFO", "errorstats")
    before = stats["errorstat_MOVED"]["count"]
    await line.call("GET", key)
    assert cluster.command(cluster.nodes[0], "INFO", "errorstats")["errorstat_MOVED"]["count"] == before


async def test_without_a_hash_tag_nothing_is_sent_and_the_cure_is_told(cluster: RedisCluster) -> None:
    async with Queue("q", redis=cluster.nodes[0].url) as queue:
        with pytest.raises(
            RedisRefused, match=r"\(CROSSSLOT\): this is a Redis Cluster.*by a hash tag in the prefix"
        ) as e:
            await queue.add("a", {})
    assert e.value.code == "CROSSSLOT"
    assert [cluster.command(node, "DBSIZE") for node in cluster.primaries] == [0, 0, 0]
    with SyncQueue("q", redis=cluster.nodes[0].url) as blocking, pytest.raises(RedisRefused, match="CROSSSLOT"):
        blocking.add("a", {})


async def test_a_worker_of_a_queue_without_a_hash_tag_ends_as_on_a_wrong_setting(cluster: RedisCluster) -> None:
    worker = Worker(["{a}", "plain"], lambda job: None, redis=cluster.nodes[0].url)
    with pytest.raises(ConfigurationError, match=r"the keys bull:plain:\* cannot be used: this is a Redis Cluster"):
        await asyncio.wait_for(worker.run(), 10)


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_a_queue_on_any_node_is_added_to_and_read(cluster: RedisCluster, index: int) -> None:
    name = f"{{{cluster.tag_at(index)}}}"
    async with Queue(name, redis=cluster.nodes[0].url) as queue:
        job = await queue.add("a", {"x": 1}, job_id="one")
        await queue.add("b", {}, delay=60)
        assert (await queue.get_job_counts()).delayed == 1
        assert (await queue.get_job(job.id)).data == {"x": 1}  # type: ignore[union-attr]
        assert await queue.get_workers() == []
        await queue.pause()
        await queue.obliterate()
    with SyncQueue(name, redis=cluster.nodes[0].url) as blocking:
        blocking.add("c", {})
        assert blocking.get_job_counts().waiting == 1


async def test_a_script_that_a_node_does_not_know_is_sent_to_that_node(cluster: RedisCluster, line: Line) -> None:
    await script.send(line, *scripts.OF_WORKERS)
    name = f"{{{cluster.tag_at(2)}}}"
    async with Queue(name, redis=cluster.nodes[0].url) as queue:
        cluster.command(cluster.nodes[2], "SCRIPT", "FLUSH")
        await queue.add("a", {})
        assert (await queue.get_job_counts()).waiting == 1


async def test_a_worker_of_queues_on_all_nodes_runs_all_kinds_of_jobs(cluster: RedisCluster) -> None:
    names = [f"{{{cluster.tag_at(index)}}}" for index in range(3)]
    ran: list[tuple[str, str]] = []
    url = cluster.nodes[0].url

    async def run(job: Job) -> str:
        ran.append((job.queue_name, job.name))
        return job.name

    ended: list[str] = []
    async with QueueEvents(names[1], redis=url) as events, FlowProducer(redis=url) as flows:
        events.on("completed", lambda event: ended.append(event.job_id))
        async with running(Worker(names, run, redis=url, concurrency=3)):
            for name in names:
                async with Queue(name, redis=url) as queue:
                    await queue.add("now", {})
                    await queue.add("later", {}, delay=0.2)
                    await queue.add("first", {}, priority=1)
                    await eventually(lambda queue=queue: _has_a_worker(queue))  # type: ignore[misc]
                await flows.add(FlowJob("parent", name, children=[FlowJob("child", name)]))
            kinds = {"now", "later", "first", "parent", "child"}
            await eventually(lambda: set(ran) == {(name, kind) for name in names for kind in kinds})
            await eventually(lambda: len(set(ended)) == 5)
    assert len(ran) == 15


async def _has_a_worker(queue: Queue) -> bool:
    return len(await queue.get_workers()) == 1


async def test_a_flow_of_queues_in_several_slots_is_refused_before_anything_is_written(cluster: RedisCluster) -> None:
    here, there = (f"{{{cluster.tag_at(index)}}}" for index in (0, 2))
    flow = FlowJob("parent", here, children=[FlowJob("child", there)])
    async with FlowProducer(redis=cluster.nodes[0].url) as flows:
        with pytest.raises(RedisRefused, match="all queues that a call touches must lie in one slot") as caught:
            await flows.add(flow)
    assert caught.value.code == "CROSSSLOT"
    with SyncFlowProducer(redis=cluster.nodes[0].url) as blocking, pytest.raises(RedisRefused, match="CROSSSLOT"):
        blocking.add(flow)
    assert [cluster.command(node, "DBSIZE") for node in cluster.primaries] == [0, 0, 0]


async def test_a_slot_that_moves_is_followed_and_no_script_sees_half_a_queue(cluster: RedisCluster) -> None:
    """The keys of a slot are moved one by one; in between a script would find some of them here and some there."""
    tag = cluster.tag_at(0)
    source, target = cluster.nodes[0], cluster.nodes[1]
    async with Queue(f"{{{tag}}}", redis=source.url) as queue:
        await queue.add_bulk(JobSpec("a") for _ in range(3))
        slot = cluster.command(source, "CLUSTER", "KEYSLOT", f"{{{tag}}}")
        source_id, target_id = (cluster.command(node, "CLUSTER", "MYID").decode() for node in (source, target))
        keys = cluster.command(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        cluster.command(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        cluster.command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        try:
            for key in keys[: len(keys) // 2]:
                cluster.command(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            with pytest.raises(RedisRefused, match="slot is being moved to another node") as caught:
                await queue.add("b", {})
            assert caught.value.code == "ASK"
            # A plain read finds each key on the one node or on the other.
            async with Lines(make_pool(source.url)) as lines:
                assert await lines.call_many([("EXISTS", key) for key in keys]) == [1] * len(keys)
            for key in keys[len(keys) // 2 :]:
                cluster.command(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            _give(cluster, slot, target_id)
            await queue.add("b", {})
            assert (await queue.get_job_counts()).waiting == 4
        finally:
            _give(cluster, slot, target_id)
            for key in cluster.command(target, "CLUSTER", "GETKEYSINSLOT", slot, 1000):
                cluster.command(target, "DEL", key)
            _give(cluster, slot, source_id)


def _give(cluster: RedisCluster, slot: int, node_id: str) -> None:
    for node in (cluster.nodes[1], cluster.nodes[0], cluster.nodes[2]):
        cluster.command(node, "CLUSTER", "SETSLOT", slot, "NODE", node_id)


# --- a node dies ---


@pytest.fixture
def mortal() -> Iterator[RedisCluster]:
    with RedisCluster(replicas=1) as cluster:
        yield cluster


async def _taken_over(cluster: RedisCluster) -> None:
    def over() -> bool:
        return bool(cluster.command(cluster.nodes[3], "ROLE")[0] == b"master") and cluster.is_serving()

    await eventually(over, 20)


@pytest.mark.parametrize("home", [0, 1], ids=["the node of the address", "another node"])
async def test_a_node_that_dies_amid_jobs_is_followed_by_its_replica_and_no_job_is_lost(
    mortal: RedisCluster, home: int
) -> None:
    name, url = f"{{{mortal.tag_at(0)}}}", mortal.nodes[home].url
    ran: set[int] = set()

    async def run(job: Job) -> None:
        await asyncio.sleep(0.05)
        ran.add(job.data["n"])

    worker = Worker(name, run, redis=url, concurrency=10, lock_duration=3, stalled_interval=1, max_stalled_count=9)
    async with Queue(name, redis=url) as queue:
        await queue.add_bulk(JobSpec("job", {"n": n}) for n in range(200))
        await caught_up(mortal.nodes[3], mortal.nodes[0])
        async with running(worker):
            await eventually(lambda: len(ran) >= 40, 20)
            mortal.nodes[0].kill()
            await _taken_over(mortal)
            await eventually(lambda: all_completed(queue, 200), 40)
    assert ran == set(range(200))


async def test_a_node_that_is_away_costs_the_others_nothing(mortal: RedisCluster) -> None:
    """A read of many queues: those of the dead node are unknown, all others are there."""
    line = Line(make_pool(mortal.nodes[0].url))
    keys = _keys(mortal)
    await line.call_many([("SET", key, 1) for key in keys])
    mortal.nodes[1].kill()

    try:
        for _ in range(3):
            first, dead, last = await line.call_each([("GET", key) for key in keys])
            assert (first, last) == (b"1", b"1")
            assert isinstance(dead, RedisUnavailable)
            assert dead.code in ("broken", "unreachable")
        with pytest.raises(RedisUnavailable, match="cannot be reached"):
            await line.call_many([("GET", key) for key in keys])
    finally:
        await line.close()


def test_a_line_without_a_loop_follows_a_failover(mortal: RedisCluster) -> None:
    tag = mortal.tag_at(0)
    with SyncQueue(f"{{{tag}}}", redis=mortal.nodes[0].url) as queue:
        queue.add("a", {})
        asyncio.run(caught_up(mortal.nodes[3], mortal.nodes[0]))
        mortal.nodes[0].kill()
        asyncio.run(_taken_over(mortal))

        def found() -> bool:
            try:
                return queue.get_job_counts().waiting == 1
            except RedisUnavailable:
                return False

        eventually_sync(found)
