"""What `import corral` gives, and that it can be read without its source."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import is_dataclass
from enum import Enum
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pytest

import corral

PUBLIC = [name for name in corral.__all__ if name != "__version__"]


def test_the_names_are_sorted_and_there() -> None:
    assert corral.__all__ == sorted(corral.__all__)
    assert len(set(corral.__all__)) == len(corral.__all__)
    assert all(hasattr(corral, name) for name in corral.__all__)


def test_nothing_else_of_ours_lies_in_the_package_by_accident() -> None:
    stray = [
        name
        for name, value in vars(corral).items()
        if getattr(value, "__module__", "").startswith("corral") and name not in corral.__all__
    ]
    assert stray == []


def test_the_version_is_the_distributions() -> None:
    assert corral.__version__ == version("corral")


def test_type_checkers_are_told_that_there_are_types() -> None:
    assert (files("corral") / "py.typed").is_file()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(corral, name)
    text = vars(value).get("__doc__") or ""
    # A dataclass without a docstring gets its signature for one.
    assert text
    assert not (is_dataclass(value) and text.startswith(f"{name}("))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_has_a_docstring(name: str) -> None:
    value: Any = getattr(corral, name)
    if issubclass(value, Enum):
        return
    silent = [
        member
        for member, found in vars(value).items()
        if not member.startswith("_")
        and (inspect.isfunction(found) or isinstance(found, property | classmethod))
        and not inspect.getdoc(found)
    ]
    assert silent == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_comes_from_a_module_of_corral(name: str) -> None:
    assert getattr(corral, name).__module__.startswith("corral.")


def test_importing_corral_does_not_import_the_operator_or_the_command_line() -> None:
    code = "import sys, corral; print([m for m in sys.modules if m.startswith('corral_operator') or m == 'corral.cli'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
