"""Every script that may release a parent, on a paused queue whose keys do not say that Node 5 works there.

Node 5 renames `paused` over `wait` at resume: a parent in `wait` would be lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import add_scripts, admin_scripts, flow_scripts
from corral.keys import Keys
from corral.lifecycle import Complete, Fail
from corral.retention import KEEP_ALL, Keep
from jobs import NOW, Stage, active, job, new_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Act = Callable[[Stage, str], Awaitable[Any]]

UP = "bull:up:"
P = f"{UP}P"
PAUSED = {"paused": "1", "version": "corral:0.1.0"}
TIE = {"parentKey": P, "parent": '{"id":"P","queueKey":"bull:up","cpof":true}'}
OPEN = {P: job(), f"{UP}waiting-children": {"P": 5}, f"{P}:dependencies": {"bull:q:1"}}
WAITS = {**OPEN, "wait": ["1"], "1": job(**TIE)}
RUNS = {**OPEN, **active("1", **TIE)}
ENDED = {"completed": {"1": NOW}, "1": job(returnvalue="1")}
CHILD = new_job("1", more=json.dumps({"parent": {"key": P, "json": TIE["parent"]}}))

CALLS: dict[str, tuple[dict[str, Any], Act]] = {
    "complete": (RUNS, lambda s, d: s.settle(("1", Complete("1", KEEP_ALL)), dialect=d)),
    "fail": (RUNS, lambda s, d: s.settle(("1", Fail("boom", (), KEEP_ALL, True)), dialect=d)),
    "trim": (
        {**OPEN, **active("2"), "completed": {"1": 5}, "1": job(**TIE)},
        lambda s, d: s.settle(("2", Complete("1", Keep(1))), dialect=d),
    ),
    "remove": (WAITS, lambda s, d: admin_scripts.remove_job(s.caller, s.keys, d, NOW, "1", True)),
    "remove the open children": (
        WAITS,
        lambda s, d: flow_scripts.remove_unprocessed_children(s.caller, Keys("up"), d, NOW, "P"),
    ),
    "untie": (WAITS, lambda s, d: flow_scripts.remove_child_dependency(s.caller, s.keys, d, NOW, "1")),
    "drain": (WAITS, lambda s, d: admin_scripts.drain_jobs(s.caller, s.keys, d, NOW, "wait", 9)),
    "obliterate": (
        {**WAITS, "meta": PAUSED},
        lambda s, d: admin_scripts.obliterate_queue(s.caller, s.keys, d, NOW, False, 99),
    ),
    "add a child that has ended": (
        {**ENDED, P: job(), f"{UP}waiting-children": {"P": 5}},
        lambda s, d: s.add(CHILD, dialect=d),
    ),
    "add a flow whose child has ended": (
        ENDED,
        lambda s, d: add_scripts.add_flow(s.caller, d, NOW, [(Keys("up"), new_job("P")), (s.keys, CHILD)]),
    ),
}


@pytest.mark.parametrize(("keys", "act"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("dialect", "list_name"), [("v5", "paused"), ("v6", "wait"), ("", "wait")])
async def test_a_parent_goes_where_its_paused_queue_keeps_its_jobs(
    stage: Stage, keys: dict[str, Any], act: Act, dialect: str, list_name: str
) -> None:
    await stage.lay(keys, {f"{UP}meta": PAUSED})
    await act(stage, dialect)
    changed = await stage.changed()
    assert {name: changed.get(f"{UP}{name}") for name in ("paused", "wait")} == {
        "paused": None,
        "wait": None,
        list_name: ["P"],
    }


async def test_a_parent_in_the_childs_own_queue_goes_with_the_dialect_of_6_too(stage: Stage) -> None:
    tie = {"parentKey": "bull:q:P", "parent": '{"id":"P","queueKey":"bull:q"}'}
    family = {"P": job(), "waiting-children": {"P": 5}, "P:dependencies": {"bull:q:1"}}
    await stage.lay(active("1", **tie), family, {"meta": {"paused": "1", "version": "bullmq:5.81.5"}})
    await stage.settle(("1", Complete("1", KEEP_ALL)), dialect="v6")
    assert (await stage.changed())["wait"] == ["P"]
