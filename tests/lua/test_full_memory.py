"""A Redis whose memory is full: nothing new comes in, by halves least of all, and what frees memory still goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import corral
from corral import script
from corral.errors import RedisRefused
from script_calls import CALLS, FREEING, GROWING, READING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobs import Stage
    from script_calls import ScriptCall

    Fill = Callable[[], Awaitable[None]]

SCRIPTS = {path.stem for path in (Path(corral.__file__).parent / "lua").glob("*.lua")}


@pytest.fixture
async def fill(stage: Stage) -> AsyncIterator[Fill]:
    """Call it when everything is laid out: from then on the server is full."""
    assert (await stage.client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"

    async def filled() -> None:
        await stage.client.config_set("maxmemory", 1)

    yield filled
    await stage.client.config_set("maxmemory", 0)


class Told:
    """A caller that remembers which scripts were called through it."""

    def __init__(self, stage: Stage) -> None:
        self._caller = stage.caller
        self.scripts: set[str] = set()

    async def call(self, *command: Any, timeout: float = 10.0) -> Any:
        if command[0] == "EVALSHA":
            self.scripts |= {name for name in SCRIPTS if script.load(name).sha == command[1]}
        return await self._caller.call(*command, timeout=timeout)


async def act(stage: Stage, call: ScriptCall) -> Any:
    """Make the call, and see that it was one of the script that it says."""
    told = Told(stage)
    try:
        return await call.act(told, stage.keys)
    finally:
        assert told.scripts == {call.script}


def test_every_script_is_tried() -> None:
    assert {call.script for call in CALLS} == SCRIPTS


@pytest.mark.parametrize("call", GROWING, ids=str)
async def test_what_can_wait_is_refused_and_nothing_written(stage: Stage, fill: Fill, call: ScriptCall) -> None:
    await stage.lay(*call.keys)
    await fill()
    with pytest.raises(RedisRefused, match="memory is full") as refused:
        await act(stage, call)
    assert refused.value.code == "OOM"
    assert await stage.changed() == {}


@pytest.mark.parametrize("call", GROWING, ids=str)
async def test_with_memory_left_it_is_written(stage: Stage, call: ScriptCall) -> None:
    await stage.lay(*call.keys)
    await act(stage, call)
    assert await stage.changed()


@pytest.mark.parametrize("call", [*FREEING, *READING], ids=str)
async def test_what_must_go_on_does_in_a_full_redis_all_that_it_does_in_any_other(
    stage: Stage, fill: Fill, call: ScriptCall
) -> None:
    await stage.lay(*call.keys)
    with_memory = await act(stage, call), await stage.changed()
    await stage.client.flushall()
    await stage.lay(*call.keys)
    await fill()
    assert (await act(stage, call), await stage.changed()) == with_memory
    assert bool(with_memory[1]) == (call.script not in ("reclaim_jobs", "job_state", "find_orphans"))


@pytest.mark.parametrize("name", ["reclaim_jobs", "renew_locks", "extend_lock"])
async def test_locks_of_running_jobs_are_held_on(stage: Stage, fill: Fill, name: str) -> None:
    call = next(call for call in FREEING if call.script == name)
    await stage.lay(*call.keys)
    await stage.client.pexpire("bull:q:1:lock", 60_000)
    await fill()
    await act(stage, call)
    assert await stage.left_ms("1:lock") > 60_000


async def test_a_clean_that_finds_nothing_says_so_in_a_full_redis_too(stage: Stage, fill: Fill) -> None:
    call = next(call for call in FREEING if str(call) == "clean_jobs: completed")
    await fill()
    assert await act(stage, call) == ([], 0)
