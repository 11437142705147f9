"""Deduplication: one job at a time, or one in a span of time, for each id. As the public API takes it, and as stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from corral.errors import InvalidJob
from corral.moments import LONGEST_SPAN_MS, Duration, to_ms
from corral.retention import whole


@dataclass(frozen=True, slots=True)
class Deduplication:
    """Turns away adds of jobs whose `id` another living job holds.

    ttl: the id is held for so long (a timedelta or seconds), whatever becomes of the job (throttling);
    default: until the job has finished or is removed.
    extend: every add that is turned away starts the `ttl` anew.
    replace: a job that is still delayed gives way to the new one (debouncing).
    keep_last_if_active: while the job runs, the newest add is kept back and follows when it has ended; no `ttl` then.
    reschedule: a job that is still delayed takes the delay of the add that is turned away (BullMQ 6 does it too,
    BullMQ 5 ignores it).

    Raises InvalidJob for an empty id, and for a `ttl` of less than a millisecond.
    """

    id: str
    ttl: Duration | None = None
    extend: bool = False
    replace: bool = False
    keep_last_if_active: bool = False
    reschedule: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidJob(f"a deduplication id is a text that is not empty, got {self.id!r}")
        if self.ttl is not None and to_ms(self.ttl) == 0:
            raise InvalidJob(f"a ttl of deduplication is a millisecond at least, got {self.ttl!r}; None means no ttl")

    @classmethod
    def from_wire(cls, wire: Any) -> Self | None:
        """Read `de` of a job's options; None for what cannot be one."""
        if not isinstance(wire, Mapping) or not isinstance(wire.get("id"), str) or not wire["id"]:
            return None
        ttl_ms = whole(wire.get("ttl"))
        flags = (bool(wire.get(name)) for name in ("extend", "replace", "keepLastIfActive", "reschedule"))
        ttl = None if not ttl_ms else min(ttl_ms, LONGEST_SPAN_MS) / 1000
        return cls(wire["id"], ttl, *flags)

    def to_wire(self) -> dict[str, Any]:
        """What BullMQ stores as `de`: only what was given."""
        wire: dict[str, Any] = {"id": self.id}
        if self.ttl is not None:
            wire["ttl"] = to_ms(self.ttl)
        flags = {
            "extend": self.extend,
            "replace": self.replace,
            "keepLastIfActive": self.keep_last_if_active,
            "reschedule": self.reschedule,
        }
        return wire | {name: True for name, given in flags.items() if given}
