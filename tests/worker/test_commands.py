"""Commands of other packages at `corral`: there, or not installed."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING

import pytest

from corral import cli

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "corral.commands"

GREETER = """
def register(commands):
    commands.add_parser("greet", help="say hello").set_defaults(run=lambda _: print("hello") or 0)
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One command that is there, one whose package is not, one that lacks a package itself."""
    (tmp_path / "greeter_command.py").write_text(GREETER)
    (tmp_path / "broken_command.py").write_text("import no_such_library\n" + GREETER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "greeter_command", raising=False)  # of the test before
    entries = EntryPoints(
        [
            EntryPoint("greet", "greeter_command:register", GROUP),
            EntryPoint("absent", "no_such_package.command:register", GROUP),
            EntryPoint("broken", "broken_command:register", GROUP),
        ]
    )
    monkeypatch.setattr(cli, "entry_points", lambda group: entries.select(group=group))


@pytest.mark.usefixtures("installed")
def test_what_is_not_installed_is_not_listed_and_makes_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    told = capsys.readouterr()
    assert (ended.value.code, told.err) == (0, "")
    assert "work" in told.out
    assert "greet " in told.out
    assert "absent" not in told.out
    assert "broken" not in told.out


@pytest.mark.usefixtures("installed")
def test_a_command_that_is_there_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("command", "lacks"), [("absent", "no_such_package"), ("broken", "no_such_library")])
def test_a_command_that_is_not_installed_names_what_it_lacks(
    command: str, lacks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command]) == 2
    assert capsys.readouterr().err == f"corral: `corral {command}` needs {lacks!r}: install it, or run this elsewhere\n"


@pytest.mark.usefixtures("installed")
def test_another_failure_of_a_command_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "greeter_command.py").write_text("raise RuntimeError('broken on purpose')\n")
    with pytest.raises(RuntimeError, match="broken on purpose"):
        cli.main(["--version"])
