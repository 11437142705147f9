"""Good and bad WorkerPools on a real API server: what is taken, and what a refusal says.

Each row is one limit of charts/corral/files/workerpools.corral.dev.yaml. A refusal must name the field, for that is what a user sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from corral_operator.fields import DURATION_PATTERN
from corral_operator.spec import read_spec
from pools import adopting, pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from control_plane import Cluster
    from kubectl import Kubectl, Manifest

Node = dict[str, Any]

QUEUES_33 = [{"name": f"q{number}"} for number in range(33)]
CONTAINER = {"name": "worker", "image": "registry.example/emails:1.4"}
OFFICE = {"name": "office", "cron": "0 8 * * 1-5", "duration": "10h", "timeZone": "Europe/Berlin", "minReplicas": 3}


def template(**pod: Any) -> Manifest:
    return {"spec": {"containers": [CONTAINER], **pod}}


def office(**changes: Any) -> Manifest:
    """A pool with one schedule, changed; None takes a field of it away."""
    return pool(schedules=[{key: value for key, value in {**OFFICE, **changes}.items() if value is not None}])


GOOD = {
    "the longest name": pool("a" * 63),
    "a Secret with dots in its name": pool(redis={"secretRef": {"name": "redis.prod-1"}}),
    "a prefix that is a hash tag": pool(prefix="{bull}"),
    "a prefix with a colon": pool(prefix="app:bull"),
    "workers that are not Corral's": pool(runtime="Any"),
    "32 queues": pool(queues=QUEUES_33[:32]),
    "a queue of one letter": pool(queues=[{"name": "q"}]),
    "a queue with spaces and signs": pool(queues=[{"name": "Bulk mail {eu}/2024-01.x"}]),
    "a queue of 200 letters": pool(queues=[{"name": "q" * 200}]),
    "as few as most": pool(minReplicas=20, maxReplicas=20),
    "one pod at most": pool(maxReplicas=1),
    "many jobs per pod": pool(concurrency=500),
    "a wait": pool(target={"wait": "30s"}),
    "a wait of mixed units": pool(target={"wait": "1h30m5s250ms"}),
    "a wait with a percentile": pool(target={"wait": "30s", "percentile": 99}),
    "a wait with a fine percentile": pool(target={"wait": "30s", "percentile": 99.9}),
    "a drain": pool(target={"drain": "5m"}),
    "a number of jobs per replica": pool(target={"jobsPerReplica": 50}),
    "a wait of a week": pool(target={"wait": "168h"}),
    "part of a second per job": pool(jobSeconds=0.02),
    "every behavior": pool(
        behavior={"up": {"step": 4, "window": "0s"}, "down": {"step": 1, "window": "2m"}, "tolerance": 0}
    ),
    "half a behavior": pool(behavior={"down": {}}),
    "no pause before zero": pool(idleAfter="0s"),
    "a schedule": office(),
    "a schedule in UTC": office(timeZone=None),
    "a ceiling by the clock": office(minReplicas=None, maxReplicas=1),
    "a floor and a ceiling by the clock": office(minReplicas=20, maxReplicas=20),
    "a floor of none by the clock": office(minReplicas=0),
    "a schedule of a year": office(cron="0 0 1 1 *", duration="8784h"),
    "a cron of names and spaces": office(cron="*/5  8-18/2 1,15 JAN-MAR MON-FRI"),
    "no schedules": pool(schedules=[]),
    "32 schedules": pool(schedules=[{**OFFICE, "name": f"s{number}"} for number in range(32)]),
    "a fallback of the least words": pool(fallback={}),
    "a fallback that holds": pool(fallback={"after": "5m", "policy": "Hold"}),
    "a fallback of no fewer": pool(fallback={"after": "90s", "policy": "AtLeast", "replicas": 4}),
    "a fallback of a number": pool(fallback={"policy": "Replicas", "replicas": 20}),
    "busy pods are drained": pool(protection={"busy": "Drain", "maxDrain": "30m"}),
    "busy pods are told by their cost": pool(protection={"busy": "Cost"}),
    "busy pods are not protected": pool(protection={"busy": "None"}),
    "no time to drain a pod": pool(protection={"maxDrain": "0s"}),
    "a dry run": pool(mode="DryRun"),
    "a paused pool": pool(mode="Paused"),
    "a number set by hand": pool(replicas=5),
    "no pods, set by hand": pool(replicas=0),
    "a hand above the bounds": pool(replicas=100),
    "a grace period": pool(gracePeriod="10m"),
    "a template with everything a pod may have": pool(
        template={
            "metadata": {"labels": {"team": "mail"}, "annotations": {"a/b": "c"}},
            "spec": {
                "containers": [{**CONTAINER, "env": [{"name": "A", "value": "b"}]}, {"name": "side", "image": "s:1"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "fieldOfALaterKubernetes": {"deep": [1, 2]},
            },
        }
    ),
    "a Deployment of the user's": adopting(),
    "hints for a Deployment of the user's": adopting(concurrency=10, jobSeconds=2, runtime="Any"),
}

# Name: the pool, and what the refusal says.
BAD: dict[str, tuple[Manifest, str]] = {
    "a name that is no label": (pool("a" * 64), "metadata.name: at most 63 characters"),
    "no spec": ({key: value for key, value in pool().items() if key != "spec"}, "spec: Required value"),
    # redis
    "no redis": (pool(redis=None), "spec.redis: Required value"),
    "no Secret": (pool(redis={}), "spec.redis.secretRef: Required value"),
    "no name of a Secret": (pool(redis={"secretRef": {}}), "spec.redis.secretRef.name: Required value"),
    "an empty name of a Secret": (pool(redis={"secretRef": {"name": ""}}), "spec.redis.secretRef.name: Invalid value"),
    "a Secret in capitals": (pool(redis={"secretRef": {"name": "Redis"}}), "spec.redis.secretRef.name: Invalid value"),
    "a too long name of a Secret": (
        pool(redis={"secretRef": {"name": "r" * 254}}),
        "spec.redis.secretRef.name: Too long",
    ),
    "an empty prefix": (pool(prefix=""), "spec.prefix: Invalid value"),
    "a too long prefix": (pool(prefix="p" * 201), "spec.prefix: Too long"),
    # runtime and mode
    "a runtime that is none": (
        pool(runtime="Node"),
        'spec.runtime: Unsupported value: "Node": supported values: "Corral", "Any"',
    ),
    "a mode that is none": (
        pool(mode="auto"),
        'spec.mode: Unsupported value: "auto": supported values: "Auto", "DryRun", "Paused"',
    ),
    # queues
    "no word of queues": (pool(queues=None), "spec.queues: Required value"),
    "no queue": (pool(queues=[]), "spec.queues: Invalid value"),
    "33 queues": (pool(queues=QUEUES_33), "spec.queues: Too many: 33: must have at most 32 items"),
    "a queue twice": (pool(queues=[{"name": "q"}, {"name": "q"}]), "spec.queues[1]: Duplicate value"),
    "a queue without a name": (pool(queues=[{}]), "spec.queues[0].name: Required value"),
    "an empty name of a queue": (pool(queues=[{"name": ""}]), "spec.queues[0].name: Invalid value"),
    "a too long name of a queue": (pool(queues=[{"name": "q" * 201}]), "spec.queues[0].name: Too long"),
    "a queue with a colon": (
        pool(queues=[{"name": "a:b"}]),
        'spec.queues[0].name: Invalid value: "a:b": a name of a queue has no colon',
    ),
    "a queue with a comma": (
        pool(queues=[{"name": "a,b"}]),
        'spec.queues[0].name: Invalid value: "a,b": a name of a queue has no colon',
    ),
    "a queue with a space before": (
        pool(queues=[{"name": " a"}]),
        'spec.queues[0].name: Invalid value: " a": a name of a queue has no colon',
    ),
    "a queue with a line break behind": (
        pool(queues=[{"name": "a\n"}]),
        'spec.queues[0].name: Invalid value: "a\\n": a name of a queue has no colon',
    ),
    # how many
    "no most": (pool(maxReplicas=None), "spec.maxReplicas: Required value"),
    "at most none": (pool(maxReplicas=0), "spec.maxReplicas: Invalid value"),
    "fewer than none": (pool(minReplicas=-1), "spec.minReplicas: Invalid value"),
    "more least than most": (
        pool(minReplicas=21),
        "spec.minReplicas: Invalid value: spec.minReplicas: at most spec.maxReplicas",
    ),
    "more than an int32": (pool(maxReplicas=2**31), "must be of type integer with format int32 in spec.maxReplicas"),
    "no job at once": (pool(concurrency=0), "spec.concurrency: Invalid value"),
    "half a job at once": (pool(concurrency=1.5), "spec.concurrency: Invalid value"),
    "fewer than none by hand": (pool(replicas=-1), "spec.replicas: Invalid value"),
    # target
    "an empty target": (pool(target={}), "spec.target: exactly one of wait, drain and jobsPerReplica"),
    "two targets": (
        pool(target={"wait": "30s", "drain": "5m"}),
        "spec.target: exactly one of wait, drain and jobsPerReplica",
    ),
    "three targets": (
        pool(target={"wait": "30s", "drain": "5m", "jobsPerReplica": 1}),
        "spec.target: exactly one of wait, drain and jobsPerReplica",
    ),
    "a percentile of a drain": (
        pool(target={"drain": "5m", "percentile": 95}),
        "spec.target.percentile: Invalid value: spec.target.percentile: only with spec.target.wait",
    ),
    "a percentile alone": (
        pool(target={"percentile": 95}),
        "spec.target: exactly one of wait, drain and jobsPerReplica",
    ),
    "a percentile of 0": (pool(target={"wait": "30s", "percentile": 0}), "spec.target.percentile: Invalid value"),
    "a percentile of 100": (pool(target={"wait": "30s", "percentile": 100}), "spec.target.percentile: Invalid value"),
    "no job per replica": (pool(target={"jobsPerReplica": 0}), "spec.target.jobsPerReplica: Invalid value"),
    "no wait at all": (pool(target={"wait": "0s"}), "spec.target.wait: more than 0s, at most 168h"),
    "a wait of more than a week": (pool(target={"wait": "169h"}), "spec.target.wait: more than 0s, at most 168h"),
    "no time to drain": (pool(target={"drain": "0ms"}), "spec.target.drain: more than 0s, at most 168h"),
    "a drain of more than a week": (pool(target={"drain": "10081m"}), "spec.target.drain: more than 0s, at most 168h"),
    "a target that is a word": (pool(target="30s"), "spec.target: Invalid value"),
    # seconds per job
    "a job of no time": (pool(jobSeconds=0), "spec.jobSeconds: Invalid value"),
    "a job of more than a week": (pool(jobSeconds=604801), "spec.jobSeconds: Invalid value"),
    "a job of a duration": (pool(jobSeconds="2s"), "spec.jobSeconds: Invalid value"),
    # behavior
    "a step up of none": (pool(behavior={"up": {"step": 0}}), "spec.behavior.up.step: Invalid value"),
    "a step down of none": (pool(behavior={"down": {"step": 0}}), "spec.behavior.down.step: Invalid value"),
    "a window up of more than a day": (
        pool(behavior={"up": {"window": "25h"}}),
        "spec.behavior.up.window: at most 24h",
    ),
    "a window down of more than a day": (
        pool(behavior={"down": {"window": "25h"}}),
        "spec.behavior.down.window: at most 24h",
    ),
    "a tolerance below 0": (pool(behavior={"tolerance": -1}), "spec.behavior.tolerance: Invalid value"),
    "a tolerance above 100": (pool(behavior={"tolerance": 101}), "spec.behavior.tolerance: Invalid value"),
    "a tolerance with a sign": (pool(behavior={"tolerance": "10%"}), "spec.behavior.tolerance: Invalid value"),
    # other times
    "an idleAfter of more than a week": (pool(idleAfter="169h"), "spec.idleAfter: at most 168h"),
    "a grace period of no second": (pool(gracePeriod="999ms"), "spec.gracePeriod: from 1s to 168h"),
    "a grace period of more than a week": (pool(gracePeriod="169h"), "spec.gracePeriod: from 1s to 168h"),
    "a grace period for a Deployment of the user's": (
        adopting(gracePeriod="10m"),
        "spec.gracePeriod: Invalid value: spec.gracePeriod: only with spec.template",
    ),
    # schedules
    "33 schedules": (
        pool(schedules=[{**OFFICE, "name": f"s{number}"} for number in range(33)]),
        "spec.schedules: Too many: 33: must have at most 32 items",
    ),
    "a schedule twice": (pool(schedules=[OFFICE, OFFICE]), "spec.schedules[1]: Duplicate value"),
    "a schedule without a name": (office(name=None), "spec.schedules[0].name: Required value"),
    "a schedule with a space in its name": (office(name="my office"), "spec.schedules[0].name: Invalid value"),
    "a too long name of a schedule": (office(name="s" * 64), "spec.schedules[0].name: Too long"),
    "a schedule without a beginning": (office(cron=None), "spec.schedules[0].cron: Required value"),
    "a cron of four fields": (
        office(cron="0 8 * *"),
        'spec.schedules[0].cron: Invalid value: "0 8 * *": spec.schedules[].cron: five fields',
    ),
    "a cron of six fields": (office(cron="0 0 8 * * 1"), "spec.schedules[].cron: five fields, like 0 8 * * 1-5"),
    "a cron of a word": (office(cron="@daily"), "spec.schedules[].cron: five fields, like 0 8 * * 1-5"),
    "a too long cron": (office(cron="0 8 * * " + "1," * 97), "spec.schedules[0].cron: Too long"),
    "an empty time zone": (office(timeZone=""), "spec.schedules[0].timeZone: Invalid value"),
    "a too long time zone": (office(timeZone="z" * 65), "spec.schedules[0].timeZone: Too long"),
    "a schedule without a duration": (office(duration=None), "spec.schedules[0].duration: Required value"),
    "a schedule of no time": (office(duration="0s"), "spec.schedules[].duration: more than 0s, at most 8784h"),
    "a schedule of more than a year": (
        office(duration="8785h"),
        "spec.schedules[].duration: more than 0s, at most 8784h",
    ),
    "a schedule of no floor and no ceiling": (
        office(minReplicas=None),
        "spec.schedules[0]: Invalid value: spec.schedules[]: minReplicas or maxReplicas, or both",
    ),
    "a floor above its own ceiling": (
        office(maxReplicas=2),
        "spec.schedules[0].minReplicas: Invalid value: spec.schedules[].minReplicas: at most the maxReplicas of the same",
    ),
    "a floor above the most": (
        office(minReplicas=21),
        "spec.schedules: Invalid value: spec.schedules[].minReplicas: at most spec.maxReplicas",
    ),
    "a ceiling above the most": (
        office(minReplicas=None, maxReplicas=21),
        "spec.schedules: Invalid value: spec.schedules[].maxReplicas: at most spec.maxReplicas",
    ),
    "a floor below none": (office(minReplicas=-1), "spec.schedules[0].minReplicas: Invalid value"),
    "a ceiling of none": (office(minReplicas=None, maxReplicas=0), "spec.schedules[0].maxReplicas: Invalid value"),
    # fallback
    "a fallback that is none": (
        pool(fallback={"policy": "Static", "replicas": 1}),
        'spec.fallback.policy: Unsupported value: "Static": supported values: "Hold", "AtLeast", "Replicas"',
    ),
    "a fallback of no fewer than what": (
        pool(fallback={"policy": "AtLeast"}),
        "spec.fallback: Invalid value: spec.fallback.replicas: with the policies AtLeast and Replicas",
    ),
    "a fallback of no number": (
        pool(fallback={"policy": "Replicas"}),
        "spec.fallback: Invalid value: spec.fallback.replicas: with the policies AtLeast and Replicas",
    ),
    "a number of a fallback that holds": (
        pool(fallback={"policy": "Hold", "replicas": 2}),
        "spec.fallback: Invalid value: spec.fallback.replicas: with the policies AtLeast and Replicas",
    ),
    "a number of no fallback": (
        pool(fallback={"replicas": 2}),
        "spec.fallback: Invalid value: spec.fallback.replicas: with the policies AtLeast and Replicas",
    ),
    "a fallback to none": (
        pool(fallback={"policy": "Replicas", "replicas": 0}),
        "spec.fallback.replicas: Invalid value",
    ),
    "a fallback above the most": (
        pool(fallback={"policy": "AtLeast", "replicas": 21}),
        "spec.fallback.replicas: Invalid value: spec.fallback.replicas: at most spec.maxReplicas",
    ),
    "a fallback at once": (
        pool(fallback={"after": "0s"}),
        "spec.fallback.after: more than 0s, at most 168h",
    ),
    "a fallback after more than a week": (
        pool(fallback={"after": "169h"}),
        "spec.fallback.after: more than 0s, at most 168h",
    ),
    # protection
    "a protection that is none": (
        pool(protection={"busy": "Cordon"}),
        'spec.protection.busy: Unsupported value: "Cordon": supported values: "Drain", "Cost", "None"',
    ),
    "a drain of a pod of more than a week": (
        pool(protection={"maxDrain": "169h"}),
        "spec.protection.maxDrain: at most 168h",
    ),
    "a field that is none in a protection": (
        pool(protection={"maxDrains": "1m"}),
        'unknown field "spec.protection.maxDrains"',
    ),
    # template or Deployment
    "no template and no Deployment": (pool(template=None), "spec.template, spec.deploymentRef: exactly one of the two"),
    "a template and a Deployment": (
        pool(deploymentRef={"name": "emails"}),
        "spec.template, spec.deploymentRef: exactly one of the two",
    ),
    "a template without pods": (pool(template={}), "spec.template.spec: Required value"),
    "pods without containers": (pool(template={"spec": {}}), "spec.template.spec.containers: Required value"),
    "pods with no container": (pool(template=template(containers=[])), "spec.template.spec.containers: Invalid value"),
    "a container without a name": (
        pool(template=template(containers=[{"image": "a"}])),
        "spec.template.spec.containers[0].name: Required value",
    ),
    "a container twice": (
        pool(template=template(containers=[CONTAINER, CONTAINER])),
        "spec.template.spec.containers[1]: Duplicate value",
    ),
    "a Deployment without a name": (adopting(deploymentRef={}), "spec.deploymentRef.name: Required value"),
    "a Deployment in capitals": (adopting(deployment="Emails"), "spec.deploymentRef.name: Invalid value"),
    # what a typing error makes
    "a field that is none": (pool(maxReplica=3), 'unknown field "spec.maxReplica"'),
    "a field that is none in a target": (pool(target={"waits": "30s"}), 'unknown field "spec.target.waits"'),
}

# A duration that is none, for each field that takes one.
DURATIONS: dict[str, Callable[[str], Manifest]] = {
    "spec.target.wait": lambda text: pool(target={"wait": text}),
    "spec.target.drain": lambda text: pool(target={"drain": text}),
    "spec.behavior.up.window": lambda text: pool(behavior={"up": {"window": text}}),
    "spec.behavior.down.window": lambda text: pool(behavior={"down": {"window": text}}),
    "spec.idleAfter": lambda text: pool(idleAfter=text),
    "spec.gracePeriod": lambda text: pool(gracePeriod=text),
    "spec.schedules[0].duration": lambda text: office(duration=text),
    "spec.fallback.after": lambda text: pool(fallback={"after": text}),
    "spec.protection.maxDrain": lambda text: pool(protection={"maxDrain": text}),
}
# The last one fits the pattern and no clock.
NO_DURATIONS = ["", "30", "30 s", "1d", "1.5h", "-30s", "auto", "30S", "30s1m", "1" * 32 + "s", "99999999999999999999h"]

# Each change from one good pool to another that is refused.
FIXED: dict[str, tuple[Manifest, Manifest, str]] = {
    "from a template to a Deployment": (
        pool(),
        adopting(template=None),
        "spec.template, spec.deploymentRef: a pool does not change from one to the other",
    ),
    "from a Deployment to a template": (
        adopting(),
        pool(),
        "spec.template, spec.deploymentRef: a pool does not change from one to the other",
    ),
    "to another Deployment": (
        adopting(deployment="emails"),
        adopting(deployment="letters"),
        'spec.deploymentRef.name: Invalid value: "letters": spec.deploymentRef.name: cannot change',
    ),
}

# autoscaling.md's ten lines, as a user writes them.
TEN_LINES = """
apiVersion: corral.dev/v1alpha1
kind: WorkerPool
metadata: {name: emails}
spec:
  redis: {secretRef: {name: redis}}
  queues: [{name: emails}]
  maxReplicas: 20
  target: {wait: 30s}
  template: {spec: {containers: [{name: worker, image: registry.example/emails:1.4}]}}
