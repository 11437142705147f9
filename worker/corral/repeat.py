"""When a job comes again: as users say it, and as a job scheduler has it on the wire. Pure.

every_ms        every        ms; the grid is counted from the epoch, shifted by the offset
pattern         pattern      cron, see cron.py and cron_times.py
tz              tz           time zone of the pattern; none = that of the machine that counts
limit           limit        how many iterations
start_ms        startDate    epoch ms
end_ms          endDate      epoch ms
offset_ms       offset       ms
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, Self

from corral.cron import parse
from corral.cron_times import next_ms, zone
from corral.errors import InvalidJob
from corral.moments import Duration, to_epoch_ms, to_ms


@dataclass(frozen=True, slots=True)
class Repeat:
    """When a job comes again: `every` (a timedelta or seconds) or a cron `pattern`, never both.

    tz: time zone of the pattern, like 'Europe/Madrid'; without one, that of the machine counts.
    limit: how many iterations at most. start_date, end_date: a datetime (without a zone: local time) or epoch seconds.
    offset: where within `every` the iterations lie, counted from the epoch; without one, from the first of them.
    immediately: the first iteration of a pattern is due now; one of `every` always is.
    key: the scheduler's id, for `Queue.add(repeat=...)`.
    """

    every: Duration | None = None
    pattern: str | None = None
    tz: str | None = None
    limit: int | None = None
    start_date: datetime | float | None = None
    end_date: datetime | float | None = None
    offset: Duration | None = None
    immediately: bool = False
    key: str | None = None

    def checked(self, now_ms: int) -> "Schedule":
        """The same in ms. Raises InvalidJob for what BullMQ refuses too, naming the setting."""
        if (self.every is None) == (self.pattern is None):
            raise InvalidJob("a schedule takes either every or pattern, and one of them")
        if self.immediately and self.start_date is not None:
            raise InvalidJob("immediately and start_date exclude each other")
        every_ms = None if self.every is None else to_ms(self.every)
        if every_ms == 0:
            raise InvalidJob(f"every is at least 1 ms, got {self.every!r}")
        if self.pattern is not None:
            if not isinstance(self.pattern, str):
                raise InvalidJob(f"pattern is a text, got {self.pattern!r}")
            parse(self.pattern)
        if not isinstance(self.tz, str | None):
            raise InvalidJob(f"tz is the name of a time zone, got {self.tz!r}")
        zone(self.tz)
        if self.limit is not None and (
            isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1
        ):
            raise InvalidJob(f"limit is a whole number from 1 up, got {self.limit!r}")
        end_ms = None if self.end_date is None else to_epoch_ms("end_date", self.end_date)
        if end_ms is not None and end_ms < now_ms:
            raise InvalidJob(f"end_date {self.end_date!r} has passed")
        return Schedule(
            every_ms=every_ms,
            pattern=self.pattern,
            tz=self.tz,
            limit=self.limit,
            start_ms=None if self.start_date is None else to_epoch_ms("start_date", self.start_date),
            end_ms=end_ms,
            offset_ms=None if self.offset is None else to_ms(self.offset),
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """When iterations come, in ms. See the module's docstring."""

    every_ms: int | None = None
    pattern: str | None = None
    tz: str | None = None
    limit: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    offset_ms: int | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read `repeat` of a job's options, or a scheduler's record. What cannot be read counts as not given."""
        pattern, tz = wire.get("pattern") or wire.get("cron"), wire.get("tz")
        return cls(
            every_ms=wire_ms(wire.get("every")) or None,
            pattern=pattern if isinstance(pattern, str) else None,
            tz=tz if isinstance(tz, str) and tz else None,
            limit=wire_ms(wire.get("limit")),
            start_ms=wire_ms(wire.get("startDate")),
            end_ms=wire_ms(wire.get("endDate")),
            offset_ms=wire_ms(wire.get("offset")),
        )

    def to_wire(self) -> dict[str, Any]:
        """What `repeat` of an iteration's options says of it."""
        named = {
            "every": self.every_ms,
            "pattern": self.pattern,
            "tz": self.tz,
            "limit": self.limit,
            "startDate": self.start_ms,
            "endDate": self.end_ms,
            "offset": self.offset_ms or None,
        }
        return {name: value for name, value in named.items() if value is not None}

    def is_over(self, count: int, now_ms: int) -> bool:
        """Whether there is no iteration of this number (from 1), or none any more."""
        return (self.limit is not None and count > self.limit) or (self.end_ms is not None and now_ms > self.end_ms)

    def next_by_pattern(self, now_ms: int, previous_ms: int = 0) -> int | None:
        """When the pattern comes next, epoch ms; None = not before the end. Raises InvalidJob."""
        assert self.pattern is not None
        due = next_ms(self.pattern, self.tz, max(now_ms, previous_ms, self.start_ms or 0))
        return None if due is None or (self.end_ms is not None and due > self.end_ms) else due

    def key_for(self, name: str) -> str:
        """A scheduler id made of a job's name and its settings: the one that the `repeat` option of BullMQ 5 makes."""
        when = self.pattern if self.pattern is not None else self.every_ms
        end = "" if self.end_ms is None else self.end_ms
        return md5(f"{name}::{end}:{self.tz or ''}:{when}".encode(), usedforsecurity=False).hexdigest()


def wire_ms(value: Any) -> int | None:
    """A whole number as somebody stored it, or a moment as an ISO text; None for anything else."""
    if isinstance(value, str) and not value.isdigit():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
