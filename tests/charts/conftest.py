"""Fixtures over a real helm. No test of this folder needs a cluster."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from chart import Chart
from helm import Helm, HelmMissingError, find_helm


def _cannot_run(reason: str) -> NoReturn:
    """Skip on a laptop, fail where everything is supposed to be there."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{reason} (with CI set nothing may be skipped)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm from PATH, or else from PyPI."""
    try:
        return Helm(find_helm(), tmp_path_factory.mktemp("helm"))
    except HelmMissingError as missing:
        _cannot_run(str(missing))


@pytest.fixture(scope="session")
def chart(helm: Helm) -> Chart:
    """The chart with that helm."""
    return Chart(helm)
