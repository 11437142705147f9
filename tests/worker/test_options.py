"""A job's options: what is taken, what is refused and with which words, and how they look on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import Backoff, Deduplication, InvalidJob, JobOptions, Keep, Parent
from corral.moments import LONGEST_SPAN_MS
from corral.options import check_job_id
from corral.parent_link import ChildFailure
from corral.retention import keep_option

if TYPE_CHECKING:
    from corral.add_options import AddOptions

wholes = st.integers(0, 2**53)
keeps = st.builds(Keep, st.none() | wholes, st.none() | wholes, st.none() | wholes).filter(
    # A limit alone bounds nothing; Node writes it with an age only.
    lambda keep: keep.limit is None or keep.age_s is not None or keep.count is not None
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
own_keys = st.dictionaries(st.text().map(lambda name: f"x-{name}"), json_values)
options = st.builds(
    JobOptions,
    attempts=wholes,
    backoff=st.none() | st.builds(Backoff, st.text(), wholes, st.floats(0, 1)),
    delay_ms=wholes,
    priority=st.integers(0, 2_097_151),
    lifo=st.booleans(),
    job_id=st.none() | st.text(min_size=1),
    timestamp_ms=st.none() | wholes,
    remove_on_complete=st.none() | keeps,
    remove_on_fail=st.none() | keeps,
    stack_trace_limit=st.none() | wholes,
    keep_logs=st.none() | wholes,
    size_limit=st.none() | wholes,
    deduplication=st.none()
    | st.builds(
        Deduplication,
        st.text(min_size=1),
        st.none() | st.integers(1, LONGEST_SPAN_MS).map(lambda ms: ms / 1000),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    child_failure=st.none() | st.sampled_from(ChildFailure),
    telemetry_metadata=st.none() | st.text(),
    omit_context=st.booleans(),
    correlation_id=st.none() | st.text(),
    extra=own_keys,
)
WIRE_NAMES = [
    "attempts",
    "backoff",
    "delay",
    "priority",
    "lifo",
    "jobId",
    "timestamp",
    "removeOnComplete",
    "removeOnFail",
    "stackTraceLimit",
    "kl",
    "sizeLimit",
    "de",
    "fpof",
    "tm",
    "omc",
    "correlationId",
]


def test_every_option_has_bullmqs_name_on_the_wire() -> None:
    wire = JobOptions.checked(
        attempts=3,
        backoff=Backoff.exponential(1),
        delay=2,
        priority=4,
        lifo=True,
        job_id="mine",
        timestamp=1_800_000_000,
        remove_on_complete=True,
        remove_on_fail=Keep(count=5, age_s=60),
        stack_trace_limit=6,
        keep_logs=7,
        size_limit=8,
        deduplication=Deduplication("d", 5, extend=True),
        fail_parent_on_failure=True,
        telemetry_metadata="{}",
        omit_context=True,
        correlation_id="c-9",
    ).to_wire()
    assert wire == {
        "attempts": 3,
        "backoff": {"type": "exponential", "delay": 1000},
        "delay": 2000,
        "priority": 4,
        "lifo": True,
        "jobId": "mine",
        "timestamp": 1_800_000_000_000,
        "removeOnComplete": True,
        "removeOnFail": {"count": 5, "age": 60},
        "stackTraceLimit": 6,
        "kl": 7,
        "sizeLimit": 8,
        "de": {"id": "d", "ttl": 5000, "extend": True},
        "fpof": True,
        "tm": "{}",
        "omc": True,
        "correlationId": "c-9",
    }
    assert set(wire) == set(WIRE_NAMES)


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"parent": Parent("p", "bull:q")}, {"parent": {"id": "p", "queue": "bull:q"}}),
        ({"continue_parent_on_failure": True}, {"cpof": True}),
        ({"ignore_dependency_on_failure": True}, {"idof": True}),
        ({"remove_dependency_on_failure": True}, {"rdof": True}),
        ({"deduplication": "d"}, {"de": {"id": "d"}}),
        (
            {"deduplication": Deduplication("d", replace=True, keep_last_if_active=True, reschedule=True)},
            {"de": {"id": "d", "replace": True, "keepLastIfActive": True, "reschedule": True}},
        ),
    ],
)
def test_options_that_exclude_others_have_bullmqs_names_too(given: dict, wire: dict) -> None:
    options = JobOptions.checked(**given)
    assert options.to_wire() == {"attempts": 0, **wire}
    assert JobOptions.from_wire(options.to_wire()) == options


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"deduplication": ""}, "not empty"),
        ({"deduplication": 5}, "deduplication is a Deduplication or a text"),
        ({"parent": "bull:q:1"}, "parent is a Parent"),
        ({"parent": Parent("p", "bull:q"), "deduplication": "d"}, "exclude each other"),
        ({"fail_parent_on_failure": True, "ignore_dependency_on_failure": True}, "exclude each other"),
        ({"telemetry_metadata": {}}, "telemetry_metadata is a text"),
    ],
)
def test_ties_that_node_would_refuse_are_refused(given: dict, sentence: str) -> None:
    with pytest.raises(InvalidJob, match=sentence):
        JobOptions.checked(**given)


def test_default_options_fill_in_what_a_job_leaves_out() -> None:
    defaults = JobOptions.checked(attempts=5, backoff=1, remove_on_complete=10, job_id="d")
    own = JobOptions.checked(attempts=2, priority=3)
    assert own.over(defaults) == JobOptions.checked(attempts=2, priority=3, backoff=1, remove_on_complete=10)


def test_options_that_were_not_given_are_not_written_but_for_attempts() -> None:
    assert JobOptions.checked().to_wire() == {"attempts": 0}


@given(options)
def test_options_survive_the_wire(opts: JobOptions) -> None:
    assert JobOptions.from_wire(json.loads(json.dumps(opts.to_wire()))) == opts


@given(own_keys)
def test_keys_of_others_are_kept_and_written_back_unchanged(own: dict[str, Any]) -> None:
    read = JobOptions.from_wire({**own, "attempts": 2})
    assert read.extra == own
    assert read.to_wire() == {**own, "attempts": 2}


def test_flow_and_scheduler_options_of_bullmq_are_kept_as_they_are() -> None:
    wire = {
        "attempts": 0,
        "de": {"id": "x", "ttl": 5},
        "fpof": True,
        "parent": {"id": "P", "queue": "bull:doc"},
        "repeat": {"every": 60000, "count": 1},
        "prevMillis": 5,
    }
    assert JobOptions.from_wire(wire).to_wire() == wire


@given(st.dictionaries(st.sampled_from(WIRE_NAMES), json_values))
def test_no_stored_value_makes_reading_raise(wire: dict[str, Any]) -> None:
    assert isinstance(JobOptions.from_wire(wire), JobOptions)


@pytest.mark.parametrize("name", WIRE_NAMES)
def test_a_number_too_large_for_a_float_becomes_one_that_the_scripts_can_count_with(name: str) -> None:
    # Python's JSON reads 1e999 as infinity.
    read = JobOptions.from_wire(json.loads(f'{{"{name}": 1e999}}'))
    numbers = (read.attempts, read.delay_ms, read.priority, read.timestamp_ms, read.stack_trace_limit, read.keep_logs)
    assert all(number is None or number <= 2**53 for number in numbers)
    keeps = (read.remove_on_complete, read.remove_on_fail)
    assert all(keep is None or keep.count is None or keep.count <= 2**53 for keep in keeps)


@pytest.mark.parametrize("value", [None, True, "3", [], {}, -1])
def test_values_of_another_type_count_as_not_given(value: Any) -> None:
    names = ("attempts", "delay", "priority", "timestamp", "stackTraceLimit", "kl", "sizeLimit")
    read = JobOptions.from_wire(dict.fromkeys(names, value))
    assert read == JobOptions()


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"backoff": 2}, "backoff", Backoff("fixed", 2000)),
        ({"backoff": timedelta(seconds=3)}, "backoff", Backoff("fixed", 3000)),
        ({"delay": timedelta(minutes=1)}, "delay_ms", 60_000),
        ({"timestamp": datetime(2027, 1, 15, 8, tzinfo=UTC)}, "timestamp_ms", 1_800_000_000_000),
        ({"timestamp": 1.5}, "timestamp_ms", 1500),
        ({"remove_on_complete": False}, "remove_on_complete", Keep()),
        ({"remove_on_complete": 0}, "remove_on_complete", Keep(count=0)),
        ({"remove_on_fail": 12}, "remove_on_fail", Keep(count=12)),
        ({"remove_on_fail": Keep.for_age(timedelta(hours=1), count=3)}, "remove_on_fail", Keep(3, 3600)),
        ({"job_id": "x:y:5"}, "job_id", "x:y:5"),
        ({"priority": 2_097_151}, "priority", 2_097_151),
    ],
)
def test_what_add_takes(given: AddOptions, field: str, value: Any) -> None:
    assert getattr(JobOptions.checked(**given), field) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prio": 1}, "unknown job option 'prio'; the options are: attempts, backoff, .*timestamp"),
        ({"priority": -1}, "priority must be a whole number from 0 to 2097151, got -1"),
        ({"priority": 2_097_152}, "priority must be a whole number from 0 to 2097151, got 2097152"),
        ({"priority": True}, "priority must be a whole number .* got True"),
        ({"attempts": -1}, "attempts must be a whole number from 0 up, got -1"),
        ({"attempts": 2.5}, "attempts must be a whole number from 0 up, got 2.5"),
        ({"attempts": "3"}, "attempts must be a whole number from 0 up, got '3'"),
        ({"stack_trace_limit": -1}, "stack_trace_limit must be a whole number"),
        ({"size_limit": "1k"}, "size_limit must be a whole number"),
        ({"delay": -1}, "is not negative, got -1"),
        ({"delay": float("nan")}, "is not a span of time"),
        ({"backoff": -1}, "is not negative"),
        ({"backoff": "exponential"}, "backoff"),
        ({"backoff": {"type": "fixed", "delay": 1}}, "backoff"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": float("inf")}, "timestamp"),
        ({"timestamp": float("nan")}, "timestamp"),
        ({"correlation_id": 5}, "correlation_id"),
        ({"remove_on_complete": "yes"}, "retention takes True, False, a number of jobs or a Keep, got 'yes'"),
        ({"remove_on_fail": 1.5}, "retention takes .* got 1.5"),
        ({"job_id": ""}, "job_id must be a text that is not empty"),
        ({"job_id": 5}, "job_id must be a text that is not empty, got 5"),
        ({"job_id": "5"}, "looks like a number"),
        ({"job_id": "0:a:b"}, "begins with '0:'"),
        ({"job_id": "a:b"}, "holds a colon"),
        ({"job_id": "a:b:c:d"}, "holds a colon"),
        ({"job_id": "a:b:c", "parent": Parent("p", "bull:q")}, "its parent could not tell the id from its queue"),
        ({"job_id": "de:x:y"}, "begins like one of the queue's own keys"),
        ({"job_id": "dn:x:y"}, "begins like one of the queue's own keys"),
        ({"job_id": "repeat:x:1"}, "begins like one of the queue's own keys"),
        ({"job_id": "metrics:x:data"}, "begins like one of the queue's own keys"),
    ],
)
def test_what_add_refuses_and_how(given: Any, message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        JobOptions.checked(**given)


@pytest.mark.parametrize("job_id", ["a", "5a", "1.5", "ümlaut", "with space", "a-b_c", "x:y:z", "+5"])
def test_ids_that_every_worker_of_the_fleet_reads_are_taken(job_id: str) -> None:
    check_job_id(job_id)
    assert JobOptions.checked(job_id=job_id).to_wire()["jobId"] == job_id


@pytest.mark.parametrize("suffix", ["wait", "active", "meta", "id", "events", "marker", "delayed", "stalled-check"])
def test_an_id_that_is_the_name_of_a_key_of_the_queue_is_refused(suffix: str) -> None:
    # The job's hash would lie over the queue's own key.
    with pytest.raises(InvalidJob, match=suffix):
        check_job_id(suffix)


@pytest.mark.parametrize("name", ["count", "age_s", "limit"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "3"])
def test_a_bound_that_is_no_whole_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=rf"Keep\({name}=...\) takes a whole number from 0 up"):
        Keep(**{name: value})


@pytest.mark.parametrize(
    ("wire", "keep"),
    [
        (True, Keep(count=0)),
        (False, Keep()),
        (0, Keep(count=0)),
        (7, Keep(count=7)),
        (7.0, Keep(count=7)),
        (-1, Keep()),
        ({"count": 2, "age": 3, "limit": 4}, Keep(2, 3, 4)),
        ({"age": 3}, Keep(age_s=3)),
        ({"count": -1}, Keep()),
        ({"count": "2"}, Keep()),
        ({}, Keep()),
        (None, None),
        ("all", None),
    ],
)
def test_stored_retention_is_read(wire: Any, keep: Keep | None) -> None:
    assert Keep.from_wire(wire) == keep


def test_retention_is_written_in_bullmqs_shortest_way() -> None:
    assert [Keep(count=0).to_wire(), Keep().to_wire(), Keep(3).to_wire(), Keep(3, 4, 5).to_wire()] == [
        True,
        False,
        {"count": 3},
        {"count": 3, "age": 4, "limit": 5},
    ]
    assert keep_option(None) is None


@pytest.mark.parametrize("ttl", [0, 0.0, 0.0001, timedelta(0)])
def test_a_deduplication_for_no_time_at_all_is_refused(ttl: Any) -> None:
    with pytest.raises(InvalidJob, match="a ttl of deduplication is a millisecond at least"):
        Deduplication("d", ttl)


def test_a_ttl_of_nothing_that_another_client_stored_is_none() -> None:
    assert Deduplication.from_wire({"id": "d", "ttl": 0}) == Deduplication("d")
