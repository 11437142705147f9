"""Folders of tests that run only when asked for: `pytest -m cluster`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "cluster: needs a real Kubernetes, or builds images; not part of `make test`"


def only_when_asked_for(config: pytest.Config, items: list[pytest.Item], folder: Path) -> list[pytest.Item]:
    """Mark every test of the folder, and give them; leave them out where no `-m` says what to run."""
    ours = [item for item in items if item.path.is_relative_to(folder)]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
    if ours and not config.option.markexpr:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if not item.path.is_relative_to(folder)]
    return ours


def cannot_run(reason: str) -> NoReturn:
    """Skip on a laptop, fail where everything is supposed to be there."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{reason} (with CI set nothing may be skipped)", pytrace=False)
    pytest.skip(reason)
