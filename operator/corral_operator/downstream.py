"""Whether more pods do more jobs per second (rule 9). Pure.

Time is seen in pieces of max(60 s, 5 S), in each of which the number of ready pods stays the same. Each tells how many
jobs per second so many pods did. When half as many pods again, all of their slots busy and jobs still waiting, do less
than 15 % more than the fewer did, then more pods are no help.

That is told, and caps nothing: what the jobs call may be at its limit, or the jobs may have become longer, and watching
alone cannot tell the two apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from corral_operator.demand import Demand
from corral_operator.figures import figure
from corral_operator.history import UNSEEN_S
from corral_operator.learning import Learned
from corral_operator.observed import Observed
from corral_operator.sentences import count, span

SHORTEST_S = 60.0
SERVICES = 5
GROWN = 1.5
RAISED = 1.15
BUSY = 0.9
"""So much of all slots is all of them, and so much of a piece is all of it: between two jobs a slot is free."""

PIECES = 8
OLD_S = 3600.0
"""What fewer pods did so long ago says nothing of now."""


@dataclass(frozen=True, slots=True)
class Piece:
    """So many ready pods did so many jobs per second, until then."""

    pods: int
    rate: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Measuring:
    """The piece that is being seen: since when, from which count of taken jobs on, and how long slots were free."""

    pods: int
    since_s: float
    since_taken: float
    seen_s: float
    slack_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DownstreamMemory:
    """The newest piece of each number of pods, the oldest first; few, whatever happens. `text` is what was found."""

    pieces: tuple[Piece, ...] = ()
    measuring: Measuring | None = None
    text: str | None = None


NOTHING_MEASURED = DownstreamMemory()


def measure(
    observed: Observed, demand: Demand, learned: Mapping[str, Learned], memory: DownstreamMemory, slots_per_pod: int
) -> DownstreamMemory:
    """Take one look in. Of a queue that other pools serve too, nobody knows who did what: nothing is found there."""
    now_s, pods = observed.now_s, observed.pods.staffed
    taken = sum(learned[row.name].taken for row in observed.known)
    before = memory.measuring
    if demand.shared or before is None or now_s - before.seen_s > UNSEEN_S or taken < before.since_taken:
        return replace(
            memory if not demand.shared else NOTHING_MEASURED, measuring=_begin(pods, now_s, taken), text=None
        )
    if pods != before.pods:
        text = memory.text if pods > before.pods else None
        return replace(memory, measuring=_begin(pods, now_s, taken), text=text)
    slack_s = 0.0 if _all_busy(demand, pods * slots_per_pod) else now_s - before.seen_s
    measuring = replace(before, seen_s=now_s, slack_s=before.slack_s + slack_s)
    length_s = now_s - before.since_s
    if length_s < max(SHORTEST_S, SERVICES * demand.service_s):
        return replace(memory, measuring=measuring)
    piece = Piece(pods, (taken - before.since_taken) / length_s, now_s)
    full = measuring.slack_s <= (1 - BUSY) * length_s
    return DownstreamMemory(
        _with(memory.pieces, piece),
        _begin(pods, now_s, taken),
        _found(memory.pieces, piece, length_s) if full and pods else None,
    )


def _begin(pods: int, now_s: float, taken: float) -> Measuring:
    return Measuring(pods, now_s, taken, now_s)


def _all_busy(demand: Demand, slots: int) -> bool:
    """More could not run, and more could be run: jobs wait in a queue that has no limit of its own."""
    waits = any(queue.ready for queue in demand.queues if queue.cap.reason is None)
    return waits and demand.active >= BUSY * slots


def _with(pieces: tuple[Piece, ...], piece: Piece) -> tuple[Piece, ...]:
    others = (row for row in pieces if row.pods != piece.pods and piece.until_s - row.until_s <= OLD_S)
    return (*others, piece)[-PIECES:]


def _found(pieces: tuple[Piece, ...], piece: Piece, length_s: float) -> str | None:
    """What the last piece of clearly fewer pods says of this one."""
    fewer = next((row for row in reversed(pieces) if row.pods and row.pods * GROWN <= piece.pods), None)
    if fewer is None or piece.until_s - fewer.until_s > OLD_S + length_s or piece.rate >= RAISED * fewer.rate:
        return None
    return (
        f"{count(piece.pods, 'ready pod')}, all of them busy, did {figure(piece.rate)} jobs/s over {span(length_s)}, and "
        f"{fewer.pods:,} did {figure(fewer.rate)}: what the jobs call may be at its limit, or the jobs have become longer"
    )
