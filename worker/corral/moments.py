"""Spans and moments of time: as the public API takes them, in whole milliseconds as the wire has them. Pure.

The API speaks seconds and BullMQ milliseconds: a number that can only be milliseconds is refused, before a job sleeps for
a thousand years.
"""

from datetime import UTC, datetime, timedelta
from math import isfinite

from corral.errors import InvalidJob, shown

Duration = timedelta | float | int
"""A span of time in the public API: a timedelta, or a number of seconds."""

LONGEST_MS = 2**53
"""The longest stored wait: numbers beyond are not exact in Node, and overflow a score."""

LONGEST_SPAN_MS = 100 * 366 * 86_400_000
"""The longest span that the public API takes: a century."""

_LATEST_S = 100_000_000_000
"""The year 5138; the same number of milliseconds was in 1973."""


def to_ms(duration: Duration) -> int:
    """A span of time as whole milliseconds. Raises InvalidJob when it is negative, not a number, or over a century."""
    wrong = InvalidJob(f"{shown(duration)} is not a span of time; give a timedelta or seconds")
    if isinstance(duration, bool) or not isinstance(duration, timedelta | float | int):
        raise wrong
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isfinite(seconds):
        raise wrong
    if seconds < 0:
        raise InvalidJob(f"a span of time is not negative, got {duration!r}")
    if seconds * 1000 > LONGEST_SPAN_MS:
        raise InvalidJob(f"{duration!r} is over a century; were milliseconds meant? give a timedelta or seconds")
    return round(seconds * 1000)


def to_epoch_ms(name: str, moment: datetime | float) -> int:
    """A moment, a datetime (without a zone: local time) or epoch seconds, as epoch ms. Raises InvalidJob, with `name`."""
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise InvalidJob(f"{name} takes a datetime or epoch seconds, got {shown(moment)}")
    if seconds > _LATEST_S:
        raise InvalidJob(f"{name} takes a datetime or epoch seconds; {moment!r} looks like milliseconds")
    return round(seconds * 1000)


def from_epoch_ms(ms: int) -> datetime:
    """A stored moment, in UTC; the latest that a datetime can say for what another client wrote beyond it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)
