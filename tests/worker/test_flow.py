"""Flows on real servers: trees that are added, worked, looked at, and refused."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from corral import (
    CorruptJob,
    Deduplication,
    Dependencies,
    DependencyCounts,
    FlowJob,
    FlowNode,
    FlowProducer,
    InvalidJob,
    InvalidQueueName,
    Job,
    JobHasParent,
    JobOptions,
    Keep,
    Parent,
    ParentNotFound,
    PayloadNotJSON,
    Queue,
    State,
    WaitingChildrenError,
    Worker,
)
from corral.flow_tree import _warn
from keyspace import dump
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

opts = JobOptions.checked


@pytest.fixture
async def flows(redis_url: str) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(redis=redis_url) as flows:
        yield flows


@pytest.fixture
async def up(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("up", redis=redis_url) as queue:
        yield queue


@pytest.fixture
async def kids(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("kids", redis=redis_url) as queue:
        yield queue


def family(*children: FlowJob, **options: Any) -> FlowJob:
    return FlowJob("parent", "up", {"p": 1}, opts(job_id="P", **options), children)


def child(job_id: str | None = None, data: Any = None, **options: Any) -> FlowJob:
    return FlowJob("child", "kids", data, opts(job_id=job_id, **options) if job_id else opts(**options))


def shape(node: FlowNode | None) -> Any:
    """A tree in short: id, and the trees of its children."""
    return node and (node.job.id, [shape(each) for each in node.children])


async def work(job: Job) -> Any:
    """What the jobs of these tests do: what their data say."""
    wishes = job.data if isinstance(job.data, dict) else {}
    if text := wishes.get("fail"):
        raise RuntimeError(text)
    return await job.get_children_values() or wishes.get("gives")


async def ended(queue: Queue, job_id: str) -> Job:
    async def check() -> bool:
        state = await queue.get_job_state(job_id)
        assert state in (State.COMPLETED, State.FAILED), state
        return True

    await eventually(check)
    job = await queue.get_job(job_id)
    assert job is not None
    return job


async def test_a_tree_is_stored_as_node_stores_it(flows: FlowProducer, async_client: redis.asyncio.Redis) -> None:
    tree = family(child("1st", {"gives": 1}, fail_parent_on_failure=True), child("2nd"))
    node = await flows.add(tree)
    assert shape(node) == ("P", [("1st", []), ("2nd", [])])
    first = node.children[0].job
    assert (first.name, first.data, first.queue_name) == ("child", {"gives": 1}, "kids")
    assert (first.parent, first.parent_key) == (Parent("P", "bull:up"), "bull:up:P")
    stored: Any = await dump(async_client)
    assert stored["bull:up:P:dependencies"] == {"bull:kids:1st", "bull:kids:2nd"}
    assert stored["bull:up:waiting-children"] == {"P": node.job.timestamp}
    fields = stored["bull:kids:1st"]
    assert (fields["parentKey"], json.loads(fields["parent"])) == (
        "bull:up:P",
        {"id": "P", "queueKey": "bull:up", "fpof": True},
    )
    assert json.loads(fields["opts"]) == {
        "attempts": 0,
        "jobId": "1st",
        "parent": {"id": "P", "queue": "bull:up"},
        "fpof": True,
    }
    assert json.loads(stored["bull:up:P"]["opts"]) == {"attempts": 0, "jobId": "P"}


async def test_a_job_without_an_id_gets_one_that_its_options_do_not_say(
    flows: FlowProducer, async_client: redis.asyncio.Redis
) -> None:
    node = await flows.add(FlowJob("parent", "up", children=[FlowJob("child", "kids")]))
    ids = [node.job.id, node.children[0].job.id]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id) for id in ids)
    stored: Any = await dump(async_client)
    assert "jobId" not in json.loads(stored[f"bull:kids:{ids[1]}"]["opts"])
    assert stored[f"bull:up:{ids[0]}:dependencies"] == {f"bull:kids:{ids[1]}"}


async def test_a_parent_runs_after_its_children_and_sees_what_they_returned(
    flows: FlowProducer, redis_url: str, up: Queue
) -> None:
    middle = FlowJob("middle", "up", None, opts(job_id="M"), [child("1st", {"gives": [1, "é"]}), child("2nd")])
    await flows.add(family(middle, child("3rd", {"gives": 3})))
    async with running(*(Worker(name, work, redis=redis_url) for name in ("up", "kids"))):
        parent = await ended(up, "P")
    between = {"bull:kids:1st": [1, "é"], "bull:kids:2nd": None}
    assert parent.returnvalue == {"bull:up:M": between, "bull:kids:3rd": 3}
    assert await parent.get_children_values() == parent.returnvalue


POLICIES: dict[str, tuple[dict[str, Any], State, DependencyCounts]] = {
    "fail": ({"fail_parent_on_failure": True}, State.FAILED, DependencyCounts(1, 0, 0, 1)),
    "continue": ({"continue_parent_on_failure": True}, State.COMPLETED, DependencyCounts(1, 0, 1, 0)),
    "ignore": ({"ignore_dependency_on_failure": True}, State.COMPLETED, DependencyCounts(1, 0, 1, 0)),
    "remove": ({"remove_dependency_on_failure": True}, State.COMPLETED, DependencyCounts(1, 0, 0, 0)),
    "none": ({}, State.WAITING_CHILDREN, DependencyCounts(1, 1, 0, 0)),
}


@pytest.mark.parametrize(("policy", "state", "counts"), POLICIES.values(), ids=POLICIES)
async def test_a_childs_failure_means_what_its_options_say(
    flows: FlowProducer, redis_url: str, up: Queue, kids: Queue, policy: Any, state: State, counts: DependencyCounts
) -> None:
    # The one that fails comes last, so that it decides.
    node = await flows.add(family(child("good", {"gives": 1}), child("bad", {"fail": "boom"}, **policy)))
    async with running(*(Worker(name, work, redis=redis_url, concurrency=1) for name in ("kids", "up"))):
        await ended(kids, "bad")
        if state is not State.WAITING_CHILDREN:
            await ended(up, "P")
    assert await up.get_job_state("P") is state
    parent = await up.get_job("P")
    assert parent is not None
    assert await parent.get_dependencies_count() == counts
    assert await parent.get_ignored_children_failures() == ({"bull:kids:bad": "boom"} if counts.ignored else {})
    if state is State.FAILED:
        assert parent.failed_reason == "child bull:kids:bad failed"
    found = await node.job.get_dependencies()
    assert found == Dependencies(
        {"bull:kids:good": 1},
        ["bull:kids:bad"] if counts.unprocessed else [],
        {"bull:kids:bad": "boom"} if counts.ignored else {},
        ["bull:kids:bad"] if counts.failed else [],
        (None, None, None, None),
    )
    assert found.complete


async def test_a_value_that_is_no_json_is_told_with_the_child_that_left_it(
    flows: FlowProducer, async_client: redis.asyncio.Redis
) -> None:
    node = await flows.add(family(child("1st")))
    await async_client.hset("bull:up:P:processed", "bull:kids:x", "{")
    with pytest.raises(CorruptJob, match="child bull:kids:x left"):
        await node.job.get_children_values()


async def test_many_children_come_page_by_page(flows: FlowProducer, async_client: redis.asyncio.Redis) -> None:
    node = await flows.add(family(child("one")))
    key = "bull:up:P"
    await async_client.hset(f"{key}:processed", mapping={f"bull:kids:p{n}": f'{{"n":{n}}}' for n in range(700)})
    await async_client.hset(f"{key}:failed", mapping={f"bull:kids:i{n}": f"reason {n}" for n in range(600)})
    await async_client.sadd(f"{key}:dependencies", *(f"bull:kids:o{n}" for n in range(1500)))
    await async_client.zadd(f"{key}:unsuccessful", {f"bull:kids:f{n}": n for n in range(300)})
    page = await node.job.get_dependencies(count=50)
    assert not page.complete
    processed, open_ones, ignored, failed, pages = dict[str, Any](), set[str](), dict[str, str](), set[str](), 1
    while True:
        processed |= page.processed
        open_ones |= set(page.unprocessed)
        ignored |= page.ignored
        failed |= set(page.failed)
        if page.complete:
            break
        page, pages = await node.job.get_dependencies(page, count=50), pages + 1
    assert pages > 5
    assert processed == {f"bull:kids:p{n}": {"n": n} for n in range(700)}
    assert ignored == {f"bull:kids:i{n}": f"reason {n}" for n in range(600)}
    assert open_ones == {"bull:kids:one", *(f"bull:kids:o{n}" for n in range(1500))}
    assert failed == {f"bull:kids:f{n}" for n in range(300)}
    assert await node.job.get_dependencies_count() == DependencyCounts(700, 1501, 600, 300)


async def test_options_of_a_queue_fill_what_a_job_leaves_out(flows: FlowProducer) -> None:
    defaults = {"kids": opts(attempts=3, priority=5), "up": opts(attempts=7)}
    node = await flows.add(family(child("1st", priority=2), child("2nd")), default_job_options=defaults)
    first, second = (each.job for each in node.children)
    assert node.job.opts.attempts == 7
    assert [(job.opts.attempts, job.priority) for job in (first, second)] == [(3, 2), (3, 5)]
    assert first.parent == Parent("P", "bull:up")


async def test_a_child_goes_by_its_parents_correlation_id_unless_it_has_one(flows: FlowProducer) -> None:
    middle = FlowJob("middle", "kids", None, opts(job_id="M"), [child("deep")])
    node = await flows.add(family(middle, child("own", correlation_id="c-2"), correlation_id="c-1"))
    (inner, own) = node.children
    ids = [each.job.opts.correlation_id for each in (node, inner, inner.children[0], own)]
    assert ids == ["c-1", "c-1", "c-1", "c-2"]


async def test_flows_of_one_call_are_all_there_or_none(
    flows: FlowProducer, async_client: redis.asyncio.Redis, up: Queue
) -> None:
    nodes = await flows.add_bulk([family(child("1st")), FlowJob("alone", "kids", None, opts(job_id="alone"))])
    assert [shape(node) for node in nodes] == [("P", [("1st", [])]), ("alone", [])]
    before = await dump(async_client)
    other = FlowJob("other", "up", None, opts(job_id="Q"), [child("new"), child("1st")])
    with pytest.raises(JobHasParent, match="job 1st of queue 'kids' was not added, nor any other of the flow"):
        await flows.add_bulk([FlowJob("first", "up"), other])
    with pytest.raises(ParentNotFound, match="its parent does not exist"):
        await flows.add(FlowJob("late", "up", None, opts(parent=Parent("gone", "bull:up")), [child("new")]))
    assert await dump(async_client) == before
    assert await flows.add_bulk([]) == []


async def test_a_flow_may_hang_below_a_job_that_is_there(flows: FlowProducer, up: Queue) -> None:
    node = await flows.add(family(child("1st")))
    below = await flows.add(FlowJob("more", "kids", None, opts(job_id="R", parent=node.job.as_parent), [child("2nd")]))
    assert below.job.parent == Parent("P", "bull:up")
    assert (await node.job.get_dependencies_count()).unprocessed == 2
    assert shape(await flows.get_flow("P", "up")) in (
        ("P", [("1st", []), ("R", [("2nd", [])])]),
        ("P", [("R", [("2nd", [])]), ("1st", [])]),
    )


BAD: dict[str, tuple[Any, str]] = {
    "a parent with a deduplication": (
        FlowJob("n", "up", None, opts(deduplication="d"), [FlowJob("c", "kids")]),
        "job 'n' has children and a deduplication",
    ),
    "a child with a deduplication": (
        family(child(deduplication=Deduplication("d", ttl=5))),
        "deduplication and parent exclude each other",
    ),
    "a child that names a parent": (
        family(child(parent=Parent("Q", "bull:up"))),
        "job 'child' names a parent in its options and is a child of 'parent'",
    ),
    "an id with colons": (family(child("x:y:1")), "job_id 'x:y:1' holds a colon"),
    "an id that counts": (FlowJob("n", "up", None, JobOptions(job_id="7")), "looks like a number"),
    "one job twice": (family(child("1st"), child("1st")), "job_id '1st' of queue 'kids' stands in the flow twice"),
    "a parent with colons": (
        FlowJob("n", "up", None, JobOptions(parent=Parent("repeat:x:1", "bull:up"))),
        "the parent's id 'repeat:x:1' holds a colon",
    ),
}


@pytest.mark.parametrize(("flow", "why"), BAD.values(), ids=BAD)
async def test_what_would_break_a_flow_is_refused_before_anything_is_written(
    flows: FlowProducer, async_client: redis.asyncio.Redis, flow: FlowJob, why: str
) -> None:
    with pytest.raises(InvalidJob, match=re.escape(why)):
        await flows.add_bulk([FlowJob("first", "up"), flow])
    assert await dump(async_client) == {}


async def test_bad_data_and_bad_queues_deep_in_a_tree_are_refused_too(
    flows: FlowProducer, async_client: redis.asyncio.Redis
) -> None:
    with pytest.raises(PayloadNotJSON):
        await flows.add(family(child("1st", {"n": float("nan")})))
    with pytest.raises(InvalidQueueName):
        await flows.add(family(FlowJob("n", "a:b")))
    assert await dump(async_client) == {}


async def test_the_same_id_in_two_queues_is_two_jobs(flows: FlowProducer) -> None:
    node = await flows.add(family(child("P")))
    assert shape(node) == ("P", [("P", [])])


async def test_a_job_alone_may_have_a_deduplication(flows: FlowProducer) -> None:
    alone = FlowJob("alone", "up", None, opts(job_id="first", deduplication="d"))
    twin = FlowJob("alone", "up", None, opts(job_id="second", deduplication="d"))
    assert [(await flows.add(each)).job.id for each in (alone, twin)] == ["first", "first"]


async def test_a_tree_is_read_back_across_queues_and_prefixes(flows: FlowProducer, redis_url: str) -> None:
    far = FlowJob("far", "x", {"deep": True}, opts(job_id="far"), prefix="team:a")
    middle = FlowJob("middle", "kids", None, opts(job_id="M"), [far])
    await flows.add(family(middle, child("2nd")))
    found = await flows.get_flow("P", "up")
    assert found is not None
    by_id = {node.job.id: node for node in found.children}
    assert by_id.keys() == {"M", "2nd"}
    (leaf,) = by_id["M"].children
    assert (leaf.job.id, leaf.job.queue_name, leaf.job.data) == ("far", "x", {"deep": True})
    assert await leaf.job.get_state() is State.WAITING
    assert leaf.job.parent == Parent("M", "bull:kids")
    assert shape(await flows.get_flow("far", "x", prefix="team:a")) == ("far", [])
    assert await flows.get_flow("gone", "up") is None


async def test_depth_and_number_of_children_are_bounded(flows: FlowProducer) -> None:
    middle = FlowJob("middle", "up", None, opts(job_id="M"), [child("deep")])
    await flows.add(family(middle))
    assert shape(await flows.get_flow("P", "up", depth=1)) == ("P", [])
    assert shape(await flows.get_flow("P", "up", depth=2)) == ("P", [("M", [])])
    assert shape(await flows.get_flow("P", "up", depth=3)) == ("P", [("M", [("deep", [])])])
    await flows.add(FlowJob("wide", "up", None, opts(job_id="W"), [FlowJob("n", "kids") for _ in range(30)]))
    wide = await flows.get_flow("W", "up", max_children=7)
    assert wide is not None
    assert len(wide.children) == 7


async def test_children_that_are_gone_are_left_out_and_foreign_keys_are_told(
    flows: FlowProducer, async_client: redis.asyncio.Redis
) -> None:
    await flows.add(family(child("1st"), child("2nd")))
    await async_client.delete("bull:kids:1st")
    assert shape(await flows.get_flow("P", "up")) == ("P", [("2nd", [])])
    await async_client.sadd("bull:up:P:dependencies", "what")
    with pytest.raises(CorruptJob, match="'what' of a flow is no key of a job"):
        await flows.get_flow("P", "up")


async def test_open_children_can_be_removed_and_the_parent_runs(flows: FlowProducer, up: Queue, kids: Queue) -> None:
    node = await flows.add(family(child("1st"), child("2nd")))
    await node.job.remove_unprocessed_children()
    assert await up.get_job_state("P") is State.WAITING
    assert await kids.get_job("1st") is None


async def test_a_child_can_be_untied(flows: FlowProducer, up: Queue, kids: Queue) -> None:
    node = await flows.add(family(child("1st")))
    only = node.children[0].job
    assert await only.remove_child_dependency()
    assert await up.get_job_state("P") is State.WAITING
    assert not await only.remove_child_dependency()
    untied = await kids.get_job("1st")
    assert untied is not None
    assert (untied.parent, untied.parent_key) == (None, None)


async def test_a_child_is_added_later_by_the_name_of_its_parent(flows: FlowProducer, up: Queue, kids: Queue) -> None:
    await flows.add(family(child("1st")))
    parent = await up.get_job("P")
    assert parent is not None
    assert parent.as_parent == Parent("P", "bull:up")
    more = await kids.add("more", parent=parent.as_parent, fail_parent_on_failure=True)
    assert set((await parent.get_dependencies()).unprocessed) == {"bull:kids:1st", f"bull:kids:{more.id}"}
    with pytest.raises(ParentNotFound):
        await kids.add("more", parent=Parent("gone", "bull:up"))
    with pytest.raises(JobHasParent):
        await kids.add("more", job_id="1st", parent=(await kids.add("other", job_id="other")).as_parent)


async def test_a_job_adds_children_while_it_runs_and_goes_on_when_they_are_done(
    redis_url: str, up: Queue, kids: Queue
) -> None:
    async def step(job: Job) -> Any:
        if job.data["step"] == "split":
            for number in (1, 2):
                await kids.add("part", {"gives": number}, parent=job.as_parent, job_id=f"part-{number}")
            await job.update_data({"step": "gather"})
            if await job.move_to_waiting_children():
                raise WaitingChildrenError
        return await job.get_children_values()

    job = await up.add("whole", {"step": "split"})
    async with running(Worker("up", step, redis=redis_url), Worker("kids", work, redis=redis_url)):
        done = await ended(up, job.id)
    assert done.returnvalue == {"bull:kids:part-1": 1, "bull:kids:part-2": 2}
    assert (done.attempts_made, done.attempts_started) == (1, 2)


HARMFUL: list[dict[str, Any]] = [{"remove_on_fail": True}, {"remove_on_fail": 5}, {"remove_on_fail": Keep(age_s=9)}]
HARMLESS: list[dict[str, Any]] = [
    {"remove_on_fail": True, "fail_parent_on_failure": True},
    {"remove_on_fail": True, "ignore_dependency_on_failure": True},
    {"remove_on_complete": True},
    {"remove_on_fail": False},
    {},
]


@pytest.mark.parametrize("options", HARMFUL, ids=str)
@pytest.mark.parametrize("later", [False, True], ids=["flow", "add"])
async def test_it_warns_once_of_a_child_whose_failure_its_parent_would_never_see(
    flows: FlowProducer, kids: Queue, caplog: pytest.LogCaptureFixture, options: dict[str, Any], later: bool
) -> None:
    _warn.cache_clear()
    with caplog.at_level(logging.WARNING, "corral.flow"):
        node = await flows.add(family(child("1st"), *([] if later else [child(**options), child(**options)])))
        if later:
            await kids.add("child", parent=node.job.as_parent, **options)
            await kids.add("child", parent=node.job.as_parent, **options)
    (record,) = caplog.records
    assert "sees neither a value nor a failure" in record.getMessage()
    assert record.__dict__["fields"] == {"queue": "kids", "name": "child"}


@pytest.mark.parametrize("options", HARMLESS, ids=str)
async def test_it_does_not_warn_of_what_a_parent_gets_to_know(
    flows: FlowProducer, kids: Queue, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    _warn.cache_clear()
    with caplog.at_level(logging.WARNING, "corral.flow"):
        await flows.add(family(child("1st", **options), remove_on_fail=True))
        await kids.add("nobody's child", remove_on_fail=True)
    assert caplog.records == []
