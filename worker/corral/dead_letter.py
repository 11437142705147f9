"""DeadLetter: where a job of a dead-letter queue came from, and how it failed there.

It stands in the job's options as `deadLetter`, a key that every BullMQ client keeps and shows:

    queue id                      whose job it was
    reason stacktrace             of its last failure; JSON list of texts
    attemptsMade attemptsStarted  how often it had run
    timestamp processedOn finishedOn movedOn    epoch ms
    priority opts                 as they were; `opts` is the text of their JSON
    parentKey parent              of a child, as in its hash
    home                          of a letter that was moved on: queue, id, timestamp, priority, opts, parentKey and parent
                                  of the job that it was first, where a replay brings it; then the letter itself has
                                  neither priority nor opts here
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from corral.retention import whole


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The past of a job that lies in a dead-letter queue. Times are epoch milliseconds; None = never happened."""

    queue: str
    job_id: str
    reason: str
    attempts_made: int
    attempts_started: int
    timestamp: int | None
    processed_on: int | None
    finished_on: int | None
    moved_on: int | None
    stacktrace: tuple[str, ...]

    @classmethod
    def from_wire(cls, wire: Any) -> Self | None:
        """Read `deadLetter` of a job's options; None for what is none."""
        if (
            not isinstance(wire, Mapping)
            or not isinstance(wire.get("queue"), str)
            or not isinstance(wire.get("id"), str)
        ):
            return None
        rows = wire.get("stacktrace")
        return cls(
            queue=wire["queue"],
            job_id=wire["id"],
            reason=str(wire.get("reason", "")),
            attempts_made=whole(wire.get("attemptsMade")) or 0,
            attempts_started=whole(wire.get("attemptsStarted")) or 0,
            timestamp=whole(wire.get("timestamp")),
            processed_on=whole(wire.get("processedOn")),
            finished_on=whole(wire.get("finishedOn")),
            moved_on=whole(wire.get("movedOn")),
            stacktrace=tuple(str(row) for row in rows) if isinstance(rows, list) else (),
        )
