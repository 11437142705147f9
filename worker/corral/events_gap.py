"""Whether a reader of the events stream has missed something, from what Redis tells of the stream.

Redis 7 and Valkey count what was ever added, so that the number of lost events is known. An older Redis shows only that
the first entry lies behind the reader's place; there a gap may have lost nothing.
"""

from dataclasses import dataclass
from typing import Any, Literal

START = "0-0"
"""Before the first entry."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has come: the id of the last entry it knows, and how many had been added up to it by then
    (None = unknown)."""

    id: str
    number: int | None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What XINFO STREAM tells. `first` is None for an empty stream, `added` and `deleted` before Redis 7."""

    first: str | None
    last: str
    length: int
    added: int | None
    deleted: str | None

    @property
    def removed(self) -> int | None:
        """How many entries were cut off before the first one; None = unknown."""
        if self.added is None:
            return None
        if self.first is not None and self.deleted is not None and order(self.deleted) >= order(self.first):
            return None  # one was deleted out of the middle
        return self.added - self.length


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that a reader has missed. `lost` is their number, None = unknown."""

    reason: Literal["trimmed", "deleted", "rolled back"]
    lost: int | None


def order(id: str) -> tuple[int, int]:
    """An id of a stream as something to compare."""
    ms, _, number = id.partition("-")
    return int(ms), int(number or 0)


def read_facts(reply: list[Any]) -> StreamFacts:
    """The reply of XINFO STREAM."""
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    first, deleted = facts[b"first-entry"], facts.get(b"max-deleted-entry-id")
    return StreamFacts(
        first=first[0].decode() if first else None,
        last=facts[b"last-generated-id"].decode(),
        length=facts[b"length"],
        added=facts.get(b"entries-added"),
        deleted=deleted.decode() if deleted is not None else None,
    )


def judge(place: Place, facts: StreamFacts | None, *, there: bool, last_is_known: bool) -> tuple[Place, Gap | None]:
    """Where to go on, and what was missed.

    facts: None = the stream does not exist; there: the entry at our place does; last_is_known: we have read the stream's
    last entry already.
    """
    if there:
        return place, None
    if facts is None:
        return Place(START, 0), None if place.id == START else Gap("deleted", None)
    if place.id == START and place.number is None:
        return Place(START, facts.removed), None
    if facts.last == place.id:
        return Place(place.id, facts.added), None
    if order(facts.last) < order(place.id):
        if last_is_known:
            return Place(facts.last, facts.added), Gap("rolled back", None)
        return Place(START, facts.removed), Gap("deleted", None)
    if facts.first is not None and order(facts.first) < order(place.id):
        if facts.deleted is not None and order(facts.deleted) >= order(place.id):
            return place, None  # somebody deleted the very entry
        return Place(place.id, None), Gap("rolled back", None)
    return _cut(place, facts)


def _cut(place: Place, facts: StreamFacts) -> tuple[Place, Gap | None]:
    """Everything up to our place is gone, and perhaps more."""
    removed = facts.removed
    after = Place(facts.last, facts.added) if facts.first is None else Place(place.id, removed)
    if removed is None or place.number is None:
        return after, Gap("trimmed", None)
    if removed < place.number:
        return after, Gap("deleted", None)  # fewer than we know of: it began anew
    if removed == place.number:
        return after, None
    return after, Gap("trimmed", removed - place.number)