"""

TRY = ("create", "--dry-run=server", "--validate=strict", "-f", "-")


@pytest.mark.parametrize("manifest", GOOD.values(), ids=GOOD)
def test_a_good_pool_is_taken(cluster: Cluster, manifest: Manifest) -> None:
    cluster.kubectl(*TRY, manifest=manifest)


@pytest.mark.parametrize("manifest", GOOD.values(), ids=GOOD)
def test_the_operator_can_read_every_pool_that_is_taken(manifest: Manifest) -> None:
    assert read_spec("emails", "default", manifest["spec"]).queues


@pytest.mark.parametrize(("manifest", "says"), BAD.values(), ids=BAD)
def test_a_bad_pool_is_refused_by_the_name_of_the_field(cluster: Cluster, manifest: Manifest, says: str) -> None:
    assert says in cluster.kubectl.refusal(*TRY, manifest=manifest)


@pytest.mark.parametrize("text", NO_DURATIONS)
@pytest.mark.parametrize("field", DURATIONS)
def test_what_is_no_duration_is_refused_by_the_name_of_the_field(cluster: Cluster, field: str, text: str) -> None:
    assert f"{field}: " in cluster.kubectl.refusal(*TRY, manifest=DURATIONS[field](text))


@pytest.mark.parametrize(("before", "after", "says"), FIXED.values(), ids=FIXED)
def test_what_a_pool_is_over_cannot_change(kubectl: Kubectl, before: Manifest, after: Manifest, says: str) -> None:
    kubectl("create", "-f", "-", manifest=before)
    assert says in kubectl.refusal("replace", "-f", "-", manifest=after)


def test_the_ten_line_pool_is_taken_and_gets_these_defaults(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(TEN_LINES)
    kubectl("apply", "-f", str(file))
    spec = kubectl.json("get", "workerpool", "emails")["spec"]
    assert spec == {
        "redis": {"secretRef": {"name": "redis"}},
        "prefix": "bull",
        "runtime": "Corral",
        "queues": [{"name": "emails"}],
        "minReplicas": 0,
        "maxReplicas": 20,
        "target": {"wait": "30s"},
        "mode": "Auto",
        "template": {"spec": {"containers": [{"name": "worker", "image": "registry.example/emails:1.4"}]}},
    }


def test_nothing_of_a_template_is_lost(kubectl: Kubectl) -> None:
    manifest = GOOD["a template with everything a pod may have"]
    kubectl("create", "-f", "-", manifest=manifest)
    assert kubectl.json("get", "workerpool", "emails")["spec"]["template"] == manifest["spec"]["template"]


@pytest.mark.parametrize("how", [["apply"], ["apply", "--server-side"]], ids=["apply", "server-side apply"])
@pytest.mark.parametrize("first", [None, {"wait": "30s", "percentile": 99}], ids=["no target", "a wait"])
def test_a_target_gives_way_to_another(kubectl: Kubectl, how: list[str], first: Manifest | None) -> None:
    """A default inside `target`, or one for all of it, would stay beside the target that the user asks for later."""
    kubectl(*how, "-f", "-", manifest=pool(target=first))
    kubectl(*how, "-f", "-", manifest=pool(target={"drain": "5m"}))
    assert kubectl.json("get", "workerpool", "emails")["spec"]["target"] == {"drain": "5m"}


@pytest.mark.parametrize("how", ["create", "apply"])
def test_a_null_of_replicas_is_automatic(kubectl: Kubectl, how: str) -> None:
    manifest = pool()
    manifest["spec"]["replicas"] = None
    kubectl(how, "-f", "-", manifest=manifest)
    assert "replicas" not in kubectl.json("get", "workerpool", "emails")["spec"]


def test_server_side_apply_refuses_a_null_of_replicas_by_its_name(kubectl: Kubectl) -> None:
    """It keeps nulls, whatever the schema says."""
    manifest = pool()
    manifest["spec"]["replicas"] = None
    assert "spec.replicas: Invalid value" in kubectl.refusal("apply", "--server-side", "-f", "-", manifest=manifest)


def test_a_number_set_by_hand_can_be_taken_away(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=pool(replicas=3))
    kubectl("patch", "workerpool", "emails", "--type=merge", "-p", '{"spec": {"replicas": null}}')
    assert "replicas" not in kubectl.json("get", "workerpool", "emails")["spec"]


def test_every_rule_of_the_schema_is_tried_above(schema: Node) -> None:
    refusals = [says for _, says in BAD.values()] + [says for _, _, says in FIXED.values()]
    rules = [rule["message"] for node in _nodes(schema).values() for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 10
    assert [message for message in rules if not any(message[:25] in says for says in refusals)] == []


def test_every_duration_is_what_the_operator_takes_for_one(schema: Node) -> None:
    paths = [f".{field.replace('[0]', '[]')}" for field in DURATIONS]
    patterns = {path: _nodes(schema)[path]["pattern"] for path in paths}
    assert patterns == dict.fromkeys(paths, DURATION_PATTERN)


def test_every_string_and_list_has_a_limit_and_every_field_a_description(schema: Node) -> None:
    nodes = {path: node for path, node in _nodes(schema).items() if path.startswith((".spec", ".status"))}
    assert [
        path for path, node in nodes.items() if node["type"] == "string" and not node.keys() & {"maxLength", "enum"}
    ] == []
    assert [path for path, node in nodes.items() if node["type"] == "array" and "maxItems" not in node] == []
    assert [path for path, node in nodes.items() if "description" not in node and not path.endswith("[]")] == []


@pytest.fixture(scope="module")
def schema(cluster: Cluster) -> Node:
    """The schema as the API server has it."""
    crd = cluster.kubectl.json("get", "crd", "workerpools.corral.dev")
    found: Node = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _nodes(node: Node, path: str = "") -> dict[str, Node]:
    """The schema's nodes by their path, `.spec.queues[].name` say."""
    found = {path: node}
    for name, child in node.get("properties", {}).items():
        found |= _nodes(child, f"{path}.{name}")
    if "items" in node:
        found |= _nodes(node["items"], f"{path}[]")
    return found
