"""What people do to WorkerPools with kubectl."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pools import pool

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import Cluster
    from kubectl import Kubectl


def _status() -> dict[str, Any]:
    """A status with every field that the schema knows."""
    now = datetime.now(UTC)
    at, then = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now, now - timedelta(seconds=90)))
    jobs = {"ready": 812, "waiting": 769, "prioritized": 3, "delayed": 55, "due": 40, "active": 30}
    return {
        "observedGeneration": 1,
        "replicas": 7,
        "desired": 8,
        "selector": "corral.dev/pool=emails",
        "pods": {"ready": 6, "starting": 1, "terminating": 0, "unschedulable": 0},
        "counts": jobs,
        "oldestSince": then,
        "queues": [
            {
                "name": "emails",
                **jobs,
                "oldestSince": then,
                "nextDueAt": at,
                "arrivalsPerSecond": 20.1,
                "jobSeconds": 0.48,
                "paused": False,
                "found": True,
            }
        ],
        "decision": {
            "text": "8 pods: 812 jobs of 0.48 s within 15 s take 26 slots, and 20.1 new ones a second take 10.",
            "reason": "Drain",
            "at": at,
            "candidates": {"flow": 3, "drain": 8, "busy": 6},
            "chosenBy": "drain",
            "held": {"wanted": 4, "because": "window", "until": at},
        },
        "lastScale": {"from": 7, "to": 8, "at": at, "reason": "Drain"},
        "learned": {
            "podStartSeconds": 8.1,
            "podStartSecondsP95": 14,
            "queues": [{"name": "emails", "arrivalsPerSecond": 20.1, "jobSeconds": 0.48, "remainingSeconds": 0.3}],
        },
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "AsExpected",
                "message": "",
                "lastTransitionTime": at,
                "observedGeneration": 1,
            }
            for kind in ("Ready", "OfALaterVersion")
        ],
    }


def _with_status(kubectl: Kubectl) -> dict[str, Any]:
    status = _status()
    kubectl("create", "-f", "-", manifest=pool())
    patch = json.dumps({"status": status})
    kubectl("patch", "workerpool", "emails", "--subresource=status", "--type=merge", "-p", patch)
    return status


def test_get_shows_the_columns(kubectl: Kubectl) -> None:
    _with_status(kubectl)
    head, row = kubectl("get", "workerpools").splitlines()
    assert head.split() == ["NAME", "DESIRED", "READY", "BUSY", "WAITING", "OLDEST", "WHY", "AGE"]
    name, desired, ready, busy, waiting, oldest, why, _age = row.split()
    assert (name, desired, ready, busy, waiting, why) == ("emails", "8", "6", "30", "812", "Drain")
    # An age, counted when it is shown: no status is written only because time has passed.
    assert 90 <= int(oldest.removesuffix("s")) < 120


def test_get_wide_adds_the_bounds_the_mode_and_the_sentence(kubectl: Kubectl) -> None:
    status = _with_status(kubectl)
    head, row = kubectl("get", "wp", "-o", "wide").splitlines()
    assert head.split()[-4:] == ["MIN", "MAX", "MODE", "DECISION"]
    assert row.endswith(status["decision"]["text"])


def test_a_pool_without_a_status_is_shown_with_empty_columns(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=pool())
    _head, row = kubectl("get", "workerpools").splitlines()
    name, _age = row.split()
    assert name == "emails"


def test_get_all_shows_pools(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=pool())
    assert "workerpool.corral.dev/emails" in kubectl("get", "all", "-o", "name")


def test_every_field_of_the_status_is_kept(kubectl: Kubectl) -> None:
    status = _with_status(kubectl)
    assert kubectl.json("get", "workerpool", "emails")["status"] == status


def test_a_status_is_written_by_its_subresource_only(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest={**pool(), "status": {"desired": 3}})
    kubectl("patch", "workerpool", "emails", "--type=merge", "-p", '{"status": {"desired": 4}}')
    found = kubectl.json("get", "workerpool", "emails")
    assert "status" not in found
    assert found["metadata"]["generation"] == 1


def test_writing_the_status_leaves_the_generation_and_the_spec(kubectl: Kubectl) -> None:
    _with_status(kubectl)
    patch = '{"spec": {"maxReplicas": 1}, "status": {"desired": 2}}'
    kubectl("patch", "workerpool", "emails", "--subresource=status", "--type=merge", "-p", patch)
    found = kubectl.json("get", "workerpool", "emails")
    assert (found["metadata"]["generation"], found["spec"]["maxReplicas"], found["status"]["desired"]) == (1, 20, 2)


def test_scale_sets_the_number_by_hand(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=pool())
    assert "scaled" in kubectl("scale", "workerpool", "emails", "--replicas=5")
    assert kubectl.json("get", "workerpool", "emails")["spec"]["replicas"] == 5


def test_scale_to_none_is_a_number_as_well(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=pool())
    kubectl("scale", "workerpool", "emails", "--replicas=0")
    assert kubectl.json("get", "workerpool", "emails")["spec"]["replicas"] == 0


def test_the_scale_subresource_tells_pods_and_selector(kubectl: Kubectl) -> None:
    _with_status(kubectl)
    kubectl("scale", "workerpool", "emails", "--replicas=5")
    scale = json.loads(kubectl("get", "workerpool", "emails", "--subresource=scale", "-o", "json"))
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 7, "selector": "corral.dev/pool=emails"}


def test_applying_again_leaves_a_number_set_by_hand(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", manifest=pool())
    kubectl("scale", "workerpool", "emails", "--replicas=5")
    kubectl("apply", "-f", "-", manifest=pool(maxReplicas=30))
    spec = kubectl.json("get", "workerpool", "emails")["spec"]
    assert (spec["replicas"], spec["maxReplicas"]) == (5, 30)


def test_explain_tells_what_a_target_is(kubectl: Kubectl) -> None:
    told = " ".join(kubectl("explain", "workerpool.spec.target").split())
    assert "exactly one of wait, drain and jobsPerReplica" in told
    for field in ("wait <string>", "percentile <number>", "drain <string>", "jobsPerReplica <integer>"):
        assert field in told


def test_explain_tells_the_values_of_a_mode_and_what_they_do(kubectl: Kubectl) -> None:
    told = " ".join(kubectl("explain", "workerpool.spec.mode").split())
    assert "ENUM: Auto DryRun Paused" in told
    assert "DryRun: decide and tell in the status, never act." in told


def test_a_server_side_dry_run_writes_nothing(kubectl: Kubectl) -> None:
    assert "server dry run" in kubectl("apply", "--dry-run=server", "-f", "-", manifest=pool())
    assert kubectl("get", "workerpools", "-o", "name") == ""


def test_applying_the_resource_twice_keeps_the_pools(cluster: Cluster, kubectl: Kubectl, crd_file: Path) -> None:
    kubectl("create", "-f", "-", manifest=pool())
    before = kubectl.json("get", "workerpool", "emails")
    generation = cluster.kubectl("get", "crd", "workerpools.corral.dev", "-o", "jsonpath={.metadata.generation}")
    assert "unchanged" in cluster.kubectl("apply", "-f", str(crd_file))
    applied = ("apply", "--server-side", "--force-conflicts", "-f", str(crd_file))
    cluster.kubectl(*applied)
    cluster.kubectl(*applied)
    after = cluster.kubectl("get", "crd", "workerpools.corral.dev", "-o", "jsonpath={.metadata.generation}")
    assert after == generation
    assert kubectl.json("get", "workerpool", "emails") == before
