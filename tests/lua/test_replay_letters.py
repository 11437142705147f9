"""replay: a dead letter goes back to its queue as the job that it was, its attempts started anew."""

from __future__ import annotations

from typing import Any

import pytest

from audit import audit
from corral import letter_scripts
from corral.keys import Keys
from corral.version import __version__
from jobs import NOW, Px, Stage, job

DEAD = Keys("dead")
OPTS = '{"attempts":3,"n":9007199254740991,"e":[]}'
META = {"opts.maxLenEvents": "10000", "version": f"corral:{__version__}"}


async def buried(stage: Stage, id: str = "5", more: dict[str, Any] | None = None, **fields: str | int) -> str:
    """Lays a failed job, moves it, and forgets what that changed; gives the id of its letter."""
    facts = {"failedReason": "why", "finishedOn": NOW - 9, "processedOn": NOW - 20, "atm": 3, "ats": 4}
    dead = job(**facts, **{"opts": OPTS, **fields})
    await stage.lay({id: dead, "failed": {id: NOW - 9}, "id": "9", "meta": META}, more or {})
    (letter,) = await letter_scripts.bury_jobs(stage.caller, stage.keys, DEAD, "", NOW, [id])
    await stage.changed()
    assert isinstance(letter, str)
    return letter


async def replay(stage: Stage, *ids: str, dialect: str = "") -> list[tuple[str, str] | int]:
    return await letter_scripts.replay_letters(stage.caller, DEAD, dialect, NOW + 5, ids)


async def test_a_letter_becomes_the_job_that_it_was(stage: Stage) -> None:
    letter = await buried(stage, data='{"é":[]}', more={"5:logs": ["row"], "5:processed": {"bull:c:1": "1"}})
    assert await replay(stage, letter) == [("q", "5")]
    plain = {"name": "n", "data": '{"é":[]}', "opts": OPTS, "timestamp": str(NOW - 1000), "delay": "0", "priority": "0"}
    assert await stage.changed() == {
        "5": plain,
        "5:logs": ["row"],
        "5:processed": {"bull:c:1": "1"},
        "id": "10",
        "wait": ["5"],
        "marker": {"0": 0},
        "events": ["added jobId=5 name=n", "waiting jobId=5"],
        "bull:dead:q.5": None,
        "bull:dead:q.5:logs": None,
        "bull:dead:q.5:processed": None,
        "bull:dead:wait": None,
        "bull:dead:events": ["removed jobId=q.5 prev=wait"],
    }
    assert await audit(stage.client) == []


async def test_priority_and_lifo_place_it_as_they_did(stage: Stage) -> None:
    first = await buried(stage, "a", priority=7)
    last = await buried(stage, "b", opts='{"lifo":true}', more={"wait": ["1"], "1": job()})
    assert await replay(stage, first, last) == [("q", "a"), ("q", "b")]
    changed = await stage.changed()
    assert (changed["wait"], changed["prioritized"]) == (["1", "b"], {"a": 7 * 2**32 + 1})
    assert await audit(stage.client) == []


@pytest.mark.parametrize(
    ("place", "prev"),
    [("wait", "wait"), ("paused", "paused"), ("completed", "completed"), ("failed", "failed"), ("delayed", "delayed")],
)
async def test_it_is_taken_from_wherever_it_is(stage: Stage, place: str, prev: str) -> None:
    letter = await buried(stage)
    await stage.client.delete("bull:dead:wait")
    await stage.lay({f"bull:dead:{place}": [letter] if place in ("wait", "paused") else {letter: 5}})
    assert await replay(stage, letter) == [("q", "5")]
    changed = await stage.changed()
    assert changed[f"bull:dead:{place}"] is None
    assert changed["bull:dead:events"] == [f"removed jobId={letter} prev={prev}"]


async def test_what_was_changed_of_its_data_goes_back_with_it(stage: Stage) -> None:
    letter = await buried(stage)
    await stage.client.hset(f"bull:dead:{letter}", "data", '{"mended":1}')
    await replay(stage, letter)
    assert await stage.client.hget("bull:q:5", "data") == b'{"mended":1}'


async def test_a_child_is_open_again_where_its_parent_has_noted_its_failure(stage: Stage) -> None:
    tie = '{"id":"p","queueKey":"bull:up","idof":true}'
    parent = {
        "bull:up:p": job(),
        "bull:up:p:failed": {"bull:q:5": "why"},
        "bull:up:p:dependencies": {"bull:up:c"},
        "bull:up:waiting-children": {"p": 1},
        "bull:up:c": job(parentKey="bull:up:p", parent="{}"),
        "bull:up:wait": ["c"],
    }
    letter = await buried(stage, more=parent, parentKey="bull:up:p", parent=tie)
    assert await replay(stage, letter) == [("q", "5")]
    changed = await stage.changed()
    assert changed["bull:up:p:dependencies"] == {"bull:up:c", "bull:q:5"}
    assert changed["bull:up:p:failed"] is None
    assert (changed["5"]["parentKey"], changed["5"]["parent"]) == ("bull:up:p", tie)
    assert await audit(stage.client) == []


async def test_the_counter_of_a_queue_that_was_emptied_never_comes_to_the_old_id(stage: Stage) -> None:
    letter = await buried(stage, "17")
    await stage.client.delete("bull:q:id")
    assert await replay(stage, letter) == [("q", "17")]
    assert await stage.client.get("bull:q:id") == b"17"
    assert await audit(stage.client) == []


async def test_a_letter_stays_while_another_job_has_its_id(stage: Stage) -> None:
    letter = await buried(stage)
    await stage.lay({"5": job(), "wait": ["5"]})
    assert await replay(stage, letter) == [letter_scripts.ID_TAKEN]
    assert await stage.changed() == {}


async def test_a_running_letter_stays(stage: Stage) -> None:
    letter = await buried(stage)
    await stage.client.delete("bull:dead:wait")
    await stage.lay({"bull:dead:active": [letter], f"bull:dead:{letter}:lock": Px("t")})
    assert await replay(stage, letter) == [letter_scripts.NOT_FAILED]
    assert await stage.changed() == {}


@pytest.mark.parametrize(
    "opts",
    [
        "{}",
        "{broken",
        "[]",
        '{"deadLetter":1}',
        '{"deadLetter":{"queue":"a:b","id":"1"}}',
        '{"deadLetter":{"queue":"q"}}',
    ],
)
async def test_a_job_that_is_no_letter_stays(stage: Stage, opts: str) -> None:
    await stage.lay({"bull:dead:1": job(opts=opts), "bull:dead:wait": ["1"]})
    assert await replay(stage, "1", "99") == [letter_scripts.NO_LETTER, letter_scripts.NOT_THERE]
    assert await stage.changed() == {}


async def test_a_paused_queue_gets_its_job_without_waking_anybody(stage: Stage) -> None:
    letter = await buried(stage)
    await stage.lay({"meta": {"paused": "1"}})
    assert await replay(stage, letter) == [("q", "5")]
    changed = await stage.changed()
    assert changed["wait"] == ["5"]
    assert "marker" not in changed


async def test_the_dialect_that_is_told_says_where_a_paused_queue_takes_it_back(stage: Stage) -> None:
    letter = await buried(stage, more={"meta": {"paused": "1"}})
    assert await replay(stage, letter, dialect="v5") == [("q", "5")]
    changed = await stage.changed()
    assert (changed["paused"], "wait" in changed) == (["5"], False)
