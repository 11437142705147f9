"""What `corral up` shows: a live table on a terminal, a line per change elsewhere."""

import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from corral_operator.local_run import why
from corral_operator.outlet import Outlet
from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica, ReplicaState
from corral_operator.sentences import span

LINES_KEPT = 8
"""Lines of news under the table."""

PLAIN_EVERY_S = 2.0
"""Seconds between two plain lines of one pool whose counts change."""

MOST_SIGNS = 20
"""More replicas than that are shown as numbers alone."""

Rows = Sequence[tuple[PoolState, Sequence[Replica]]]

_SIGNS = {
    ReplicaState.READY: ("●", "green", "ready"),
    ReplicaState.STARTING: ("○", "yellow", "starting"),
    ReplicaState.ENDING: ("◌", "blue", "ending"),
    ReplicaState.WAITING: ("✗", "red", "died, starts anew"),
}


class UpView(AbstractContextManager["UpView"], Protocol):
    """`tell` what happens, `show` the pools."""

    def pin(self, text: str) -> None:
        """Something that stays in sight."""

    def tell(self, text: str) -> None:
        """Something happened."""

    def show(self, rows: Rows) -> None:
        """How every pool is."""


def open_view(out: TextIO) -> UpView:
    """The view that suits `out`."""
    outlet = cast("TextIO", Outlet(out))
    if out.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return LiveView(Console(file=outlet))
    return PlainView(outlet)


