"""Flows: ours beside Node's for the same trees, and each worked by the other's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral import FlowJob, FlowNode, FlowProducer, Job, JobOptions, Parent, Queue, State, UnrecoverableError, Worker
from node_driver import NodeDriver
from running import running
from twins import portrait
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import redis.asyncio

pytestmark = pytest.mark.interop

opts = JobOptions.checked
NODE_NAMES = {
    "fpof": "failParentOnFailure",
    "cpof": "continueParentOnFailure",
    "idof": "ignoreDependencyOnFailure",
    "rdof": "removeDependencyOnFailure",
}
POLICIES = {
    "fpof": "fail_parent_on_failure",
    "cpof": "continue_parent_on_failure",
    "idof": "ignore_dependency_on_failure",
    "rdof": "remove_dependency_on_failure",
}


def to_node(flow: FlowJob) -> dict[str, Any]:
    """The same flow as Node's FlowProducer takes it."""
    options = {NODE_NAMES.get(name, name): value for name, value in flow.opts.to_wire().items()}
    tree = {"name": flow.name, "queueName": flow.queue, "data": flow.data or {}, "opts": options}
    if flow.prefix:
        tree["prefix"] = flow.prefix
    return tree | ({"children": [to_node(child) for child in flow.children]} if flow.children else {})


def node(job_id: str, queue: str = "q", *children: FlowJob, data: Any = None, **options: Any) -> FlowJob:
    return FlowJob(job_id, queue, data, opts(job_id=job_id, **options), children)


async def run(job: Job) -> Any:
    """Grants the wishes of a job's data as driver.mjs does, and answers as if it were Node."""
    if text := job.data.get("unrecoverable"):
        raise UnrecoverableError(text)
    if text := job.data.get("fail"):
        raise RuntimeError(text)
    return {"echo": job.data, "by": "node"}


class Sides:
    """The same deeds done by Node, then on an empty Redis by us; `same` compares all keys of some queues."""

    def __init__(self, env: dict[str, str], url: str, client: redis.asyncio.Redis) -> None:
        self.env, self.url, self.client = env, url, client

    async def same(
        self,
        queues: Sequence[str],
        by_node: Callable[[NodeDriver], Awaitable[Any]],
        by_us: Callable[[FlowProducer], Awaitable[Any]],
        leave_out: Sequence[str] = (),
    ) -> dict[str, Any]:
        async with NodeDriver(self.env) as node:
            theirs_given = await by_node(node)
        theirs = {name: await portrait(self.client, name, leave_out) for name in queues}
        await self.client.flushall()
        async with FlowProducer(redis=self.url) as flows:
            given = await by_us(flows)
        ours = {name: await portrait(self.client, name, leave_out) for name in queues}
        assert ours == theirs
        assert given == theirs_given
        return ours

    async def works(self, *queues: str, until: tuple[str, str, State]) -> None:
        """Our workers on some queues, one job at a time, until a job (queue, id) is in a state."""
        name, job_id, state = until
        async with Queue(name, redis=self.url) as queue:

            async def check() -> bool:
                assert await queue.get_job_state(job_id) is state
                return True

            async with running(*(Worker(each, run, redis=self.url, concurrency=1) for each in queues)):
                await eventually(check, 20)

    async def node_works(self, node: NodeDriver, *queues: str, until: tuple[str, str, State]) -> None:
        name, job_id, state = until

        async def check() -> bool:
            assert await node.call("job", queue=name, id=job_id, method="getState") == state
            return True

        await node.work(queues, concurrency=1)
        await eventually(check, 20)
        await node.call("rest")


@pytest.fixture
def sides(node_env: dict[str, str], redis7_url: str, redis7_client: redis.asyncio.Redis) -> Sides:
    return Sides(node_env, redis7_url, redis7_client)


