"""Finding the worker objects of `corral work`, and saying what was not found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from corral import ConfigurationError, Worker
from corral.loading import load_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKER = "from corral import Worker\nworker = Worker('mail', print)\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module into the current folder: `module("app", source)`; forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_worker_is_found_in_a_module_of_the_current_folder(module: Callable[[str, str], None]) -> None:
    module("emails", WORKER)
    (found,) = load_workers(["emails:worker"])
    assert isinstance(found, Worker)


def test_worker_is_the_name_when_none_is_given(module: Callable[[str, str], None]) -> None:
    module("emails", WORKER)
    assert load_workers(["emails"]) == load_workers(["emails:worker"])


def test_a_worker_may_lie_in_a_package_and_in_an_object(module: Callable[[str, str], None]) -> None:
    module("app.jobs", WORKER + "class All:\n    mail = worker\n")
    assert load_workers(["app.jobs:All.mail"]) == load_workers(["app.jobs:worker"])


def test_several_are_given_in_order(module: Callable[[str, str], None]) -> None:
    module("one", WORKER)
    module("two", WORKER)
    first, second = load_workers(["one", "two"])
    assert (first, second) == (sys.modules["one"].worker, sys.modules["two"].worker)
    assert first is not second


def test_a_missing_module_is_told_with_the_folder(module: Callable[[str, str], None], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no module 'nowhere'") as caught:
        load_workers(["nowhere:worker"])
    assert str(tmp_path) in str(caught.value)


def test_a_missing_part_of_a_package_is_told(module: Callable[[str, str], None]) -> None:
    module("app.jobs", WORKER)
    with pytest.raises(ConfigurationError, match=r"there is no module 'app\.nothing'"):
        load_workers(["app.nothing"])


def test_a_module_that_needs_what_is_not_installed_says_what(module: Callable[[str, str], None]) -> None:
    module("emails", "import nowhere_to_be_found\n")
    with pytest.raises(ConfigurationError, match="module 'emails' needs 'nowhere_to_be_found', which is not installed"):
        load_workers(["emails"])


def test_an_error_inside_a_module_says_where(module: Callable[[str, str], None]) -> None:
    module("emails", "x = 1\nraise ValueError('no settings')\n")
    with pytest.raises(
        ConfigurationError, match=r"cannot be imported: ValueError: no settings \(.*emails.py, line 2\)"
    ):
        load_workers(["emails"])


def test_a_module_that_is_no_python_is_told(module: Callable[[str, str], None]) -> None:
    module("emails", "def:\n")
    with pytest.raises(ConfigurationError, match="'emails' cannot be imported: SyntaxError"):
        load_workers(["emails"])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("emails:wrker", "'wrker' does not exist in module 'emails'; it has emails:worker"),
        ("emails:text", "'text' is str, not a Worker in module 'emails'; it has emails:worker"),
        ("emails:Worker", "'Worker' is type, not a Worker"),
        ("emails:text.more", r"'text\.more' does not exist"),
        ("plain:worker", "'worker' does not exist in module 'plain'; it has no Worker at all"),
    ],
)
def test_what_is_no_worker_is_told_with_those_there_are(
    module: Callable[[str, str], None], reference: str, message: str
) -> None:
    module("emails", WORKER + "text = 'x'\n")
    module("plain", "x = 1\n")
    with pytest.raises(ConfigurationError, match=message):
        load_workers([reference])


@pytest.mark.parametrize("reference", ["", ":worker", ".emails"])
def test_what_names_no_module_is_refused(module: Callable[[str, str], None], reference: str) -> None:
    with pytest.raises(ConfigurationError, match="module"):
        load_workers([reference])
