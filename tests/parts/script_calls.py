"""One call and more of every Lua script, each on keys where the script has something to do, for what holds of them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from corral import (
    add_scripts,
    admin_scripts,
    beat_scripts,
    flow_scripts,
    hold_scripts,
    letter_scripts,
    orphan_scripts,
    scheduler_scripts,
    scripts,
)
from corral.keys import Keys
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry
from corral.repeat import Schedule
from corral.retention import KEEP_ALL, Keep
from corral.scheduler_scripts import Template
from corral.scripts import Held, Settlement, Taking
from corral.state import State
from jobs import BEATS_ON, LOCK_MS, NOW, active, job, new_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from corral.admin_scripts import Place
    from corral.lifecycle import Step
    from corral.script import Caller

    Act = Callable[[Caller, Keys], Awaitable[Any]]


@dataclass(frozen=True)
class ScriptCall:
    """`act` calls `script`, on a queue where `keys` lie (see `Stage.lay`)."""

    script: str
    what: str
    act: Act = field(repr=False)
    keys: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.script}: {self.what}"


def _settle(*steps: Step, want: int = 0) -> Act:
    """End the jobs 1, 2 and so on, which are locked with `t:1`, and take some."""
    settlements = [Settlement(str(number), "t:1", step) for number, step in enumerate(steps, 1)]
    taking = Taking(want, "t:2", LOCK_MS, "w", points=9)
    return lambda caller, keys: scripts.settle_jobs(caller, keys, "", NOW, settlements, taking)


async def _beat(caller: Caller, keys: Keys) -> tuple[Any, Any]:
    """A beat, without its time: that is Redis' own."""
    heard = await beat_scripts.beat(caller, keys, "w", '{"v":1}')
    return heard.order, await caller.call("ZREM", keys.beats, "w")


WAITING = {"wait": ["2"], "2": job()}
CHILD = {"parentKey": "bull:up:P", "parent": '{"id":"P","queueKey":"bull:up"}'}
PARENT = {"bull:up:P": job(), "bull:up:waiting-children": {"P": 1}, "bull:up:P:dependencies": {"bull:q:1"}}
FAILED = job(finishedOn=NOW, failedReason="boom", atm=1, ats=1, processedOn=NOW)
DONE = job(finishedOn=NOW, returnvalue="1", atm=1, ats=1, processedOn=NOW)
WITH_CHILDREN = {"wait": ["c1", "c2"], "P": job(), "waiting-children": {"P": 1}} | {
    "P:dependencies": {"bull:q:c1", "bull:q:c2"},
    "c1": job(parentKey="bull:q:P", parent='{"id":"P","queueKey":"bull:q"}'),
    "c2": job(parentKey="bull:q:P", parent='{"id":"P","queueKey":"bull:q"}'),
}
PAUSED = {"meta": {"paused": "1"}}
NUMBERED = {"id": "9"}


WAITING_PLACES: tuple[Place, ...] = ("wait", "paused", "prioritized", "delayed")
SCHEDULE = Schedule(every_ms=5000)
TEMPLATE = Template("n", "{}", '{"repeat":{"every":5000}}', 0, False, "")
ITERATION = f"repeat:s:{NOW}"
SCHEDULER = {"repeat": {"s": NOW}, "repeat:s": {"name": "n", "every": "5000", "offset": "0", "ic": "1"}}
LETTER = '{"deadLetter":{"queue":"q","id":"1","reason":"boom"}}'


def _drain(place: Place) -> Act:
    return lambda caller, keys: admin_scripts.drain_jobs(caller, keys, "", NOW, place, 2)


def _clean(place: Place) -> Act:
    return lambda caller, keys: admin_scripts.clean_jobs(caller, keys, NOW, place, NOW, 2, 9, 0)


def _many(state: str, fields: dict[str, str]) -> dict[str, Any]:
    ids = ["1", "2", "3"]
    held: Any = ids if state in ("wait", "paused", "active") else dict.fromkeys(ids, NOW)
    return {state: held} | dict.fromkeys(ids, fields)


