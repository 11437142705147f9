"""A WorkerPool's spec as the API server holds it, read into a value; what cannot be read is told by its field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral_operator.fields import parse_duration
from corral_operator.spec import (
    Behavior,
    Busy,
    DrainTarget,
    Fallback,
    FallbackPolicy,
    LengthTarget,
    Mode,
    Pace,
    PoolSpec,
    Protection,
    Runtime,
    Schedule,
    SpecError,
    WaitTarget,
    read_spec,
)

TEMPLATE = {"spec": {"containers": [{"name": "worker", "image": "registry.example/emails:1.4"}]}}

OFFICE = {"name": "office", "cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin", "duration": "10h", "minReplicas": 3}


def office(**changes: Any) -> dict[str, Any]:
    """A schedule, changed, as `spec.schedules`; None takes a field away."""
    return {"schedules": [{key: value for key, value in {**OFFICE, **changes}.items() if value is not None}]}


def spec(**changes: Any) -> dict[str, Any]:
    """The least a pool may say, changed; None takes a field away."""
    least: dict[str, Any] = {
        "redis": {"secretRef": {"name": "redis"}},
        "queues": [{"name": "emails"}],
        "maxReplicas": 20,
        "template": TEMPLATE,
    }
    return {key: value for key, value in {**least, **changes}.items() if value is not None}


def read(**changes: Any) -> PoolSpec:
    return read_spec("emails", "shop", spec(**changes))


def test_the_ten_line_pool_gets_every_default() -> None:
    assert read(target={"wait": "30s"}) == PoolSpec(
        name="emails",
        namespace="shop",
        redis_secret="redis",
        queues=("emails",),
        max_replicas=20,
        prefix="bull",
        runtime=Runtime.CORRAL,
        min_replicas=0,
        concurrency=1,
        target=WaitTarget(30.0, 95.0),
        job_seconds=None,
        behavior=Behavior(Pace(None, None), Pace(None, None), 10.0),
        idle_after_s=None,
        schedules=(),
        fallback=Fallback(180.0, FallbackPolicy.HOLD, None),
        protection=Protection(Busy.DRAIN, 600.0),
        mode=Mode.AUTO,
        replicas=None,
        grace_period_s=None,
        template=TEMPLATE,
        deployment_ref=None,
    )


def test_every_field_is_read() -> None:
    pool = read(
        prefix="{jobs}",
        runtime="Any",
        queues=[{"name": "emails"}, {"name": "sms"}],
        minReplicas=2,
        concurrency=5,
        target={"wait": "10s", "percentile": 99.5},
        jobSeconds=0.4,
        behavior={"up": {"step": 4, "window": "10s"}, "down": {"step": 1, "window": "5m"}, "tolerance": 0},
        idleAfter="5m",
        schedules=[
            OFFICE,
            {"name": "night", "cron": "0 22 * * *", "duration": "6h30m", "minReplicas": 0, "maxReplicas": 2},
        ],
        fallback={"after": "5m", "policy": "AtLeast", "replicas": 4},
        protection={"busy": "Cost", "maxDrain": "30m"},
        mode="DryRun",
        replicas=0,
        gracePeriod="10m",
        template=None,
        deploymentRef={"name": "emails-node"},
    )
    assert (pool.prefix, pool.runtime, pool.queues) == ("{jobs}", Runtime.ANY, ("emails", "sms"))
    assert (pool.min_replicas, pool.concurrency, pool.job_seconds) == (2, 5, 0.4)
    assert pool.target == WaitTarget(10.0, 99.5)
    assert pool.behavior == Behavior(Pace(4, 10.0), Pace(1, 300.0), 0.0)
    assert (pool.idle_after_s, pool.mode, pool.replicas, pool.grace_period_s) == (300.0, Mode.DRY_RUN, 0, 600.0)
    assert (pool.template, pool.deployment_ref, pool.adopted) == (None, "emails-node", True)
    assert pool.schedules == (
        Schedule("office", "0 8 * * 1-5", "Europe/Berlin", 36_000.0, min_replicas=3),
        Schedule("night", "0 22 * * *", "UTC", 23_400.0, min_replicas=0, max_replicas=2),
    )
    assert pool.fallback == Fallback(300.0, FallbackPolicy.AT_LEAST, 4)
    assert pool.protection == Protection(Busy.COST, 1800.0)


@pytest.mark.parametrize(
    ("said", "of_the_template", "grace_s"),
    [
        (None, None, 60.0),
        (None, 300, 300.0),
        (None, 0, 0.0),
        ("10m", 300, 600.0),
        ("10m", None, 600.0),
        (None, "x", 60.0),
    ],
)
def test_the_grace_is_the_pools_word_then_the_templates_then_a_minute(
    said: str | None, of_the_template: object, grace_s: float
) -> None:
    template = {"spec": {**TEMPLATE["spec"], "terminationGracePeriodSeconds": of_the_template}}
    assert read(gracePeriod=said, template=template).grace_s == grace_s


def test_a_null_is_a_field_left_out() -> None:
    fields = ("prefix", "minReplicas", "target", "behavior", "idleAfter", "mode", "replicas")
    nulls = dict.fromkeys((*fields, "schedules", "fallback", "protection"))
    assert read_spec("emails", "shop", {**spec(), **nulls}) == read()


@pytest.mark.parametrize(
    ("target", "means"),
    [
        (None, WaitTarget(60.0, 95.0)),
        ({"wait": "500ms"}, WaitTarget(0.5)),
        ({"drain": "5m"}, DrainTarget(300.0)),
        ({"jobsPerReplica": 50}, LengthTarget(50.0)),
    ],
)
def test_a_target_is_a_wait_a_drain_or_a_length(target: Any, means: Any) -> None:
    assert read(target=target).target == means


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"redis": None}, "spec.redis.secretRef.name", "is required"),
        ({"redis": {"secretRef": {"name": ""}}}, "spec.redis.secretRef.name", "must be text"),
        ({"redis": {"secret": "x"}}, "spec.redis.secretRef.name", "is required"),
        ({"redis": {"secretRef": {"name": "r"}, "db": 1}}, "spec.redis.db", "is not a field"),
        ({"queues": None}, "spec.queues", "is required"),
        ({"queues": []}, "spec.queues", "1 to 32"),
        ({"queues": [{"name": f"q{n}"} for n in range(33)]}, "spec.queues", "1 to 32"),
        ({"queues": ["emails"]}, "spec.queues[0]", "must be a mapping"),
        ({"queues": [{"name": "a"}, {"name": "a"}]}, "spec.queues[1].name", "twice"),
        ({"queues": [{"name": "a:b"}]}, "spec.queues[0].name", "colon"),
        ({"queues": [{"name": "a,b"}]}, "spec.queues[0].name", "comma"),
        ({"queues": [{"name": " a"}]}, "spec.queues[0].name", "comma"),
        ({"queues": [{"name": "a", "weight": 2}]}, "spec.queues[0].weight", "is not a field"),
        ({"maxReplicas": None}, "spec.maxReplicas", "is required"),
        ({"maxReplicas": 0}, "spec.maxReplicas", "from 1 up"),
        ({"maxReplicas": True}, "spec.maxReplicas", "whole number"),
        ({"maxReplicas": 2.5}, "spec.maxReplicas", "whole number"),
        ({"minReplicas": 21}, "spec.minReplicas", "must not be above maxReplicas (20)"),
        ({"minReplicas": -1}, "spec.minReplicas", "from 0 up"),
        ({"concurrency": 0}, "spec.concurrency", "from 1 up"),
        ({"runtime": "Node"}, "spec.runtime", "one of Corral, Any"),
        ({"mode": "auto"}, "spec.mode", "one of Auto, DryRun, Paused"),
        ({"mode": ["Auto"]}, "spec.mode", "one of Auto, DryRun, Paused"),
        ({"target": {}}, "spec.target", "exactly one of"),
        ({"target": {"wait": "1s", "drain": "1s"}}, "spec.target", "exactly one of"),
        ({"target": {"wait": "0s"}}, "spec.target.wait", "longer than zero"),
        ({"target": {"wait": "soon"}}, "spec.target.wait", "a duration like 30s"),
        ({"target": {"wait": 30}}, "spec.target.wait", "a duration like 30s"),
        ({"target": {"wait": "1s", "percentile": 100}}, "spec.target.percentile", "below 100"),
        ({"target": {"drain": "1s", "percentile": 95}}, "spec.target.percentile", "goes with wait"),
        ({"target": {"jobsPerReplica": 0}}, "spec.target.jobsPerReplica", "above 0"),
        ({"target": {"jobsPerReplica": float("nan")}}, "spec.target.jobsPerReplica", "a number"),
        ({"jobSeconds": 0}, "spec.jobSeconds", "above 0"),
        ({"jobSeconds": "1"}, "spec.jobSeconds", "a number"),
        ({"behavior": {"up": {"step": 0}}}, "spec.behavior.up.step", "from 1 up"),
        ({"behavior": {"down": {"window": "2 min"}}}, "spec.behavior.down.window", "a duration"),
        ({"behavior": {"up": {"policies": []}}}, "spec.behavior.up.policies", "is not a field"),
        ({"behavior": {"tolerance": -1}}, "spec.behavior.tolerance", "at least 0"),
        ({"idleAfter": ""}, "spec.idleAfter", "a duration"),
        ({"gracePeriod": "-5s"}, "spec.gracePeriod", "a duration"),
        ({"replicas": -1}, "spec.replicas", "from 0 up"),
        ({"template": None}, "spec", "exactly one of template and deploymentRef"),
        ({"deploymentRef": {"name": "x"}}, "spec", "exactly one of template and deploymentRef"),
        ({"template": "x"}, "spec.template", "must be a mapping"),
        ({"template": None, "deploymentRef": {}}, "spec.deploymentRef.name", "is required"),
        ({"maxReplcas": 3}, "spec.maxReplcas", "is not a field"),
        ({"schedules": {}}, "spec.schedules", "a list of 0 to 32"),
        ({"schedules": [{**OFFICE, "name": f"s{n}"} for n in range(33)]}, "spec.schedules", "0 to 32"),
        ({"schedules": [OFFICE, OFFICE]}, "spec.schedules[1].name", "twice"),
        (office(name=None), "spec.schedules[0].name", "is required"),
        (office(cron=None), "spec.schedules[0].cron", "is required"),
        (office(cron="0 8 * *"), "spec.schedules[0].cron", "must have 5 fields"),
        (office(cron="0 0 8 * * 1"), "spec.schedules[0].cron", "must have 5 fields"),
        (office(cron="@daily"), "spec.schedules[0].cron", "must have 5 fields"),
        (office(cron="0 25 * * *"), "spec.schedules[0].cron", "hour '25' is not within 0-23"),
        (office(cron="0 8 * * MO"), "spec.schedules[0].cron", "cannot be read"),
        (office(cron="0 8 30 2 *"), "spec.schedules[0].cron", "cannot be read"),
        (office(timeZone="Europe/Paries"), "spec.schedules[0].timeZone", "a time zone like Europe/Berlin"),
        (office(timeZone="../etc/passwd"), "spec.schedules[0].timeZone", "a time zone like Europe/Berlin"),
        (office(timeZone="Europe"), "spec.schedules[0].timeZone", "a time zone like Europe/Berlin"),
        (office(duration=None), "spec.schedules[0].duration", "is required"),
        (office(duration="0s"), "spec.schedules[0].duration", "longer than zero"),
        (office(minReplicas=None), "spec.schedules[0]", "needs minReplicas or maxReplicas"),
        (office(minReplicas=21), "spec.schedules[0].minReplicas", "must not be above maxReplicas (20)"),
        (office(maxReplicas=21), "spec.schedules[0].maxReplicas", "must not be above maxReplicas (20)"),
        (office(maxReplicas=0), "spec.schedules[0].maxReplicas", "from 1 up"),
        (office(maxReplicas=2), "spec.schedules[0].minReplicas", "must not be above its maxReplicas (2)"),
        (office(min=2), "spec.schedules[0].min", "is not a field"),
        ({"fallback": {"policy": "Static"}}, "spec.fallback.policy", "one of Hold, AtLeast, Replicas"),
        ({"fallback": {"policy": "AtLeast"}}, "spec.fallback.replicas", "goes with the policies"),
        ({"fallback": {"replicas": 2}}, "spec.fallback.replicas", "goes with the policies"),
        ({"fallback": {"policy": "Replicas", "replicas": 0}}, "spec.fallback.replicas", "from 1 up"),
        ({"fallback": {"policy": "Replicas", "replicas": 21}}, "spec.fallback.replicas", "must not be above"),
        ({"fallback": {"after": "0s"}}, "spec.fallback.after", "longer than zero"),
        ({"protection": {"busy": "Cordon"}}, "spec.protection.busy", "one of Drain, Cost, None"),
        ({"protection": {"maxDrain": "long"}}, "spec.protection.maxDrain", "a duration"),
        ({"protection": {"pdb": True}}, "spec.protection.pdb", "is not a field"),
    ],
)
def test_a_bad_field_is_told_by_its_path(changes: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(**changes)
    assert caught.value.path == path
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("1h2m3s4ms", 3723.004),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_hours_minutes_seconds_and_milliseconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5x", "1s1m", "5m 3s", "1.5h", "-5s", "\u0665s", "5s\n", "9" * 40 + "s"]
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


FIELDS = sorted([*spec(), "target", "behavior", "idleAfter", "mode", "prefix", "schedules", "fallback", "protection"])


@given(field=st.sampled_from(FIELDS), value=json_values)
def test_whatever_stands_in_a_field_it_is_read_or_told(field: str, value: Any) -> None:
    paths = ["spec"]
    try:
        read_spec("emails", "shop", {**spec(), field: value})
    except SpecError as error:
        paths = [error.path]
    assert paths[0].startswith("spec")