TREES: dict[str, list[FlowJob]] = {
    "two queues, each policy": [
        node("P", "up", node("plain", "kids"), *(node(name, "kids", **{long: True}) for name, long in POLICIES.items()))
    ],
    "three levels in one queue": [
        node("P", "q", node("A", "q", node("a1"), node("a2")), node("x"), node("B", "q", node("b1", "q", node("deep"))))
    ],
    "three levels in three queues": [node("P", "up", node("M", "kids", node("leaf", "x"), node("leaf2", "x")))],
    "kinds": [
        node(
            "P",
            "up",
            node("late", "kids", delay=3600),
            node("soon", "kids", priority=4),
            node("front", "kids", lifo=True),
            node("again", "kids", attempts=3, backoff=2, remove_on_complete=True, keep_logs=5),
            delay=60,
            priority=9,
        )
    ],
    "several": [node("P", "q", node("p1"), node("p2", "q", node("deep"))), node("alone"), node("R", "q", node("r1"))],
}


@pytest.mark.parametrize("trees", TREES.values(), ids=TREES)
async def test_a_flow_of_ours_is_laid_down_as_nodes(sides: Sides, trees: list[FlowJob]) -> None:
    async def ours(flows: FlowProducer) -> list[str]:
        return [added.job.id for added in await flows.add_bulk(trees)]

    ids = [tree.opts.job_id for tree in trees]
    both = await sides.same(
        ("q", "up", "kids", "x"), lambda node: node.call("flows", trees=[to_node(tree) for tree in trees]), ours
    )
    assert any(f"{id}:dependencies" in keys for keys in both.values() for id in ids)


async def test_options_of_a_queue_fill_what_a_node_leaves_out_as_with_node(sides: Sides) -> None:
    tree = node("P", "up", node("1st", "kids", priority=3), node("2nd", "kids"))
    await sides.same(
        ("up", "kids"),
        lambda driver: driver.call(
            "flow",
            tree={
                "name": "P",
                "queueName": "up",
                "opts": {"jobId": "P"},
                "children": [
                    {"name": "1st", "queueName": "kids", "opts": {"jobId": "1st", "priority": 3}},
                    {"name": "2nd", "queueName": "kids", "opts": {"jobId": "2nd"}},
                ],
            },
            options={"queuesOptions": {"kids": {"defaultJobOptions": {"attempts": 4, "priority": 7}}}},
        ),
        lambda flows: _root(flows, tree, {"kids": opts(attempts=4, priority=7)}),
    )


async def _root(flows: FlowProducer, tree: FlowJob, defaults: dict[str, JobOptions] | None = None) -> str:
    return (await flows.add(tree, default_job_options=defaults)).job.id


async def _completed_first(flows: FlowProducer, sides: Sides) -> None:
    await flows.add(node("done", "kids", data={"n": 1}))
    await sides.works("kids", until=("kids", "done", State.COMPLETED))


EXISTING: dict[str, list[FlowJob]] = {
    "the first child": [node("P", "up", node("done", "kids"), node("open", "kids"))],
    "the last child": [node("P", "up", node("open", "kids"), node("done", "kids"))],
    "the only child": [node("P", "up", node("done", "kids"))],
    "the only child of a late parent": [node("P", "up", node("done", "kids"), delay=3600)],
    "the only one below the middle": [node("P", "up", node("M", "up", node("done", "kids"), priority=3))],
    "a root": [node("done", "kids", node("new", "kids"))],
}


@pytest.mark.parametrize("trees", EXISTING.values(), ids=EXISTING)
async def test_a_job_that_was_completed_before_counts_as_with_node(sides: Sides, trees: list[FlowJob]) -> None:
    async def theirs(driver: NodeDriver) -> list[str]:
        await driver.call("flow", tree=to_node(node("done", "kids", data={"n": 1})))
        await sides.node_works(driver, "kids", until=("kids", "done", State.COMPLETED))
        await driver.call("flows", trees=[to_node(tree) for tree in trees])
        return []

    async def ours(flows: FlowProducer) -> list[str]:
        await _completed_first(flows, sides)
        await flows.add_bulk(trees)
        return []

    if sides.env["BULLMQ"] == "5" and trees == EXISTING["the first child"]:
        # It lets the parent go before the other child is there.
        with pytest.raises(AssertionError):
            await sides.same(("up", "kids"), theirs, ours)
        assert await sides.client.zrange("bull:up:waiting-children", 0, -1) == [b"P"]
    else:
        await sides.same(("up", "kids"), theirs, ours)


