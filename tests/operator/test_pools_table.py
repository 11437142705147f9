"""The rows of `corral pools`, and how they are shown on a terminal and in a pipe."""

from __future__ import annotations

import io
from textwrap import dedent
from typing import Any

import pytest
from rich.console import Console

from corral_operator.observed import Pods
from corral_operator.pools_table import age_text, cells, json_of, row_of
from corral_operator.pools_view import ColouredPools, LivePools, PlainPools, open_pools_view, show_sections
from corral_operator.report import Problem
from corral_operator.sections import Section
from decided_pools import decided_pool
from pools import pool
from reports import NOON, NOON_MS, quiet, unread

LATER_MS = NOON_MS + 252_000


class Terminal(io.StringIO):
    """Output that somebody looks at."""

    def isatty(self) -> bool:
        return True


def drained(name: str = "emails", **spec: Any) -> dict[str, Any]:
    body = decided_pool(
        quiet(waiting=200, active=3), present=12, pods=Pods(12, ready=4), age_s=5.0, target={"wait": "30s"}, **spec
    )
    return {**body, "metadata": {**body["metadata"], "name": name}}


def unseen() -> dict[str, Any]:
    body = pool("new")
    body["metadata"] |= {"namespace": "shop", "generation": 1, "creationTimestamp": NOON, "resourceVersion": "1"}
    return body


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


# --- rows ---


def test_a_row_tells_what_the_status_does() -> None:
    assert cells(row_of(drained()), LATER_MS) == ("shop", "emails", "12", "4", "3", "200", "4m17s", "Window", "4m12s")


def test_what_is_not_known_is_a_question_mark_and_never_a_zero() -> None:
    assert cells(row_of(unseen()), LATER_MS) == ("shop", "new", "?", "?", "?", "?", "?", "?", "4m12s")
    away = decided_pool(unread(), present=3)
    assert cells(row_of(away), LATER_MS) == ("shop", "emails", "3", "3", "?", "?", "?", "Unknown", "4m12s")
    assert json_of(row_of(away))["waiting"] is None


def test_nothing_that_waits_has_no_age() -> None:
    idle = decided_pool(quiet(), present=0)
    assert cells(row_of(idle), LATER_MS)[5:8] == ("0", "-", "Idle")


def test_a_pool_that_cannot_be_served_says_why() -> None:
    broken = decided_pool(present=0, problem=Problem("SecretMissing", "there is no Secret redis"))
    assert cells(row_of(broken), LATER_MS)[7] == "SecretMissing"
    assert row_of(broken).broken


def test_wide_rows_have_the_bounds_the_mode_and_the_sentence() -> None:
    body = drained(minReplicas=1, mode="DryRun")
    text = body["status"]["decision"]["text"]
    assert cells(row_of(body), LATER_MS, wide=True)[9:] == ("1", "20", "DryRun", text)
    assert cells(row_of(unseen()), LATER_MS, wide=True)[9:] == ("0", "20", "Auto", "?")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (252, "4m12s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (400 * 86_400, "400d"),
    ],
)
def test_ages_are_told_as_kubectl_does(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize("nonsense", [None, "x", -1, True, [], {"a": 1}])
def test_a_status_of_another_form_counts_as_not_known(nonsense: Any) -> None:
    for key in ("desired", "pods", "counts", "oldestSince", "decision", "conditions"):
        body = drained()
        body["status"][key] = nonsense
        assert len(cells(row_of(body), LATER_MS, wide=True)) == 13
    assert cells(row_of({**drained(), "status": nonsense}), LATER_MS)[2:8] == ("?",) * 6


# --- in a pipe ---


def test_a_pipe_gets_columns_and_later_only_what_has_changed() -> None:
    out, first, second = io.StringIO(), drained(), drained("thumbnails-of-all-sizes")
    with PlainPools(out, wide=False) as view:
        view.show([first, second], LATER_MS)
        view.show([first, second], LATER_MS + 2000)
        second["metadata"]["resourceVersion"] = "8"
        view.show([first, second], LATER_MS + 4000, "not up to date: it is away")
        view.show([first], LATER_MS + 6000, "not up to date: it is away")
    assert lines(out.getvalue()) == lines(
        dedent("""\
        NAMESPACE   NAME                      DESIRED   READY   BUSY   WAITING   OLDEST   WHY      AGE
        shop        emails                    12        4       3      200       4m17s    Window   4m12s
        shop        thumbnails-of-all-sizes   12        4       3      200       4m17s    Window   4m12s
        shop        thumbnails-of-all-sizes   12        4       3      200       4m21s    Window   4m16s
        not up to date: it is away
        shop/thumbnails-of-all-sizes is gone
        """)
    )


# --- on a terminal ---


def test_the_view_suits_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_pools_view(io.StringIO(), wide=False, live=True), PlainPools)
    assert isinstance(open_pools_view(Terminal(), wide=False, live=False), ColouredPools)
    assert isinstance(open_pools_view(Terminal(), wide=False, live=True), LivePools)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_pools_view(Terminal(), wide=False, live=True), PlainPools)


@pytest.mark.parametrize("kind", [ColouredPools, LivePools])
def test_a_terminal_gets_the_whole_table(kind: type[ColouredPools | LivePools]) -> None:
    out = Terminal()
    broken = decided_pool(present=0, problem=Problem("SecretMissing", "there is no Secret redis"))
    console = Console(file=out, width=120, color_system=None, legacy_windows=False)
    with kind(console, wide=False) as view:
        view.show([drained("[bold]"), broken], LATER_MS, "not up to date: it is away")
    text = out.getvalue()
    assert "NAMESPACE  NAME    DESIRED  READY  BUSY  WAITING  OLDEST  WHY              AGE" in text
    assert "shop       [bold]       12      4     3      200   4m17s  Window         4m12s" in text
    assert "shop       emails        ?      0     ?        ?       ?  SecretMissing  4m12s" in text
    assert "not up to date: it is away" in text


def test_sections_wrap_their_sentences_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    sections = [
        Section("first", (("a", "one two three four five six seven"), ("bcd", "[x]"))),
        Section("second", (("e", "f"),)),
    ]
    shown, piped = Terminal(), io.StringIO()
    show_sections(sections, shown)
    show_sections(sections, piped)
    assert lines(piped.getvalue()) == [
        "first",
        "  a    one two three four five six seven",
        "  bcd  [x]",
        "",
        "second",
        "  e  f",
    ]
    plain = [line for line in lines(shown.getvalue()) if "\x1b" not in line]
    assert "a    one two three four five" in [line.strip() for line in plain]
    assert "six seven" in [line.strip() for line in plain]
    assert "bcd  [x]" in [line.strip() for line in plain]
