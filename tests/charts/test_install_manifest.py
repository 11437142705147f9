"""manifests/install.yaml is what the chart renders to today, in an order that `kubectl apply` can follow."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from chart import CHART, read_objects

if TYPE_CHECKING:
    from pathlib import Path

    from chart import Chart
    from helm import Helm
    from kubectl import Manifest

ROOT = CHART.parents[1]
INSTALL = ROOT / "manifests" / "install.yaml"
SCRIPT = ROOT / "charts" / "install_manifest.py"


@pytest.fixture
def shipped() -> list[Manifest]:
    return read_objects(INSTALL.read_text())


def test_the_manifest_is_fresh(helm: Helm, tmp_path: Path, shipped: list[Manifest]) -> None:
    """Compared as objects: two versions of helm may lay out the same ones in two ways."""
    rendered = tmp_path / "install.yaml"
    subprocess.run([sys.executable, str(SCRIPT), str(helm.program), str(rendered)], check=True)
    if read_objects(rendered.read_text()) != shipped:
        pytest.fail("manifests/install.yaml is not what the chart renders to: run `make manifests`", pytrace=False)
    assert list(tmp_path.iterdir()) == [rendered]


def test_the_namespace_comes_first_and_then_the_resource(shipped: list[Manifest]) -> None:
    assert [one["kind"] for one in shipped[:3]] == ["Namespace", "CustomResourceDefinition", "PodDisruptionBudget"]
    assert shipped[0]["metadata"]["name"] == "corral-system"
    assert {one["metadata"].get("namespace", "corral-system") for one in shipped} == {"corral-system"}


def test_the_manifest_holds_all_of_the_chart_and_no_word_of_helm(chart: Chart, shipped: list[Manifest]) -> None:
    assert "helm" not in INSTALL.read_text().lower()
    of_chart = chart.objects()
    assert {(one["kind"], one["metadata"]["name"]) for one in of_chart} == {
        (one["kind"], one["metadata"]["name"]) for one in shipped[1:]
    }
    specs = {one["kind"]: one["spec"] for one in of_chart if "spec" in one}
    assert specs == {one["kind"]: one["spec"] for one in shipped[1:] if "spec" in one}


def test_a_chart_that_does_not_render_leaves_the_old_manifest(tmp_path: Path) -> None:
    kept = tmp_path / "install.yaml"
    kept.write_text("old")
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "false", str(kept)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("install.yaml was not rendered: ")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
