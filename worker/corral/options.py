"""The options of a job: typed names here, BullMQ's names on the wire. The only room that knows both.

    attempts              attempts            how often the job may run (0 and 1 both mean once)
    backoff               backoff             {type, delay, jitter?}
    delay_ms              delay               ms
    priority              priority            0 = none, 1 (soonest) to 2097151
    lifo                  lifo                to the front of the queue
    job_id                jobId
    timestamp_ms          timestamp
    remove_on_complete    removeOnComplete    true | count | {count?, age? (seconds), limit?}
    remove_on_fail        removeOnFail        the same
    stack_trace_limit     stackTraceLimit     rows kept of `stacktrace`
    keep_logs             kl                  log rows kept
    size_limit            sizeLimit           bytes of the data's JSON
    deduplication         de                  {id, ttl? (ms), extend?, replace?, keepLastIfActive?, reschedule?}
    parent                parent              {id, queue: "prefix:queue"}
    child_failure         fpof cpof idof rdof one of them true
    telemetry_metadata    tm                  the trace's context, passed through as it is
    omit_context          omc                 a worker with telemetry does not go on with that trace
    correlation_id        correlationId       ours; Node shows it among the options

Keys that this table lacks are kept in `extra` under their wire names and written back unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Self, Unpack

from corral.add_options import AddOptions
from corral.backoff import Backoff
from corral.deduplication import Deduplication
from corral.errors import InvalidJob
from corral.keys import KEY_NAMES
from corral.moments import to_epoch_ms, to_ms
from corral.parent_link import ChildFailure, Parent
from corral.retention import Keep, keep_option, whole

MAX_PRIORITY = 2_097_151


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53


_POLICIES = {
    "fail_parent_on_failure": ChildFailure.FAIL_PARENT,
    "continue_parent_on_failure": ChildFailure.CONTINUE_PARENT,
    "ignore_dependency_on_failure": ChildFailure.IGNORE,
    "remove_dependency_on_failure": ChildFailure.REMOVE,
}


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of one job. `checked` makes them as `Queue.add` takes them; `Queue.add_bulk` checks all."""

    attempts: int = 0
    backoff: Backoff | None = None
    delay_ms: int = 0
    priority: int = 0
    lifo: bool = False
    job_id: str | None = None
    timestamp_ms: int | None = None
    remove_on_complete: Keep | None = None
    remove_on_fail: Keep | None = None
    stack_trace_limit: int | None = None
    keep_logs: int | None = None
    size_limit: int | None = None
    deduplication: Deduplication | None = None
    parent: Parent | None = None
    child_failure: ChildFailure | None = None
    telemetry_metadata: str | None = None
    omit_context: bool = False
    correlation_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def checked(cls, **given: Unpack[AddOptions]) -> Self:
        """Options as `Queue.add` takes them. Raises InvalidJob, naming the option and what it takes."""
        unknown = sorted(set(given) - set(AddOptions.__annotations__))
        if unknown:
            known = ", ".join(sorted(AddOptions.__annotations__))
            raise InvalidJob(f"unknown job option {unknown[0]!r}; the options are: {known}")
        if "repeat" in given:
            raise InvalidJob("repeat is for Queue.add alone; for several at once, use upsert_job_scheduler")
        backoff = given.get("backoff")
        if isinstance(backoff, timedelta | int | float):
            backoff = Backoff.fixed(backoff)
        elif not isinstance(backoff, Backoff | None):
            raise InvalidJob(f"backoff takes a Backoff, a timedelta or seconds, got {backoff!r}")
        deduplication = given.get("deduplication")
        if isinstance(deduplication, str):
            deduplication = Deduplication(deduplication)
        timestamp = given.get("timestamp")
        parent: Any = given.get("parent")
        options = cls(
            attempts=given.get("attempts", 0),
            backoff=backoff,
            delay_ms=to_ms(given.get("delay", 0)),
            priority=given.get("priority", 0),
            lifo=bool(given.get("lifo", False)),
            job_id=given.get("job_id"),
            timestamp_ms=None if timestamp is None else to_epoch_ms("timestamp", timestamp),
            remove_on_complete=keep_option(given.get("remove_on_complete")),
            remove_on_fail=keep_option(given.get("remove_on_fail")),
            stack_trace_limit=given.get("stack_trace_limit"),
            keep_logs=given.get("keep_logs"),
            size_limit=given.get("size_limit"),
            deduplication=deduplication,
            parent=getattr(parent, "as_parent", parent),
            child_failure=_child_failure(given),
            telemetry_metadata=given.get("telemetry_metadata"),
            omit_context=bool(given.get("omit_context", False)),
            correlation_id=given.get("correlation_id"),
        )
        options.check()
        return options

    def check(self) -> None:
        """Raises InvalidJob for what another client of the queue would trip over, naming the option."""
        if self.job_id is not None:
            check_job_id(self.job_id)
        if not _is_whole(self.priority) or self.priority > MAX_PRIORITY:
            raise InvalidJob(f"priority must be a whole number from 0 to {MAX_PRIORITY}, got {self.priority!r}")
        for name, kind, what in _TYPED:
            value = getattr(self, name)
            if not (value is None or isinstance(value, kind)):
                raise InvalidJob(f"{name} is {what}, got {value!r}")
        if self.parent is not None and ":" in self.parent.id:
            raise InvalidJob(
                f"the parent's id {self.parent.id!r} holds a colon, so that nobody could tell it from its queue; "
                "the jobs of a scheduler can have no children"
            )
        if self.parent is not None and self.job_id is not None and ":" in self.job_id:
            raise InvalidJob(f"job_id {self.job_id!r} holds a colon: its parent could not tell the id from its queue")
        if self.deduplication is not None and self.parent is not None:
            raise InvalidJob("deduplication and parent exclude each other: a parent would wait for a job not added")
        for name in ("attempts", "delay_ms", "timestamp_ms", "stack_trace_limit", "keep_logs", "size_limit"):
            value = getattr(self, name)
            if not (_is_whole(value) or (value is None and name not in ("attempts", "delay_ms"))):
                raise InvalidJob(f"{name} must be a whole number from 0 up, got {value!r}")

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read a job's stored `opts`. Values of an unexpected type count as not given; nothing raises."""
        attempts, delay, timestamp = wire.get("attempts"), wire.get("delay"), wire.get("timestamp")
        correlation, metadata = wire.get("correlationId"), wire.get("tm")
        job_id = wire.get("jobId")
        return cls(
            attempts=whole(attempts) or 0,
            backoff=Backoff.from_wire(wire["backoff"]) if "backoff" in wire else None,
            delay_ms=whole(delay) or 0,
            priority=whole(wire.get("priority")) or 0,
            lifo=bool(wire.get("lifo", False)),
            job_id=None if job_id is None else str(job_id),
            timestamp_ms=whole(timestamp),
            remove_on_complete=Keep.from_wire(wire.get("removeOnComplete")),
            remove_on_fail=Keep.from_wire(wire.get("removeOnFail")),
            stack_trace_limit=whole(wire.get("stackTraceLimit")),
            keep_logs=whole(wire.get("kl")),
            size_limit=whole(wire.get("sizeLimit")),
            deduplication=Deduplication.from_wire(wire["de"]) if "de" in wire else None,
            parent=Parent.from_wire(wire["parent"]) if "parent" in wire else None,
            child_failure=next((policy for policy in ChildFailure if wire.get(policy.value) is True), None),
            telemetry_metadata=metadata if isinstance(metadata, str) else None,
            omit_context=wire.get("omc") is True,
            correlation_id=correlation if isinstance(correlation, str) else None,
            extra={name: value for name, value in wire.items() if name not in _WIRE_NAMES} if wire else {},
        )

    def to_wire(self) -> dict[str, Any]:
        """The object stored as `opts`: BullMQ's names, only what was given, and always `attempts`."""
        wire: dict[str, Any] = {**self.extra, "attempts": self.attempts}
        if self.backoff is not None:
            wire["backoff"] = self.backoff.to_wire()
        if self.remove_on_complete is not None:
            wire["removeOnComplete"] = self.remove_on_complete.to_wire()
        if self.remove_on_fail is not None:
            wire["removeOnFail"] = self.remove_on_fail.to_wire()
        if self.lifo:
            wire["lifo"] = True
        if self.deduplication is not None:
            wire["de"] = self.deduplication.to_wire()
        if self.parent is not None:
            wire["parent"] = self.parent.to_options()
        if self.child_failure is not None:
            wire[self.child_failure.value] = True
        if self.omit_context:
            wire["omc"] = True
        named = {
            "delay": self.delay_ms or None,
            "priority": self.priority or None,
            "jobId": self.job_id,
            "timestamp": self.timestamp_ms,
            "stackTraceLimit": self.stack_trace_limit,
            "kl": self.keep_logs,
            "sizeLimit": self.size_limit,
            "tm": self.telemetry_metadata,
            "correlationId": self.correlation_id,
        }
        return wire | {name: value for name, value in named.items() if value is not None}

    def over(self, defaults: "JobOptions") -> "JobOptions":
        """These options, with `defaults` where they say nothing. Which job it is (`job_id`) is never a default."""
        plain = JobOptions()
        missing = {
            each.name: getattr(defaults, each.name)
            for each in fields(self)
            if each.name != "job_id" and getattr(self, each.name) == getattr(plain, each.name)
        }
        return replace(self, **missing)


