"""Pods by state, and how long they take to start."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.deployment import Deployment, read_deployment
from corral_operator.observed import Pods
from corral_operator.pods import DELETION_COST, LOWEST_COST, REMEMBERED_STARTS, Starts, live_pods, pods_of

CREATED = "2026-01-01T00:00:00Z"
CREATED_MS = 1_767_225_600_000


def _deployment(wanted: int = 3, **status: Any) -> Deployment:
    metadata = {"namespace": "shop", "name": "emails", "uid": "u", "resourceVersion": "1"}
    return read_deployment({"metadata": metadata, "spec": {"replicas": wanted}, "status": status})


def _pod(
    name: str = "a", *rows: dict[str, Any], phase: str = "Running", restarts: int = 0, **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {"uid": name, "name": name, "creationTimestamp": CREATED, **metadata},
        "status": {"phase": phase, "conditions": list(rows), "containerStatuses": [{"restartCount": restarts}]},
    }


def _ready_at(second: int) -> dict[str, Any]:
    return {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-01-01T00:00:{second:02}Z"}


HOMELESS = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}


def test_when_nobody_looked_the_deployments_counts_have_to_do() -> None:
    deployment = _deployment(3, replicas=3, readyReplicas=2, updatedReplicas=3, terminatingReplicas=1)
    assert pods_of(deployment, None, 0) == Pods(present=3, ready=2, terminating=1)


def test_pods_are_counted_by_what_they_do() -> None:
    rows = [
        _pod("ready", _ready_at(5)),
        _pod("starting", {"type": "Ready", "status": "False"}),
        _pod("new", phase="Pending"),
        _pod("homeless", HOMELESS, phase="Pending"),
        _pod("ending", _ready_at(5), deletionTimestamp=CREATED),
        _pod("over", phase="Succeeded"),
        _pod("broken", phase="Failed"),
    ]
    pods = pods_of(_deployment(5), rows, CREATED_MS + 7000)
    assert (pods.present, pods.ready, pods.terminating, pods.unschedulable) == (5, 1, 1, 1)
    assert pods.starting_ages_s == (7.0, 7.0, 7.0)
    assert pods.unschedulable_text == "0/3 nodes are available"


def test_a_pod_held_back_by_a_gate_is_not_without_a_node() -> None:
    gated = {**HOMELESS, "reason": "SchedulingGated"}
    assert pods_of(_deployment(1), [_pod("a", gated)], CREATED_MS).unschedulable == 0


def test_a_pod_from_the_future_is_a_new_one() -> None:
    assert pods_of(_deployment(1), [_pod("a")], CREATED_MS - 60_000).starting_ages_s == (0.0,)


def test_a_pod_without_a_status_is_starting() -> None:
    rows = [{"metadata": {"uid": "a", "creationTimestamp": CREATED}}]
    assert pods_of(_deployment(1), rows, CREATED_MS).starting_ages_s == (0.0,)


def test_a_start_is_measured_once_for_each_pod() -> None:
    starts = Starts().with_pods([_pod("a", _ready_at(4)), _pod("b", _ready_at(10)), _pod("c")])
    assert (starts.median_s, starts.p95_s) == (10.0, 10.0)
    assert starts.with_pods([_pod("a", _ready_at(40))]) is starts
    assert starts.with_pods([_pod("c", _ready_at(6))]).median_s == 6.0


def test_pods_that_lost_their_readiness_for_a_while_start_no_second_time() -> None:
    """A worker is not ready while Redis is away: then all pods of a large pool come back at once."""
    names = [str(number) for number in range(REMEMBERED_STARTS + 10)]
    starts = Starts().with_pods([_pod(name, _ready_at(4)) for name in names])
    again = [_pod(name, _ready_at(59)) for name in names]
    assert starts.with_pods(again) is starts
    starts = starts.with_pods([*again, _pod("new", _ready_at(2))])
    assert (starts.p95_s, starts.seconds[-1]) == (4.0, ("new", 2.0))


def test_pods_from_before_this_process_tell_nothing_of_a_start() -> None:
    since_s = CREATED_MS / 1000
    pods = [_pod("a", _ready_at(59))]
    assert Starts((), 5.0, 6.0).with_pods(pods, since_s + 1).p95_s == 6.0
    assert Starts((), 5.0, 6.0).with_pods(pods, since_s).p95_s == 59.0


@pytest.mark.parametrize(
    "pod",
    [_pod("a", _ready_at(40), restarts=1), _pod("a", {"type": "Ready", "status": "True"}), _pod("a")],
    ids=["restarted", "without a time", "not ready"],
)
def test_a_start_that_cannot_be_told_is_not_measured(pod: dict[str, Any]) -> None:
    assert Starts().with_pods([pod]).median_s is None


def test_a_start_within_a_second_counts_as_half_of_one() -> None:
    assert Starts().with_pods([_pod("a", _ready_at(0))]).median_s == 0.5


def test_what_was_known_before_holds_until_something_is_measured() -> None:
    kept = Starts((), 12.0, 30.0)
    assert (kept.median_s, kept.p95_s) == (12.0, 30.0)
    measured = kept.with_pods([_pod("a", _ready_at(4))])
    assert (measured.median_s, measured.p95_s) == (4.0, 4.0)


def test_only_the_latest_starts_are_remembered() -> None:
    starts = Starts().with_pods([_pod(str(number), _ready_at(50)) for number in range(20)])
    starts = starts.with_pods([_pod(f"new-{number}", _ready_at(2)) for number in range(REMEMBERED_STARTS)])
    assert (len(starts.seconds), starts.p95_s) == (REMEMBERED_STARTS, 2.0)


def test_live_pods_are_those_that_neither_ended_nor_end_with_who_marked_them() -> None:
    rows = [
        _pod("ready", _ready_at(5), annotations={DELETION_COST: LOWEST_COST}),
        _pod("new", phase="Pending", labels={"pod-template-hash": "abc"}),
        _pod("theirs", {"type": "Ready", "status": "False"}, annotations={DELETION_COST: "5"}),
        _pod("ending", _ready_at(5), deletionTimestamp=CREATED),
        _pod("over", phase="Succeeded"),
    ]
    ready, new, theirs = live_pods(rows)
    assert (ready.name, ready.ready, ready.pending, ready.marked, ready.foreign_cost) == (
        "ready",
        True,
        False,
        True,
        False,
    )
    assert (new.ready, new.pending, new.template, new.marked, new.created_s) == (
        False,
        True,
        "abc",
        False,
        CREATED_MS / 1000,
    )
    assert (theirs.ready, theirs.pending, theirs.marked, theirs.foreign_cost) == (False, False, False, True)
