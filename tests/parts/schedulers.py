"""Job schedulers on a stage (see jobs.py): the calls of their scripts, and how their keys look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from corral import scheduler_scripts
from corral.repeat import Schedule
from corral.scheduler_scripts import Template
from jobs import NOW, job

if TYPE_CHECKING:
    from jobs import Stage

EVERY = 60_000
TEMPLATE: dict[str, Any] = {
    "name": "n",
    "data": "{}",
    "opts": '{"timestamp":1}',
    "priority": 0,
    "lifo": False,
    "deduplication": "",
}


def pending(scheduler: str, due: int, **fields: Any) -> dict[str, Any]:
    """An iteration's hash before anybody took it."""
    return {f"repeat:{scheduler}:{due}": job(rjk=scheduler, **fields)}


def record(**fields: Any) -> dict[str, str]:
    plain = {"name": "n", "every": EVERY, "offset": NOW % EVERY, "ic": 1}
    return {name: str(value) for name, value in (plain | fields).items() if value is not None}


def made(scheduler: str, due: int, now: int = NOW, **fields: Any) -> dict[str, Any]:
    """The hash of an iteration that a script made."""
    delay = max(0, due - now)
    id = f"repeat:{scheduler}:{due}"
    opts = json.dumps({"jobId": id, "delay": delay, "timestamp": 1}, separators=(",", ":"))
    return {id: job(timestamp=now, delay=delay, opts=opts, rjk=scheduler, **fields)}


async def upsert(
    stage: Stage,
    scheduler: str = "s",
    *,
    due: int | None = None,
    now: int = NOW,
    kept_opts: str = "{}",
    dialect: str = "",
    schedule: Schedule | None = None,
    **template: Any,
) -> tuple[str, int] | int:
    schedule = schedule or Schedule(every_ms=EVERY)
    shape = Template(**(TEMPLATE | template))
    return await scheduler_scripts.upsert_scheduler(
        stage.caller, stage.keys, dialect, now, scheduler, schedule, due, shape, kept_opts
    )


async def advance(
    stage: Stage,
    job_id: str,
    scheduler: str = "s",
    *,
    due: int | None = None,
    every: int | None = None,
    now: int = NOW,
    dialect: str = "",
    **template: Any,
) -> str | int | None:
    shape = Template(**(TEMPLATE | template))
    return await scheduler_scripts.advance_scheduler(
        stage.caller, stage.keys, dialect, now, scheduler, job_id, due, every, shape
    )
