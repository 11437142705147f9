"""state: where a job is, read without a write."""

from __future__ import annotations

import pytest

from corral import scripts
from jobs import Stage, job

PLACES = {
    "wait": (["a", "1", "b"], "waiting"),
    "paused": (["1"], "waiting"),
    "active": (["1"], "active"),
    "prioritized": ({"1": 2**32}, "prioritized"),
    "delayed": ({"1": 4096}, "delayed"),
    "waiting-children": ({"1": 5}, "waiting-children"),
    "completed": ({"1": 5}, "completed"),
    "failed": ({"1": 5}, "failed"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_each_place_is_a_state(stage: Stage, place: str) -> None:
    lies, state = PLACES[place]
    await stage.lay({"1": job(), place: lies})
    assert await scripts.job_state(stage.caller, stage.keys, "1") == state
    assert await scripts.job_state(stage.caller, stage.keys, "other") == "unknown"
    assert await stage.changed() == {}


async def test_a_job_in_no_place_is_unknown(stage: Stage) -> None:
    await stage.lay({"1": job()})
    assert await scripts.job_state(stage.caller, stage.keys, "1") == "unknown"
