"""Queue: where producers add jobs, and where anyone looks after them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, Unpack

from redis.asyncio import Redis

from corral import scripts
from corral.address import make_pool
from corral.backlog import Counts, read_counts
from corral.clock import now_ms
from corral.connection import Lines
from corral.errors import ConfigurationError, InvalidJob, PayloadTooLarge
from corral.job import Job, from_wire, to_json
from corral.job_calls import JobCalls
from corral.keys import DEFAULT_PREFIX, Keys
from corral.lifecycle import State
from corral.options import AddOptions, JobOptions

Dialect = Literal["auto", "v5", "v6"]
"""Which layout a paused queue has: that of BullMQ 5, of 6, or (auto) what the queue's own keys show."""


def dialect_arg(dialect: Dialect) -> str:
    """The dialect as the scripts read it. Raises ConfigurationError."""
    if dialect not in ("auto", "v5", "v6"):
        raise ConfigurationError(f"dialect is 'auto', 'v5' or 'v6', got {dialect!r}")
    return "" if dialect == "auto" else dialect


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job of `add_bulk`. `JobOptions.checked(delay=..., attempts=...)` makes options."""

    name: str
    data: Any = None
    opts: JobOptions = field(default_factory=JobOptions)


class Queue:
    """A queue of jobs on Redis, shared with every BullMQ client of that Redis.

    redis: a URL, or a redis-py client whose settings are copied; default: REDIS_URL.
    prefix: first part of every key; default CORRAL_PREFIX, else `bull`, which is BullMQ's.
    dialect: layout of a paused queue; leave it at `auto`.

    Every method that talks to Redis raises RedisUnavailable when it cannot, RedisRefused when Redis says no.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        dialect: Dialect = "auto",
    ) -> None:
        self.keys = Keys(name, prefix or os.environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX)
        self._dialect = dialect_arg(dialect)
        self._lines = Lines(make_pool(redis))

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    async def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> Job:
        """Add a job; gives it as it was sent. A `job_id` that exists already leaves the job that has it as it is.

        name: what kind of job; data: any JSON value, the job's payload; options: see AddOptions.
        Raises InvalidJob (PayloadNotJSON, PayloadTooLarge) before anything is written. When RedisUnavailable has
        `maybe_done`, the job may be in the queue; with a `job_id` of your own, adding it once more is safe.
        """
        (job,) = await self.add_bulk([JobSpec(name, data, JobOptions.checked(**options))])
        return job

    async def add_bulk(self, jobs: Iterable[JobSpec]) -> list[Job]:
        """Add jobs in one round trip, all or none; gives them in order. Raises as `add`.

        Redis does nothing else meanwhile: some thousands of jobs at a time are fine, a million are not.
        """
        specs = list(jobs)
        if not specs:
            return []
        now = now_ms()
        rows = [_new_job(spec, now) for spec in specs]
        ids = await scripts.add_jobs(self._lines, self.keys, self._dialect, rows)
        calls = JobCalls(self._lines, self.keys)
        return [_added(self, spec, row, job_id, calls) for spec, row, job_id in zip(specs, rows, ids, strict=True)]

    async def get_job(self, job_id: str) -> Job | None:
        """Read a job; None when it does not exist. Raises CorruptJob."""
        flat = await self._lines.call("HGETALL", self.keys.job(job_id))
        if not flat:
            return None
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return from_wire(job_id, fields, self.name, JobCalls(self._lines, self.keys))

    async def get_job_state(self, job_id: str) -> State:
        """Where a job is; UNKNOWN when it does not exist."""
        return await scripts.job_state(self._lines, self.keys, job_id)

    async def get_job_logs(self, job_id: str) -> list[str]:
        """The log rows of a job, oldest first."""
        rows: Sequence[bytes] = await self._lines.call("LRANGE", self.keys.logs(job_id), 0, -1)
        return [row.decode(errors="replace") for row in rows]

    async def get_job_counts(self) -> Counts:
        """How many jobs are in each state."""
        return await read_counts(self._lines, self.keys)

    async def pause(self) -> None:
        """Let no worker take a job of this queue; running jobs finish."""
        await scripts.pause_queue(self._lines, self.keys, self._dialect)

    async def resume(self) -> None:
        """Let workers take jobs again."""
        await scripts.resume_queue(self._lines, self.keys)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return bool(await self._lines.call("HEXISTS", self.keys.meta, "paused"))

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _new_job(spec: JobSpec, now: int) -> scripts.NewJob:
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
    return scripts.NewJob(
        job_id=opts.job_id or "",
        name=to_text(spec.name),
        data=data,
        opts=to_json(opts.to_wire(), f"options of job {spec.name!r}"),
        timestamp_ms=now if opts.timestamp_ms is None else opts.timestamp_ms,
        delay_ms=opts.delay_ms,
        priority=opts.priority,
        lifo=opts.lifo,
    )


def to_text(name: str) -> str:
    """A name as it may be stored. Raises InvalidJob for lone surrogates, which UTF-8 cannot hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidJob(f"the job's name {name!r} is not valid text: {error.reason}") from None
    return name


def _added(queue: Queue, spec: JobSpec, row: scripts.NewJob, job_id: str, calls: JobCalls) -> Job:
    return Job(
        id=job_id,
        name=row.name,
        data={} if spec.data is None else spec.data,
        opts=spec.opts,
        queue_name=queue.name,
        timestamp=row.timestamp_ms,
        delay=row.delay_ms,
        priority=row.priority,
        _door=calls,
    )
