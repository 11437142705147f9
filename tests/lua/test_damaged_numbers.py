"""settle and take beside counters and settings that are no whole numbers: refused before anything is written, or done."""

from __future__ import annotations

from typing import Any

import pytest

from corral import scripts
from corral.errors import RedisRefused
from corral.lifecycle import Complete
from corral.retention import KEEP_ALL
from jobs import Stage, active, job

DAMAGE: dict[str, dict[str, Any]] = {
    "priorities are a text": {"pc": "text"},
    "priorities are a list": {"pc": ["x"]},
    "limiter is a text": {"limiter": "text", "meta": {"max": "5", "duration": "1000"}},
    "limiter is a list": {"limiter": ["x"], "meta": {"max": "5", "duration": "1000"}},
    "duration is no whole number": {"meta": {"max": "5", "duration": "1000.5"}},
    "max is no whole number": {"meta": {"max": "1.5", "duration": "1000"}},
    "concurrency is no whole number": {"meta": {"concurrency": "2.5"}},
    "length of the stream is no whole number": {"meta": {"opts.maxLenEvents": "1.5"}},
    "settings are a text": {"meta": "text"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_call_is_done_or_changes_nothing(stage: Stage, damage: dict[str, Any]) -> None:
    due = {"delayed": {"2": 4096}, "2": job(delay=5, priority=3)}
    await stage.lay({"wait": ["1"], "1": job()}, due, active("3"), damage)
    try:
        settled = await stage.settle(("3", Complete("1", KEEP_ALL)), want=5)
    except RedisRefused:
        assert await stage.changed() == {}
        return
    assert settled.codes == [0]
    states = {id: await scripts.job_state(stage.caller, stage.keys, id) for id in "123"}
    assert states["3"] == "completed"
    assert "unknown" not in states.values()
