"""When a cron pattern comes next in a time zone. Pure: the time comes in as an argument.

What a change of the clock means is as in BullMQ 6, so that a mixed fleet agrees on the ms:

    an hour that the clock skips     runs in the hour that it lands in, at the same minute; the first or last of a day
                                     only if the hour before it runs too
    an hour that the clock repeats   runs once, the first time
    every hour (`*`)                 runs as often as there are hours

Lord Howe Island alone changes by half an hour: there BullMQ 5, 6 and this differ for the hours around it.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from corral.cron import Cron, parse
from corral.errors import InvalidJob


@lru_cache(256)
def zone(name: str | None) -> tzinfo | None:
    """The time zone of a name; None = that of this machine, as in Node. Raises InvalidJob."""
    if name is None:
        return None
    try:
        if fixed := re.fullmatch(r"(?:UTC|GMT)(?:([+-])(\d{1,2})(?::(\d\d))?)?", name, re.IGNORECASE | re.ASCII):
            sign, hours, minutes = fixed.groups()
            span = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            return timezone(-span if sign == "-" else span) if span else UTC
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidJob(f"tz {name!r} is no time zone; give a name like 'Europe/Madrid'") from None


def next_ms(pattern: str, tz: str | None, after_ms: int) -> int | None:
    """The next time of a pattern, epoch ms, later than `after_ms`; None = it never comes. Raises InvalidJob."""
    try:
        return _next_ms(parse(pattern), zone(tz), after_ms)
    except (OverflowError, ValueError) as error:
        if isinstance(error, InvalidJob):
            raise
        return None  # beyond the year 9999


def _next_ms(cron: Cron, place: tzinfo | None, after_ms: int) -> int | None:
    moment = after_ms // 1000
    before = _wall(moment, place)
    moment += 1
    while True:
        wall = _wall(moment, place)
        if not cron.has_day(wall.date()) or (wall.hour == 23 and cron.hours[-1] != 23):
            day = cron.next_day(wall.date())
            if day is None:
                return None
            # Who comes here by the day has not seen the clock change.
            moment = _first_moment(day, wall, place)
            before = wall = _wall(moment, place)
        hour_ends = moment + 3600 - wall.minute * 60 - wall.second
        if _allows(cron, before, wall) and (found := _within(cron, moment, wall, hour_ends)) is not None:
            return found * 1000
        before = wall
        moment = hour_ends


def _wall(moment: int, place: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(place)


def _first_moment(day: date, came_from: datetime, place: tzinfo | None) -> int:
    """Epoch seconds of the first moment of a day, which may begin an hour late.

    Of two midnights Node takes the second, if it comes there straight from the hours of the day before.
    """
    midnight = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    roughly = midnight - _offset(midnight, place)
    first = midnight - _offset(roughly - 3 * 3600, place)
    second = midnight - _offset(roughly + 3 * 3600, place)
    late = came_from.hour > 0 and came_from.date() == day - timedelta(days=1)
    is_midnight = _wall(second, place).replace(tzinfo=None) == datetime(day.year, day.month, day.day)  # noqa: DTZ001
    if _wall(first, place).date() < day or (is_midnight and (late or second < first)):
        return second
    return first


def _offset(moment: int, place: tzinfo | None) -> int:
    """How far the wall clock is ahead of UTC, seconds."""
    return round((_wall(moment, place).utcoffset() or timedelta()).total_seconds())


def _allows(cron: Cron, before: datetime, wall: datetime) -> bool:
    """Whether the hour of `wall` is one to run in. `before` is the wall clock where the search came from."""
    if len(cron.hours) == 24:
        return True
    if before.utcoffset() == wall.utcoffset():
        return wall.hour in cron.hours
    if wall.hour == before.hour:
        return False
    if wall.replace(tzinfo=None) < before.replace(tzinfo=None):  # back by more than an hour
        return wall.hour in cron.hours and before.hour <= cron.hours[-1]
    skipped = range(before.hour + 1, before.hour + (wall.hour - before.hour) % 24)
    seen = wall.date() == before.date() or before.hour in cron.hours
    return wall.hour in cron.hours or (seen and any(hour % 24 in cron.hours for hour in skipped))


def _within(cron: Cron, moment: int, wall: datetime, hour_ends: int) -> int | None:
    """The first time within the rest of an hour, epoch seconds."""
    start = moment - wall.minute * 60 - wall.second
    for minute in cron.minutes:
        for second in cron.seconds:
            if moment <= (found := start + minute * 60 + second) < hour_ends:
                return found
    return None
