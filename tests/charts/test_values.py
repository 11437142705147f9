"""Values that cannot be meant are refused, and the field is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chart import Chart

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scop": "cluster"}, "'scop' not allowed"),
    ({"scope": "Cluster"}, "at '/scope'"),
    ({"namespaces": "team-a"}, "at '/namespaces'"),
    ({"scope": "namespaces", "namespaces": "team-a"}, "at '/namespaces'"),
    ({"scope": "namespaces", "namespaces": ["Team"]}, "at '/namespaces/0'"),
    ({"scope": "namespaces", "namespaces": ["a", "a"]}, "at '/namespaces'"),
    ({"secretNames": "redis"}, "at '/secretNames'"),
    ({"secretNames": ["Redis"]}, "at '/secretNames/0'"),
    ({"crds": {"enable": True}}, "'enable' not allowed"),
    ({"dryRun": "false"}, "at '/dryRun'"),
    ({"replicaCount": "2"}, "at '/replicaCount'"),
    ({"replicaCount": -1}, "at '/replicaCount'"),
    ({"image": {"tga": "1"}}, "'tga' not allowed"),
    ({"image": {"tag": 1.1}}, "at '/image/tag'"),
    ({"image": {"repository": ""}}, "at '/image/repository'"),
    ({"image": {"digest": "0123"}}, "at '/image/digest'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0'"),
    ({"log": {"level": "warn"}}, "at '/log/level'"),
    ({"extraEnv": {"A": "1"}}, "at '/extraEnv'"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value'"),
    ({"serviceAccount": {"created": True}}, "'created' not allowed"),
    ({"metricsService": {"annotations": {"a": True}}}, "at '/metricsService/annotations/a'"),
    ({"resources": {"limit": {}}}, "'limit' not allowed"),
    ({"podLabels": {"a": 1}}, "at '/podLabels/a'"),
    ({"tolerations": [{"keys": "a"}]}, "'keys' not allowed"),
    ({"affinity": {"podAntiAfinity": {}}}, "'podAntiAfinity' not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "named"), REFUSED, ids=[str(values) for values, _ in REFUSED])
def test_a_wrong_value_is_refused_by_its_name(chart: Chart, values: dict[str, Any], named: str) -> None:
    assert named in chart.refusal(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"namespaces": ["team-a"]}, "namespaces: they hold only with scope: namespaces"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name: name the ServiceAccount to use"),
        ({"extraEnv": [{"name": "CORRAL_LEASE", "value": "a/b"}]}, "extraEnv: CORRAL_LEASE is the chart's"),
        ({"extraEnv": [{"name": "CORRAL_LOG_LEVEL", "value": "debug"}]}, "extraEnv: CORRAL_LOG_LEVEL is the chart's"),
        ({"extraEnv": [{"name": "CORRAL_NAMESPACES", "value": "a"}]}, "extraEnv: CORRAL_NAMESPACES is the chart's"),
        ({"extraEnv": [{"name": "CORRAL_PORT", "value": "9000"}]}, "extraEnv: CORRAL_PORT is the chart's"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_cure(
    chart: Chart, values: dict[str, Any], said: str
) -> None:
    assert said in chart.refusal(values)


def test_what_a_chart_around_this_one_hands_down_is_not_refused(chart: Chart) -> None:
    assert chart.objects({"global": {"imageRegistry": "registry.example"}}) == chart.objects()
