"""Random cron patterns and the moments to ask them at, many of them near a change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from random import Random

ZONES = (
    *("Europe/Madrid", "Europe/London", "America/New_York", "Australia/Sydney", "Pacific/Auckland"),
    *("America/Santiago", "Africa/Cairo", "Asia/Beirut"),  # their clocks change at midnight
    *("UTC", "Asia/Kolkata"),
)
FROM, UNTIL = 1_704_067_200, 1_798_761_600
"""2024 to 2026, epoch seconds."""

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
HOURS = ("0", "1", "2", "3", "0,1", "1-3", "2,3", "23", "0,23", "22,23", "*/2", "*/3", "2-4", "*")
DAYS_OF_WEEK = ("5L", "1L,3L", "FRI#2", "0#1", "7#1", "2#5", "MON-FRI", "1,5L", "SAT,SUN", "5-7", "?")


@cache
def clock_changes(zone: str) -> tuple[int, ...]:
    """When the clocks of a zone change, epoch seconds."""
    place, changes, before = ZoneInfo(zone), [], None
    for moment in range(FROM, UNTIL, 3600):
        now = datetime.fromtimestamp(moment, UTC).astimezone(place).utcoffset()
        if before is not None and now != before:
            changes.append(moment)
        before = now
    return tuple(changes)


def a_moment(dice: Random, zone: str) -> int:
    """Epoch ms."""
    changes = clock_changes(zone)
    if changes and dice.random() < 0.7:
        near = (dice.randint(-93_600_000, 21_600_000), dice.randint(-7200, 7200) * 1000, dice.randint(-8, 8) * 900_000)
        return dice.choice(changes) * 1000 + dice.choice(near)
    return dice.randint(FROM, UNTIL) * 1000 + dice.choice((0, dice.randint(0, 999)))


def a_field(dice: Random, low: int, high: int, names: tuple[str, ...] = (), any_share: float = 0.4) -> str:
    draw = dice.random() - any_share
    if draw < 0:
        return "*"
    if draw < 0.15:
        return f"*/{dice.randint(2, (high - low) // 2)}"
    if draw < 0.35:
        value = dice.randint(low, high)
        return names[value - low] if value - low < len(names) and dice.random() < 0.5 else str(value)
    if draw < 0.45:
        first, last = sorted(dice.sample(range(low, high + 1), 2))
        return f"{first}-{last}" + dice.choice(("", f"/{dice.randint(1, 5)}"))
    if draw < 0.5:
        return f"{dice.randint(low, high)}/{dice.randint(1, high // 2)}"
    return ",".join(str(value) for value in sorted(dice.sample(range(low, high + 1), 3)))


def a_pattern(dice: Random) -> str:
    """Five fields, or six."""
    fields = [
        a_field(dice, 0, 59, any_share=0.2),
        dice.choice(HOURS) if dice.random() < 0.6 else a_field(dice, 0, 23, any_share=0.2),
        dice.choice(("L", "15,L", "?")) if dice.random() < 0.1 else a_field(dice, 1, 31, any_share=0.6),
        a_field(dice, 1, 12, MONTHS, 0.7),
        dice.choice(DAYS_OF_WEEK) if dice.random() < 0.15 else a_field(dice, 0, 6, DAYS, 0.6),
    ]
    return " ".join(([a_field(dice, 0, 59, any_share=0.2)] if dice.random() < 0.3 else []) + fields)


def cases(dice: Random, count: int) -> list[tuple[str, str, int]]:
    """Pattern, zone, epoch ms."""
    zones = [dice.choice(ZONES) for _ in range(count)]
    return [(a_pattern(dice), zone, a_moment(dice, zone)) for zone in zones]
