"""Typed functions for what has fallen between the states of a queue."""

from collections.abc import Sequence

from corral.keys import Keys
from corral.script import Caller, run, to_text


async def find_orphans(caller: Caller, keys: Keys, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Those of the ids that have; with '' for a job in no list or set, else with where an id without a job lies."""
    return [(to_text(id), to_text(place)) for id, place in await run(caller, "find_orphans", keys, *ids)]


async def put_back_orphans(caller: Caller, keys: Keys, dialect: str, now_ms: int, ids: Sequence[str]) -> int:
    """Put jobs where their hashes say that they belong; gives how many."""
    return int(await run(caller, "put_back_orphans", keys, now_ms, dialect, *ids))


async def join_paused(caller: Caller, keys: Keys, most: int) -> int:
    """Move up to `most` jobs from `wait` of a paused queue to the list `paused`; gives how many."""
    return int(await run(caller, "join_paused", keys, most))


async def remove_orphans(caller: Caller, keys: Keys, now_ms: int, ids: Sequence[str]) -> int:
    """Delete jobs without a state, and ids without a job; gives how many."""
    return int(await run(caller, "remove_orphans", keys, now_ms, *ids))
