"""Typed functions for what a worker says of itself, and for what it is told. See `script.py` for how they are called."""

from typing import NamedTuple

from corral.keys import Keys
from corral.script import Caller, run

FORGET_S = 300
"""A worker that has been silent for so long is forgotten by the beats of the others."""


class Heard(NamedTuple):
    """The answer to a beat: Redis' time in ms, and the order that stands for this worker as it lies in Redis."""

    now_ms: int
    order: bytes | None


async def beat(caller: Caller, keys: Keys, worker: str, record: str) -> Heard:
    """Tell of a worker at one queue. Raises RedisUnavailable, RedisRefused."""
    now_ms, order = await run(caller, "beat", keys, worker, record, FORGET_S * 1000)
    return Heard(int(now_ms), bytes(order) or None)


async def forget_worker(caller: Caller, keys: Keys, worker: str) -> bool:
    """Remove all records of a worker at one queue; False: there was none. Raises RedisUnavailable, RedisRefused."""
    return bool(await run(caller, "forget_worker", keys, worker))