async def test_a_flow_below_a_job_that_is_there_is_laid_down_as_nodes(sides: Sides) -> None:
    first = node("P", "up", node("1st", "kids"))
    more = node("R", "kids", node("2nd", "up"), parent=Parent("P", "bull:up"))

    async def theirs(driver: NodeDriver) -> list[str]:
        return [await driver.call("flow", tree=to_node(tree)) for tree in (first, more)]

    async def ours(flows: FlowProducer) -> list[str]:
        return [await _root(flows, tree) for tree in (first, more)]

    both = await sides.same(("up", "kids"), theirs, ours)
    assert both["up"]["P:dependencies"] == {"bull:kids:1st", "bull:kids:R"}


ENDS = {"fpof": State.FAILED, "cpof": State.COMPLETED, "idof": State.COMPLETED, "rdof": State.COMPLETED}
FRAMES = ("stacktrace",)
"""A job that fails because a child did has run no code: Node stores its own frames, we none."""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("before", [True, False], ids=["after a good one", "before a good one"])
async def test_a_childs_failure_ends_as_with_node(sides: Sides, policy: str, before: bool) -> None:
    good, bad = node("good", "kids"), node("bad", "kids", data={"fail": "boom"}, **{POLICIES[policy]: True})
    tree = node("P", "up", *((good, bad) if before else (bad, good)))
    last = "bad" if before else "good"
    child_end = ("kids", last, State.FAILED if before else State.COMPLETED)
    parent_end = ("up", "P", ENDS[policy])

    async def theirs(driver: NodeDriver) -> str:
        await driver.call("flow", tree=to_node(tree))
        await sides.node_works(driver, "kids", until=child_end)
        await sides.node_works(driver, "up", until=parent_end)
        return str(await driver.call("job", queue="up", id="P", method="getChildrenValues"))

    async def ours(flows: FlowProducer) -> str:
        parent = (await flows.add(tree)).job
        await sides.works("kids", until=child_end)
        await sides.works("up", until=parent_end)
        return str(await parent.get_children_values())

    await sides.same(("up", "kids"), theirs, ours, FRAMES if policy == "fpof" else ())


async def test_a_child_that_fails_for_its_parent_fails_the_grandparent_as_with_node(sides: Sides) -> None:
    bad = node("bad", "q", data={"unrecoverable": "no"}, attempts=3, fail_parent_on_failure=True)
    tree = node("P", "up", node("M", "kids", bad, fail_parent_on_failure=True, attempts=5))
    steps = [("q", "bad"), ("kids", "M"), ("up", "P")]

    async def theirs(driver: NodeDriver) -> None:
        await driver.call("flow", tree=to_node(tree))
        for queue, job_id in steps:
            await sides.node_works(driver, queue, until=(queue, job_id, State.FAILED))

    async def ours(flows: FlowProducer) -> None:
        await flows.add(tree)
        for queue, job_id in steps:
            await sides.works(queue, until=(queue, job_id, State.FAILED))

    both = await sides.same(("up", "kids", "q"), theirs, ours, FRAMES)
    assert both["up"]["P"]["failedReason"] == "child bull:kids:M failed"


THREE_LEVELS = node("P", "up", node("M", "kids", node("a", "x"), node("b", "x")), node("c", "x"), data={"root": True})
ALL_THREE = {"bull:kids:M", "bull:x:c"}


def shape(tree: Any) -> Any:
    """A tree as driver.mjs tells of it, children in any order."""
    if isinstance(tree, FlowNode):
        parent = tree.job.parent
        told = {"id": tree.job.id, "name": tree.job.name, "queue": tree.job.queue_name, "data": tree.job.data}
        told["parent"] = parent and {"id": parent.id, "queueKey": parent.queue}
        return told | {"children": sorted(map(shape, tree.children), key=lambda child: child["id"])}
    return tree | {"children": sorted(map(shape, tree["children"]), key=lambda child: child["id"])}


async def same_tree(driver: NodeDriver, flows: FlowProducer) -> Any:
    """The flow of P as Node reads it, which must be as we read it."""
    theirs = await driver.call("getFlow", options={"id": "P", "queueName": "up"})
    ours = await flows.get_flow("P", "up")
    assert shape(ours) == shape(theirs)
    return shape(ours)


