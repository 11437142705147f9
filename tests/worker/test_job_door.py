"""What a running job asks of its queue: progress and log rows, checked before they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from corral import CorralError, InvalidJob, Job, PayloadNotJSON
from corral.job_record import from_wire

PLAIN = {b"name": b"send", b"data": b"{}", b"timestamp": b"1800000000000"}


class Door:
    """Remembers what a job asked of its queue."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def update_progress(self, job: Job, progress: str) -> None:
        self.asked.append((job.id, progress))

    async def add_log(self, job: Job, row: str) -> int:
        self.asked.append((job.id, row))
        return len(self.asked)


async def test_progress_and_log_rows_go_through_the_door() -> None:
    door = Door()
    job = from_wire("7", PLAIN, "mail", door)
    await job.update_progress({"done": 1})
    assert await job.log("a row") == 2
    assert door.asked == [("7", '{"done":1}'), ("7", "a row")]
    assert job.progress == {"done": 1}


async def test_progress_that_is_not_json_is_refused_before_it_is_sent() -> None:
    door = Door()
    job = from_wire("7", PLAIN, "mail", door)
    with pytest.raises(PayloadNotJSON, match="progress of job 7"):
        await job.update_progress(float("nan"))
    assert door.asked == []
    assert job.progress == 0


@pytest.mark.parametrize("row", [5, None, b"row", {"a": 1}], ids=repr)
async def test_a_log_row_that_is_no_text_is_refused_before_it_is_sent(row: Any) -> None:
    door = Door()
    with pytest.raises(InvalidJob, match=f"a log row is a text, got {type(row).__name__}"):
        await from_wire("7", PLAIN, "mail", door).log(row)
    assert door.asked == []


async def test_a_log_row_that_utf_8_cannot_hold_is_made_storable() -> None:
    door = Door()
    await from_wire("7", PLAIN, "mail", door).log("bad \ud800 row")
    ((_, row),) = door.asked
    assert row.encode()


async def test_a_job_without_a_connection_says_so() -> None:
    with pytest.raises(CorralError, match="job 7 was read without a connection"):
        await from_wire("7", PLAIN, "mail").log("row")
