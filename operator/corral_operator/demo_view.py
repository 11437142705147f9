"""What the demo shows: a live table on a terminal, plain lines elsewhere. Both tell the same story."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from corral_operator.demo_watch import Snapshot

PLAIN_EVERY_S = 1.0
"""Seconds between two plain lines of figures."""

TROUBLES_TOLD = 10
"""Troubles that the summary names; of more it gives the number."""

SummaryRow = tuple[str, str, str]
"""What is counted, how many, and a remark."""

STATES = {
    "waiting": "yellow",
    "prioritized": "yellow",
    "delayed": "blue",
    "active": "cyan",
    "completed": "green",
    "failed": "red",
}


class View(AbstractContextManager["View"], Protocol):
    """`tell` what happens, `show` the figures, and after the block `sum_up`."""

    def tell(self, text: str) -> None: ...

    def show(self, snapshot: Snapshot) -> None: ...

    def sum_up(self, rows: Sequence[SummaryRow], troubles: Sequence[str]) -> None: ...


def open_view(out: TextIO) -> View:
    """The view that suits `out`."""
    if out.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return LiveView(Console(file=out))
    return PlainView(out)


def seconds_since(clock: Callable[[], float]) -> Callable[[], float]:
    """A clock that begins at zero now."""
    began = clock()
    return lambda: clock() - began


class PlainView:
    """A line for each act, and a line of figures a second; no control characters."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._elapsed = out, seconds_since(clock)
        self._next_figures = 0.0

    def tell(self, text: str) -> None:
        self._line(text)

    def show(self, snapshot: Snapshot) -> None:
        now = self._elapsed()
        if now >= self._next_figures:
            self._next_figures = now + PLAIN_EVERY_S
            self._line(figures(snapshot))

    def sum_up(self, rows: Sequence[SummaryRow], troubles: Sequence[str]) -> None:
        lines = [f"{what:<10}{number:>12}  {remark}".rstrip() for what, number, remark in rows]
        self._out.write("\n".join(["", *lines, *_told(troubles)]) + "\n")
        self._out.flush()

    def _line(self, text: str) -> None:
        self._out.write(f"{self._elapsed():5.1f} s  {text}\n")
        self._out.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def figures(snapshot: Snapshot) -> str:
    """One look as one line."""
    states = ", ".join(f"{state} {getattr(snapshot.counts, state)}" for state in STATES)
    working = sum(worker.state == "working" for worker in snapshot.workers)
    return f"{states}; {snapshot.per_second:.0f} jobs/s; workers {working}"


def _told(troubles: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = [f"and {len(troubles) - TROUBLES_TOLD} more"] if len(troubles) > TROUBLES_TOLD else []
    return [*troubles[:TROUBLES_TOLD], *more]


class LiveView:
    """Acts scroll by above; below them a table of the queue and of the workers stays in place."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._elapsed = console, seconds_since(clock)
        # It is drawn when something is shown, never by a thread; and it makes room for the summary.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, text: str) -> None:
        stamp = (f"{self._elapsed():5.1f} s  ", "dim")
        self._console.print(Text.assemble(stamp, text))

    def show(self, snapshot: Snapshot) -> None:
        title = Text(f"\n{self._elapsed():5.1f} s  {snapshot.per_second:4.0f} jobs/s\n", "bold")
        self._live.update(Group(title, _queue(snapshot), Text(), _workers(snapshot)), refresh=True)

    def sum_up(self, rows: Sequence[SummaryRow], troubles: Sequence[str]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(justify="right", style="bold red" if troubles else "bold green")
        table.add_column(style="dim")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(Text(), table, *(Text(line, "red") for line in _told(troubles)), sep="\n")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _queue(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    numbers = {state: int(getattr(snapshot.counts, state)) for state in STATES}
    total = max(1, sum(numbers.values()))
    for state, colour in STATES.items():
        bar = ProgressBar(total, numbers[state], width=40, complete_style=colour, finished_style=colour)
        table.add_row(Text(f"  {state:<12}"), Text(f"{numbers[state]:>5}", colour), bar)
    return table


def _workers(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for worker in snapshot.workers:
        colour = {"killed": "red", "working": "green"}.get(worker.state, "dim")
        holds = f"holds {worker.holds} job{'s' * (worker.holds > 1)}" if worker.holds else ""
        table.add_row(
            Text(f"  {worker.name}"), Text(f"pid {worker.pid}", "dim"), Text(worker.state, colour), Text(holds)
        )
    return table
