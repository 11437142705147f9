"""What became of every job of the demo, and the figures of its summary. Pure.

A job is lost when it was added and is, at the end, neither completed nor failed as planned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from corral import Job, State


@dataclass(frozen=True, slots=True)
class Ending:
    """One job at the end of the demo. `doomed`: it was meant to fail. `wait_ms`: None = its first start is not known."""

    id: str
    state: State
    doomed: bool = False
    attempts_made: int = 0
    recovered: int = 0
    wait_ms: int | None = None
    reason: str | None = None

    @classmethod
    def of(cls, job_id: str, state: State, job: Job | None, *, doomed: bool) -> Self:
        """From what Redis holds of it; job None = its hash is gone."""
        if job is None:
            return cls(job_id, State.UNKNOWN, doomed)
        wait_ms = None
        # Every start overwrites the time of the one before: only of a single start do we know when it was.
        if job.attempts_started == 1 and job.processed_on is not None:
            wait_ms = max(0, job.processed_on - job.timestamp - job.opts.delay_ms)
        return cls(job_id, state, doomed, job.attempts_made, job.stalled_counter, wait_ms, job.failed_reason)

    @property
    def lost(self) -> str | None:
        """Why it counts as lost; None = it does not."""
        if self.state is State.COMPLETED or (self.doomed and self.state is State.FAILED):
            return None
        if self.state is State.FAILED:
            return f"{self.id} failed, which was not planned: {self.reason}"
        if self.state is State.UNKNOWN:
            return f"{self.id} is gone: no list holds it"
        return f"{self.id} is still {self.state}"


@dataclass(frozen=True, slots=True)
class Tally:
    """The figures. `recovered` counts jobs, `lost` says of each what is wrong; waits in ms, None = nothing to count."""

    jobs: int
    completed: int
    failed: int
    retries: int
    recovered: int
    wait_p50: int | None
    wait_p95: int | None
    lost: tuple[str, ...]

    @classmethod
    def of(cls, endings: Sequence[Ending]) -> Self:
        """Add up."""
        waits = sorted(one.wait_ms for one in endings if one.wait_ms is not None)
        return cls(
            jobs=len(endings),
            completed=sum(one.state is State.COMPLETED for one in endings),
            failed=sum(one.state is State.FAILED and one.doomed for one in endings),
            retries=sum(max(0, one.attempts_made - 1) for one in endings),
            recovered=sum(one.recovered > 0 for one in endings),
            wait_p50=percentile(waits, 0.50),
            wait_p95=percentile(waits, 0.95),
            lost=tuple(why for one in endings if (why := one.lost)),
        )


def percentile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest value that `share` of them do not exceed; None of nothing."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else None
