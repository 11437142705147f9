"""What is kept of a Deployment, and what that says."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.deployment import Deployment, Key, read_deployment, selector_text, version_of


def _body(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    named = {"namespace": "shop", "name": "emails", "uid": "u1", "resourceVersion": "42", "generation": 3}
    return {"metadata": {**named, **metadata}, "spec": spec or {}, "status": status or {}}


def _ready(wanted: int, **status: Any) -> Deployment:
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), wanted)
    return read_deployment(_body({"replicas": wanted}, {"observedGeneration": 3, **counts, **status}))


def test_a_new_one_without_status_has_no_pods() -> None:
    read = read_deployment({"metadata": {"namespace": "shop", "name": "emails", "uid": "u1", "resourceVersion": "42"}})
    assert (read.key, read.version, read.generation) == (Key("shop", "emails"), 42, 0)
    assert (read.total, read.ready, read.updated, read.terminating) == (0, 0, 0, 0)
    assert (read.owner_uid, read.rendered, read.replicas_claimed, read.quota_text) == (None, None, False, None)
    assert str(read.key) == "shop/emails"


@pytest.mark.parametrize(("spec", "replicas"), [({}, 1), ({"replicas": None}, 1), ({"replicas": 0}, 0)])
def test_replicas_that_are_absent_are_one_as_the_api_server_has_it(spec: dict[str, Any], replicas: int) -> None:
    assert read_deployment(_body(spec)).replicas == replicas


def test_its_owner_is_its_controller() -> None:
    rows = [{"uid": "a"}, {"uid": "b", "controller": True}, {"uid": "c", "controller": False}]
    assert read_deployment(_body(ownerReferences=rows)).owner_uid == "b"
    assert read_deployment(_body(ownerReferences=rows[:1])).owner_uid is None


def _managed(manager: str, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}}


@pytest.mark.parametrize(
    ("row", "claimed"),
    [
        (_managed("corral", "Apply", {"f:replicas": {}}), False),
        (_managed("corral-scale", "Apply", {"f:replicas": {}}), True),
        (_managed("corral-scale", "Update", {"f:replicas": {}}), True),
        (_managed("kubectl", "Update", {"f:replicas": {}}), True),
        (_managed("kubectl", "Update", {"f:template": {}}), False),
        ({"manager": "kubectl", "operation": "Update"}, False),
    ],
)
def test_replicas_are_claimed_by_whoever_is_not_the_render(row: dict[str, Any], claimed: bool) -> None:
    assert read_deployment(_body(managedFields=[row])).replicas_claimed is claimed


def test_settled_is_all_pods_new_and_ready() -> None:
    assert _ready(3).settled
    assert _ready(0).settled
    for key in ("replicas", "readyReplicas", "updatedReplicas"):
        assert not _ready(3, **{key: 2}).settled
    assert not _ready(3, observedGeneration=2).settled
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    assert not _ready(3, conditions=[refused]).settled


def test_a_refused_pod_is_told_while_it_is_refused() -> None:
    row = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=3"}
    assert _ready(3, conditions=[row]).quota_text == "exceeded quota: pods=3"
    assert _ready(3, conditions=[{**row, "status": "False"}]).quota_text is None


def test_a_rollout_is_pods_of_the_old_template_unless_it_is_stuck() -> None:
    assert not _ready(3).rollout
    assert _ready(3, updatedReplicas=1).rollout
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert not _ready(3, updatedReplicas=1, conditions=[stuck]).rollout


def test_a_paused_rollout_keeps_nobody_from_scaling_down() -> None:
    """It has no deadline, and may stay paused for ever."""
    metadata = {"namespace": "shop", "name": "emails", "uid": "u", "resourceVersion": "1"}
    status = {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 0}
    rows = [{"metadata": metadata, "spec": {"replicas": 3, "paused": paused}, "status": status} for paused in (0, 1)]
    assert [read_deployment(row).rollout for row in rows] == [True, False]


@pytest.mark.parametrize(("text", "version"), [("7", 7), ("", 0), (None, 0), ("abc", 0), ("-1", 0)])
def test_a_resource_version_that_is_no_number_counts_as_none(text: str | None, version: int) -> None:
    assert version_of({"resourceVersion": text}) == version


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, "a in (x,y)"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a notin (x)"),
        (
            {
                "matchLabels": {"a": "1"},
                "matchExpressions": [{"key": "b", "operator": "Exists"}, {"key": "c", "operator": "DoesNotExist"}],
            },
            "a=1,b,!c",
        ),
    ],
)
def test_a_selector_is_written_as_a_list_takes_it(selector: dict[str, Any], text: str) -> None:
    assert selector_text(selector) == text
