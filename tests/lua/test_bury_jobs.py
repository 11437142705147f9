"""bury: a failed job leaves its queue and waits in the dead-letter queue, knowing where it came from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from audit import audit
from corral import letter_scripts
from corral.keys import Keys
from corral.version import __version__
from jobs import NOW, Stage, job

DEAD = Keys("dead")
META = {"opts.maxLenEvents": "10000", "version": f"corral:{__version__}"}
OPTS = '{"attempts":3,"n":9007199254740991,"e":[],"correlationId":"c/1"}'


async def bury(stage: Stage, *ids: str, dialect: str = "") -> list[str | int]:
    return await letter_scripts.bury_jobs(stage.caller, stage.keys, DEAD, dialect, NOW, ids)


def failed(*ids: str, **fields: str | int) -> dict[str, Any]:
    facts = {"failedReason": 'so "é"', "finishedOn": NOW - 9, "processedOn": NOW - 20, "atm": 3, "ats": 4}
    jobs = {id: job(**facts, stacktrace='["a","b"]', **{"opts": OPTS, **fields}) for id in ids}
    return {**jobs, "failed": dict.fromkeys(ids, NOW - 9), "id": "9"}


async def test_everything_moves_in_one_step(stage: Stage) -> None:
    await stage.lay(failed("5", data='{"é":[]}', priority=7), {"5:logs": ["row"], "5:processed": {"bull:c:1": "1"}})
    assert await bury(stage, "5") == ["q.5"]
    changed = await stage.changed()
    letter = changed.pop("bull:dead:q.5")
    opts = json.loads(letter.pop("opts"))
    assert changed == {
        "5": None,
        "5:logs": None,
        "5:processed": None,
        "failed": None,
        "events": ["removed jobId=5 prev=failed"],
        "bull:dead:id": "1",
        "bull:dead:meta": META,
        "bull:dead:q.5:logs": ["row"],
        "bull:dead:q.5:processed": {"bull:c:1": "1"},
        "bull:dead:wait": ["q.5"],
        "bull:dead:marker": {"0": 0},
        "bull:dead:events": ["added jobId=q.5 name=n", "waiting jobId=q.5"],
    }
    assert letter == {"name": "n", "data": '{"é":[]}', "timestamp": str(NOW), "delay": "0", "priority": "0"}
    origin = opts.pop("deadLetter")
    assert opts == {"attempts": 0, "correlationId": "c/1"}
    assert origin.pop("opts") == OPTS
    assert origin == {
        "queue": "q",
        "id": "5",
        "reason": 'so "é"',
        "attemptsMade": 3,
        "attemptsStarted": 4,
        "timestamp": NOW - 1000,
        "processedOn": NOW - 20,
        "finishedOn": NOW - 9,
        "movedOn": NOW,
        "priority": 7,
        "stacktrace": ["a", "b"],
    }
    assert await audit(stage.client) == []


async def test_moving_twice_gives_one_letter(stage: Stage) -> None:
    await stage.lay(failed("5", "6"))
    assert await bury(stage, "5", "6", "5") == ["q.5", "q.6", "q.5"]
    await stage.changed()
    assert await bury(stage, "5") == ["q.5"]
    assert await stage.changed() == {}


async def test_a_second_job_of_the_same_id_gets_a_letter_of_its_own(stage: Stage) -> None:
    await stage.lay(failed("a"))
    assert await bury(stage, "a") == ["q.a"]
    await stage.lay(failed("a"))
    assert await bury(stage, "a") == ["q.a.2"]
    assert await stage.client.lrange("bull:dead:wait", 0, -1) == [b"q.a.2", b"q.a"]
    assert await audit(stage.client) == []


LEFT = {
    "there is no such job": ({}, letter_scripts.NOT_THERE),
    "it waits": ({"5": job(), "wait": ["5"]}, letter_scripts.NOT_FAILED),
    "it has open children": (
        failed("5") | {"5:dependencies": {"bull:q:c"}, "c": job(parentKey="bull:q:5", parent="{}"), "wait": ["c"]},
        letter_scripts.OPEN_CHILDREN,
    ),
    "its parent waits for it": (
        failed("5", parentKey="bull:up:p", parent='{"id":"p","queueKey":"bull:up"}')
        | {"bull:up:p": job(), "bull:up:p:dependencies": {"bull:q:5"}, "bull:up:waiting-children": {"p": 1}},
        letter_scripts.PARENT_WAITS,
    ),
    "it is a scheduler's next iteration": (
        failed("repeat:s:500", rjk="s") | {"repeat": {"s": 500}},
        letter_scripts.OF_SCHEDULER,
    ),
}


@pytest.mark.parametrize("why", LEFT)
async def test_a_job_that_others_need_or_that_is_not_failed_stays(stage: Stage, why: str) -> None:
    keys, code = LEFT[why]
    await stage.lay({"bull:dead:id": "1", "bull:dead:meta": META}, keys)
    id = "repeat:s:500" if "repeat" in keys else "5"
    assert await bury(stage, id) == [code]
    assert await stage.changed() == {}


async def test_a_child_that_its_parent_has_given_up_moves(stage: Stage) -> None:
    tie = '{"id":"p","queueKey":"bull:up","idof":true}'
    await stage.lay(
        failed("5", parentKey="bull:up:p", parent=tie),
        {"bull:up:p": job(), "bull:up:p:failed": {"bull:q:5": "why"}, "bull:up:wait": ["p"]},
    )
    assert await bury(stage, "5") == ["q.5"]
    origin = json.loads(await stage.client.hget("bull:dead:q.5", "opts"))["deadLetter"]
    assert (origin["parentKey"], origin["parent"]) == ("bull:up:p", tie)
    assert await stage.client.hget("bull:up:p:failed", "bull:q:5") == b"why"
    assert await audit(stage.client) == []


async def test_a_paused_dead_letter_queue_of_bullmq_5_takes_letters_where_it_keeps_them(stage: Stage) -> None:
    await stage.lay(failed("5"), {"bull:dead:meta": {"paused": "1", "version": "bullmq:5.81.5"}})
    assert await bury(stage, "5") == ["q.5"]
    changed = await stage.changed()
    assert changed["bull:dead:paused"] == ["q.5"]
    assert "bull:dead:marker" not in changed


@pytest.mark.parametrize("field", ["opts", "stacktrace", "timestamp", "atm"])
async def test_a_field_that_cannot_be_read_does_not_stop_the_move(stage: Stage, field: str) -> None:
    await stage.lay(failed("5"))
    await stage.client.hset("bull:q:5", field, "{broken")
    assert await bury(stage, "5") == ["q.5"]
    assert json.loads(await stage.client.hget("bull:dead:q.5", "opts"))["deadLetter"]["id"] == "5"
    assert await audit(stage.client) == []


async def test_the_dialect_that_is_told_says_where_a_paused_queue_keeps_letters(stage: Stage) -> None:
    await stage.lay(failed("5"), {"bull:dead:meta": {"paused": "1"}})
    assert await bury(stage, "5", dialect="v5") == ["q.5"]
    changed = await stage.changed()
    assert (changed["bull:dead:paused"], "bull:dead:wait" in changed) == (["q.5"], False)


async def move_on(stage: Stage, letter_id: str, now: Keys, to: Keys) -> str | int:
    """A letter fails where it waits, and is moved on."""
    await stage.client.lrem(f"{now.base}wait", 0, letter_id)
    await stage.client.zadd(now.failed, {letter_id: NOW})
    await stage.client.hset(now.job(letter_id), mapping={"failedReason": "again", "finishedOn": NOW})
    (answer,) = await letter_scripts.bury_jobs(stage.caller, now, to, "", NOW, [letter_id])
    return answer


async def test_a_letter_that_is_moved_on_again_and_again_does_not_grow_and_finds_home(stage: Stage) -> None:
    other = Keys("other")
    await stage.lay(failed("5", priority=7))
    assert await bury(stage, "5") == ["q.5"]
    sizes = set()
    for move in range(14):
        now, to = (DEAD, other) if move % 2 == 0 else (other, DEAD)
        assert await move_on(stage, "q.5", now, to) == "q.5"
        assert await letter_scripts.bury_jobs(stage.caller, now, to, "", NOW, ["q.5"]) == ["q.5"]
        sizes.add(len(await stage.client.hget(to.job("q.5"), "opts")))
    assert max(sizes) < 700
    past = json.loads(await stage.client.hget("bull:dead:q.5", "opts"))["deadLetter"]
    assert (past["queue"], past["id"], past["reason"]) == ("other", "q.5", "again")
    assert past["home"] == {"queue": "q", "id": "5", "timestamp": NOW - 1000, "priority": 7, "opts": OPTS}
    assert await letter_scripts.replay_letters(stage.caller, DEAD, "", NOW, ["q.5"]) == [("q", "5")]
    assert await stage.client.hgetall("bull:q:5") == {
        name.encode(): str(value).encode() for name, value in job(opts=OPTS, priority=7).items()
    }
    assert await audit(stage.client) == []


async def test_a_child_that_was_moved_on_comes_home_to_its_parent(stage: Stage) -> None:
    tie = '{"id":"p","queueKey":"bull:up","idof":true}'
    await stage.lay(
        failed("5", parentKey="bull:up:p", parent=tie),
        {"bull:up:p": job(), "bull:up:p:failed": {"bull:q:5": "why"}, "bull:up:wait": ["p"]},
    )
    assert await bury(stage, "5") == ["q.5"]
    assert await move_on(stage, "q.5", DEAD, Keys("other")) == "q.5"
    assert await letter_scripts.replay_letters(stage.caller, Keys("other"), "", NOW, ["q.5"]) == [("q", "5")]
    assert await stage.client.hmget("bull:q:5", "parentKey", "parent") == [b"bull:up:p", tie.encode()]


LAST = {
    "the limit is reached": '{"repeat":{"every":5,"limit":3,"count":3}}',
    "the end has passed": f'{{"repeat":{{"pattern":"* * * * *","count":1,"endDate":{NOW - 1}}}}}',
}


@pytest.mark.parametrize("why", LAST)
async def test_the_last_iteration_of_a_scheduler_moves(stage: Stage, why: str) -> None:
    await stage.lay(failed("repeat:s:500", rjk="s", opts=LAST[why]), {"repeat": {"s": 500}})
    assert await bury(stage, "repeat:s:500") == ["q.repeat:s:500"]


@pytest.mark.parametrize("repeat", ['{"limit":3,"count":2}', f'{{"endDate":{NOW}}}', "{}", "[]", "7"])
async def test_an_iteration_that_another_may_follow_stays(stage: Stage, repeat: str) -> None:
    await stage.lay(failed("repeat:s:500", rjk="s", opts=f'{{"repeat":{repeat}}}'), {"repeat": {"s": 500}})
    assert await bury(stage, "repeat:s:500") == [letter_scripts.OF_SCHEDULER]
