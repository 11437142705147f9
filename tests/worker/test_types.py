"""What a type checker says of a user's code."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = """
from corral import Job, Worker

async def send(job: Job) -> None: ...

worker = Worker("mail", send)

@worker.on("failed")
def told(job: Job, reason: str) -> int:
    return 5

number: int = told(Job, "x")  # type: ignore[arg-type]

async def later(job_id: str) -> None: ...

same = worker.on("stalled", later)
reveal_type(told)
reveal_type(same)
"""

WRONG = """
from corral import Worker

worker = Worker("mail", print)
worker.on("done", print)
worker.on("failed", 5)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def _mypy(folder: Path, cache: Path, source: str) -> str:
    (folder / "app.py").write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "--config-file", "", "app.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False).stdout


def test_a_listener_keeps_its_own_type(tmp_path: Path, cache: Path) -> None:
    said = _mypy(tmp_path, cache, RIGHT)
    assert "error:" not in said, said
    assert 'Revealed type is "def (job: corral.job.Job, reason: str) -> int"' in said.replace("builtins.", "")
    assert "def (job_id: str) ->" in said.replace("builtins.", "")


def test_an_unknown_event_and_what_cannot_be_called_are_found(tmp_path: Path, cache: Path) -> None:
    said = _mypy(tmp_path, cache, WRONG)
    assert "app.py:5: error:" in said
    assert "app.py:6: error:" in said
