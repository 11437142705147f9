"""Fixtures over a real helm. No test of this folder needs a cluster."""

from __future__ import annotations

import pytest

from asked_for import cannot_run
from chart import Chart
from helm import Helm, HelmMissingError, find_helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm from PATH, or else from PyPI."""
    try:
        return Helm(find_helm(), tmp_path_factory.mktemp("helm"))
    except HelmMissingError as missing:
        cannot_run(str(missing))


@pytest.fixture(scope="session")
def chart(helm: Helm) -> Chart:
    """The chart with that helm."""
    return Chart(helm)
