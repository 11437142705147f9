"""Cron patterns come next at the very ms that Node's own parser gives: a mixed fleet agrees."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import pytest

from corral import InvalidJob
from corral.cron_times import next_ms
from cron_cases import cases, clock_changes
from node import run_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.interop

Case = tuple[str, str | None, int]
NOON = int(datetime(2026, 6, 10, 12, tzinfo=UTC).timestamp() * 1000)

ODD_ZONES = ("Pacific/Easter", "Pacific/Chatham", "America/Godthab", "Antarctica/Troll", "Atlantic/Azores", "Asia/Gaza")
REFUSED = (
    *("", "a", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8"),
    *("*/0 * * * *", "5-1 * * * *", "1,,2 * * * *", "1, * * * *", "-1 * * * *", "1- * * * *", "1/2/3 * * * *"),
    *("* * * FOO *", "* * * * BAR", "* * W * *", "* * 15W * *", "* * LW * *", "* * * * MON#6", "* * * * MON#0"),
    *("* * * * MON,TUE#2", "* * * * 1-3#2", "* * * * L", "L * * * *", "* L * * *", "* * * L *", "1,1 * * * *"),
    *("* * * * 0,7", "@never", "0 0 30 2 *", "0 0 31 4,6 *", "1.5 * * * *", "0x5 * * * *"),
)
TAKEN = (
    *("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly", "@minutely", "@secondly", "@weekdays"),
    *("@weekends", "* * *", "5", "  0   3 * *   *  ", "0 0 29 2 *", "0 0 L 2 *", "* * * * *#2", "0 0 ? * ?"),
    *("0 0 */2 * MON", "0 0 1-31 * MON", "0 0 1 * */2", "0 0 1 * 0-6", "0 0 13 * FRI", "0 0 1,L * 5L", "0 0 * * 5-7"),
    *("0 0 * * 6-7", "0 0 * * 1-7/2", "0 0 * * 7", "0 0 * jan-mar mon-fri", "59/1 * * * *", "*/40 * * * * *"),
)


def ours(case: Case) -> int | None:
    try:
        return next_ms(*case)
    except InvalidJob:
        return None


async def theirs(bullmq: str, asked: Sequence[Case]) -> list[int | None]:
    lines = "".join(json.dumps(case) + "\n" for case in asked)
    answer = await run_node("cron.mjs", {"BULLMQ": bullmq}, stdin=lines)
    return list(answer.lines)


def told(case: Case, ms: int | None) -> str:
    return f"{case}: {None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()}"


def days_mean_the_same_in_node_5(pattern: str) -> bool:
    """BullMQ 5's parser reads a day of the month beside a # as `and`, and knows a `*` only by the days it comes to."""
    day, _, weekday = pattern.split()[-3:]
    return (day in ("*", "?") or weekday == "*") and not weekday.startswith("*/")


@pytest.mark.parametrize("seed", [1, 2])
async def test_hundreds_of_patterns_come_next_when_node_6_says(seed: int, with_node: None) -> None:
    asked = cases(Random(seed), 1000)
    expected = await theirs("6", asked)
    assert sum(ms is not None for ms in expected) > 900
    assert [told(case, ours(case)) for case in asked] == [told(*each) for each in zip(asked, expected, strict=True)]


async def test_where_clocks_change_at_an_odd_time_node_6_says_the_same(with_node: None) -> None:
    asked: list[Case] = [
        (pattern, zone, 1000 * change - hours * 3_600_000)
        for zone in ODD_ZONES
        for change in clock_changes(zone)
        for hours in (25, 12, 4)
        for pattern in ("0 0 * * *", "30 1 * * *", "0 3 * * *", "15 22,23 * * *", "15 23 * * *")
    ]
    expected = await theirs("6", asked)
    assert [told(case, ours(case)) for case in asked] == [told(*each) for each in zip(asked, expected, strict=True)]


async def test_node_5_agrees_wherever_its_days_mean_the_same(with_node: None) -> None:
    asked = [case for case in cases(Random(3), 1500) if days_mean_the_same_in_node_5(case[0])]
    expected = await theirs("5", asked)
    # What is left are starts within an hour that a clock change has touched, where the two of Node differ.
    differ = [told(case, ms) for case, ms in zip(asked, expected, strict=True) if ours(case) != ms]
    assert len(asked) > 800
    assert len(differ) < 0.02 * len(asked), differ


async def test_what_no_pattern_is_for_node_6_is_none_for_us(with_node: None) -> None:
    asked: list[Case] = [(pattern, "UTC", NOON) for pattern in REFUSED if pattern]
    assert dict(zip(asked, await theirs("6", asked), strict=True)) == dict.fromkeys(asked)
    for case in asked:
        assert ours(case) is None, case


async def test_odd_patterns_that_node_6_takes_mean_the_same_to_us(with_node: None) -> None:
    asked: list[Case] = [(pattern, "Europe/Madrid", NOON) for pattern in TAKEN]
    expected = await theirs("6", asked)
    assert None not in expected
    assert [told(case, ours(case)) for case in asked] == [told(*each) for each in zip(asked, expected, strict=True)]


@pytest.mark.parametrize("zone", ["utc", "UTC+3", "UTC-05:30", "Etc/GMT+8"])
async def test_zones_by_their_distance_are_known_too(zone: str, with_node: None) -> None:
    asked: list[Case] = [("30 4 * * *", zone, NOON)]
    assert [ours(case) for case in asked] == await theirs("6", asked)


@pytest.fixture
def machine_in_sydney(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Australia/Sydney")
        time.tzset()
        yield
    time.tzset()


async def test_without_a_zone_the_machine_counts_as_in_node(machine_in_sydney: None, with_node: None) -> None:
    asked: list[Case] = [("30 4 * * *", None, NOON), ("30 2 * * *", None, NOON + 180 * 86_400_000)]
    assert [ours(case) for case in asked] == await theirs("6", asked)
    assert ours(asked[0]) == ours(("30 4 * * *", "Australia/Sydney", NOON))
