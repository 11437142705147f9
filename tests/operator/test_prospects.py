"""What `corral explain` says would change a decision, held against what the rules then really decide."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from corral_operator.observed import Observed, Pods, Rivals
from corral_operator.prospects import Prospect, prospects_of
from corral_operator.scaling import decide
from corral_operator.spec import Busy, read_spec
from decided_pools import POD_START_S, decided_pool
from reports import NOON_MS, lesson, quiet

LASTING_S = 121.0
SHARED = "not known: others serve its queues too, and the status does not hold the share of this pool"
NOT_TOLD = "not known: the status lacks numbers that the rules need, or they are not of one moment; ask again in 30 s"


@dataclass(frozen=True)
class Load:
    """A pool of one queue: pods that are there, jobs that wait and run, arrivals per second, and its spec."""

    present: int
    waiting: int = 0
    active: int = 0
    rate: float = 0.0
    age_s: float = 0.0
    service_s: float = 1.0
    spec: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return decided_pool(
            quiet(waiting=self.waiting, active=self.active),
            present=self.present,
            rates={"emails": self.rate},
            age_s=self.age_s,
            service_s=self.service_s,
            **self.spec,
        )

    def replicas_after(self, seconds: float, **changes: Any) -> int:
        """What the rules give when it is first so, and then otherwise for so long. Nothing of the status is used."""
        policy = read_spec("emails", "shop", self.body()["spec"])
        then = replace(self, **changes)
        memory, decision = None, None
        for taken, (at_s, load) in enumerate(((0.0, self), (0.0, then), (seconds, then))):
            learned = {"emails": replace(lesson(load.age_s, load.service_s, rate=load.rate), taken=taken)}
            readings = (quiet(waiting=load.waiting, active=load.active),)
            observed = Observed(100.0 + at_s, NOON_MS, readings, Pods.steady(self.present))
            decision, memory = decide(policy, observed, learned, memory, pod_start_s=POD_START_S)
        assert decision is not None
        return decision.replicas


WAIT = {"target": {"wait": "30s"}}
LOADS = [
    Load(4, waiting=100, age_s=1.0, spec=WAIT),
    Load(8, waiting=200, active=8, rate=2.0, age_s=4.0, spec=WAIT),
    Load(7, active=6, rate=5.5, spec={**WAIT, "behavior": {"tolerance": 0}}),
    Load(3, waiting=1000, active=60, rate=40.0, service_s=0.3, age_s=2.0, spec={**WAIT, "concurrency": 20}),
    Load(5, waiting=45, active=4, age_s=3.0, spec={"target": {"jobsPerReplica": 10}}),
    Load(6, waiting=900, age_s=9.0, spec={"target": {"drain": "5m"}, "maxReplicas": 50}),
]


def told(body: dict[str, Any]) -> list[Prospect]:
    return prospects_of(read_spec("emails", "shop", body["spec"]), body["status"], NOON_MS)


def said(load: Load, change: str, pattern: str) -> re.Match[str] | None:
    """The sentence about one change that matches."""
    found = [match for row in told(load.body()) if row.change == change and (match := re.search(pattern, row.when))]
    return found[0] if found else None


@pytest.mark.parametrize("load", LOADS, ids=str)
def test_as_many_ready_jobs_as_are_told_make_it_more_and_one_less_does_not(load: Load) -> None:
    there = load.body()["status"]["desired"]
    assert there == load.present
    match = said(load, "more", r"when ([\d,]+) jobs are ready in emails")
    assert match is not None
    jobs = int(match[1].replace(",", ""))
    assert load.replicas_after(0.0, waiting=jobs) > there
    assert load.replicas_after(0.0, waiting=jobs - 1) == there


def test_a_rate_and_a_service_time_that_are_told_make_it_more() -> None:
    load = LOADS[2]
    rate, jobs_s = (
        said(load, "more", r"when about ([\d.]+) jobs/s arrive, now 5.5, for 30 s"),
        said(load, "more", r"when jobs take about ([\d.]+) s, now 1 s"),
    )
    assert rate is not None
    assert jobs_s is not None
    assert load.replicas_after(31.0, rate=float(rate[1])) > load.present
    assert load.replicas_after(29.0, rate=float(rate[1])) == load.present
    assert load.replicas_after(31.0, rate=float(rate[1]) * 0.97) == load.present
    assert load.replicas_after(31.0, service_s=float(jobs_s[1])) > load.present


def test_fewer_ready_jobs_and_fewer_arrivals_that_are_told_make_it_fewer() -> None:
    by_length, by_flow = LOADS[4], LOADS[2]
    jobs = said(by_length, "fewer", r"when no more than ([\d,]+) jobs are ready in emails, now 45")
    assert jobs is not None
    assert by_length.replicas_after(LASTING_S, waiting=int(jobs[1])) < by_length.present
    assert by_length.replicas_after(LASTING_S, waiting=int(jobs[1]) + 1) == by_length.present
    by_flow = replace(by_flow, present=6, active=2)
    rate = said(by_flow, "fewer", r"when about ([\d.]+) jobs/s arrive, now 5.5, for 120 s")
    assert rate is not None
    assert by_flow.replicas_after(LASTING_S, rate=float(rate[1])) < by_flow.present
    assert by_flow.replicas_after(119.0, rate=float(rate[1])) == by_flow.present


def test_what_is_held_goes_to_the_number_that_is_told() -> None:
    load = Load(9, active=6, rate=6.67, spec=WAIT)
    match = said(load, "fewer", r"^(\d+), when the load stays as it is now, within 120 s$")
    assert match is not None
    assert load.replicas_after(LASTING_S) == int(match[1]) < load.present


def test_steps_say_how_fast_and_not_how_many() -> None:
    spec = {**WAIT, "behavior": {"down": {"step": 1}}}
    match = said(Load(12, active=6, rate=6.67, spec=spec), "fewer", r"^(\d+), when the load stays as it is now")
    assert match is not None
    assert int(match[1]) == Load(12, active=6, rate=6.67, spec=WAIT).replicas_after(LASTING_S) < 11


def test_a_moment_without_a_job_is_not_taken_for_idleness() -> None:
    load = Load(8, rate=6.67, spec=WAIT)
    assert [row.when for row in told(load.body()) if row.when.startswith("0,")] == []
    assert ("zero", "when nothing is ready, active or due within 38 s, and that for 30 s") in [
        (row.change, row.when) for row in told(load.body())
    ]


def test_the_users_windows_are_told() -> None:
    behavior = {"up": {"window": "60s"}, "down": {"window": "10m"}}
    load = replace(LOADS[2], spec={**WAIT, "behavior": {**behavior, "tolerance": 0}})
    assert said(load, "more", r"jobs are ready in emails, now 0, for 60 s$")
    assert said(load, "more", r"jobs/s arrive, now 5.5, for 60 s$")
    held = Load(9, active=6, rate=6.67, spec={**WAIT, "behavior": behavior})
    assert said(held, "fewer", r"within 10 min$")


def test_of_several_queues_the_fullest_are_told_and_paused_ones_are_not() -> None:
    names = [f"queue-{number}" for number in range(6)]
    body = decided_pool(
        *(quiet(name, waiting=10 + number, paused=number == 5) for number, name in enumerate(names)),
        present=4,
        rates=dict.fromkeys(names, 0.3),
        age_s=1.0,
        queues=[{"name": name} for name in names],
        **WAIT,
    )
    rows = [row.when for row in told(body) if row.change == "more"]
    assert [match[1] for row in rows if (match := re.search(r"ready in (queue-\d),", row))] == names[4:0:-1]
    assert any("times as long as now" in row for row in rows)


# --- bounds ---


def test_nothing_is_more_than_the_maximum() -> None:
    load = Load(20, waiting=5000, age_s=3.0, spec=WAIT)
    (row,) = [row for row in told(load.body()) if row.change == "more"]
    assert row.when == "never: spec.maxReplicas is 20"


def test_below_the_minimum_there_is_nothing() -> None:
    load = Load(2, spec={**WAIT, "minReplicas": 2})
    rows = [row for row in told(load.body()) if row.change in ("fewer", "zero")]
    assert rows == [Prospect("zero", "never: spec.minReplicas is 2")]


def test_pods_that_find_no_node_stand_before_any_growth() -> None:
    pods = Pods(3, ready=1, starting_ages_s=(90.0, 90.0), unschedulable=2)
    body = decided_pool(quiet(waiting=500), present=3, pods=pods, age_s=3.0, **WAIT)
    rows = [row.when for row in told(body) if row.change == "more"]
    assert rows == ["not before this ends: Unschedulable, pods find no node"]
    assert "unless" not in [row.change for row in told(body)]


# --- what the status does not say ---


@pytest.mark.parametrize(
    "lost", ["counts of a queue", "rate", "age", "pods", "queue", "soon due", "another decision", "no consumer"]
)
def test_no_threshold_is_told_when_a_number_is_missing(lost: str) -> None:
    body = LOADS[1].body()
    status = body["status"]
    queue = status["queues"][0]
    if lost == "counts of a queue":
        del queue["active"]
    elif lost == "rate":
        del queue["arrivalsPerSecond"]
    elif lost == "age":
        del queue["oldestSince"]
    elif lost == "pods":
        del status["pods"]["ready"]
    elif lost == "queue":
        del status["queues"]
    elif lost == "soon due":
        queue |= {"delayed": 4, "nextDueAt": "2026-01-01T12:00:03Z"}
    elif lost == "another decision":
        status["desired"] = 3
    else:
        status["conditions"].append({"type": "NoConsumer", "status": "True", "reason": "NothingTaken", "message": "-"})
        status["conditions"] = [row for row in status["conditions"] if row["status"] == "True"]
    rows = told(body)
    assert [row.change for row in rows] == ["zero", "at what load"]
    assert rows[-1].when == NOT_TOLD


def test_a_hint_of_the_service_time_counts_until_it_is_learned() -> None:
    body = LOADS[0].body()
    del body["status"]["queues"][0]["jobSeconds"]
    with_a_second = told(body)
    body["spec"]["jobSeconds"] = 1
    assert told(body) == with_a_second
    assert "at what load" not in [row.change for row in with_a_second]
    body["spec"]["jobSeconds"] = 30
    assert "at what load" in [row.change for row in told(body)]


def test_busy_pods_are_recollected_as_the_decision_counted_them() -> None:
    """Drained pods are no floor, so fewer jobs do mean fewer pods; where they are one, they do not."""
    load = Load(9, active=9, rate=6.67, spec=WAIT)
    readings = quiet(active=9)
    drained = decided_pool(readings, present=9, rates={"emails": 6.67}, guard=Busy.DRAIN, **WAIT)
    assert "busy" not in drained["status"]["decision"]["candidates"]
    assert [row.when for row in told(drained) if row.change == "fewer"] == [
        "8, when the load stays as it is now, within 120 s"
    ]
    assert [row.when for row in told(load.body()) if row.change == "fewer"] == []


def test_of_a_queue_that_others_serve_too_no_load_is_told() -> None:
    body = decided_pool(quiet(waiting=90), present=3, rivals=Rivals(shares={"emails": 0.5}))
    body["status"]["conditions"] = [{"type": "Conflict", "status": "True", "reason": "SharedQueue"}]
    assert ("at what load", SHARED) in [(row.change, row.when) for row in told(body)]
