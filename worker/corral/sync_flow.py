"""The blocking FlowProducer. Each method is the one of the same name of `corral.FlowProducer`."""

from collections.abc import Iterable, Mapping
from typing import Self

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from corral import flow as loops
from corral.blocking_lines import BlockingLines, drive, settings_of
from corral.flow_tree import FlowJob, FlowNode
from corral.options import JobOptions
from corral.queue_door import Dialect


class _Twin(loops.FlowProducer):
    """The FlowProducer itself, over connections that wait in the thread."""

    def __init__(self, *, redis: str | Redis | None, prefix: str | None, dialect: Dialect) -> None:
        super().__init__(redis=redis, prefix=prefix, dialect=dialect)
        self._lines = BlockingLines(redis)


class FlowProducer:
    """`corral.FlowProducer` for code without an event loop: every call waits in its thread. See `corral.sync.Queue`."""

    def __init__(
        self, *, redis: str | Redis | BlockingRedis | None = None, prefix: str | None = None, dialect: Dialect = "auto"
    ) -> None:
        self._twin = _Twin(redis=settings_of(redis), prefix=prefix, dialect=dialect)

    def add(self, flow: FlowJob, *, default_job_options: Mapping[str, JobOptions] | None = None) -> FlowNode:
        """Add a flow, all of it or nothing; gives its jobs as they were sent."""
        return drive(self._twin.add(flow, default_job_options=default_job_options))

    def add_bulk(
        self, flows: Iterable[FlowJob], *, default_job_options: Mapping[str, JobOptions] | None = None
    ) -> list[FlowNode]:
        """Add flows in one round trip, all or none; gives them in order. Raises as `add`."""
        return drive(self._twin.add_bulk(flows, default_job_options=default_job_options))

    def get_flow(
        self, job_id: str, queue: str, *, prefix: str | None = None, depth: int = 10, max_children: int = 20
    ) -> FlowNode | None:
        """Read a job and what is below it; None when it does not exist. Children that are gone are left out."""
        return drive(self._twin.get_flow(job_id, queue, prefix=prefix, depth=depth, max_children=max_children))

    def close(self) -> None:
        """Close the connections."""
        drive(self._twin.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
