"""limits: fields of `meta` are set or lifted, and a worker is woken for what they held up."""

from __future__ import annotations

import pytest

from corral import admin_scripts
from jobs import Stage, job


async def set_limits(stage: Stage, **fields: int | None) -> None:
    await admin_scripts.set_limits(stage.caller, stage.keys, fields)


async def test_limits_are_set_and_lifted(stage: Stage) -> None:
    await stage.lay({"meta": {"version": "bullmq:6.7.0"}})
    await set_limits(stage, max=3, duration=1000)
    assert await stage.changed() == {"meta": {"max": "3", "duration": "1000"}}
    await set_limits(stage, max=None, duration=None, concurrency=2)
    assert await stage.changed() == {"meta": {"max": None, "duration": None, "concurrency": "2"}}


@pytest.mark.parametrize("waiting", [{"wait": ["1"]}, {"prioritized": {"1": 2**32}}], ids=["waiting", "prioritized"])
async def test_a_worker_is_woken_for_jobs_that_may_run_now(stage: Stage, waiting: dict) -> None:
    await stage.lay(waiting, {"1": job(), "active": ["2"], "meta": {"concurrency": "1", "x": "y"}})
    await set_limits(stage, concurrency=None)
    assert await stage.changed() == {"meta": {"concurrency": None}, "marker": {"0": 0}}


async def test_nobody_is_woken_for_nothing(stage: Stage) -> None:
    await stage.lay({"wait": ["1"], "active": ["2"], "meta": {"concurrency": "1"}})
    await set_limits(stage, max=9)
    assert await stage.changed() == {"meta": {"max": "9"}}
    await stage.lay({"meta": {"concurrency": "5", "paused": "1"}})
    await set_limits(stage)
    assert await stage.changed() == {}


async def test_lifting_what_was_never_set_makes_no_queue(stage: Stage) -> None:
    await stage.lay()
    await set_limits(stage, concurrency=None)
    assert await stage.changed() == {}
