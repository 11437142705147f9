"""Queues as nobody would lay them out: hundreds of random ones, a random deed on each, asked of us and of Node 6.

Three things differ on purpose and are kept out: we tell it when a drain or clean releases a parent in another queue; a
parent that a removal releases keeps its priority with us, as it does with Node when its children complete; and when a
parent goes with its last child, we free its own deduplication id, where Node looks at the child's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from both_sides import ask_node, found, of_job, of_queue, stage_on
from corral import JobLocked, JobNotFound, JobNotInState, JobOfScheduler, Queue, State
from jobs import NOW, Px, job
from node import NodeError
from node_driver import NodeDriver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.interop

SCENES = 300
OLD = 1_500_000_000_000
STATES = ("wait", "active", "prioritized", "delayed", "waiting-children", "completed", "failed", "none")
ITERATION = f"repeat:s:{NOW}"


@dataclass
class Scene:
    """Keys in the making; the same seed makes the same ones."""

    dice: random.Random
    keys: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def add_job(self, id: str) -> None:
        state = self.states[id] = self.dice.choice(STATES)
        fields: dict[str, Any] = {"timestamp": self.dice.choice([OLD, OLD, NOW])}
        if state == "prioritized" or (state != "waiting-children" and self.chance(0.15)):
            fields["priority"] = self.dice.randint(1, 3)
        if state == "delayed":
            fields["delay"] = self.dice.randint(1, 9999)
        if state in ("completed", "failed"):
            fields |= {"finishedOn": OLD, "processedOn": OLD, "atm": 1, "ats": 1}
            fields["returnvalue" if state == "completed" else "failedReason"] = "7"
        self.keys[id] = job(**fields)
        if state == "active" and self.chance(0.6):
            self.keys[f"{id}:lock"] = Px("t")
        if self.chance(0.2):
            self.keys[f"{id}:logs"] = ["row"]
        self._place(id, state)

    def _place(self, id: str, state: str) -> None:
        place = len(self.states)
        if state in ("wait", "active"):
            self.keys.setdefault(state, []).append(id)
        elif state != "none":
            scores = {
                "prioritized": int(self.keys[id]["priority"]) * 2**32 + place,
                "delayed": (NOW + place) * 4096,
            }
            self.keys.setdefault(state, {})[id] = scores.get(state, self.dice.choice([OLD, NOW]) + place)

    def own(self, id: str) -> None:
        """Give it a deduplication id, which it may hold, and behind which another may be kept back."""
        name = self.dice.choice("xy")
        self.keys[id]["deid"] = name
        if self.chance(0.7):
            self.keys[f"de:{name}"] = id
        if self.chance(0.4):
            self.keys[f"dn:{name}"] = {"name": "n"}

    def adopt(self, id: str, parent: str) -> None:
        """Make it a child of a job added before, or of `P` in another queue, which may know how it ended."""
        key, sub = ("bull:up:P", "bull:up:P") if parent == "P" else (f"bull:q:{parent}", parent)
        self.keys[id] |= {"parentKey": key, "parent": f'{{"id":"{parent}","queueKey":"{key.rpartition(":")[0]}"}}'}
        child = f"bull:q:{id}"
        if self.states[id] == "completed" and self.chance(0.8):
            self.keys.setdefault(f"{sub}:processed", {})[child] = "7"
        elif self.states[id] == "failed" and self.chance(0.4):
            self.keys.setdefault(f"{sub}:failed", {})[child] = "why"
        elif self.states[id] == "failed" and self.chance(0.6):
            self.keys.setdefault(f"{sub}:unsuccessful", {})[child] = OLD
        else:
            self.keys.setdefault(f"{sub}:dependencies", set()).add(child)

    def schedule(self) -> None:
        self.states[ITERATION] = "delayed"
        self.keys |= {"repeat": {"s": NOW}, "repeat:s": {"name": "n", "ic": "1"}}
        self.keys[ITERATION] = job(rjk="s", timestamp=OLD, delay=1)
        self.keys.setdefault("delayed", {})[ITERATION] = NOW * 4096


def make_scene(dice: random.Random) -> Scene:
    scene = Scene(dice, {"marker": {"0": 0}, "pc": "20"})
    parents = []
    for number in range(dice.randint(1, 10)):
        id = f"j{number}"
        scene.add_job(id)
        if parents and scene.chance(0.4):
            scene.adopt(id, dice.choice(parents))
        elif scene.chance(0.2):
            scene.keys |= {"bull:up:P": job(), "bull:up:waiting-children": {"P": OLD}}
            scene.adopt(id, "P")
        elif scene.states[id] in ("waiting-children", "active", "none"):
            parents.append(id)
        elif scene.chance(0.3):
            scene.own(id)
    if scene.chance(0.3):
        scene.schedule()
    return scene


def deeds(id: str, wish: bool) -> list[tuple[Callable[[Queue], Awaitable[Any]], tuple[Any, ...]]]:
    """Every deed, as we say it and as Node does: on one job, or on all."""
    cleaned = ("waiting", "active", "prioritized", "delayed", "completed", "failed")
    remove = of_queue("remove", id, remove_children=wish), ("queue", "remove", id, {"removeChildren": wish})
    return [
        remove,
        remove,
        (of_job(id, "promote"), ("job", id, "promote")),
        (of_job(id, "retry"), ("job", id, "retry", "failed")),
        (of_job(id, "retry", State.COMPLETED), ("job", id, "retry", "completed")),
        (of_job(id, "change_delay", 50), ("job", id, "changeDelay", 50_000)),
        (
            of_job(id, "change_priority", 2 * wish, lifo=wish),
            ("job", id, "changePriority", {"priority": 2 * wish, "lifo": wish}),
        ),
        (of_job(id, "remove_deduplication_key"), ("job", id, "removeDeduplicationKey")),
        (of_queue("retry_jobs"), ("queue", "retryJobs", {})),
        (of_queue("retry_jobs", state=State.COMPLETED), ("queue", "retryJobs", {"state": "completed"})),
        (of_queue("promote_jobs"), ("queue", "promoteJobs", {})),
        (of_queue("drain", delayed=wish), ("queue", "drain", wish)),
        *((of_queue("clean", 10, state=State(state)), ("queue", "clean", 10_000, 0, state)) for state in cleaned),
    ]


async def test_in_whatever_state_a_queue_is_we_leave_it_as_node_does(
    with_node: None, redis7_url: str, redis7_client: Any
) -> None:
    different: dict[int, Any] = {}
    changed = 0
    env = {"BULLMQ": "6", "REDIS_URL": redis7_url}
    async with (
        NodeDriver(env) as node,
        stage_on(redis7_client, redis7_url) as stage,
        Queue("q", redis=redis7_url) as queue,
    ):
        await node.queue("q", "waitUntilReady")
        for seed in range(SCENES):
            dice = random.Random(seed)
            scene = make_scene(dice)
            ours, theirs = dice.choice(deeds(dice.choice(list(scene.states)), scene.chance(0.5)))
            aside = () if "remove" in theirs else ("bull:up:events",)
            await redis7_client.flushall()
            await stage.lay(scene.keys)
            before = await found(redis7_client, aside)
            try:
                await ours(queue)
            except (JobLocked, JobNotFound, JobNotInState, JobOfScheduler):
                assert await found(redis7_client, aside) == before, seed
            we_left = await found(redis7_client, aside)
            await redis7_client.flushall()
            await stage.lay(scene.keys)
            try:
                await ask_node(node, *theirs)
            except NodeError:
                assert await found(redis7_client, aside) == before, seed
            node_left = await found(redis7_client, aside)
            changed += we_left != before
            if we_left != node_left:
                keys = [key for key in we_left | node_left if we_left.get(key) != node_left.get(key)]
                different[seed] = theirs, {key: (we_left.get(key), node_left.get(key)) for key in keys}
    assert different == {}
    assert changed > SCENES / 4
