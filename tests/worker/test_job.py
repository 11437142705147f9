"""A job's hash, read and written; what cannot be read says which field it was."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import Backoff, CorruptJob, Job, JobOptions, PayloadNotJSON
from corral.job_record import from_wire
from corral.payload import from_json, storable, to_json

PLAIN = {
    b"name": b"send",
    b"data": b'{"to": "x"}',
    b"opts": b'{"attempts": 0}',
    b"timestamp": b"1800000000000",
    b"delay": b"0",
    b"priority": b"0",
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def read(**fields: bytes) -> Job:
    return from_wire("7", PLAIN | {name.encode(): value for name, value in fields.items()}, "mail")


def test_a_new_job_is_read() -> None:
    job = from_wire("7", PLAIN, "mail")
    assert (job.id, job.name, job.data, job.queue_name) == ("7", "send", {"to": "x"}, "mail")
    assert job.opts == JobOptions()
    assert (job.timestamp, job.delay, job.priority) == (1_800_000_000_000, 0, 0)
    assert (job.attempts_made, job.attempts_started, job.stalled_counter, job.attempt) == (0, 0, 0, 1)
    assert (job.processed_on, job.finished_on, job.processed_by, job.failed_reason) == (None, None, None, None)
    assert (job.progress, job.returnvalue, job.stacktrace) == (0, None, ())
    assert (job.deferred_failure, job.parent_key, job.scheduler_id, job.deduplication_id) == (None, None, None, None)
    assert job.added_at == datetime(2027, 1, 15, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "stored", "attribute", "value"),
    [
        ("name", b"caf\xc3\xa9", "name", "café"),
        ("data", b"null", "data", None),
        ("data", b'["a", 1]', "data", ["a", 1]),
        ("data", b'"text"', "data", "text"),
        ("timestamp", b"5", "timestamp", 5),
        ("timestamp", b"9.007e+15", "timestamp", 9_007_000_000_000_000),
        ("delay", b"60000", "delay", 60_000),
        ("priority", b"3", "priority", 3),
        ("atm", b"2", "attempts_made", 2),
        ("attemptsMade", b"2", "attempts_made", 2),
        ("ats", b"4", "attempts_started", 4),
        ("stc", b"1", "stalled_counter", 1),
        ("processedOn", b"1800000000100", "processed_on", 1_800_000_000_100),
        ("finishedOn", b"1800000000200", "finished_on", 1_800_000_000_200),
        ("pb", b"pod-1", "processed_by", "pod-1"),
        ("progress", b"42", "progress", 42),
        ("progress", b'{"done": 0.5}', "progress", {"done": 0.5}),
        ("returnvalue", b'{"ok": true}', "returnvalue", {"ok": True}),
        ("returnvalue", b"null", "returnvalue", None),
        ("failedReason", b"not JSON: {", "failed_reason", "not JSON: {"),
        ("failedReason", b"\xff", "failed_reason", "�"),
        ("stacktrace", b'["one", "two"]', "stacktrace", ("one", "two")),
        ("stacktrace", b"{}", "stacktrace", ()),
        ("stacktrace", rb'["\ud800", 5]', "stacktrace", ("\\ud800", "5")),
        ("defa", b"job stalled more than allowable limit", "deferred_failure", "job stalled more than allowable limit"),
        ("parentKey", b"bull:doc:P", "parent_key", "bull:doc:P"),
        ("rjk", b"nightly", "scheduler_id", "nightly"),
        ("deid", b"once", "deduplication_id", "once"),
    ],
)
def test_every_field_is_read(field: str, stored: bytes, attribute: str, value: Any) -> None:
    assert getattr(read(**{field: stored}), attribute) == value


def test_options_are_read_with_their_long_names() -> None:
    job = read(opts=b'{"attempts":3,"backoff":{"type":"exponential","delay":1000},"kl":5,"own":{"a":1}}')
    assert job.opts == JobOptions(3, Backoff("exponential", 1000), keep_logs=5, extra={"own": {"a": 1}})


def test_fields_of_others_are_ignored() -> None:
    assert read(nrjid=b"x", flowAttachmentFailed=b"1", parent=b'{"id":"P"}').name == "send"


def test_a_job_without_options_has_the_defaults() -> None:
    fields = {name: value for name, value in PLAIN.items() if name != b"opts"}
    assert from_wire("7", fields, "mail").opts == JobOptions()


@pytest.mark.parametrize("field", ["name", "data"])
def test_a_hash_without_a_name_or_data_is_no_job(field: str) -> None:
    fields = {name: value for name, value in PLAIN.items() if name != field.encode()}
    with pytest.raises(CorruptJob, match=f"job 7 of queue 'mail' has no field '{field}'"):
        from_wire("7", fields, "mail")


@pytest.mark.parametrize(
    ("field", "stored", "kind"),
    [
        ("data", b"{", "JSON"),
        ("data", b"", "JSON"),
        ("data", b"NaN", "JSON"),
        ("data", b'{"a": Infinity}', "JSON"),
        ("data", b"\xff\xfe", "JSON"),
        ("data", b"[" * 100_000, "JSON"),
        ("timestamp", b"yesterday", "a number"),
        ("timestamp", b"1e999", "a number"),
        ("timestamp", b"nan", "a number"),
        ("delay", b"", "a number"),
        ("priority", b"high", "a number"),
        ("atm", b"x", "a number"),
        ("ats", b"x", "a number"),
        ("processedOn", b"x", "a number"),
        ("finishedOn", b"x", "a number"),
        ("progress", b"half", "JSON"),
        ("returnvalue", b"undefined", "JSON"),
        ("stacktrace", b"[", "JSON"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(field: str, stored: bytes, kind: str) -> None:
    with pytest.raises(CorruptJob, match=f"^job 7 of queue 'mail': field '{field}' is not {kind}$"):
        read(**{field: stored})


@pytest.mark.parametrize("opts", [b"", b"[]", b"5", b"null", b"{", b"\xff", b'{"a": NaN}', b'{"a":' * 100_000])
def test_options_that_are_no_object_are_named(opts: bytes) -> None:
    with pytest.raises(CorruptJob, match=r"^job 7 of queue 'mail': field 'opts' "):
        read(opts=opts)


@pytest.mark.parametrize("opts", [b'{"delay": 1e999}', b'{"backoff": {"delay": -1e999}}', b'{"removeOnFail": 1e999}'])
def test_a_number_in_the_options_that_is_too_large_is_at_worst_a_corrupt_job(opts: bytes) -> None:
    with contextlib.suppress(CorruptJob):
        assert read(opts=opts).name == "send"


@given(st.dictionaries(st.sampled_from([*PLAIN, b"atm", b"stacktrace", b"progress", b"defa"]), st.binary()))
def test_a_hash_of_any_bytes_is_read_or_refused_as_corrupt(fields: dict[bytes, bytes]) -> None:
    with contextlib.suppress(CorruptJob):
        assert isinstance(from_wire("7", PLAIN | fields, "mail"), Job)


@given(json_values)
def test_any_json_value_survives_the_wire(value: Any) -> None:
    text = to_json(value, "data")
    assert json.loads(text) == from_json(text) == value


def test_json_is_written_short_and_readable() -> None:
    assert to_json({"a": [1, None, True], "é": "☃"}, "data") == '{"a":[1,null,true],"é":"☃"}'
    assert to_json(None, "data") == "null"


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": [float("-inf")]},
        {float("nan"): 1},
        "\ud800",
        {"\udfff": 1},
        object(),
        {1, 2},
        b"bytes",
        datetime(2027, 1, 1, tzinfo=UTC),
        {(1, 2): 3},
        _circle(),
        _deep(),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say_is_refused_by_name(value: Any) -> None:
    with pytest.raises(PayloadNotJSON, match=r"^data of job 'send' is not JSON: "):
        to_json(value, "data of job 'send'")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[NaN]", "", "{'a': 1}"])
def test_what_is_no_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError):
        from_json(text)


@given(st.text(alphabet=st.characters(codec=None), min_size=1))
def test_a_storable_text_can_be_encoded(text: str) -> None:
    assert storable(text).encode()