class PlainView:
    """Lines that a log or a pipe can hold."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._said: dict[str, tuple[float, tuple[str, ...] | None, str | None]] = {}
        self._found: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def pin(self, text: str) -> None:
        """One line: nothing that was told goes out of sight."""
        self.tell(text)

    def tell(self, text: str) -> None:
        """One line."""
        self._out.write(f"{_since(self._began)}{text}\n")

    def show(self, rows: Rows) -> None:
        """A line for every pool that changed: at once for its replicas, now and then for its counts."""
        for state, replicas in rows:
            if state.report is None:
                continue
            self._tell_findings(state)
            figures, pods = _figures(state), pods_of(state, replicas)
            said_at, figures_before, pods_before = self._said.get(state.key.name, (float("-inf"), None, None))
            due = time.monotonic() - said_at >= PLAIN_EVERY_S
            if pods != pods_before or (due and figures != figures_before):
                self._said[state.key.name] = (time.monotonic(), figures, pods)
                self.tell(f"{state.key.name}: {counts_of(state)}, {pods}")

    def _tell_findings(self, state: PoolState) -> None:
        """Each once, and again when it has been away."""
        rows = state.report.findings.rows if state.report is not None else ()
        before = self._found.get(state.key.name, set())
        for row in rows:
            if row.kind not in before:
                self.tell(f"{state.key.name}: {row.text}")
        self._found[state.key.name] = {row.kind for row in rows}


class LiveView:
    """A table that is redrawn: what is pinned above it, below it a sentence for every pool and the latest news."""

    def __init__(self, console: Console) -> None:
        self._began = time.monotonic()
        self._pinned: list[str] = []
        self._news: deque[tuple[str, str]] = deque(maxlen=LINES_KEPT)
        self._rows: Rows = ()
        # Drawn when there is something new, and by nobody else: no thread reads what the loop changes.
        self._live = Live(console=console, get_renderable=self._picture, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)

    def pin(self, text: str) -> None:
        """A line above the table."""
        self._pinned.append(text)

    def tell(self, text: str) -> None:
        """A line of news."""
        self._news.append((_since(self._began), text))
        if self._live.is_started:
            self._live.refresh()

    def show(self, rows: Rows) -> None:
        """The next picture."""
        self._rows = rows
        self._live.refresh()

    def _picture(self) -> RenderableType:
        sentences = [
            (state.key.name, text) for state, _ in self._rows for text in (why(state), *found_in(state)) if text
        ]
        shown = {f"{name}: {text}" for name, text in sentences}
        news = [(since, text) for since, text in self._news if text not in shown]
        return Group(
            *(Text(line, style="dim") for line in self._pinned),
            Text(),
            self._table(),
            Text(),
            *_hanging(sentences),
            _news(news),
            # An empty last line: there the terminal writes ^C, and does not scroll.
            Text(),
        )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for title in ("pool", "waiting", "active", "delayed", "oldest", "replicas"):
            table.add_column(title, justify="left" if title in ("pool", "replicas") else "right", no_wrap=True)
        for state, replicas in self._rows:
            table.add_row(state.key.name, *_figures(state), oldest_of(state), _signs(state, replicas))
        return table


def counts_of(state: PoolState) -> str:
    """`waiting 12, active 3, delayed 0, oldest 4 s`."""
    waiting, active, delayed = _figures(state)
    oldest = oldest_of(state)
    return f"waiting {waiting}, active {active}, delayed {delayed}" + (f", oldest {oldest}" if oldest != "-" else "")


def pods_of(state: PoolState, replicas: Sequence[Replica]) -> str:
    """`replicas 2 of 3`, with those that are ending or dying, and those that take no further job."""
    numbers = [
        (kind, sum(row.state is kind for row in replicas)) for kind in (ReplicaState.ENDING, ReplicaState.WAITING)
    ]
    told = [f"{number} {_SIGNS[kind][2]}" for kind, number in numbers if number]
    if state.leaving:
        told.append(f"{state.leaving} leaving")
    return ", ".join([f"replicas {_ready_of(state, replicas)}", *told])


def found_in(state: PoolState) -> list[str]:
    """What a closer look found, a sentence for each."""
    return [row.text for row in state.report.findings.rows] if state.report is not None else []


def oldest_of(state: PoolState) -> str:
    """The age of the oldest ready job; a dash without one."""
    age_s = state.report.oldest_age_s if state.report is not None else None
    return span(age_s) if age_s else "-"


def _figures(state: PoolState) -> tuple[str, str, str]:
    """Ready, active and delayed jobs; a question mark for what is not known."""
    jobs = state.report.jobs if state.report is not None else None
    return ("?", "?", "?") if jobs is None else (f"{jobs.ready:,}", f"{jobs.active:,}", f"{jobs.delayed:,}")


def _ready_of(state: PoolState, replicas: Sequence[Replica]) -> str:
    """`2 of 3`: those that are ready, and those that are wanted."""
    ready = sum(row.state is ReplicaState.READY for row in replicas)
    wanted = state.report.decision.replicas if state.report is not None and state.report.decision is not None else 0
    return f"{ready} of {wanted}"


def _signs(state: PoolState, replicas: Sequence[Replica]) -> Text:
    """The numbers, and one sign per replica, with a word for those that need one."""
    text = Text(_ready_of(state, replicas) + " ")
    shown = [row.state for row in replicas if row.state in _SIGNS]
    for state_of_one in shown if len(shown) <= MOST_SIGNS else ():
        text.append(*_SIGNS[state_of_one][:2])
    for kind, (_, style, word) in _SIGNS.items():
        if kind is not ReplicaState.READY and (number := shown.count(kind)):
            text.append(f" {number} {word}", style)
    if state.leaving:
        text.append(f" {state.leaving} leaving", "blue")
    return text


def _hanging(sentences: Sequence[tuple[str, str]]) -> Sequence[RenderableType]:
    """Each with its name before it, and an empty line below all of them."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in sentences:
        grid.add_row(Text(name, style="bold", no_wrap=True), Text(text))
    return (grid, Text()) if sentences else ()


def _news(lines: Sequence[tuple[str, str]]) -> RenderableType:
    """A line for each; the latest is told whole, however many lines that takes."""
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for since, text in lines[:-1]:
        grid.add_row(Text(since, style="dim"), Text(text, style="dim", overflow="ellipsis", no_wrap=True))
    for since, text in lines[-1:]:
        grid.add_row(Text(since, style="dim"), Text(text))
    return grid


def _since(began: float) -> str:
    return f"{time.monotonic() - began:6.1f} s  "