GROWING = (
    ScriptCall(
        "put_back_orphans",
        "a waiting one and a finished one",
        lambda c, k: orphan_scripts.put_back_orphans(c, k, "", NOW, ["1", "2"]),
        ({"1": FAILED, "2": job(delay=5)},),
    ),
    ScriptCall("add_jobs", "one", lambda c, k: add_scripts.add_jobs(c, k, "", NOW, [new_job()])),
    ScriptCall(
        "add_jobs",
        "several",
        lambda c, k: add_scripts.add_jobs(c, k, "", NOW, [new_job(delay_ms=9), new_job(priority=1), new_job("x")]),
        (NUMBERED, WAITING),
    ),
    ScriptCall(
        "add_flow",
        "a parent and its child",
        lambda c, k: add_scripts.add_flow(
            c,
            "",
            NOW,
            [
                (Keys("up"), new_job("P")),
                (k, new_job("1", more='{"parent":{"key":"bull:up:P","json":"{\\"id\\":\\"P\\"}"}}')),
            ],
        ),
        (NUMBERED, WAITING),
    ),
    ScriptCall("add_log", "a row", lambda c, k: scripts.add_log(c, k, "2", "row", 5), (WAITING,)),
    ScriptCall("update_progress", "50", lambda c, k: scripts.update_progress(c, k, "2", "50"), (WAITING,)),
    ScriptCall("update_data", "longer", lambda c, k: admin_scripts.update_data(c, k, "2", '"longer"'), (WAITING,)),
    ScriptCall(
        "change_delay",
        "of a delayed job",
        lambda c, k: admin_scripts.change_delay(c, k, NOW, "2", 9),
        ({"delayed": {"2": (NOW + 5) * 4096}, "2": job(delay=1005)},),
    ),
    ScriptCall(
        "change_priority", "to 5", lambda c, k: admin_scripts.change_priority(c, k, "", "2", 5, False), (WAITING,)
    ),
    ScriptCall(
        "promote_job",
        "a delayed one",
        lambda c, k: admin_scripts.promote_job(c, k, "", "2"),
        ({"delayed": {"2": (NOW + 5) * 4096}, "2": job(delay=1005)},),
    ),
    ScriptCall(
        "retry_job",
        "a failed one",
        lambda c, k: admin_scripts.retry_job(c, k, "", "2", State.FAILED, False, True, True),
        ({"failed": {"2": NOW}, "2": FAILED},),
    ),
    ScriptCall(
        "requeue_jobs",
        "all that failed",
        lambda c, k: admin_scripts.requeue_jobs(c, k, "", State.FAILED, None, 9),
        (_many("failed", FAILED),),
    ),
    ScriptCall("set_limits", "a limit", lambda c, k: admin_scripts.set_limits(c, k, {"concurrency": 3}), (WAITING,)),
    ScriptCall(
        "upsert_scheduler",
        "a new one",
        lambda c, k: scheduler_scripts.upsert_scheduler(c, k, "", NOW, "s", SCHEDULE, None, TEMPLATE, "{}"),
    ),
    ScriptCall(
        "upsert_scheduler",
        "one with a pending iteration",
        lambda c, k: scheduler_scripts.upsert_scheduler(c, k, "", NOW, "s", SCHEDULE, None, TEMPLATE, "{}"),
        (SCHEDULER, {"delayed": {ITERATION: NOW * 4096}, ITERATION: job(rjk="s")}),
    ),
    ScriptCall(
        "bury_jobs",
        "a failed one",
        lambda c, k: letter_scripts.bury_jobs(c, k, Keys("dead"), "", NOW, ["2"]),
        ({"failed": {"2": NOW}, "2": FAILED},),
    ),
    ScriptCall(
        "replay_letters",
        "one",
        lambda c, k: letter_scripts.replay_letters(c, Keys("dead"), "", NOW, ["q.1"]),
        ({"bull:dead:wait": ["q.1"], "bull:dead:q.1": job(opts=LETTER)},),
    ),
    ScriptCall(
        "put_back_orphans",
        "one that waited",
        lambda c, k: orphan_scripts.put_back_orphans(c, k, "", NOW, ["2"]),
        ({"2": job()},),
    ),
    ScriptCall("join_paused", "two", lambda c, k: orphan_scripts.join_paused(c, k, 5), (PAUSED, _many("wait", job()))),
)
"""What adds to the data, and can wait."""

