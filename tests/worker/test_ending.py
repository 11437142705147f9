"""How a run ended that was told to end: the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral import JobCancelled, JobTimeout
from corral.ending import outcome_of
from corral.lifecycle import Completed, Failed, Interrupted, Moved, Outcome, RateLimited

if TYPE_CHECKING:
    from corral.errors import CorralError

SLOW, CANCELLED = JobTimeout("too slow"), JobCancelled("stop")
DONE, BOOM, FATAL = Completed("1"), Failed("boom", "trace"), Failed("boom", "trace", unrecoverable=True)
OBEYED = Failed("handed back", error=JobCancelled("handed back"))


@pytest.mark.parametrize(
    ("outcome", "stopped", "draining", "expected"),
    [
        (DONE, None, False, DONE),
        (BOOM, None, False, BOOM),
        (Interrupted(), None, True, Interrupted()),
        (Interrupted(), None, False, Failed("the processor cancelled its own task")),
        # Too slow.
        (Interrupted(), SLOW, False, Failed("too slow")),
        (Interrupted(), SLOW, True, Failed("too slow")),
        (DONE, SLOW, False, Failed("too slow")),
        (BOOM, SLOW, False, Failed("too slow", "trace")),
        (FATAL, SLOW, False, Failed("too slow", "trace", unrecoverable=True)),
        (Moved(), SLOW, False, Moved()),
        (RateLimited(5), SLOW, False, RateLimited(5)),
        # Cancelled.
        (Interrupted(), CANCELLED, False, Failed("stop")),
        (DONE, CANCELLED, False, DONE),
        (BOOM, CANCELLED, False, BOOM),
        (Moved(), CANCELLED, False, Moved()),
        # At a shutdown.
        (OBEYED, None, True, Interrupted()),
        (OBEYED, None, False, OBEYED),
        (OBEYED, CANCELLED, True, OBEYED),
        (BOOM, None, True, BOOM),
        (DONE, None, True, DONE),
    ],
)
def test_what_follows(outcome: Outcome, stopped: CorralError | None, draining: bool, expected: Outcome) -> None:
    assert outcome_of(outcome, stopped, draining=draining) == expected
