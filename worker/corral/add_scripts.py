"""The typed functions behind every add."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corral.job_spec import NewJob
from corral.keys import Keys
from corral.script import Caller, run, to_text
from corral.version import __version__


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was added, because of the job at `place` (from 0): a code of `refusals.py`."""

    code: int
    place: int


async def add_jobs(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, jobs: Sequence[NewJob]
) -> list[str] | Refused:
    """Add jobs, all or none; gives their ids in order."""
    args: list[Any] = []
    for job in jobs:
        args += job.args()
    reply = await run(caller, "add_jobs", keys, dialect, f"corral:{__version__}", now_ms, *args)
    if reply and isinstance(reply[0], int):
        return Refused(reply[0], reply[1] - 1)
    return [to_text(id) for id in reply]


async def add_flow(
    caller: Caller, dialect: str, now_ms: int, jobs: Sequence[tuple[Keys, NewJob]]
) -> list[str] | Refused:
    """Add the jobs of flows, each to its queue, all or none; gives their ids in order.

    A parent stands before its children. Only a job that is nobody's parent may lack an id.
    """
    args: list[Any] = []
    for keys, job in jobs:
        args += (keys.base, *job.args())
    reply = await run(caller, "add_flow", jobs[0][0], dialect, f"corral:{__version__}", now_ms, *args)
    if isinstance(reply[0], int):
        return Refused(reply[0], reply[1] - 1)
    return [to_text(id) for id in reply]
