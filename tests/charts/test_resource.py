"""The WorkerPool resource as the chart brings it: whole, upgraded with the release, and left when that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chart import CHART, of_kind, only, read_objects

if TYPE_CHECKING:
    from chart import Chart

KIND = "CustomResourceDefinition"
SOURCE = CHART / "files" / "workerpools.corral.dev.yaml"


def test_the_release_holds_the_resource_as_its_source_says(chart: Chart) -> None:
    (source,) = read_objects(SOURCE.read_text())
    brought = only(chart.objects(), KIND)
    assert brought["spec"] == source["spec"]
    assert brought["metadata"]["name"] == source["metadata"]["name"]
    assert set(source) == set(brought) == {"apiVersion", "kind", "metadata", "spec"}


def test_uninstalling_leaves_the_resource(chart: Chart) -> None:
    annotations = only(chart.objects(), KIND)["metadata"]["annotations"]
    assert annotations == {"helm.sh/resource-policy": "keep"}


def test_helm_knows_it_as_an_object_of_the_release_so_that_an_upgrade_reaches_it(chart: Chart) -> None:
    """What helm takes for the chart's CRDs (the folder crds/) it installs once and never upgrades."""
    assert chart.helm("show", "crds", str(CHART)).strip() == ""


def test_a_release_may_leave_the_resource_to_another(chart: Chart) -> None:
    objects = chart.objects({"crds": {"enabled": False}})
    assert not of_kind(objects, KIND)
    assert [one for one in chart.objects() if one["kind"] != KIND] == objects
