"""The status of a pool: what it holds, when it is written, what a restart reads back, and that no server refuses it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from corral_operator.conditions import conditions_of
from corral_operator.decision import Held, Limited, Reason
from corral_operator.findings import KINDS, Finding, Findings
from corral_operator.guard import Guard
from corral_operator.kept import Kept, kept
from corral_operator.learning import Learned, Source
from corral_operator.observed import Observed, Pods, QueueReading, Rivals, Unknown
from corral_operator.report import Problem, Report, Scaled
from corral_operator.spec import Busy, Mode
from corral_operator.status import status_of, worth_building, write_now
from reports import NOON, NOON_MS, POOL, decided, lesson, quiet, report, unread

CRD = Path(__file__).parents[2] / "charts/corral/files/workerpools.corral.dev.yaml"
SCALED = Scaled(3, 8, NOON_MS - 60_000, "Drain")
BROKEN = Report(None, 5, NOON_MS, problem=Problem("SpecInvalid", "spec.maxReplicas must be at least 1"))
EMPTY = {"ready": 0, "waiting": 0, "prioritized": 0, "delayed": 0, "due": 0, "active": 0}


def written(told: Report, previous: Any = None) -> dict[str, Any]:
    return status_of(told, previous or {})


def counts(**changes: int) -> dict[str, int]:
    return {**EMPTY, **changes}


def later(seconds: float, *readings: QueueReading | Unknown, **changes: Any) -> Report:
    return report(*readings, wall_ms=NOON_MS + round(seconds * 1000), **changes)


# --- what it holds ---


def test_a_healthy_pool_is_told_whole() -> None:
    told = report(
        quiet(waiting=5, due=2, delayed=4, active=3, next_due_ms=NOON_MS + 90_500),
        quiet("bulk", prioritized=1, active=1, paused=True),
        pods=Pods(4, ready=2, starting_ages_s=(1.0, 2.0), terminating=1, unschedulable=1),
        decision=decided(8, Reason.WINDOW, held=Held(5, Reason.WINDOW)),
        learned={"emails": lesson(age_s=12.0, service_s=0.48123), "bulk": lesson(age_s=3.0, rate=20.123)},
        scaled=SCALED,
        pod_start_s=8.1234,
        pod_start_p95_s=14.0,
        leaving=1,
    )
    status = written(told)
    assert status.pop("conditions") != []
    assert status == {
        "observedGeneration": 4,
        "replicas": 3,
        "desired": 8,
        "selector": "corral.dev/pool=emails",
        "pods": {"ready": 2, "starting": 2, "leaving": 1, "terminating": 1, "unschedulable": 1},
        "counts": {"ready": 8, "waiting": 5, "prioritized": 1, "delayed": 4, "due": 2, "active": 4},
        "oldestSince": "2026-01-01T11:59:48Z",
        "queues": [
            {
                "name": "emails",
                **counts(ready=7, waiting=5, delayed=4, due=2, active=3),
                "oldestSince": "2026-01-01T11:59:48Z",
                "nextDueAt": "2026-01-01T12:01:30Z",
                "arrivalsPerSecond": 2.0,
                "jobSeconds": 0.481,
                "paused": False,
                "found": True,
            },
            {
                "name": "bulk",
                **counts(ready=1, prioritized=1, active=1),
                "oldestSince": "2026-01-01T11:59:57Z",
                "arrivalsPerSecond": 20.1,
                "jobSeconds": 0.4,
                "paused": True,
                "found": True,
            },
        ],
        "decision": {
            "text": "8 replicas: because",
            "reason": "Window",
            "at": NOON,
            "candidates": {"flow": 8},
            "chosenBy": "flow",
            "held": {"wanted": 5, "because": "Window"},
        },
        "lastScale": {"from": 3, "to": 8, "at": "2026-01-01T11:59:00Z", "reason": "Drain"},
        "learned": {
            "podStartSeconds": 8.12,
            "podStartSecondsP95": 14.0,
            "queues": [
                {"name": "emails", "arrivalsPerSecond": 2.0, "jobSeconds": 0.481, "remainingSeconds": 0.241},
                {"name": "bulk", "arrivalsPerSecond": 20.1, "jobSeconds": 0.4, "remainingSeconds": 0.2},
            ],
        },
    }


@pytest.mark.parametrize("lost", ["emails", "bulk"])
def test_a_single_unread_queue_takes_the_sums_away_and_no_number_of_before_stays(lost: str) -> None:
    before = written(report(quiet(waiting=5), quiet("bulk", waiting=6)))
    status = written(later(10, quiet(waiting=5), quiet("bulk", waiting=6), unread(lost)), before)
    assert "counts" not in status
    assert "oldestSince" not in status
    rows = {row["name"]: row for row in status["queues"]}
    assert rows.pop(lost) == {"name": lost, "found": True}
    assert next(iter(rows.values()))["waiting"] in (5, 6)


def test_what_is_not_known_is_absent() -> None:
    status = written(report(observed=None, decision=None, selector=None, replicas=None, learned={}))
    assert set(status) == {"observedGeneration", "queues", "learned", "conditions"}
    assert status["queues"] == [{"name": "emails"}, {"name": "bulk"}]


def test_an_empty_queue_is_zero_and_not_absent() -> None:
    status = written(report())
    assert status["counts"] == EMPTY
    assert "oldestSince" not in status


def test_a_job_that_became_ready_this_moment_waits_since_now() -> None:
    assert written(report(quiet(waiting=1)))["oldestSince"] == NOON


def test_a_broken_spec_loses_nothing_that_was_learned() -> None:
    before = written(report(scaled=SCALED, pod_start_s=8.0, pod_start_p95_s=14.0))
    status = written(BROKEN, before)
    assert kept(status) == kept(before)
    assert "desired" not in status
    assert status["observedGeneration"] == 5


def test_a_queue_that_left_the_pool_leaves_the_status() -> None:
    status = written(report(pool=replace(POOL, queues=("emails",))), written(report()))
    assert [row["name"] for row in status["queues"]] == ["emails"]
    assert [row["name"] for row in status["learned"]["queues"]] == ["emails"]


@pytest.mark.parametrize(
    ("source", "shown", "learned_s"),
    [
        (Source.MEASURED, 9.0, 9.0),
        (Source.KEPT, 9.0, 9.0),
        (Source.RUNNING, 9.0, 0.4),
        (Source.HINT, None, 0.4),
        (Source.DEFAULT, None, 0.4),
    ],
)
def test_a_guess_never_replaces_what_was_measured(source: Source, shown: float | None, learned_s: float) -> None:
    told = report(learned={"emails": lesson(service_s=9.0, source=source), "bulk": lesson()})
    status = written(told, written(report()))
    assert status["queues"][0].get("jobSeconds") == shown
    assert kept(status).service_s["emails"] == learned_s


def test_a_guess_without_a_measurement_is_not_kept() -> None:
    told = report(learned={"emails": lesson(source=Source.DEFAULT), "bulk": lesson(source=Source.HINT)})
    assert kept(written(told)).service_s == {}


def test_a_queue_that_is_gone_stays_found_and_one_never_created_is_not() -> None:
    told = report(quiet(exists=False), quiet("bulk", exists=False, seen_before=False))
    assert [row["found"] for row in written(told)["queues"]] == [True, False]


@pytest.mark.parametrize(
    ("decision", "at"),
    [
        (decided(3, Reason.FLOW), NOON),
        (replace(decided(3, Reason.FLOW), text="3 replicas: other words"), NOON),
        (decided(4, Reason.FLOW), "2026-01-01T12:01:00Z"),
        (decided(3, Reason.DRAIN), "2026-01-01T12:01:00Z"),
    ],
)
def test_a_decision_is_as_old_as_its_number_and_its_reason(decision: Any, at: str) -> None:
    status = written(later(60, decision=decision), written(report()))
    assert status["decision"]["at"] == at


@pytest.mark.parametrize(
    ("age_s", "since"), [(12.9, NOON), (7.1, NOON), (13.0, "2026-01-01T11:59:57Z"), (6.0, "later")]
)
def test_the_oldest_does_not_flicker(age_s: float, since: str) -> None:
    before = written(report(quiet(waiting=1)))
    told = later(10, quiet(waiting=1), learned={"emails": lesson(age_s), "bulk": lesson()})
    status = written(told, before)
    assert status["oldestSince"] == status["queues"][0]["oldestSince"]
    assert status["oldestSince"] == since.replace("later", "2026-01-01T12:00:04Z")


@pytest.mark.parametrize(
    ("due_ms", "known"), [(NOON_MS, True), (0, True), (-1, False), (10**15, False), (10**30, False)]
)
def test_a_due_time_that_no_calendar_holds_is_absent(due_ms: int, known: bool) -> None:
    assert ("nextDueAt" in written(report(quiet(delayed=1, next_due_ms=due_ms)))["queues"][0]) is known


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 1.797e308])
def test_a_span_that_is_no_number_is_absent(seconds: float) -> None:
    assert "podStartSeconds" not in written(report(pod_start_s=seconds))["learned"]


# --- when it is written ---

BASE = written(report(quiet(waiting=5)))
FOUND = written(report(quiet(waiting=5), findings=Findings((Finding("OutOfMemory", "job 7"),), looked=True)))


def found(kind: str, text: str) -> Findings:
    return Findings((Finding(kind, text),), looked=True)


# Name: the next report, and after how many seconds it may be written.
WAITS: dict[str, tuple[Report, float]] = {
    "nothing": (report(quiet(waiting=5)), math.inf),
    "only time": (later(1, quiet(waiting=5), learned={"emails": lesson(1.0), "bulk": lesson()}), math.inf),
    "a count": (report(quiet(waiting=6)), 30),
    "a rate": (report(quiet(waiting=5), learned={"emails": lesson(rate=2.1), "bulk": lesson()}), 30),
    "a rate's fourth figure": (
        report(quiet(waiting=5), learned={"emails": lesson(rate=2.001), "bulk": lesson()}),
        math.inf,
    ),
    "the words of the decision": (report(quiet(waiting=5), decision=replace(decided(), text="3 replicas: so")), 30),
    "its candidates": (report(quiet(waiting=5), decision=replace(decided(), candidates={"flow": 2})), 30),
    "a leaving pod": (report(quiet(waiting=5), leaving=1), 2),
    "the words of a finding": (report(quiet(waiting=5), findings=found("OutOfMemory", "jobs 7, 8")), 30),
    "a finding": (report(quiet(waiting=5), findings=found("StalledTwice", "job 7")), 0),
    "a ready pod": (report(quiet(waiting=5), pods=Pods.steady(2)), 2),
    "the decided number": (report(quiet(waiting=5), decision=decided(4)), 0),
    "its reason": (report(quiet(waiting=5), decision=decided(3, Reason.CONFLICT)), 0),
    "a reason of the load for the same number": (report(quiet(waiting=5), decision=decided(3, Reason.DRAIN)), 30),
    "the replicas": (report(quiet(waiting=5), replicas=2), 0),
    "the generation": (report(quiet(waiting=5), generation=5), 0),
    "the selector": (report(quiet(waiting=5), selector="a=b"), 0),
    "a scale": (report(quiet(waiting=5), scaled=SCALED), 0),
    "a condition": (report(unread()), 0),
    "a condition's reason": (report(quiet(waiting=5), problem=Problem("NameTaken", "taken")), 0),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_change_is_written_as_soon_as_it_matters(name: str) -> None:
    told, after_s = WAITS[name]
    before = FOUND if "finding" in name else BASE
    status = status_of(told, before)
    if after_s:
        assert not write_now(before, status, min(after_s - 0.01, 1e9))
    assert write_now(before, status, after_s) is (after_s != math.inf)


@pytest.mark.parametrize("name", WAITS)
def test_a_status_is_built_whenever_it_is_to_be_written_and_not_at_every_look(name: str) -> None:
    told, after_s = WAITS[name]
    before = FOUND if "finding" in name else BASE
    for since_s in (0.0, 1.99, 2.0, 29.99, 30.0):
        needed = write_now(before, status_of(told, before), since_s)
        assert worth_building(told, before, since_s) or not needed
    assert worth_building(told, before, 1.99) is (after_s == 0)


def test_another_reason_of_the_same_condition_is_written_at_once_and_keeps_its_time() -> None:
    before = written(report(unread()))
    status = written(later(60, unread(cause="AuthFailed")), before)
    assert write_now(before, status, 0)
    assert status["conditions"][1]["lastTransitionTime"] == NOON


def test_a_condition_of_somebody_else_is_no_reason_to_write_for_ever() -> None:
    foreign = {"type": "OfALaterVersion", "status": "True", "reason": "So", "message": "", "lastTransitionTime": NOON}
    before = {**BASE, "conditions": [foreign, *BASE["conditions"]]}
    assert not write_now(before, status_of(report(quiet(waiting=5)), before), math.inf)


def test_the_first_status_is_written_at_once() -> None:
    assert write_now({}, BASE, 0)


def test_what_the_server_gives_back_is_the_same() -> None:
    # The API server stores 2.0 as 2.
    back = json.loads(json.dumps(BASE).replace(".0,", ",").replace(".0}", "}"))
    assert not write_now(back, status_of(report(quiet(waiting=5)), back), math.inf)


# --- what a restart reads back ---


def test_a_restart_reads_back_what_it_would_have_to_learn_again() -> None:
    told = report(quiet("bulk", exists=False, seen_before=False), scaled=SCALED, pod_start_s=8.0, pod_start_p95_s=14.0)
    assert kept(written(told)) == Kept(
        service_s={"emails": 0.4, "bulk": 0.4},
        found=frozenset({"emails"}),
        pod_start_s=8.0,
        pod_start_p95_s=14.0,
        scaled=SCALED,
    )


def test_an_outage_over_a_restart_loses_nothing() -> None:
    before = written(report(scaled=SCALED, pod_start_s=8.0, pod_start_p95_s=14.0))
    dark = report(unread(), unread("bulk"), learned={}, decision=decided(3, Reason.UNKNOWN))
    assert kept(written(dark, before)) == kept(before)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"learned": "x", "queues": "x", "lastScale": "x"},
        {"learned": {"podStartSeconds": "8", "podStartSecondsP95": True, "queues": {"name": "emails"}}},
        {"learned": {"podStartSeconds": -8, "podStartSecondsP95": math.inf, "queues": [None, "emails", []]}},
        {"learned": {"podStartSeconds": math.nan, "podStartSecondsP95": 10**400}},
        {
            "learned": {
                "queues": [{"name": 5, "jobSeconds": 1}, {"name": "q" * 201, "jobSeconds": 1}, {"jobSeconds": 1}]
            }
        },
        {
            "learned": {
                "queues": [{"name": "emails"}, {"name": "a", "jobSeconds": 0}, {"name": "b", "jobSeconds": None}]
            }
        },
        {"queues": [{"name": "emails", "found": "yes"}, {"name": "bulk", "found": 1}, {"found": True}]},
        {"lastScale": {"from": 1, "to": 2, "at": "noon", "reason": "Drain"}},
        {"lastScale": {"from": 1.5, "to": 2, "at": NOON, "reason": "Drain"}},
        {"lastScale": {"from": -1, "to": 2, "at": NOON, "reason": "Drain"}},
        {"lastScale": {"from": True, "to": 2, "at": NOON, "reason": "Drain"}},
        {"lastScale": {"from": 1, "to": 2, "at": NOON, "reason": None}},
    ],
)
def test_nonsense_in_an_old_status_counts_as_nothing(nonsense: dict[str, Any]) -> None:
    assert kept(nonsense) == Kept()


# --- what the API server takes ---


def status_schema() -> dict[str, Any]:
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


SCHEMA = status_schema()
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
BITS = {"int32": 31, "int64": 63}
RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def faults(schema: dict[str, Any], value: Any, path: str = "status") -> list[str]:
    """What the API server would have against the value. Of OpenAPI only what the schema uses."""
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{path}: not a {kind}: {value!r}"]
    told = []
    if "enum" in schema and value not in schema["enum"]:
        told.append(f"{path}: not one of {schema['enum']}")
    if isinstance(value, str):
        told += _string_faults(schema, value, path)
    elif isinstance(value, dict):
        told += _object_faults(schema, value, path)
    elif isinstance(value, list):
        told += _array_faults(schema, value, path)
    elif not isinstance(value, bool):
        if not math.isfinite(value) or value < schema.get("minimum", value):
            told.append(f"{path}: {value}")
        if "format" in schema and value >= 2 ** BITS[schema["format"]]:
            told.append(f"{path}: {value} is no {schema['format']}")
    return told


def _string_faults(schema: dict[str, Any], value: str, path: str) -> list[str]:
    told = []
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        told.append(f"{path}: {len(value)} letters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        told.append(f"{path}: {value!r} does not match")
    if schema.get("format") == "date-time" and not (RFC3339.fullmatch(value) and datetime.fromisoformat(value)):
        told.append(f"{path}: {value!r} is no time")
    return told


def _object_faults(schema: dict[str, Any], value: dict[str, Any], path: str) -> list[str]:
    told = [f"{path}.{key}: missing" for key in schema.get("required", ()) if key not in value]
    if len(value) > schema.get("maxProperties", len(value)):
        told.append(f"{path}: {len(value)} properties")
    for key, inner in value.items():
        rule = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        told += [f"{path}.{key}: unknown"] if rule is None else faults(rule, inner, f"{path}.{key}")
    return told


def _array_faults(schema: dict[str, Any], value: list[Any], path: str) -> list[str]:
    told = [f"{path}: {len(value)} items"] if len(value) > schema["maxItems"] else []
    for index, inner in enumerate(value):
        told += faults(schema["items"], inner, f"{path}[{index}]")
    keys = [tuple(row.get(key) for key in schema["x-kubernetes-list-map-keys"]) for row in value]
    return told + ([f"{path}: a key twice"] if len(keys) != len(set(keys)) else [])


def test_the_check_itself_finds_faults() -> None:
    assert faults(SCHEMA, BASE) == []
    bad = {
        **BASE,
        "desired": None,
        "replicas": -1,
        "selector": "x" * 4097,
        "new": 1,
        "oldestSince": "noon",
        "queues": [{"name": "a"}, {"name": "a"}, {}],
        "pods": {"ready": 2**31, "starting": True},
        "learned": {"podStartSeconds": math.nan},
        "conditions": [{**BASE["conditions"][0], "status": "Maybe", "reason": "Not so"}],
    }
    assert len(faults(SCHEMA, bad)) == 12


long = st.text(max_size=20) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).map(
    lambda text: text * 2000
)
causes = st.from_regex(r"\A[A-Z][A-Za-z]{0,40}\Z")
whole = st.integers(0, 60) | st.integers(0, 2**40)
any_float = st.floats()
times = st.integers(0, NOON_MS * 2)
queue_names = st.sampled_from(["emails", "bulk", "Bulk mail {eu}", "ü" * 200, "q"])
reasons = st.sampled_from(Reason)
lessons = st.builds(Learned, any_float, any_float, any_float, st.floats(0, 1e12), any_float, st.sampled_from(Source))
guards = st.builds(Guard, st.sampled_from(Busy), causes, long)
findings = st.builds(
    Findings, st.lists(st.builds(Finding, st.sampled_from(KINDS), long, whole), max_size=3).map(tuple), st.booleans()
)
rivals = st.builds(Rivals, text=st.none() | long, reason=st.none() | causes, unknown=st.none() | long)
pods = st.builds(
    Pods, whole, whole, st.lists(any_float, max_size=3).map(tuple), whole, whole, st.none() | long, st.none() | long
)


@st.composite
def readings(draw: Any, name: str) -> QueueReading | Unknown:
    if draw(st.integers(0, 3)) == 0:
        return Unknown(name, draw(causes), draw(long))
    counts = dict.fromkeys(("waiting", "prioritized", "due", "delayed", "active"), 0)
    return QueueReading(
        name,
        **{key: draw(whole) for key in counts},
        next_due_ms=draw(st.none() | st.integers()),
        paused=draw(st.booleans()),
        exists=draw(st.booleans()),
        seen_before=draw(st.booleans()),
    )


@st.composite
def decisions(draw: Any) -> Any:
    limits = st.builds(Limited, whole, reasons, long)
    return replace(
        decided(draw(whole), draw(reasons)),
        text=draw(long),
        candidates=draw(st.dictionaries(st.sampled_from(["flow", "drain", "window", "busy"]), whole)),
        mode=draw(st.sampled_from(Mode)),
        held=draw(st.none() | st.builds(Held, whole, reasons)),
        limited=draw(st.none() | limits),
        no_consumer=tuple(draw(st.lists(queue_names, max_size=2))),
        downstream=draw(st.none() | long),
    )


@st.composite
def reports(draw: Any) -> Report:
    names = tuple(draw(st.lists(queue_names, min_size=1, max_size=4, unique=True)))
    pool = replace(POOL, queues=names, replicas=draw(st.none() | st.integers(0, 2**31 - 1)))
    wall_ms = draw(times)
    rows = tuple(draw(readings(name)) for name in names[: draw(st.integers(0, 4))])
    return Report(
        pool=draw(st.just(pool) | st.none()),
        generation=draw(st.integers(1, 2**40)),
        wall_ms=wall_ms,
        observed=draw(
            st.none() | st.builds(Observed, st.just(1.0), st.just(wall_ms), st.just(rows), pods, rivals=rivals)
        ),
        decision=draw(st.none() | decisions()),
        learned={row.name: draw(lessons) for row in rows if isinstance(row, QueueReading)},
        selector=draw(st.none() | long),
        replicas=draw(st.none() | whole),
        problem=draw(st.none() | st.builds(Problem, causes, long)),
        scaled=draw(st.none() | st.builds(Scaled, whole, whole, times, long)),
        pod_start_s=draw(st.none() | any_float),
        pod_start_p95_s=draw(st.none() | any_float),
        guard=draw(st.none() | guards),
        findings=draw(findings),
        leaving=draw(whole),
    )


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(NOON),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "found", "jobSeconds", "at", "from", "to", "reason", "type", "status", "queues"]),
            inner,
        )
    ),
    max_leaves=8,
)
nonsense = st.dictionaries(st.sampled_from([*SCHEMA["properties"], "strange"]), garbage)


@settings(max_examples=60, deadline=None, phases=[Phase.generate, Phase.shrink])
@given(nonsense, reports(), reports())
def test_the_api_server_takes_every_status(old: dict[str, Any], first: Report, second: Report) -> None:
    before = status_of(first, old)
    after = status_of(second, before)
    for status in (before, after):
        assert faults(SCHEMA, status) == []
        json.dumps(status, allow_nan=False)
    assert [row["type"] for row in after["conditions"]] == [row.type for row in conditions_of(second)]
    assert write_now(old, before, math.inf)
    # To say the same again changes nothing, so that a quiet pool is never written.
    assert status_of(second, after) == after
    assert not write_now(after, status_of(second, after), math.inf)
