"""Every promise of the handshake and of scaling has a test of its own; PROMISES.md says which."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def promises() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each row of the tables: the promise, and the file and name of each of its tests."""
    lines = (TESTS / "PROMISES.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [(row[0], _TEST.findall(row[1])) for row in cells if row[0] not in ("promise", "---")]


@functools.cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests of a file, those of its classes too."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found if node.name.startswith("test_"))


@pytest.mark.parametrize(("promise", "tests"), promises())
def test_every_promise_names_tests_that_there_are(promise: str, tests: list[tuple[str, str]]) -> None:
    assert tests, f"nothing tests: {promise}"
    missing = [f"{file}::{name}" for file, name in tests if not (TESTS / file).exists() or name not in names_in(file)]
    assert missing == []
