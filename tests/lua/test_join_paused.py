"""join: jobs in `wait` of a paused queue go where a resume by BullMQ 5 finds them; never once it was resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral import orphan_scripts
from jobs import job

if TYPE_CHECKING:
    from jobs import Stage

LAID = {"wait": ["c", "b", "a"], "paused": ["z"], **{id: job() for id in "abcz"}}


async def test_they_join_behind_those_that_are_there_in_their_order(stage: Stage) -> None:
    await stage.lay({"meta": {"paused": "1"}}, LAID)
    assert await orphan_scripts.join_paused(stage.caller, stage.keys, 10) == 3
    assert await stage.changed() == {"wait": None, "paused": ["c", "b", "a", "z"]}
    assert await orphan_scripts.join_paused(stage.caller, stage.keys, 10) == 0


async def test_it_moves_no_more_than_asked_the_oldest_first(stage: Stage) -> None:
    await stage.lay({"meta": {"paused": "1"}}, LAID)
    assert await orphan_scripts.join_paused(stage.caller, stage.keys, 2) == 2
    assert await stage.changed() == {"wait": ["c"], "paused": ["b", "a", "z"]}


async def test_a_queue_that_was_resumed_meanwhile_stays_as_it_is(stage: Stage) -> None:
    await stage.lay({"meta": {"version": "bullmq:5.81.5"}}, LAID)
    assert await orphan_scripts.join_paused(stage.caller, stage.keys, 10) == 0
    assert await stage.changed() == {}