_TYPED = (
    ("backoff", Backoff, "a Backoff"),
    ("remove_on_complete", Keep, "a Keep"),
    ("remove_on_fail", Keep, "a Keep"),
    ("deduplication", Deduplication, "a Deduplication or a text"),
    ("parent", Parent, "a Parent"),
    ("telemetry_metadata", str, "a text"),
    ("correlation_id", str, "a text"),
)
"""Options that have a type of their own: name, type, how an error calls it."""


def _child_failure(given: AddOptions) -> ChildFailure | None:
    chosen = [name for name in _POLICIES if given.get(name)]
    if len(chosen) > 1:
        raise InvalidJob(f"{' and '.join(chosen)} exclude each other; a child's failure can mean one thing")
    return _POLICIES[chosen[0]] if chosen else None


_WIRE_NAMES = frozenset(
    {
        "attempts",
        "backoff",
        "delay",
        "priority",
        "lifo",
        "jobId",
        "timestamp",
        "removeOnComplete",
        "removeOnFail",
        "stackTraceLimit",
        "kl",
        "sizeLimit",
        "de",
        "parent",
        *ChildFailure,
        "tm",
        "omc",
        "correlationId",
    }
)


_KEY_HEADS = ("de:", "dn:", "repeat:", "metrics:")


def check_job_id(job_id: str) -> None:
    """Refuse ids that BullMQ would misread. Raises InvalidJob, naming the rule."""
    if not isinstance(job_id, str) or not job_id:
        raise InvalidJob(f"job_id must be a text that is not empty, got {job_id!r}")
    if re.fullmatch(r"-?\d+", job_id):
        raise InvalidJob(f"job_id {job_id!r} looks like a number, which could meet the queue's own counter; prefix it")
    if job_id.startswith("0:"):
        raise InvalidJob(f"job_id {job_id!r} begins with '0:', which BullMQ takes for a marker")
    if job_id.startswith(_KEY_HEADS):
        raise InvalidJob(f"job_id {job_id!r} begins like one of the queue's own keys; prefix it")
    if job_id in KEY_NAMES:
        raise InvalidJob(f"job_id {job_id!r} is the name of one of the queue's own keys; prefix it")
    if ":" in job_id and job_id.count(":") != 2:
        raise InvalidJob(f"job_id {job_id!r} holds a colon, which separates the parts of a Redis key; use another sign")


def check_opts(opts: object) -> None:
    """Refuse options of another shape, like a dict. Raises InvalidJob."""
    if not isinstance(opts, JobOptions):
        raise InvalidJob(
            f"options are a JobOptions, got {type(opts).__name__}; JobOptions.checked(attempts=3, ...) makes them"
        )
