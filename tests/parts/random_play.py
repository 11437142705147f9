"""Plays drawn operations on a few queues, as producers, workers and people who look after them would do at once.

A move is its name and four small numbers, which choose among what there is: jobs, states, options. A move that finds
nothing to do does nothing. The clock is played, too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from audit import troubles
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
from corral.deduplication import Deduplication
from corral.flow_tree import FlowJob, place
from corral.job_record import from_wire
from corral.job_spec import JobSpec, new_job
from corral.keys import Keys
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry
from corral.options import JobOptions
from corral.parent_link import ChildFailure, Parent
from corral.repeat import Schedule
from corral.retention import KEEP_ALL, Keep
from corral.scheduler import iteration_opts, next_iteration
from corral.scripts import Held, Settlement, Taking
from corral.state import State
from queue_space import QueueSpace, read_space

if TYPE_CHECKING:
    import redis.asyncio

    from corral.admin_scripts import Place
    from corral.lifecycle import Step
    from corral.script import Caller

Move = tuple[str, int, int, int, int]

START = 1_800_000_000_000
LOCK_MS = 3_600_000
HOUR = 3600
QUEUES = ("a", "b")
DEAD = "dead"
DIALECTS = ("", "", "", "v6", "v5")
POLICIES = (None, *ChildFailure)
DELAYS = (0, 0, 500, 5000)
PRIORITIES = (0, 0, 3, 7)
KEEPS = (KEEP_ALL, KEEP_ALL, Keep(0), Keep(1), Keep(None, 3))
DEDUPLICATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"ttl": HOUR},
    {"ttl": HOUR, "extend": True},
    {"replace": True},
    {"ttl": HOUR, "replace": True, "extend": True},
    {"keep_last_if_active": True},
    {"keep_last_if_active": True, "replace": True},
    {"reschedule": True},
)
PLACES: tuple[Place, ...] = ("wait", "paused", "prioritized", "delayed", "completed", "failed", "active")


class Troubled(AssertionError):
    """What the audit says after a move, and the moves that led there."""


class Player:
    """Two queues, the dead letters of both, and everybody who works on them."""

    def __init__(self, client: redis.asyncio.Redis, caller: Caller) -> None:
        self._client: Any = client
        self._caller = caller
        self._now = START
        self._serial = 0
        self._tokens: dict[tuple[str, str], str] = {}
        self._space: dict[str, QueueSpace] = {}
        self.done: dict[str, int] = {}
        """How often each move found something to do."""

    async def play(self, moves: list[Move]) -> None:
        """All moves, the keyspace being sound after each. Raises Troubled."""
        played: list[str] = []
        for name, *numbers in moves:
            try:
                told = await getattr(self, name)(*numbers)
            except Exception as error:
                raise Troubled("\n".join([*played, f"-- then {name} {numbers}:", repr(error)])) from error
            if told is None:
                continue
            self.done[name] = self.done.get(name, 0) + 1
            played.append(f"{name}: {told}")
            self._space = await read_space(self._client, "bull")
            if wrong := troubles(self._space, now_ms=self._now):
                raise Troubled("\n".join([*played, "-- then:", *wrong]))

    async def run_out(self) -> list[str]:
        """Workers run until nothing is left that can run; gives what is left all the same, and may not be.

        A parent may wait for a child that has failed, or for itself: a job that is added once more under a later parent
        can close a ring.
        """
        for keys in map(Keys, QUEUES):
            await admin_scripts.set_limits(self._caller, keys, {"concurrency": None, "max": None, "duration": None})
            await scripts.resume_queue(self._caller, keys)
            for scheduler in list(self._queue(keys).records):
                await scheduler_scripts.remove_scheduler(self._caller, keys, scheduler)
            await self._client.delete(f"{keys.base}limiter")
        for _ in range(60):
            self._now += LOCK_MS
            moved = False
            for keys in map(Keys, QUEUES):
                moved = await self._round(keys) or moved
            if not moved:
                break
        self._space = await read_space(self._client, "bull")
        if wrong := troubles(self._space, now_ms=self._now):
            raise Troubled("\n".join(["-- when all had run:", *wrong]))
        return [
            f"{queue.name} {id} {queue.states(id)}"
            for queue in self._space.values()
            for id in queue.jobs
            if queue.name in QUEUES and not queue.is_finished(id) and queue.states(id) != ["waiting-children"]
        ]

    async def _round(self, keys: Keys) -> bool:
        """Everything of a queue that is active or can be taken completes, or fails where it cannot."""
        for _ in range(2):
            await self._client.delete(f"{keys.base}stalled-check")
            await scripts.recover_stalled(self._caller, keys, "", self._now, LOCK_MS, 9)
        self._space = await read_space(self._client, "bull")
        before = len(self._tokens)
        taken = await self._settle(keys, [], 1000, "")
        self._space = await read_space(self._client, "bull")
        mine = [(id, token) for (queue, id), token in self._tokens.items() if queue == keys.queue]
        ends = [Settlement(id, token, self._step(keys, id, 0, 0)) for id, token in mine]
        if ends:
            await self._settle(keys, ends, 0, "")
        left = [(id, token) for id, token in mine if (keys.queue, id) in self._tokens]
        if left:
            await self._settle(
                keys, [Settlement(id, token, Fail("why", (), KEEP_ALL, True)) for id, token in left], 0, ""
            )
        return taken is not None or before > 0

    # --- what there is ---

    def _keys(self, number: int) -> Keys:
        return Keys(QUEUES[number % len(QUEUES)])

    def _queue(self, keys: Keys) -> QueueSpace:
        return self._space.get(keys.base) or QueueSpace(keys.queue, keys.base)

    def _pick(self, keys: Keys, number: int, *states: str) -> str | None:
        """A job of the queue, in one of some states or in any."""
        queue = self._queue(keys)
        ids = sorted(id for id in queue.jobs if not states or set(queue.states(id)) & set(states))
        return ids[number % len(ids)] if ids else None

    def _held(self, number: int) -> tuple[Keys, str, str] | None:
        """A job in the hands of a worker: queue, id, token."""
        held = sorted(self._tokens.items())
        if not held:
            return None
        (queue, id), token = held[number % len(held)]
        return Keys(queue), id, token

    # --- producers ---

    async def add(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        opts = JobOptions(
            delay_ms=DELAYS[b % 4],
            priority=PRIORITIES[c % 4],
            lifo=d % 5 == 0,
            job_id=(None, None, "x", "y", "z")[(b + d) % 5],
        )
        if c % 3 == 0:
            opts = replace(opts, deduplication=Deduplication("de" + "12"[b % 2], **DEDUPLICATIONS[d % 8]))
        elif (
            c % 3 == 1 and (parent := self._pick(self._keys(b), d, "waiting-children", "active")) and ":" not in parent
        ):
            tie = Parent(parent, self._keys(b).base[:-1])
            opts = replace(opts, parent=tie, child_failure=POLICIES[(a + d) % 5])
        return await self._add(keys, opts, d)

    async def _add(self, keys: Keys, opts: JobOptions, d: int) -> str:
        row = new_job(JobSpec("n", None, opts), self._now)
        ids = await add_scripts.add_jobs(self._caller, keys, DIALECTS[d % 5], self._now, [row])
        return f"{ids} {keys.queue} {opts.to_wire()} dialect {DIALECTS[d % 5]!r}"

    async def flow(self, a: int, b: int, c: int, d: int) -> str | None:
        def child(number: int, *below: FlowJob) -> FlowJob:
            queue = QUEUES[(b + number) % 2]
            id = ("x", "y", "z", None, None)[(c + number) % 5] if d % 2 else None
            opts = JobOptions(job_id=id, child_failure=POLICIES[(c + number) % 5], delay_ms=DELAYS[(d + number) % 4])
            return FlowJob("n", queue, None, opts, below)

        middle = child(1, child(2), child(3)) if c % 2 else child(1)
        root = FlowJob(
            "n", QUEUES[a % 2], None, JobOptions(priority=PRIORITIES[d % 4]), [middle, child(4)][: 1 + b % 2]
        )
        placed = place([root], "bull", {}, self._now, self._new_id)
        rows = [(each.keys, each.row) for each in placed]
        ids = await add_scripts.add_flow(self._caller, DIALECTS[d % 5], self._now, rows)
        return f"{ids} of {[(each.keys.queue, each.row.more) for each in placed]}"

    def _new_id(self) -> str:
        self._serial += 1
        return f"f{self._serial}"

    async def upsert(self, a: int, b: int, c: int, d: int) -> str | None:
        keys, scheduler = self._keys(a), "s" + "12"[b % 2]
        schedule = Schedule(every_ms=(1000, 1000, 3000)[c % 3], limit=(None, 2)[d % 2])
        wire = iteration_opts({}, schedule.to_wire() | {"count": 1}, scheduler, 0, self._now)
        template = scheduler_scripts.Template("n", "{}", json.dumps(wire), PRIORITIES[d % 4], False, "")
        made = await scheduler_scripts.upsert_scheduler(
            self._caller, keys, DIALECTS[c % 5], self._now, scheduler, schedule, None, template, "{}"
        )
        return f"{made} {keys.queue} {schedule} dialect {DIALECTS[c % 5]!r}"

    # --- workers ---

    async def take(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        return await self._settle(keys, [], 1 + b % 3, DIALECTS[d % 5])

    async def end(self, a: int, b: int, c: int, d: int) -> str | None:
        """One or two jobs of a queue end somehow, and the worker takes the next or not."""
        first = self._held(a)
        if first is None:
            return None
        keys, id, token = first
        settlements = [Settlement(id, token, self._step(keys, id, b, c))]
        second = self._held(a + 1)
        if second and second[0] == keys and second[1] != id and d % 2:
            settlements.append(Settlement(second[1], second[2], self._step(keys, second[1], c, b)))
        return await self._settle(keys, settlements, (0, 0, 1, 2)[d % 4], DIALECTS[c % 5])

    def _step(self, keys: Keys, id: str, b: int, c: int) -> Step:
        fields = self._queue(keys).jobs.get(id, {})
        if "defa" in fields:
            return Fail(fields["defa"], ("s",), KEEPS[c % 5], False)
        steps: tuple[Step, ...] = (
            Complete('"v"', KEEPS[c % 5]),
            Complete("null", KEEP_ALL),
            Fail("why", ("s",), KEEPS[c % 5], True),
            Fail("why", (), KEEP_ALL, False),
            Retry("why", ("s",), c % 2 == 0),
            Delay("why", (), 700),
            HandBack(),
        )
        return steps[b % 7]

    async def _settle(self, keys: Keys, settlements: list[Settlement], want: int, dialect: str) -> str | None:
        self._serial += 1
        token = f"w:{self._serial}"
        taking = Taking(want, token, LOCK_MS, "w", points=self._serial % 2 * 3)
        settled = await scripts.settle_jobs(self._caller, keys, dialect, self._now, settlements, taking)
        assert settled.troubles == [], settled.troubles
        assert settled.unreadable == []
        assert -99 not in settled.codes
        for one, code in zip(settlements, settled.codes, strict=True):
            if code not in (-4, -9):
                self._tokens.pop((keys.queue, one.job_id), None)
        for id, fields in settled.jobs:
            self._tokens[keys.queue, id] = token
            await self._go_on(keys, id, fields, dialect)
        if not settlements and not settled.jobs:
            return None
        steps = [(one.job_id, type(one.step).__name__, getattr(one.step, "keep", None)) for one in settlements]
        return f"{keys.queue} {steps} -> {settled.codes}, took {[id for id, _ in settled.jobs]} dialect {dialect!r}"

    async def _go_on(self, keys: Keys, id: str, fields: dict[bytes, bytes], dialect: str) -> None:
        """An iteration that was taken makes the next one."""
        job = from_wire(id, fields, keys.queue)
        if job.scheduler_id is None:
            return
        following = next_iteration(job, self._now)
        if following is None:
            return
        opts = json.dumps(following.opts)
        template = scheduler_scripts.Template(job.name, "{}", opts, job.opts.priority, False, "")
        every = following.schedule.every_ms
        await scheduler_scripts.advance_scheduler(
            self._caller, keys, dialect, self._now, job.scheduler_id, id, following.due_ms, every, template
        )

    async def move_itself(self, a: int, b: int, c: int, d: int) -> str | None:
        """A processor moves its job."""
        held = self._held(a)
        if held is None:
            return None
        keys, id, token = held
        dialect = DIALECTS[d % 5]
        if b % 3 == 0:
            due = self._now + DELAYS[c % 4]
            code = await hold_scripts.move_to_delayed(self._caller, keys, dialect, self._now, id, token, due)
        elif b % 3 == 1:
            code = await hold_scripts.move_to_wait(self._caller, keys, dialect, id, token)
        else:
            code = await hold_scripts.move_to_waiting_children(self._caller, keys, self._now, id, token, None)
        if code in (0, -1, -2, -3, -6):
            self._tokens.pop((keys.queue, id))
        return f"{keys.queue} {id} to {('delayed', 'wait', 'waiting-children')[b % 3]}: {code}"

    async def renew(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        jobs = self._queue(keys).jobs
        held = [
            Held(id, token, int(jobs.get(id, {}).get("ats", 0)))
            for (queue, id), token in self._tokens.items()
            if queue == keys.queue
        ]
        if not held:
            return None
        return f"{keys.queue}, {await scripts.renew_locks(self._caller, keys, LOCK_MS, held)}"

    async def lose_lock(self, a: int, b: int, c: int, d: int) -> str | None:
        """A worker dies, or hangs for too long: it may still believe that the job is its own."""
        held = self._held(a)
        if held is None:
            return None
        keys, id, _ = held
        await self._client.delete(f"{keys.job(id)}:lock")
        if b % 2:
            self._tokens.pop((keys.queue, id))
        return f"{keys.queue} {id}"

    async def recover(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        if c % 3 == 0:
            return await self._recover_silent(keys, b % 2, DIALECTS[d % 5])
        await self._client.delete(f"{keys.base}stalled-check")
        found = await scripts.recover_stalled(self._caller, keys, DIALECTS[d % 5], self._now, LOCK_MS, b % 2)
        return f"{keys.queue} {found}"

    async def _recover_silent(self, keys: Keys, most: int, dialect: str) -> str:
        """All who hold a job are not heard of any more, and somebody notices. They may still believe that all is well."""
        await self._client.zadd(f"{keys.base}corral:beats", {"w": 1, "looker": 1 << 52})
        found, _ = await scripts.recover_silent(self._caller, keys, dialect, "looker", most)
        await self._client.delete(keys.beats, keys.workers, f"{keys.base}corral:look")
        return f"{keys.queue} {found} of silent workers"

    async def _beat(self, keys: Keys, worker: str, *, ends: bool) -> str:
        """A worker says that it is there, or that it has ended."""
        if ends:
            return f"{keys.queue} {worker} ends: {await beat_scripts.forget_worker(self._caller, keys, worker)}"
        return f"{keys.queue} {worker} {await beat_scripts.beat(self._caller, keys, worker, '{}')}"

    async def clock(self, a: int, b: int, c: int, d: int) -> str | None:
        """Time passes, and somebody beats."""
        self._now += (1, 400, 1000, 6000)[a % 4]
        beaten = await self._beat(self._keys(b), f"w{c % 3}", ends=d % 4 == 0)
        return f"+{(1, 400, 1000, 6000)[a % 4]}; {beaten}"

    async def forget_ttl(self, a: int, b: int, c: int, d: int) -> str | None:
        """What a TTL ends has ended."""
        keys = self._keys(a)
        for name in ("de:de1", "de:de2", "limiter"):
            if await self._client.pttl(keys.base + name) > 0:
                await self._client.delete(keys.base + name)
        return keys.queue

    # --- who looks after the queues ---

    async def pause(self, a: int, b: int, c: int, d: int) -> str | None:
        await scripts.pause_queue(self._caller, self._keys(a), DIALECTS[d % 5])
        return f"{self._keys(a).queue} dialect {DIALECTS[d % 5]!r}"

    async def resume(self, a: int, b: int, c: int, d: int) -> str | None:
        await scripts.resume_queue(self._caller, self._keys(a))
        return self._keys(a).queue

    async def join(self, a: int, b: int, c: int, d: int) -> str | None:
        return f"{self._keys(a).queue}: {await orphan_scripts.join_paused(self._caller, self._keys(a), 1 + b % 3)}"

    async def limit(self, a: int, b: int, c: int, d: int) -> str | None:
        fields = {"concurrency": (None, 1, 2)[b % 3], "max": (None, 2)[c % 2], "duration": (None, LOCK_MS)[c % 2]}
        await admin_scripts.set_limits(self._caller, self._keys(a), fields)
        return f"{self._keys(a).queue} {fields}"

    async def look_after_one(self, a: int, b: int, c: int, d: int) -> str | None:
        keys, dialect, caller = self._keys(a), DIALECTS[d % 5], self._caller
        deed = ("promote", "retry", "delay", "priority", "data", "unlink", "unlock id", "below")[b % 8]
        wanted = {"promote": ("delayed",), "delay": ("delayed",), "retry": ("completed", "failed")}.get(deed, ())
        id = self._pick(keys, c, *wanted)
        if id is None:
            return None
        code: object = None
        match deed:
            case "promote":
                code = await admin_scripts.promote_job(caller, keys, dialect, id)
            case "retry":
                state = State.FAILED if "failed" in self._queue(keys).states(id) else State.COMPLETED
                code = await admin_scripts.retry_job(caller, keys, dialect, id, state, d % 2 == 0, d % 3 == 0, False)
            case "delay":
                code = await admin_scripts.change_delay(caller, keys, self._now, id, DELAYS[d % 4])
            case "priority":
                code = await admin_scripts.change_priority(caller, keys, dialect, id, PRIORITIES[d % 4], d % 3 == 0)
            case "data":
                code = await admin_scripts.update_data(caller, keys, id, '"new"')
            case "unlink":
                code = await flow_scripts.remove_child_dependency(caller, keys, "", self._now, id)
            case "unlock id":
                code = await admin_scripts.remove_deduplication_key(caller, keys, "de1", id)
            case _:
                await flow_scripts.remove_unprocessed_children(caller, keys, "", self._now, id)
        return f"{deed} {keys.queue} {id} from {self._queue(keys).states(id)}: {code} dialect {dialect!r}"

    async def remove(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        id = self._pick(keys, c)
        if id is None:
            return None
        code = await admin_scripts.remove_job(self._caller, keys, "", self._now, id, d % 2 == 0)
        return f"{keys.queue} {id} from {self._queue(keys).states(id)}, children {d % 2 == 0}: {code}"

    async def requeue(self, a: int, b: int, c: int, d: int) -> str | None:
        state = (State.FAILED, State.COMPLETED, State.DELAYED)[b % 3]
        keys = self._keys(a)
        until = None if state is State.DELAYED else self._now
        number = await admin_scripts.requeue_jobs(self._caller, keys, DIALECTS[d % 5], state, until, 1 + c % 3)
        return f"{keys.queue} {state}: {number} dialect {DIALECTS[d % 5]!r}"

    async def clear(self, a: int, b: int, c: int, d: int) -> str | None:
        """Drain or clean."""
        keys, where = self._keys(a), PLACES[b % 7]
        if c % 2 and where in ("wait", "paused", "prioritized", "delayed"):
            return f"drain {keys.queue} {where}: {await admin_scripts.drain_jobs(self._caller, keys, '', self._now, where, 3)}"
        gone, _ = await admin_scripts.clean_jobs(self._caller, keys, self._now, where, self._now - d * 100, 3, 9, 0)
        return f"clean {keys.queue} {where}: {gone}"

    async def obliterate(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        if b % 2 or "paused" not in self._queue(keys).held("meta"):
            return None
        if await admin_scripts.obliterate_queue(self._caller, keys, "", self._now, True, 0) < 0:
            return None
        # As `Queue.obliterate` does: ids first, then everything.
        for id in [*self._queue(keys).owners, *self._queue(keys).kept]:
            await self._client.delete(f"{keys.base}de:{id}", f"{keys.base}dn:{id}")
        while await admin_scripts.obliterate_queue(self._caller, keys, "", self._now, True, 1000) == 1:
            pass
        for queue, id in list(self._tokens):
            if queue == keys.queue:
                self._tokens.pop((queue, id))
        return keys.queue

    async def end_schedule(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        if not await scheduler_scripts.remove_scheduler(self._caller, keys, "s" + "12"[b % 2]):
            return None
        return f"{keys.queue} s{'12'[b % 2]}"

    async def bury(self, a: int, b: int, c: int, d: int) -> str | None:
        keys = self._keys(a)
        id = self._pick(keys, b, "failed")
        if id is None:
            return None
        to, dialect = Keys(DEAD), DIALECTS[d % 5]
        return f"{keys.queue} {id}: {await letter_scripts.bury_jobs(self._caller, keys, to, dialect, self._now, [id])}"

    async def replay(self, a: int, b: int, c: int, d: int) -> str | None:
        id = self._pick(Keys(DEAD), a)
        if id is None:
            return None
        letters, dialect = Keys(DEAD), DIALECTS[d % 5]
        return f"{id}: {await letter_scripts.replay_letters(self._caller, letters, dialect, self._now, [id])}"

    async def lose(self, a: int, b: int, c: int, d: int) -> str | None:
        """A job falls out of its state, and is put back or removed."""
        keys = self._keys(a)
        id = self._pick(keys, b)
        if id is None or await self._client.exists(f"{keys.job(id)}:lock"):
            return None
        states = self._queue(keys).states(id)
        for state in states:
            await self._client.execute_command(
                *(
                    ("LREM", keys.base + state, 0, id)
                    if state in ("wait", "paused", "active")
                    else ("ZREM", keys.base + state, id)
                )
            )
        await self._client.srem(f"{keys.base}stalled", id)
        if c % 2:
            number = await orphan_scripts.put_back_orphans(self._caller, keys, DIALECTS[d % 5], self._now, [id])
        else:
            number = await orphan_scripts.remove_orphans(self._caller, keys, self._now, [id])
            if number == 0:
                await orphan_scripts.put_back_orphans(self._caller, keys, "", self._now, [id])
        return f"{keys.queue} {id} out of {states}, {'put back' if c % 2 else 'removed'}: {number}"


MOVES = {"add": 6, "flow": 3, "take": 6, "end": 8, "clock": 3, "look_after_one": 3} | dict.fromkeys(
    ("upsert", "move_itself", "renew", "lose_lock", "recover", "forget_ttl", "pause", "resume", "limit", "remove"), 1
)
MOVES |= dict.fromkeys(("requeue", "clear", "obliterate", "end_schedule", "lose", "join"), 1) | {"bury": 3, "replay": 3}
"""The names of the moves, and how often each is drawn."""
