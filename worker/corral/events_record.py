"""One event, and how it is read from its entry in the stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.payload import from_json

GAP = "gap"
"""The name of the event that tells of lost ones. BullMQ has none of this name."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a queue.

    id: its place in the stream, `ms-number`, from which a later QueueEvents can go on.
    name: BullMQ's, like `completed`; that of a custom event; or `gap`.
    fields: as Python means them. Those of BullMQ's events have Python's names (`job_id`, `failed_reason`); `returnvalue`
    and progress (`data`) are parsed, or the raw text when they are not JSON; `delay` (the epoch ms at which the job is
    due), `count` and `attempts_made` are numbers. Those of custom events are texts under the names they came with.
    raw: the entry's fields as they were written; empty for a gap.

    A gap's fields: `reason` is `trimmed` (the stream was cut past our place), `deleted` (it is another stream now) or
    `rolled back` (Redis lost what we had heard already); `lost` is how many events were missed, None = unknown; `after`
    is the id of the last event before it. What comes next is told in full; after a gap it may repeat what was told.
    """

    id: str
    name: str
    fields: Mapping[str, Any]
    raw: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def job_id(self) -> str | None:
        """The job it is about; None for what is about the queue."""
        return self.raw.get("jobId")


def _text(text: str) -> str:
    return text


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


_Field = tuple[str, Callable[[str], Any]]
_JOB: dict[str, _Field] = {"jobId": ("job_id", _text), "prev": ("prev", _text)}
_EVENTS: dict[str, dict[str, _Field]] = {
    "added": {"name": ("name", _text)},
    "waiting": {},
    "active": {},
    "completed": {"returnvalue": ("returnvalue", _json)},
    "failed": {"failedReason": ("failed_reason", _text)},
    "retries-exhausted": {"attemptsMade": ("attempts_made", _number)},
    "delayed": {"delay": ("delay", _number)},
    "waiting-children": {},
    "stalled": {},
    "progress": {"data": ("data", _json)},
    "removed": {},
    "duplicated": {},
    "deduplicated": {
        "deduplicationId": ("deduplication_id", _text),
        "deduplicatedJobId": ("deduplicated_job_id", _text),
    },
    "debounced": {"debounceId": ("debounce_id", _text)},
    "drained": {},
    "paused": {},
    "resumed": {},
    "cleaned": {"count": ("count", _number)},
}

BULLMQ_EVENTS = frozenset(_EVENTS)
"""What BullMQ itself tells. Every other name is a custom event's."""


def read_event(id: bytes, flat: list[bytes]) -> Event:
    """An entry of the stream, given as Redis gives it: names and values in turn. Whatever it holds, it is an event."""
    texts = [part.decode(errors="replace") for part in flat]
    raw = dict(zip(texts[::2], texts[1::2], strict=True))
    name = raw.pop("event", "")
    own = _EVENTS.get(name)
    if own is None:
        return Event(id.decode(), name, raw, raw)
    known = _JOB | own
    fields = {}
    for key, text in raw.items():
        python_name, reader = known.get(key, (key, _text))
        fields[python_name] = reader(text)
    return Event(id.decode(), name, fields, raw)


def gap_event(id: str, reason: str, lost: int | None, after: str) -> Event:
    """The event that tells of lost ones."""
    return Event(id, GAP, {"reason": reason, "lost": lost, "after": after})
