"""Flows as they are written down: trees of jobs, and the rows that they become."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from corral.errors import CorruptJob, InvalidJob
from corral.job import Job
from corral.job_spec import JobSpec, NewJob, new_job
from corral.keys import Keys
from corral.options import JobOptions, check_opts
from corral.parent_link import Parent

logger = logging.getLogger("corral.flow")


@dataclass(frozen=True, slots=True)
class FlowJob:
    """A job to be added, and its children, which must end before it runs.

    name, data: as for `Queue.add`. queue: name of its queue; prefix: of its keys, default the producer's.
    opts: `JobOptions.checked(...)` makes them; of a child they also say what its failure means for its parent.
    Only the root of a tree may have a `parent` in its options: a job that is there already.
    """

    name: str
    queue: str
    data: Any = None
    opts: JobOptions = field(default_factory=JobOptions)
    children: Sequence["FlowJob"] = ()
    prefix: str | None = None

    def __post_init__(self) -> None:
        check_opts(self.opts)
        for child in self.children:
            check_flow(child)


def check_flow(flow: object) -> None:
    """Refuse a node of another shape, like a dict. Raises InvalidJob."""
    if not isinstance(flow, FlowJob):
        raise InvalidJob(f"a flow is made of FlowJobs, like FlowJob('page', 'pages', data); got {type(flow).__name__}")


@dataclass(frozen=True, slots=True)
class FlowNode:
    """A job of a flow, and the nodes of its children."""

    job: Job
    children: tuple["FlowNode", ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A flow's job as it goes to Redis. `parent` is the place of its parent among all of them, None for a root."""

    keys: Keys
    spec: JobSpec
    row: NewJob
    parent: int | None


def place(
    flows: Sequence[FlowJob], prefix: str, defaults: Mapping[str, JobOptions], now_ms: int, new_id: Callable[[], str]
) -> list[Placed]:
    """The jobs of some flows in the order in which they are added: all roots, all their children, and so on.

    prefix: of nodes that have none of their own. defaults: for what options leave out, by queue name. new_id: makes
    the id of a job that has none. Raises InvalidJob, ConfigurationError.
    """
    placed: list[Placed] = []
    level: list[tuple[FlowJob, int | None]] = [(flow, None) for flow in flows]
    while level:
        below: list[tuple[FlowJob, int | None]] = []
        for node, above in level:
            keys = Keys(node.queue, node.prefix or prefix)
            opts = _options(node, defaults, None if above is None else placed[above])
            spec = JobSpec(node.name, node.data, opts)
            row = replace(new_job(spec, now_ms), job_id=opts.job_id or new_id())
            below += [(child, len(placed)) for child in node.children]
            placed.append(Placed(keys, spec, row, above))
        level = below
    _check_ids(placed)
    return placed


def _options(node: FlowJob, defaults: Mapping[str, JobOptions], above: Placed | None) -> JobOptions:
    opts = node.opts.over(defaults[node.queue]) if node.queue in defaults else node.opts
    if node.children and opts.deduplication is not None:
        raise InvalidJob(
            f"job {node.name!r} has children and a deduplication; turned away, it would leave them without a parent"
        )
    if above is None:
        return opts
    if node.opts.parent is not None:
        raise InvalidJob(
            f"job {node.name!r} names a parent in its options and is a child of {above.spec.name!r}; leave the option "
            "out: the flow says whose child it is"
        )
    parent = Parent(above.row.job_id, above.keys.base[:-1])
    return replace(opts, parent=parent, correlation_id=opts.correlation_id or above.spec.opts.correlation_id)


def _check_ids(placed: Sequence[Placed]) -> None:
    seen: set[str] = set()
    for each in placed:
        job_id = each.row.job_id
        if ":" in job_id:
            raise InvalidJob(f"job_id {job_id!r} holds a colon: in a flow nobody could tell the id from its queue")
        key = each.keys.job(job_id)
        if key in seen:
            raise InvalidJob(f"job_id {job_id!r} of queue {each.keys.queue!r} stands in the flow twice")
        seen.add(key)


def built(placed: Sequence[Placed], jobs: Sequence[Job]) -> list[FlowNode]:
    """The trees again, with the jobs that were added, one for each place."""
    children: list[list[FlowNode]] = [[] for _ in placed]
    roots: list[FlowNode] = []
    # From the last one up, so that a node's children are there before it.
    for at in reversed(range(len(placed))):
        node = FlowNode(jobs[at], tuple(reversed(children[at])))
        above = placed[at].parent
        (roots if above is None else children[above]).append(node)
    return roots[::-1]


def taken_apart(key: str) -> tuple[Keys, str]:
    """The queue and the id of a job's key, from the right: a prefix may hold colons. Raises CorruptJob."""
    parts = key.rsplit(":", 2)
    if len(parts) < 3 or not all(parts):
        raise CorruptJob(f"the child {key!r} of a flow is no key of a job, which is prefix:queue:id")
    return Keys(parts[1], parts[0]), parts[2]


def warn_of_unseen_failure(queue: str, name: str, opts: JobOptions) -> None:
    """Tell, once for each kind of job, of a child that can fail without its parent seeing anything of it.

    A failed child without a policy holds its parent. Once its record is trimmed it holds it no longer, and the parent
    runs. With a policy, or completed, the parent has its note before the record goes.
    """
    keep = opts.remove_on_fail
    if opts.parent is None or opts.child_failure is not None or keep is None:
        return
    if keep.count is not None or keep.age_s is not None:
        _warn(queue, name)


@lru_cache(1000)
def _warn(queue: str, name: str) -> None:
    logger.warning(
        "a failed child whose record is removed lets its parent run, which then sees neither a value nor a failure; "
        "give it a policy, like fail_parent_on_failure, or leave out remove_on_fail",
        extra={"fields": {"queue": queue, "name": name}},
    )
