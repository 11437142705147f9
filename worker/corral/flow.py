"""FlowProducer: adds trees of jobs, and reads them back."""

import os
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Self
from uuid import uuid4

from redis.asyncio import Redis

from corral import add_scripts
from corral.address import make_pool
from corral.children import read_dependencies
from corral.clock import now_ms
from corral.connection import Lines
from corral.flow_tree import FlowJob, FlowNode, built, check_flow, place, taken_apart, warn_of_unseen_failure
from corral.job_calls import JobCalls
from corral.job_record import from_wire
from corral.job_spec import added_job
from corral.keys import DEFAULT_PREFIX, Keys
from corral.options import JobOptions
from corral.queue_door import Dialect, dialect_arg
from corral.refusals import refusal
from corral.script import pairs


class FlowProducer:
    """Adds flows: trees of jobs, of one or of many queues, in which a parent runs when its children have ended.

    redis, prefix, dialect: as for Queue; a node of a flow may have a prefix of its own.

    Every method that talks to Redis raises RedisUnavailable when it cannot, RedisRefused when Redis says no.
    """

    def __init__(
        self, *, redis: str | Redis | None = None, prefix: str | None = None, dialect: Dialect = "auto"
    ) -> None:
        self._prefix = prefix or os.environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX
        self._dialect = dialect_arg(dialect)
        self._lines = Lines(make_pool(redis))

    async def add(self, flow: FlowJob, *, default_job_options: Mapping[str, JobOptions] | None = None) -> FlowNode:
        """Add a flow, all of it or nothing; gives its jobs as they were sent.

        default_job_options: for what the options of its jobs leave out, by the names of their queues.
        A child without a correlation id has its parent's. A `job_id` that exists already leaves the job that has it as
        it is, and makes it a child of this flow if it has no parent that is alive.
        Raises InvalidJob (PayloadNotJSON, PayloadTooLarge), ParentNotFound or JobHasParent before anything is written.
        When RedisUnavailable has `maybe_done`, the flow may be there: with a `job_id` for every job, adding it once
        more is safe as long as none of its jobs is gone. One that is removed at its end would run once more.
        """
        (node,) = await self.add_bulk([flow], default_job_options=default_job_options)
        return node

    async def add_bulk(
        self, flows: Iterable[FlowJob], *, default_job_options: Mapping[str, JobOptions] | None = None
    ) -> list[FlowNode]:
        """Add flows in one round trip, all or none; gives them in order. Raises as `add`."""
        now = now_ms()
        trees = list(flows)
        for flow in trees:
            check_flow(flow)
        placed = place(trees, self._prefix, default_job_options or {}, now, lambda: str(uuid4()))
        if not placed:
            return []
        ids = await add_scripts.add_flow(self._lines, self._dialect, now, [(each.keys, each.row) for each in placed])
        if isinstance(ids, add_scripts.Refused):
            job = placed[ids.place]
            raise refusal(ids.code, job.row.job_id, job.keys.queue, "added, nor any other of the flow")
        for each in placed:
            warn_of_unseen_failure(each.keys.queue, each.row.name, each.spec.opts)
        calls = {each.keys: self._calls(each.keys) for each in placed}
        jobs = [
            added_job(each.keys.queue, each.spec, each.row, id, calls[each.keys])
            for each, id in zip(placed, ids, strict=True)
        ]
        return built(placed, jobs)

    async def get_flow(
        self, job_id: str, queue: str, *, prefix: str | None = None, depth: int = 10, max_children: int = 20
    ) -> FlowNode | None:
        """Read a job and what is below it; None when it does not exist. Children that are gone are left out.

        depth: how many levels, the job's own being the first. max_children: of each node so many that are completed,
        open, failed, and ignored, in this order. Raises CorruptJob.
        """
        return await self._read(Keys(queue, prefix or self._prefix), job_id, depth, max_children)

    async def _read(self, keys: Keys, job_id: str, depth: int, most: int) -> FlowNode | None:
        fields = pairs(await self._lines.call("HGETALL", keys.job(job_id)))
        if not fields:
            return None
        job = from_wire(job_id, fields, keys.queue, self._calls(keys))
        if depth <= 1:
            return FlowNode(job)
        found = await read_dependencies(self._lines, keys, job_id, None, most)
        kinds = (found.processed, found.unprocessed, found.failed, found.ignored)
        nodes = []
        for key in chain.from_iterable(islice(kind, most) for kind in kinds):
            child_keys, child_id = taken_apart(key)
            nodes.append(await self._read(child_keys, child_id, depth - 1, most))
        return FlowNode(job, tuple(node for node in nodes if node is not None))

    def _calls(self, keys: Keys) -> JobCalls:
        return JobCalls(self._lines, keys, self._dialect)

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
