"""How `corral pools` and `corral explain` show what they found: in colours on a terminal, as plain text in a pipe."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from corral_operator.pools_table import COLUMNS, WIDE, PoolRow, cells, line, row_of, widths_of
from corral_operator.sections import Section, plain_lines

Body = Mapping[str, Any]

_NUMBERS = ("DESIRED", "READY", "BUSY", "WAITING", "OLDEST", "AGE", "MIN", "MAX")


class PoolsView(AbstractContextManager["PoolsView"], Protocol):
    """Shows the pools, once or again and again."""

    def show(self, bodies: Sequence[Body], now_ms: float, trouble: str | None = None) -> None:
        """How they are; `trouble` is why that may be old."""


def open_pools_view(out: TextIO, *, wide: bool, live: bool) -> PoolsView:
    """The view that suits `out`. `live`: it will be shown more than once."""
    if not _is_terminal(out):
        return PlainPools(out, wide=wide)
    return LivePools(Console(file=out), wide=wide) if live else ColouredPools(Console(file=out), wide=wide)


class PlainPools:
    """A header and a row for each pool; later a row for each pool that has changed, as `kubectl get --watch` does."""

    def __init__(self, out: TextIO, *, wide: bool) -> None:
        self._out = out
        self._wide = wide
        self._widths: tuple[int, ...] = ()
        self._said: dict[tuple[str, str], str] = {}
        self._trouble: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def show(self, bodies: Sequence[Body], now_ms: float, trouble: str | None = None) -> None:
        """What is new."""
        rows = [row_of(body) for body in bodies]
        versions = {
            (row.namespace, row.name): str(body["metadata"].get("resourceVersion"))
            for row, body in zip(rows, bodies, strict=True)
        }
        fresh = [row for row in rows if self._said.get(here := (row.namespace, row.name)) != versions[here]]
        table = [cells(row, now_ms, wide=self._wide) for row in fresh]
        if not self._widths:
            table.insert(0, COLUMNS + WIDE if self._wide else COLUMNS)
            self._widths = widths_of(table)
        told = [line(row, self._widths) for row in table]
        told += [f"{namespace}/{name} is gone" for namespace, name in self._said if (namespace, name) not in versions]
        if trouble is not None and trouble != self._trouble:
            told.append(trouble)
        self._said, self._trouble = versions, trouble
        self._out.write("".join(f"{text}\n" for text in told))
        self._out.flush()


class ColouredPools:
    """The table, once."""

    def __init__(self, console: Console, *, wide: bool) -> None:
        self._console = console
        self._wide = wide

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, bodies: Sequence[Body], now_ms: float, trouble: str | None = None) -> None:
        """The whole table."""
        self._console.print(_picture(bodies, now_ms, trouble, wide=self._wide))


class LivePools:
    """The table, redrawn."""

    def __init__(self, console: Console, *, wide: bool) -> None:
        self._wide = wide
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, bodies: Sequence[Body], now_ms: float, trouble: str | None = None) -> None:
        """The next picture."""
        self._live.update(_picture(bodies, now_ms, trouble, wide=self._wide), refresh=True)


def show_sections(sections: Sequence[Section], out: TextIO) -> None:
    """All of them, one below the other."""
    if not _is_terminal(out):
        out.write("".join(f"{text}\n" for text in plain_lines(sections)))
        return
    console = Console(file=out)
    for number, section in enumerate(sections):
        if number:
            console.print()
        console.print(Text(section.title, style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        for _ in section.rows[0][:-1]:
            grid.add_column(no_wrap=True)
        for row in section.rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(Group(grid), style=None)


def _picture(bodies: Sequence[Body], now_ms: float, trouble: str | None, *, wide: bool) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in COLUMNS + WIDE if wide else COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=title != "DECISION")
    for row in map(row_of, bodies):
        table.add_row(*map(Text, cells(row, now_ms, wide=wide)), style=_style(row))
    return table if trouble is None else Group(table, Text(trouble, style="yellow"))


def _style(row: PoolRow) -> str | None:
    return "red" if row.broken else None


def _is_terminal(out: TextIO) -> bool:
    return out.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