@pytest.mark.parametrize("adds", ["ours", "node"])
@pytest.mark.parametrize("works", ["ours", "node"])
async def test_either_works_the_flows_of_the_other_and_reads_them_alike(sides: Sides, adds: str, works: str) -> None:
    end = ("up", "P", State.COMPLETED)
    async with NodeDriver(sides.env) as driver, FlowProducer(redis=sides.url) as flows:
        if adds == "ours":
            await flows.add(THREE_LEVELS)
        else:
            await driver.call("flow", tree=to_node(THREE_LEVELS))
        before = await same_tree(driver, flows)
        assert [child["id"] for child in before["children"]] == ["M", "c"]
        if works == "ours":
            await sides.works("up", "kids", "x", until=end)
        else:
            await sides.node_works(driver, "up", "kids", "x", until=end)
        assert await same_tree(driver, flows) == before
        root = await flows.get_flow("P", "up")
        assert root is not None
        values = await root.job.get_children_values()
        assert values.keys() == ALL_THREE
        assert values == await driver.call("job", queue="up", id="P", method="getChildrenValues")
        counts = await driver.call("job", queue="up", id="P", method="getDependenciesCount")
        assert (counts["processed"], counts["unprocessed"]) == (2, 0)
        assert not driver.process.seen("error")


async def test_node_climbs_our_flow_by_the_options_of_its_jobs(sides: Sides) -> None:
    async with NodeDriver(sides.env) as driver, FlowProducer(redis=sides.url) as flows:
        await flows.add(THREE_LEVELS)
        way = []
        queue, job_id = "x", "a"
        while read := await driver.read(queue, job_id):
            way.append(job_id)
            if not (above := read["opts"].get("parent")):
                break
            queue, job_id = above["queue"].removeprefix("bull:"), above["id"]
        assert way == ["a", "M", "P"]


async def test_unprocessed_children_are_removed_as_with_node(sides: Sides) -> None:
    tree = node("P", "up", node("M", "kids", node("deep", "x")), node("late", "kids", delay=60), node("bad", "q"))

    async def theirs(driver: NodeDriver) -> None:
        await driver.call("flow", tree=to_node(tree))
        await driver.call("job", queue="up", id="P", method="removeUnprocessedChildren")

    async def ours(flows: FlowProducer) -> None:
        await (await flows.add(tree)).job.remove_unprocessed_children()

    both = await sides.same(("up", "kids", "x", "q"), theirs, ours)
    assert both["up"]["wait"] == ["P"]


async def test_a_dependency_is_removed_as_with_node(sides: Sides) -> None:
    tree = node("P", "up", node("1st", "kids"), node("2nd", "kids"))

    async def theirs(driver: NodeDriver) -> list[bool]:
        await driver.call("flow", tree=to_node(tree))
        return [
            bool(await driver.call("job", queue="kids", id=each, method="removeChildDependency"))
            for each in ("1st", "2nd")
        ]

    async def ours(flows: FlowProducer) -> list[bool]:
        await flows.add(tree)
        given = []
        async with Queue("kids", redis=sides.url) as kids:
            for each in ("1st", "2nd"):
                job = await kids.get_job(each)
                assert job is not None
                given.append(await job.remove_child_dependency())
        return given

    both = await sides.same(("up", "kids"), theirs, ours)
    assert both["up"]["wait"] == ["P"]


@pytest.mark.parametrize("children", [True, False], ids=["with its children", "alone"])
async def test_a_job_of_a_flow_is_removed_as_with_node(sides: Sides, children: bool) -> None:
    tree = node("P", "up", node("M", "kids", node("deep", "x"), node("other", "x", priority=3)))

    async def theirs(driver: NodeDriver) -> None:
        await driver.call("flow", tree=to_node(tree))
        await driver.call("job", queue="kids", id="M", method="remove", args=[{"removeChildren": children}])

    async def ours(flows: FlowProducer) -> None:
        await (await flows.add(tree)).children[0].job.remove(remove_children=children)

    both = await sides.same(("up", "kids", "x"), theirs, ours)
    assert both["up"]["wait"] == ["P"]
    assert ("wait" in both["x"]) is not children
