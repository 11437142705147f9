"""What `corral up` shows: a live table on a terminal, a line per change elsewhere."""

import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica, ReplicaState
from corral_operator.sentences import span

LINES_KEPT = 8
"""Lines of news under the table."""

PLAIN_EVERY_S = 2.0
"""Seconds between two plain lines of one pool whose counts change."""

Rows = Sequence[tuple[PoolState, Sequence[Replica]]]


class UpView(AbstractContextManager["UpView"], Protocol):
    """`tell` what happens, `show` the pools."""

    def tell(self, text: str) -> None:
        """Something happened."""

    def show(self, rows: Rows) -> None:
        """How every pool is."""


def open_view(out: TextIO) -> UpView:
    """The view that suits `out`."""
    if out.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return LiveView(Console(file=out))
    return PlainView(out)


class PlainView:
    """Lines that a log or a pipe can hold."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._said: dict[str, tuple[float, str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def tell(self, text: str) -> None:
        """One line."""
        self._out.write(f"{time.monotonic() - self._began:6.1f} s  {text}\n")
        self._out.flush()

    def show(self, rows: Rows) -> None:
        """A line for every pool that changed: at once for its replicas, now and then for its counts."""
        for state, replicas in rows:
            counts, pods = counts_of(state), pods_of(state, replicas)
            text = f"{state.key.name}: {counts}, {pods}"
            said_at, before, pods_before = self._said.get(state.key.name, (float("-inf"), "", ""))
            due = time.monotonic() - said_at >= PLAIN_EVERY_S
            if text != before and (due or pods != pods_before):
                self._said[state.key.name] = (time.monotonic(), text, pods)
                self.tell(text)


class LiveView:
    """A table that is redrawn, with the latest news below."""

    def __init__(self, console: Console) -> None:
        self._began = time.monotonic()
        self._news: deque[str] = deque(maxlen=LINES_KEPT)
        self._rows: Rows = ()
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.refresh()
        self._live.__exit__(None, None, None)

    def tell(self, text: str) -> None:
        """A line of news."""
        self._news.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def show(self, rows: Rows) -> None:
        """The next picture."""
        self._rows = rows

    def _picture(self) -> RenderableType:
        table = Table(expand=True, box=None, pad_edge=False, header_style="bold")
        for title in ("pool", "ready", "active", "delayed", "oldest", "replicas"):
            table.add_column(title, justify="left" if title in ("pool", "replicas") else "right", no_wrap=True)
        table.add_column("why", ratio=1)
        for state, replicas in self._rows:
            jobs = state.report.jobs if state.report is not None else None
            figures = ("?", "?", "?") if jobs is None else (f"{jobs.ready:,}", f"{jobs.active:,}", f"{jobs.delayed:,}")
            table.add_row(state.key.name, *figures, oldest_of(state), _bar(replicas), why(state))
        return Group(
            table, Text(), *(Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in self._news)
        )


def counts_of(state: PoolState) -> str:
    """`ready 12, active 3, delayed 0, oldest 4 s`."""
    jobs = state.report.jobs if state.report is not None else None
    if jobs is None:
        return why(state)
    return f"ready {jobs.ready:,}, active {jobs.active:,}, delayed {jobs.delayed:,}, oldest {oldest_of(state)}"


def pods_of(state: PoolState, replicas: Sequence[Replica]) -> str:
    """`replicas 2 of 3`, with those that are ending or dying."""
    ready = sum(row.state is ReplicaState.READY for row in replicas)
    wanted = state.report.decision.replicas if state.report is not None and state.report.decision is not None else 0
    parts = [f"replicas {ready} of {wanted}"]
    for kind, word in ((ReplicaState.ENDING, "ending"), (ReplicaState.WAITING, "died, start anew soon")):
        if number := sum(row.state is kind for row in replicas):
            parts.append(f"{number} {word}")
    return ", ".join(parts)


def oldest_of(state: PoolState) -> str:
    """The age of the oldest ready job; a dash without one."""
    age_s = state.report.oldest_age_s if state.report is not None else None
    return span(age_s) if age_s else "-"


def why(state: PoolState) -> str:
    """The sentence of the last decision, or what stands against one."""
    report = state.report
    if report is None:
        return "not looked at yet"
    if report.problem is not None:
        return f"{report.problem.cause}: {report.problem.text}"
    return report.decision.text if report.decision is not None else "not decided yet"


def _bar(replicas: Sequence[Replica]) -> Text:
    """One sign per replica."""
    signs = {
        ReplicaState.READY: ("●", "green"),
        ReplicaState.STARTING: ("○", "yellow"),
        ReplicaState.ENDING: ("◌", "blue"),
        ReplicaState.WAITING: ("✗", "red"),
    }
    text = Text()
    for replica in replicas:
        if replica.state in signs:
            text.append(*signs[replica.state])
    return text if text.plain else Text("-", style="dim")
