"""What a beat says, as it lies in Redis: readers take what they know, so two versions work side by side."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.beat_record import VERSION, Beat, BeatState, quiet_order, quiet_until

FULL = Beat(
    "w",
    BeatState.QUIET,
    busy=2,
    slots=5,
    taken=9,
    ended=7,
    seconds=12.5,
    every=3.0,
    lag_ms=1.5,
    pod="letters-1",
    namespace="post",
    host="node-3",
    pid=17,
    since=1_800_000_000_000,
    version="1.2.3",
)


def test_a_record_is_read_as_it_was_written_and_v_is_its_version() -> None:
    wire = FULL.to_wire()
    assert Beat.from_wire("w", wire.encode()) == FULL
    assert json.loads(wire)["v"] == VERSION == 1


def test_what_is_not_known_is_left_out_and_never_a_zero() -> None:
    record = json.loads(Beat("w").to_wire())
    assert not {"pod", "namespace", "host", "pid", "since", "version"} & record.keys()
    assert Beat.from_wire("w", json.dumps(record).encode()) == Beat("w")


def test_a_record_of_version_2_with_unknown_fields_is_read_for_those_that_are_known() -> None:
    record = json.loads(FULL.to_wire()) | {"v": 2, "queues": ["a", "b"], "mood": {"good": True}, "cpu": 0.5}
    assert Beat.from_wire("w", json.dumps(record).encode()) == FULL


@pytest.mark.parametrize(
    "missing", ["v", "busy", "slots", "taken", "ended", "seconds", "every", "lag_ms", "pod", "since"]
)
def test_a_record_of_version_2_with_missing_fields_is_read_without_them(missing: str) -> None:
    record = json.loads(FULL.to_wire()) | {"v": 2}
    del record[missing]
    read = Beat.from_wire("w", json.dumps(record).encode())
    assert read is not None
    for name in ("busy", "slots", "taken", "ended", "seconds", "every", "lag_ms", "pod", "since"):
        assert getattr(read, name) == (getattr(Beat("w"), name) if name == missing else getattr(FULL, name))


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[]", b"7", b"null", b"{}", b'{"state":"asleep"}', b'{"state":["taking"]}', b'{"state":7}', b"\xff"],
)
def test_what_is_no_record_is_none(record: bytes) -> None:
    assert Beat.from_wire("w", record) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("busy", -1),
        ("busy", "2"),
        ("busy", True),
        ("busy", 1.5),
        ("busy", 1 << 60),
        ("seconds", "1"),
        ("seconds", -0.5),
        ("every", None),
        ("pod", 7),
        ("pod", ""),
        ("since", 1e3),
    ],
)
def test_a_field_of_another_kind_counts_as_absent(name: str, value: object) -> None:
    record = json.loads(FULL.to_wire()) | {name: value}
    read = Beat.from_wire("w", json.dumps(record).encode())
    assert read is not None
    assert getattr(read, name) == getattr(Beat("w"), name)


@pytest.mark.parametrize(("every", "silent_after"), [(3.0, 10.0), (10.0, 30.0), (1.0, 10.0), (60.0, 180.0)])
def test_present_is_a_beat_within_3_times_every_at_least_10_s(every: float, silent_after: float) -> None:
    assert Beat("w", every=every).silent_after_s == silent_after


@given(st.integers(0, 10**15 - 1))
def test_an_order_is_read_as_it_was_given(until: int) -> None:
    assert quiet_until(quiet_order(until).encode()) == until


@pytest.mark.parametrize(
    "order",
    [
        None,
        b"",
        b"quiet",
        b"quiet:",
        b"quiet:soon",
        b"quiet:-5",
        b"quiet:1.5",
        b"loud:5",
        b"quiet:" + b"9" * 16,
        b"\xff",
    ],
)
def test_an_order_that_nobody_knows_is_none(order: bytes | None) -> None:
    assert quiet_until(order) is None
