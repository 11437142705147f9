"""progress and log: what a running job writes about itself."""

from __future__ import annotations

import pytest

from corral import scripts
from jobs import BASE, Stage, active, job


async def log(stage: Stage, row: str, kept: int | None = None, job_id: str = "1") -> int:
    return await scripts.add_log(stage.caller, stage.keys, job_id, row, kept)


async def test_progress_is_stored_and_told_as_json(stage: Stage) -> None:
    await stage.lay(active("1", progress="1"))
    assert await scripts.update_progress(stage.caller, stage.keys, "1", '{"done":"é"}')
    assert await stage.changed() == {
        "1": {"progress": '{"done":"é"}'},
        "events": ['progress jobId=1 data={"done":"é"}'],
    }


async def test_progress_of_a_job_that_is_gone_writes_nothing(stage: Stage) -> None:
    await stage.lay({"id": "1"})
    assert not await scripts.update_progress(stage.caller, stage.keys, "1", "50")
    assert await stage.changed() == {}


async def test_the_stream_is_trimmed_near_its_target(stage: Stage) -> None:
    await stage.lay(active("1"), {"meta": {"opts.maxLenEvents": "100"}})
    for _ in range(400):
        await stage.client.xadd(f"{BASE}events", {"event": "old"})
    await scripts.update_progress(stage.caller, stage.keys, "1", "50")
    assert await stage.client.xlen(f"{BASE}events") <= 210


async def test_rows_of_a_log_lie_oldest_first(stage: Stage) -> None:
    await stage.lay({"1": job()})
    assert await log(stage, "first") == 1
    assert await log(stage, "zwei\nlines") == 2
    assert await stage.changed() == {"1:logs": ["first", "zwei\nlines"]}


@pytest.mark.parametrize(("kept", "rows"), [(3, ["a", "b", "new"]), (2, ["b", "new"]), (1, ["new"]), (0, None)])
async def test_a_log_keeps_the_newest_rows(stage: Stage, kept: int, rows: list[str] | None) -> None:
    await stage.lay({"1": job(), "1:logs": ["a", "b"]})
    assert await log(stage, "new", kept) == len(rows or [])
    assert await stage.changed() == {"1:logs": rows}


async def test_a_row_for_a_job_that_is_gone_is_refused(stage: Stage) -> None:
    await stage.lay({"id": "1"})
    assert await log(stage, "row") == -1
    assert await stage.changed() == {}