FREEING = (
    ScriptCall("recover_stalled", "a first look", lambda c, k: scripts.recover_stalled(c, k, "", NOW, 1000, 1)),
    ScriptCall(
        "recover_stalled",
        "a stalled job",
        lambda c, k: scripts.recover_stalled(c, k, "", NOW, 1000, 1),
        ({"active": ["1"], "1": job(processedOn=NOW, ats=1), "stalled": {"1"}},),
    ),
    ScriptCall(
        "recover_silent",
        "a look that finds everybody alive",
        lambda c, k: scripts.recover_silent(c, k, "", "w", 1),
        ({"corral:beats": {"w": BEATS_ON}}, active("1")),
    ),
    ScriptCall(
        "recover_silent",
        "a job of a dead worker",
        lambda c, k: scripts.recover_silent(c, k, "", "w", 1),
        ({"corral:beats": {"w": BEATS_ON, "t": 1}}, active("1")),
    ),
    ScriptCall(
        "remove_orphans",
        "a job and an id",
        lambda c, k: orphan_scripts.remove_orphans(c, k, NOW, ["2", "9"]),
        ({"2": job(), "wait": ["9"]},),
    ),
    ScriptCall(
        "settle_jobs",
        "complete one and take two",
        _settle(Complete("7", KEEP_ALL), want=2),
        (active("1"), WAITING, {"delayed": {"3": NOW * 4096}, "3": job(delay=9)}),
    ),
    ScriptCall("settle_jobs", "complete and keep none", _settle(Complete("7", Keep(0))), (active("1"),)),
    ScriptCall(
        "settle_jobs",
        "complete and keep two",
        _settle(Complete("7", Keep(2))),
        (active("1"), {"completed": {"8": 1, "9": 2}, "8": DONE, "9": DONE}),
    ),
    ScriptCall(
        "settle_jobs", "complete the last child", _settle(Complete("7", KEEP_ALL)), (active("1", **CHILD), PARENT)
    ),
    ScriptCall("settle_jobs", "fail", _settle(Fail("boom", (), KEEP_ALL, True)), (active("1"),)),
    ScriptCall(
        "settle_jobs",
        "fail a child",
        _settle(Fail("boom", (), KEEP_ALL, True)),
        (active("1", **CHILD | {"parent": '{"id":"P","queueKey":"bull:up","fpof":true}'}), PARENT),
    ),
    ScriptCall("settle_jobs", "retry", _settle(Retry("boom", (), False)), (active("1"),)),
    ScriptCall("settle_jobs", "delay", _settle(Delay("boom", (), 700)), (active("1"),)),
    ScriptCall("settle_jobs", "hand back", _settle(HandBack()), (active("1"),)),
    ScriptCall(
        "settle_jobs",
        "many ends at once",
        _settle(Complete("7", KEEP_ALL), Fail("boom", (), KEEP_ALL, True), Retry("b", (), False), HandBack()),
        (active("1", "2", "3", "4"),),
    ),
    ScriptCall("take_jobs", "a waiting one", _settle(want=1), (WAITING,)),
    ScriptCall(
        "take_jobs", "a prioritized one", _settle(want=1), ({"prioritized": {"1": 2**32}, "1": job(priority=1)},)
    ),
    ScriptCall("take_jobs", "one that is due", _settle(want=1), ({"delayed": {"1": 4096}, "1": job(delay=5)},)),
    ScriptCall(
        "take_jobs",
        "one that is due, with a priority",
        _settle(want=1),
        ({"delayed": {"1": 4096}, "1": job(delay=5, priority=2)},),
    ),
    ScriptCall(
        "take_jobs", "one under a rate limit", _settle(want=1), (WAITING, {"meta": {"max": "1", "duration": "9999999"}})
    ),
    ScriptCall("reclaim_jobs", "one", lambda c, k: scripts.reclaim_jobs(c, k, "t:1", LOCK_MS), (active("1"),)),
    ScriptCall(
        "renew_locks",
        "one",
        lambda c, k: scripts.renew_locks(c, k, LOCK_MS, [Held("1", "t:1", 1)]),
        (active("1"), {"stalled": {"1"}}),
    ),
    ScriptCall(
        "renew_locks",
        "one that ran out",
        lambda c, k: scripts.renew_locks(c, k, LOCK_MS, [Held("1", "t:1", 1)]),
        ({"active": ["1"], "1": job(ats=1)},),
    ),
    ScriptCall("beat", "of the first worker", _beat),
    ScriptCall(
        "beat",
        "of one worker, another being forgotten",
        _beat,
        ({"corral:beats": {"o": 5}}, {"corral:workers": {"o": "{}"}}),
    ),
    ScriptCall(
        "forget_worker",
        "one that is ordered quiet",
        lambda c, k: beat_scripts.forget_worker(c, k, "w"),
        ({"corral:beats": {"w": 5}, "corral:workers": {"w": "{}"}, "corral:orders": {"w": "quiet:5"}},),
    ),
    ScriptCall(
        "extend_lock",
        "one",
        lambda c, k: hold_scripts.extend_lock(c, k, "1", "t:1", LOCK_MS),
        (active("1"), {"stalled": {"1"}}),
    ),
    ScriptCall(
        "move_to_delayed",
        "a running job",
        lambda c, k: hold_scripts.move_to_delayed(c, k, "", NOW, "1", "t:1", NOW + 500),
        (active("1"),),
    ),
    ScriptCall(
        "move_to_wait", "a running job", lambda c, k: hold_scripts.move_to_wait(c, k, "", "1", "t:1"), (active("1"),)
    ),
    ScriptCall(
        "move_to_waiting_children",
        "a running job",
        lambda c, k: hold_scripts.move_to_waiting_children(c, k, NOW, "1", "t:1", None),
        (active("1"), WAITING, {"1:dependencies": {"bull:q:2"}}),
    ),
    ScriptCall("pause_queue", "one with jobs", lambda c, k: scripts.pause_queue(c, k, "v5"), (WAITING,)),
    ScriptCall(
        "resume_queue",
        "one with jobs",
        scripts.resume_queue,
        (PAUSED, {"paused": ["2"], "wait": ["1"], "1": job(), "2": job()}),
    ),
    ScriptCall(
        "set_limits",
        "lift one",
        lambda c, k: admin_scripts.set_limits(c, k, {"concurrency": None}),
        ({"meta": {"concurrency": "1"}}, WAITING),
    ),
    ScriptCall(
        "remove_job", "a waiting one", lambda c, k: admin_scripts.remove_job(c, k, "", NOW, "2", True), (WAITING,)
    ),
    ScriptCall(
        "remove_job",
        "a parent with its children",
        lambda c, k: admin_scripts.remove_job(c, k, "", NOW, "P", True),
        (WITH_CHILDREN,),
    ),
    ScriptCall(
        "remove_job",
        "the last child of a parent",
        lambda c, k: admin_scripts.remove_job(c, k, "", NOW, "1", True),
        (PARENT, {"wait": ["1"], "1": job(**CHILD)}),
    ),
    ScriptCall(
        "remove_unprocessed_children",
        "two",
        lambda c, k: flow_scripts.remove_unprocessed_children(c, k, "", NOW, "P"),
        (WITH_CHILDREN,),
    ),
    ScriptCall(
        "remove_child_dependency",
        "the last one",
        lambda c, k: flow_scripts.remove_child_dependency(c, k, "", NOW, "1"),
        (PARENT, {"wait": ["1"], "1": job(**CHILD)}),
    ),
    *(ScriptCall("drain_jobs", place, _drain(place), (_many(place, job()),)) for place in WAITING_PLACES),
    ScriptCall(
        "drain_jobs",
        "the last child of a parent",
        lambda c, k: admin_scripts.drain_jobs(c, k, "", NOW, "wait", 9),
        (PARENT, {"wait": ["1"], "1": job(**CHILD)}),
    ),
    *(ScriptCall("clean_jobs", place, _clean(place), (_many(place, job()),)) for place in (*WAITING_PLACES, "active")),
    ScriptCall("clean_jobs", "completed", _clean("completed"), (_many("completed", DONE),)),
    ScriptCall("clean_jobs", "failed", _clean("failed"), (_many("failed", FAILED),)),
    ScriptCall(
        "obliterate_queue",
        "all of it",
        lambda c, k: admin_scripts.obliterate_queue(c, k, "", NOW, True, 1000),
        (PAUSED, NUMBERED, WITH_CHILDREN, {"completed": {"8": 1}, "8": DONE}, active("5")),
    ),
    ScriptCall(
        "obliterate_queue",
        "some of it",
        lambda c, k: admin_scripts.obliterate_queue(c, k, "", NOW, False, 1),
        (PAUSED, _many("completed", DONE)),
    ),
    ScriptCall(
        "advance_scheduler",
        "whose iteration runs",
        lambda c, k: scheduler_scripts.advance_scheduler(c, k, "", NOW, "s", ITERATION, None, 5000, TEMPLATE),
        (SCHEDULER, active(ITERATION, rjk="s")),
    ),
    ScriptCall(
        "remove_scheduler",
        "with its pending iteration",
        lambda c, k: scheduler_scripts.remove_scheduler(c, k, "s"),
        (SCHEDULER, {"delayed": {ITERATION: NOW * 4096}, ITERATION: job(rjk="s")}),
    ),
    ScriptCall(
        "remove_orphans",
        "a job in no state, and an id without a job",
        lambda c, k: orphan_scripts.remove_orphans(c, k, NOW, ["2", "3"]),
        ({"2": job(), "wait": ["3"]},),
    ),
    ScriptCall(
        "free_deduplication",
        "of its owner",
        lambda c, k: admin_scripts.remove_deduplication_key(c, k, "e", "2"),
        (WAITING, {"de:e": "2"}),
    ),
)
"""What lets jobs end, run or go: it frees memory sooner or later, so a full Redis must not stop it."""

READING = (
    ScriptCall("find_orphans", "one", lambda c, k: orphan_scripts.find_orphans(c, k, ["2"]), ({"2": job()},)),
    ScriptCall("job_state", "a waiting one", lambda c, k: scripts.job_state(c, k, "2"), (WAITING,)),
    ScriptCall("find_orphans", "a lost one", lambda c, k: orphan_scripts.find_orphans(c, k, ["1"]), ({"1": job()},)),
)

CALLS = (*GROWING, *FREEING, *READING)
