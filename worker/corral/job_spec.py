"""A job to be added: as a producer says it, as the scripts take it, and as it is given back."""

from dataclasses import dataclass, field, replace
from typing import Any

from corral.errors import InvalidJob, PayloadTooLarge
from corral.job import Job
from corral.job_door import JobDoor
from corral.options import JobOptions, check_opts
from corral.payload import to_json


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job of `add_bulk`. `JobOptions.checked(delay=..., attempts=...)` makes options."""

    name: str
    data: Any = None
    opts: JobOptions = field(default_factory=JobOptions)

    def __post_init__(self) -> None:
        check_opts(self.opts)

    def over(self, defaults: JobOptions) -> "JobSpec":
        """The same job, with `defaults` where its options say nothing."""
        return replace(self, opts=self.opts.over(defaults))


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as the scripts write it.

    job_id: empty = the queue's counter gives one. more: '' for most jobs, else JSON of what else there is to do:
    `de` (deduplication), `parent` {key, json: what its hash keeps of it}, `rjk` (job scheduler).
    """

    job_id: str
    name: str
    data: str
    opts: str
    timestamp_ms: int
    delay_ms: int
    priority: int
    lifo: bool
    more: str = ""

    def args(self) -> tuple[Any, ...]:
        """What `add_job` of the scripts reads, nine values."""
        plain = (self.job_id, self.name, self.data, self.opts, self.timestamp_ms, self.delay_ms, self.priority)
        return (*plain, int(self.lifo), self.more)


def new_job(spec: JobSpec, now_ms: int) -> NewJob:
    """Raises InvalidJob (PayloadNotJSON, PayloadTooLarge) for what must not be stored."""
    if not isinstance(spec.name, str):
        raise InvalidJob(f"a job's name is a text, got {spec.name!r}")
    opts = spec.opts
    opts.check()
    # Node writes {} for a job without data, and its processors rely on an object.
    data = to_json({} if spec.data is None else spec.data, f"data of job {spec.name!r}")
    if opts.size_limit is not None and len(data.encode()) > opts.size_limit:
        raise PayloadTooLarge(
            f"data of job {spec.name!r} is {len(data.encode())} bytes of JSON, over its size_limit of "
            f"{opts.size_limit}; store it elsewhere and send where it is"
        )
    return NewJob(
        job_id=opts.job_id or "",
        name=to_text(spec.name),
        data=data,
        opts=to_json(opts.to_wire(), f"options of job {spec.name!r}"),
        timestamp_ms=now_ms if opts.timestamp_ms is None else opts.timestamp_ms,
        delay_ms=opts.delay_ms,
        priority=opts.priority,
        lifo=opts.lifo,
        more=_more(opts),
    )


def added_job(queue: str, spec: JobSpec, row: NewJob, job_id: str, door: JobDoor) -> Job:
    """A job as it was sent, under the id that it was given."""
    return Job(
        id=job_id,
        name=row.name,
        data={} if spec.data is None else spec.data,
        opts=spec.opts,
        queue_name=queue,
        timestamp=row.timestamp_ms,
        delay=row.delay_ms,
        priority=row.priority,
        parent_key=spec.opts.parent.key if spec.opts.parent else None,
        parent=spec.opts.parent,
        deduplication_id=spec.opts.deduplication.id if spec.opts.deduplication else None,
        _door=door,
    )


def _more(opts: JobOptions) -> str:
    if opts.deduplication is None and opts.parent is None:
        return ""
    more: dict[str, Any] = {}
    if opts.deduplication is not None:
        more["de"] = opts.deduplication.to_wire()
    if opts.parent is not None:
        stored = to_json(opts.parent.to_hash(opts.child_failure), "the parent")
        more["parent"] = {"key": opts.parent.key, "json": stored}
    return to_json(more, "the job's ties")


def to_text(name: str) -> str:
    """A name as it may be stored. Raises InvalidJob for lone surrogates, which UTF-8 cannot hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidJob(f"the job's name {name!r} is not valid text: {error.reason}") from None
    return name
