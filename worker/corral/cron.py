"""Cron patterns: what they may say, and on which days they run. Pure.

Five fields, or six with seconds first. The calendar (months, days, weekdays, L, #) is cronsim's. What a pattern may say
is ours, as the parser of BullMQ 6 has it, so that a mixed fleet reads it alike:

    *  ?  a-b  a-b/n  a/n (up to the end)  a,b   names JAN-DEC, SUN-SAT   0 and 7 = Sunday
    day of month: L = the last day      day of week: 5L = the last Friday, 5#2 = the second one
    both days given: either may match    @yearly ... @secondly

`H` of BullMQ 6, a random time that each worker would draw for itself, is refused.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from corral.errors import InvalidJob

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@minutely": "* * * * *",
    "@secondly": "* * * * * *",
    "@weekdays": "0 0 * * 1-5",
    "@weekends": "0 0 * * 0,6",
}
_DEFAULTS = ["0", "*", "*", "*", "*", "*"]
_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ANY = ("*", "?")


@dataclass(frozen=True, slots=True)
class Cron:
    """A pattern that was read: numbers of the clock, sorted; `days` is a cron pattern of its days alone."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str

    def next_day(self, after: date) -> date | None:
        """The first matching day later than `after`; None = none in the next 50 years."""
        return _next_day(self.days, after)

    def has_day(self, day: date) -> bool:
        """Whether the pattern runs on a day at all."""
        return _next_day(self.days, day - timedelta(days=1)) == day


@lru_cache(4096)
def _next_day(days: str, after: date) -> date | None:
    try:
        return next(CronSim(days, datetime(after.year, after.month, after.day))).date()  # noqa: DTZ001 - a calendar
    except StopIteration:
        return None


@lru_cache(1024)
def parse(pattern: str) -> Cron:
    """Read a pattern. Raises InvalidJob, naming the field and what is wrong with it."""
    fields = _NAMED.get(pattern, pattern).split()
    if not 1 <= len(fields) <= 6 or len(pattern) > 1024:
        raise InvalidJob(f"pattern {pattern!r} is no cron pattern: it takes 5 fields, or 6 with seconds first")
    fields = _DEFAULTS[: 6 - len(fields)] + fields
    try:
        seconds, minutes, hours = (_numbers(text, *field) for text, field in zip(fields[:3], _FIELDS[:3], strict=True))
        days = " ".join((_days_of_month(fields[3]), _months(fields[4]), _days_of_week(fields[5])))
        CronSim("0 0 " + days, datetime(2000, 1, 1))  # noqa: DTZ001 - a wall clock
    except (ValueError, CronSimError) as error:
        raise InvalidJob(f"pattern {pattern!r} is no cron pattern: {error}") from None
    return Cron(seconds, minutes, hours, "0 0 " + days)


def _numbers(text: str, name: str, low: int, high: int) -> tuple[int, ...]:
    """The numbers that one field allows. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        found += _part(part, name, low, high)
    if len(set(found)) != len(found):
        raise ValueError(f"{name} {text!r} says a value twice")
    return tuple(sorted(found))


def _part(part: str, name: str, low: int, high: int) -> range:
    match = re.fullmatch(r"([*?]|(\d+)(?:-(\d+))?)(?:/(\d+))?", part, re.ASCII)
    if match is None:
        raise ValueError(f"{name} {part!r} is not *, a number, a range or a step")
    whole, first, last, step = match.groups()
    start = low if whole in _ANY else int(first)
    end = high if whole in _ANY or step else start
    end = end if last is None else int(last)
    every = int(step or 1)
    if not low <= start <= end <= high or every == 0:
        raise ValueError(f"{name} {part!r} is not within {low}-{high}")
    return range(start, end + 1, every)


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(str(number) for number in numbers)


def _days_of_month(text: str) -> str:
    if text in _ANY:
        return "*"
    parts = text.split(",")
    plain = [part for part in parts if part != "L"]
    days = [_listed(_numbers(",".join(plain), *_FIELDS[3]))] if plain else []
    return ",".join(days + ["L"] * (len(plain) < len(parts)))


def _months(text: str) -> str:
    return _listed(_numbers(_without_names(text, _MONTHS, 1), *_FIELDS[4]))


def _days_of_week(text: str) -> str:
    if text in _ANY:
        return "*"
    text = _without_names(text, _DAYS, 0)
    text, _, nth = text.partition("#")
    if nth:
        if not re.fullmatch(r"[1-5]", nth) or not re.fullmatch(r"\d|[*?]", text):
            raise ValueError(f"day of week {text}#{nth} is not a day, # and 1-5")
        return ",".join(f"{day}#{nth}" for day in _weekdays([text]))
    parts = text.split(",")
    last = [part for part in parts if re.fullmatch(r"[0-7]L", part)]
    plain = [part for part in parts if part not in last]
    return ",".join([*(str(day) for day in _weekdays(plain)), *last])


def _weekdays(parts: list[str]) -> list[int]:
    """Sunday is 0 and 7, and may end a range as either."""
    found: list[int] = []
    for part in parts:
        found += sorted({day % 7 for day in _part(part, "day of week", 0, 7)})
    if len(set(found)) != len(found):
        raise ValueError("a day of the week is said twice")
    return found


def _without_names(text: str, names: tuple[str, ...], first: int) -> str:
    for place, name in enumerate(names):
        text = re.sub(name, str(place + first), text, flags=re.IGNORECASE)
    return text
