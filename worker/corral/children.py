"""A parent's children by what became of them: plain reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.errors import CorruptJob
from corral.keys import Keys
from corral.payload import from_json
from corral.script import Caller, pairs


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


_FIRST_PAGE = Dependencies({}, (), {}, (), (0, 0, 0, 0))


async def read_values(caller: Caller, keys: Keys, job_id: str) -> dict[str, Any]:
    """What completed children returned, by their keys. Raises CorruptJob."""
    return _values(pairs(await caller.call("HGETALL", keys.job(job_id) + ":processed")))


async def read_ignored(caller: Caller, keys: Keys, job_id: str) -> dict[str, str]:
    """Why children failed whose failure is ignored or continued past, by their keys."""
    return _reasons(pairs(await caller.call("HGETALL", keys.job(job_id) + ":failed")))


async def read_dependencies(
    caller: Caller, keys: Keys, job_id: str, after: Dependencies | None, count: int
) -> Dependencies:
    """One page of each kind, about `count` of each, after the page `after`. Raises CorruptJob.

    A child that was there from the first page to the last is in one of them, perhaps in two.
    """
    job, at = keys.job(job_id), (after or _FIRST_PAGE).cursors
    processed, to_processed = await _page(caller, "HSCAN", job + ":processed", at[0], count)
    unprocessed, to_unprocessed = await _page(caller, "SSCAN", job + ":dependencies", at[1], count)
    ignored, to_ignored = await _page(caller, "HSCAN", job + ":failed", at[2], count)
    failed, to_failed = await _page(caller, "ZSCAN", job + ":unsuccessful", at[3], count)
    return Dependencies(
        processed=_values(pairs(processed)),
        unprocessed=[_text(key) for key in unprocessed],
        ignored=_reasons(pairs(ignored)),
        failed=[_text(key) for key in failed[::2]],  # the other half are scores
        cursors=(to_processed, to_unprocessed, to_ignored, to_failed),
    )


async def count_dependencies(caller: Caller, keys: Keys, job_id: str) -> DependencyCounts:
    """How many there are of each kind."""
    job = keys.job(job_id)
    return DependencyCounts(
        processed=await caller.call("HLEN", job + ":processed"),
        unprocessed=await caller.call("SCARD", job + ":dependencies"),
        ignored=await caller.call("HLEN", job + ":failed"),
        failed=await caller.call("ZCARD", job + ":unsuccessful"),
    )


async def _page(caller: Caller, command: str, key: str, cursor: int | None, count: int) -> tuple[list[Any], int | None]:
    """What a scan gives next, and its next cursor; nothing of one that is at its end."""
    if cursor is None:
        return [], None
    following, found = await caller.call(command, key, cursor, "COUNT", count)
    return found, int(following) or None


def _values(stored: dict[bytes, bytes]) -> dict[str, Any]:
    values = {}
    for key, value in stored.items():
        try:
            values[_text(key)] = from_json(value.decode())
        except (ValueError, RecursionError):
            raise CorruptJob(f"the value that child {_text(key)} left with its parent is not JSON") from None
    return values


def _reasons(stored: dict[bytes, bytes]) -> dict[str, str]:
    return {_text(key): _text(reason) for key, reason in stored.items()}


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
