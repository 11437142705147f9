"""What the demo tells at its end. Pure: figures in, lines out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corral_operator.demo_tally import Tally

TROUBLES_TOLD = 10
"""Troubles that are named; of more the number is given."""


@dataclass(frozen=True, slots=True)
class Summary:
    """`pools` and `most` (ready replicas at once) are by pool; waits in ms. `notes` are the plot's remarks."""

    total: Tally
    pools: Mapping[str, Tally]
    most: Mapping[str, int]
    woken_ms: int | None
    node_note: str
    killed_note: str
    woken_note: str
    troubles: Sequence[str]
    """What makes the exit code 1: a sentence each."""

    def lines(self, took_s: float) -> list[str]:
        """The figures, the pools, and the troubles if there are any."""
        total = self.total
        rows = [
            ("jobs", f"{total.jobs:,}", self.node_note),
            ("completed", f"{total.completed:,}", ""),
            ("failed", f"{total.failed:,}", "as planned"),
            ("retries", f"{total.retries:,}", "after failed attempts, with exponential backoff"),
            ("recovered", f"{total.recovered:,}", self.killed_note),
            ("lost", f"{len(total.lost):,}", ""),
            ("woken", _ms(self.woken_ms), self.woken_note),
            ("took", f"{took_s:.1f} s", ""),
        ]
        pools = [
            f"{name:<12}{tally.jobs:>6,}{_ms(tally.wait_p50):>14}{_ms(tally.wait_p95):>14}{self.most.get(name, 0):>16}"
            for name, tally in self.pools.items()
        ]
        return [
            *(f"{what:<10}{number:>10}  {remark}".rstrip() for what, number, remark in rows),
            "",
            f"{'pool':<12}{'jobs':>6}{'wait p50':>14}{'wait p95':>14}{'replicas, most':>16}",
            *pools,
            *self._told(),
        ]

    def _told(self) -> list[str]:
        """The first of the troubles, and how many more there are."""
        troubles = self.troubles
        more = [f"and {len(troubles) - TROUBLES_TOLD} more"] if len(troubles) > TROUBLES_TOLD else []
        return ["", *troubles[:TROUBLES_TOLD], *more] if troubles else []


def _ms(wait: int | None) -> str:
    return "unknown" if wait is None else f"{wait:,} ms"
