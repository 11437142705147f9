"""Measured values: their quantiles, and one table that shows them beside the goals."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def of_buckets(counts: Mapping[float, float], share: float) -> float:
    """The same of a histogram: observations up to each bound, as Prometheus counts them; between bounds in proportion."""
    bounds = sorted(counts)
    rank, below, under = share * counts[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= rank and counts[bound] > below:
            if bound == inf:
                return under
            return under + (bound - under) * (rank - below) / (counts[bound] - below)
        below, under = counts[bound], bound
    return 0.0


@dataclass
class Tally:
    """Rows of what was measured, in the order in which they came."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, what: str, measured: str, goal: str = "") -> None:
        """A row; it is shown at once too, for the whole takes minutes."""
        self.rows.append((what, measured, goal))
        print(f"{what}: {measured}", flush=True)

    def spread(self, what: str, values: list[float], unit: str, goal: str = "") -> None:
        """A row of many values."""
        middle, late, most = quantile(values, 0.5), quantile(values, 0.99), max(values)
        self.add(f"{what} (n={len(values)})", f"p50 {middle:.3g}, p99 {late:.3g}, most {most:.3g} {unit}", goal)

    def show(self) -> None:
        """The whole table."""
        head = ("measure", "measured", "goal")
        widths = [max(len(row[number]) for row in [head, *self.rows]) for number in range(3)]
        print()
        for row in (head, tuple("-" * width for width in widths), *self.rows):
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
