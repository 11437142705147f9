"""A parent's children by what became of them: plain reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.keys import Keys
from corral.script import Caller


@dataclass(frozen=True, slots=True)
class Dependencies:
    """One page of a parent's children, by their keys (`prefix:queue:id`).

    processed: completed, key -> return value; unprocessed: open; ignored: failed, and the parent went on without them,
    key -> reason; failed: those that fail their parent. `cursors`: where the next page begins, one a kind, None = that
    kind is read to its end.
    """

    processed: Mapping[str, Any]
    unprocessed: Sequence[str]
    ignored: Mapping[str, str]
    failed: Sequence[str]
    cursors: tuple[int | None, int | None, int | None, int | None]

    @property
    def complete(self) -> bool:
        """Whether there is no further page."""
        return self.cursors == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class DependencyCounts:
    """How many children of a parent are of each kind; see `Dependencies`."""

    processed: int
    unprocessed: int
    ignored: int
    failed: int


async def read_values(caller: Caller, keys: Keys, job_id: str) -> dict[str, Any]:
    """What completed children returned, by their keys."""
    raise NotImplementedError


async def read_ignored(caller: Caller, keys: Keys, job_id: str) -> dict[str, str]:
    """Why children failed whose failure is ignored or continued past, by their keys."""
    raise NotImplementedError


async def read_dependencies(
    caller: Caller, keys: Keys, job_id: str, after: Dependencies | None, count: int
) -> Dependencies:
    """One page of each kind, about `count` of each, after the page `after`."""
    raise NotImplementedError


async def count_dependencies(caller: Caller, keys: Keys, job_id: str) -> DependencyCounts:
    """How many there are of each kind."""
    raise NotImplementedError
