"""What a worker says of itself with every beat, and what may be ordered of it. Pure; read by workers and the operator.

    P corral:beats     zset    worker id -> Redis' time in ms of its last beat
    P corral:workers   hash    worker id -> the record below, as JSON
    P corral:orders    hash    worker id -> `quiet:<until, ms of Redis' time>`; void after that time
    P corral:look      string  somebody looked for dead workers lately; expires

`v` is the version of the record. Readers take the fields that they know and need no others, so two versions work side
by side through an upgrade.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

VERSION = 1

BEAT_S = 3.0
"""Seconds between two beats while a job is held or an order stands."""

IDLE_BEAT_S = 10.0
"""The same while there is nothing to tell."""

SILENT_S = 10.0
"""A worker is present until it has been silent for three of its own spans, and for so long at least."""

ORDER_S = 60.0
"""An order stands for so long; it is renewed while it is wanted."""

_QUIET = "quiet:"


class BeatState(StrEnum):
    """`quiet`: it takes nothing, and no call is under way that could bring a job; `draining`: it ends."""

    TAKING = "taking"
    QUIET = "quiet"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Beat:
    """One worker at one queue. Counts begin with its process; spans in seconds."""

    worker: str
    state: BeatState = BeatState.TAKING
    busy: int = 0
    """Jobs of this queue in its hands: taken, and their end not yet written."""
    slots: int = 1
    """Jobs that it may run at once, over all its queues."""
    taken: int = 0
    ended: int = 0
    """Attempts."""
    seconds: float = 0.0
    """Slot-seconds served: of the ended attempts, and of those that run, up to this beat."""
    every: float = IDLE_BEAT_S
    """Until its next beat."""
    lag_ms: float = 0.0
    """How late its event loop ran last."""
    pod: str | None = None
    namespace: str | None = None
    host: str | None = None
    pid: int | None = None
    since: int | None = None
    """When it began, by Redis' time, in epoch ms."""
    version: str | None = None
    """Of Corral."""

    @property
    def silent_after_s(self) -> float:
        """Without a beat for so long, it is not present any more."""
        return max(SILENT_S, 3 * self.every)

    def to_wire(self) -> str:
        """The record as JSON."""
        record = {
            "v": VERSION,
            "state": self.state.value,
            "busy": self.busy,
            "slots": self.slots,
            "taken": self.taken,
            "ended": self.ended,
            "seconds": round(self.seconds, 3),
            "every": self.every,
            "lag_ms": round(self.lag_ms, 1),
            "pod": self.pod,
            "namespace": self.namespace,
            "host": self.host,
            "pid": self.pid,
            "since": self.since,
            "version": self.version,
        }
        return json.dumps({name: value for name, value in record.items() if value is not None})

    @classmethod
    def from_wire(cls, worker: str, record: bytes) -> Self | None:
        """A record of any version; None when it is none. A field of another kind than ours counts as absent."""
        try:
            fields = json.loads(record)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or fields.get("state") not in [state.value for state in BeatState]:
            return None
        known = {name: value for name, kind in _KINDS.items() if (value := _of_kind(fields, name, kind)) is not None}
        return cls(worker, BeatState(fields["state"]), **known)


_KINDS: dict[str, type] = {
    **dict.fromkeys(("busy", "slots", "taken", "ended", "pid", "since"), int),
    **dict.fromkeys(("seconds", "every", "lag_ms"), float),
    **dict.fromkeys(("pod", "namespace", "host", "version"), str),
}


def _of_kind(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    value = fields.get(name)
    if isinstance(value, bool):
        return None
    if kind is float and isinstance(value, int | float) and 0 <= value < 1e15:
        return float(value)
    if kind is int and isinstance(value, int) and 0 <= value < 1 << 53:
        return value
    return value if kind is str and isinstance(value, str) and value else None


def quiet_order(until_ms: int) -> str:
    """The order to take nothing until a moment of Redis' time."""
    return f"{_QUIET}{until_ms}"


def quiet_until(order: bytes | None) -> int | None:
    """Until when an order asks for quiet, in ms of Redis' time; None for none, and for one that nobody here knows."""
    if order is None:
        return None
    text = order.decode(errors="replace")
    moment = text.removeprefix(_QUIET)
    return int(moment) if text.startswith(_QUIET) and moment.isdecimal() and len(moment) < 16 else None
