"""Spans and moments: seconds and datetimes are taken, milliseconds are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from corral import InvalidJob, JobOptions
from corral.deduplication import Deduplication
from corral.moments import from_epoch_ms, to_epoch_ms, to_ms

MS = 1_795_349_302_974


@pytest.mark.parametrize(
    ("span", "ms"),
    [
        (0, 0),
        (2, 2000),
        (0.25, 250),
        (0.0004, 0),
        (0.0006, 1),
        (timedelta(minutes=1), 60_000),
        (timedelta(microseconds=1500), 2),
        (3e9, 3_000_000_000_000),
    ],
)
def test_a_span_is_seconds_or_a_timedelta(span: timedelta | float, ms: int) -> None:
    assert to_ms(span) == ms


@pytest.mark.parametrize("span", [float("nan"), float("inf"), None, [], "soon", True], ids=repr)
def test_what_is_no_span_is_refused_with_what_is_taken(span: object) -> None:
    with pytest.raises(InvalidJob, match="is not a span of time; give a timedelta or seconds"):
        to_ms(span)  # type: ignore[arg-type]


@pytest.mark.parametrize("span", [-1, -0.001, timedelta(days=-1)], ids=repr)
def test_a_negative_span_is_refused(span: timedelta | float) -> None:
    with pytest.raises(InvalidJob, match="a span of time is not negative, got"):
        to_ms(span)


@pytest.mark.parametrize("span", [MS, 2**53 / 1000 + 1, 1e300, timedelta.max], ids=repr)
def test_a_span_that_can_only_be_milliseconds_is_refused(span: timedelta | float) -> None:
    with pytest.raises(InvalidJob, match=r"over a century; were milliseconds meant\? give a timedelta or seconds"):
        to_ms(span)


def test_a_moment_is_a_datetime_or_epoch_seconds() -> None:
    at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert to_epoch_ms("until", at) == to_epoch_ms("until", at.timestamp()) == 1_795_348_800_000
    assert from_epoch_ms(1_795_348_800_000) == at


@pytest.mark.parametrize("moment", [MS, -1, float("nan"), True, "now"], ids=repr)
def test_a_moment_in_milliseconds_is_refused_by_name(moment: object) -> None:
    with pytest.raises(InvalidJob, match="until takes a datetime or epoch seconds"):
        to_epoch_ms("until", moment)  # type: ignore[arg-type]


def test_a_moment_that_another_client_wrote_beyond_all_calendars_is_the_last_there_is() -> None:
    assert from_epoch_ms(2**53) == datetime.max.replace(tzinfo=UTC)


def test_what_another_client_stored_is_read_whatever_its_span() -> None:
    assert Deduplication.from_wire({"id": "x", "ttl": 2**53}) is not None
    assert JobOptions.from_wire({"delay": 2**53, "de": {"id": "x", "ttl": 1e300}}).delay_ms == 2**53
