"""Pages of jobs by state: which ids belong to a page, and the jobs behind them."""

import logging
from collections.abc import Iterable, Sequence

from corral.connection import Lines
from corral.errors import CorruptJob
from corral.job import Job
from corral.job_door import JobDoor
from corral.job_record import from_wire
from corral.keys import Keys
from corral.script import pairs, to_text
from corral.state import State

logger = logging.getLogger("corral.queue")

_TOGETHER = 200
"""Jobs read in one round trip: their data may be large."""


def page(length: int, start: int, end: int) -> tuple[int, int]:
    """The places from `start` to `end` (inclusive; negative ones count from the end), as from and up to.

    Nothing is on the page when the first is not below the second.
    """
    first = max(0, start + length if start < 0 else start)
    last = min(length - 1, end + length if end < 0 else end)
    return first, max(first, last + 1)


def slices(lengths: Sequence[int], first: int, beyond: int) -> list[tuple[int, int]]:
    """Places from `first` up to `beyond` in lists laid end to end: the part of each list, as from and up to."""
    parts = []
    for length in lengths:
        parts.append((min(max(first, 0), length), min(max(beyond, 0), length)))
        first, beyond = first - length, beyond - length
    return parts


async def read_ids(lines: Lines, keys: Keys, state: State, start: int, end: int, ascending: bool) -> list[str]:
    """The ids of a page, the newest first, or the oldest."""
    names, is_list = _stores(keys, state)
    lengths = await lines.call_many([("LLEN" if is_list else "ZCARD", name) for name in names])
    length = sum(lengths)
    first, beyond = page(length, start, end)
    # The head of a list is its newest; a set begins with its lowest score.
    backwards = ascending if is_list else not ascending
    if backwards:
        first, beyond = length - beyond, length - first
    found: list[bytes] = []
    for name, (low, high) in zip(names, slices(lengths, first, beyond), strict=True):
        if low < high:
            found += await lines.call("LRANGE" if is_list else "ZRANGE", name, low, high - 1)
    ids = [to_text(id) for id in found]
    return ids[::-1] if backwards else ids


def _stores(keys: Keys, state: State) -> tuple[list[str], bool]:
    """Where jobs of a state lie, and whether that is lists. `paused` holds the older ones of those that wait."""
    if state is State.WAITING:
        return [keys.wait, keys.paused], True
    return [keys.base + state.value], state is State.ACTIVE


async def read_jobs(lines: Lines, keys: Keys, door: JobDoor, ids: Iterable[str]) -> list[Job]:
    """The jobs behind ids, those left out that do not exist or cannot be read; the latter are logged."""
    wanted = list(dict.fromkeys(ids))
    jobs: list[Job] = []
    for at in range(0, len(wanted), _TOGETHER):
        some = wanted[at : at + _TOGETHER]
        hashes = await lines.call_many([("HGETALL", keys.job(id)) for id in some])
        for id, flat in zip(some, hashes, strict=True):
            fields = pairs(flat)
            if not fields:
                continue
            try:
                jobs.append(from_wire(id, fields, keys.queue, door))
            except CorruptJob as error:
                logger.warning("left out of a page: %s", error)
    return jobs
