"""How soon the operator acts, and what pools cost it: on a real API server and a real Redis, fed by Node.

    wake        a job is added at zero (BullMQ's `add` has returned) -> the API server has received the patch of the replicas
    delayed     a delayed job -> the same patch, against the moment from which a pod must be there
    burst       500 jobs of a known length in one `addBulk` -> all replicas wanted: how long after the call, how many patches
    upkeep      so many pools, idle and then busy: processor, memory, API writes, Redis, how late ticks are; a restart
    succession  two operators, of which the leader is ended or killed

Not called operator.py: Python would take it for its own module. `make bench-operator`, or ARGS="--wakes 10 --pools 100".
Ends with one table, beside the goals.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "parts"))

from stage import IDLE_AFTER_S, MOST, POD_START_S, Stage, received  # noqa: E402
from succession import succession  # noqa: E402
from tally import Tally  # noqa: E402
from upkeep import upkeep  # noqa: E402

from node_driver import NodeDriver  # noqa: E402  (parts of the tests, not a package)
from operating import watching  # noqa: E402
from waiting import eventually  # noqa: E402

BURST = 500


class Waking:
    """Pools at zero, and what wakes them."""

    def __init__(self, stage: Stage, node: NodeDriver, tally: Tally) -> None:
        self._stage, self._node, self._tally = stage, node, tally

    async def wakes(self, count: int) -> None:
        names = [f"wake-{number}" for number in range(count)]
        await self._stage.asleep(names)
        took = []
        for name in names:
            await asyncio.sleep(random.uniform(0.2, 1.2))
            await self._node.add(name, {"name": "job", "data": {}, "opts": {}})
            added = time.time()
            took.append(await self._stage.patched(name) - added)
        self._tally.spread("first job at zero -> patch", took, "s", "median <= 0.5 s, p99 <= 1 s")

    async def delayed(self, count: int) -> None:
        names = [f"delayed-{number}" for number in range(count)]
        await self._stage.asleep(names)
        delay_s = POD_START_S + IDLE_AFTER_S + 10
        due = {}
        for name in names:
            due[name] = time.time() + delay_s
            opts = {"delay": round(delay_s * 1000)}
            await self._node.add(name, {"name": "job", "data": {}, "opts": opts})
        patched = {name: await self._stage.patched(name, delay_s + 10) for name in names}
        late = [patched[name] - due[name] + POD_START_S + IDLE_AFTER_S for name in names]
        self._tally.spread("delayed job at zero: patch after a pod must be asked for", late, "s", "<= 2 s")

    async def bursts(self, count: int) -> None:
        names = [f"burst-{number}" for number in range(count)]
        await self._stage.asleep(names)
        full, patches = [], []
        for name in names:
            jobs = [{"name": "job", "data": {}, "opts": {}} for _ in range(BURST)]
            # Node takes its time to answer: the patch may be there before `addBulk` returns.
            called = time.time()
            await self._node.queue(name, "addBulk", jobs)
            await eventually(lambda name=name: self._stage.namespace.replicas(name) == MOST, 30)  # type: ignore[misc]
            # What comes later is a patch too many.
            await asyncio.sleep(5)
            rows = self._stage.namespace.scalings(name)
            full.append(received(rows[-1:]) - called)
            patches.append(float(len(rows)))
        self._tally.spread(f"burst of {BURST} at zero -> {MOST} replicas wanted", full, "s", "<= 2 s")
        self._tally.spread(f"burst of {BURST} at zero: patches", patches, "patches", "1")


async def waking(tally: Tally, options: argparse.Namespace) -> None:
    with Stage() as stage:
        async with NodeDriver({"BULLMQ": options.bullmq, "REDIS_URL": stage.server.url}) as node:
            await watching(stage.operator())
            play = Waking(stage, node, tally)
            for count, story in (
                (options.wakes, play.wakes),
                (options.delayed, play.delayed),
                (options.bursts, play.bursts),
            ):
                if count:
                    await story(count)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wakes", type=int, default=200)
    parser.add_argument("--delayed", type=int, default=10)
    parser.add_argument("--bursts", type=int, default=10)
    parser.add_argument("--pools", type=int, nargs="*", default=[100, 1000], help="numbers of pools; 5000 takes long")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they are looked at, idle and busy")
    parser.add_argument(
        "--jobs", type=float, default=200.0, help="jobs per second on busy pools, all together; 0: none"
    )
    parser.add_argument("--successions", type=int, default=5, help="of each kind")
    parser.add_argument("--bullmq", default="6", choices=("5", "6"))
    options = parser.parse_args()
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    tally = Tally()
    try:
        if options.wakes or options.delayed or options.bursts:
            await waking(tally, options)
        for pools in sorted(options.pools):
            await upkeep(tally, pools, options.seconds, options.jobs)
        if options.successions:
            await succession(tally, options.successions)
    finally:
        tally.show()


if __name__ == "__main__":
    asyncio.run(main())
