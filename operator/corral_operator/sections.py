"""What a command tells in sections: a title, and rows whose last cell is a sentence. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one number of cells each; the last may be long."""

    title: str
    rows: tuple[tuple[str, ...], ...]


def plain_lines(sections: Sequence[Section]) -> list[str]:
    """As text: every row whole on a line of its own, below its title, in columns."""
    lines: list[str] = []
    for section in sections:
        lines += ["", section.title] if lines else [section.title]
        widths = [max(len(cell) for cell in column) for column in zip(*section.rows, strict=True)]
        for row in section.rows:
            told = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(f"  {told}".rstrip())
    return lines
