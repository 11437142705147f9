"""What is changed of a job wherever it is: its data, its log, its deduplication id."""

from __future__ import annotations

import pytest

from corral import InvalidJob, admin_scripts
from jobs import Px, Stage, job


async def test_data_is_replaced(stage: Stage) -> None:
    await stage.lay({"1": job(data='{"a":1}'), "wait": ["1"]})
    assert await admin_scripts.update_data(stage.caller, stage.keys, "1", '["ü"]') == 0
    assert await stage.changed() == {"1": {"data": '["ü"]'}}


async def test_no_data_is_written_for_a_job_that_is_gone(stage: Stage) -> None:
    await stage.lay()
    assert await admin_scripts.update_data(stage.caller, stage.keys, "1", "{}") == -1
    assert await stage.changed() == {}


async def test_a_log_is_cut_to_its_newest_rows_or_deleted(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:logs": ["a", "b", "c"]})
    await admin_scripts.clear_logs(stage.caller, stage.keys, "1", 2)
    assert await stage.changed() == {"1:logs": ["b", "c"]}
    await admin_scripts.clear_logs(stage.caller, stage.keys, "1", None)
    assert await stage.changed() == {"1:logs": None}


async def test_a_log_of_which_nothing_is_kept_is_gone(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:logs": ["a"]})
    await admin_scripts.clear_logs(stage.caller, stage.keys, "1", 0)
    assert await stage.changed() == {"1:logs": None}
    with pytest.raises(InvalidJob, match="counted from 0 up, got -1"):
        await admin_scripts.clear_logs(stage.caller, stage.keys, "1", -1)


async def free(stage: Stage, job_id: str) -> bool:
    return await admin_scripts.remove_deduplication_key(stage.caller, stage.keys, "d", job_id)


async def test_a_deduplication_id_is_given_free_by_its_owner_only(stage: Stage) -> None:
    await stage.lay({"1": job(deid="d"), "de:d": Px("1"), "dn:d": {"name": "n"}})
    assert not await free(stage, "2")
    assert await stage.changed() == {}
    assert await free(stage, "1")
    assert await stage.changed() == {"de:d": None}
    assert not await free(stage, "1")


async def test_or_by_whoever_asks_for_the_queue(stage: Stage) -> None:
    await stage.lay({"de:d": "1"})
    assert await free(stage, "")
    assert await stage.changed() == {"de:d": None}
    assert not await free(stage, "")
