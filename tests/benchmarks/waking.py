"""How soon the operator wakes a pool, and what idle pools cost it: on a real API server and a real Redis, fed by Node.

    wake      a job is added at zero (BullMQ's `add` has returned) -> the API server has received the patch of the replicas
    delayed   a delayed job -> the same patch, against the moment from which a pod must be there
    burst     500 jobs of a known length in one `addBulk` -> all replicas wanted: how long after the call, how many patches
    idle      resident memory and processor time of the operator with so many pools of which none has anything to do

Not called operator.py: Python would take it for its own module. `make bench-operator`, or ARGS="--wakes 10 --idle 100".
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "parts"))

from control_plane import ControlPlane  # noqa: E402  (parts of the tests, not a package)
from kubectl import Manifest  # noqa: E402
from kubernetes_binaries import compiled  # noqa: E402
from namespace import Namespace  # noqa: E402
from node_driver import NodeDriver  # noqa: E402
from operating import make_secret, watching  # noqa: E402
from operator_process import OperatorProcess  # noqa: E402
from pools import pool  # noqa: E402
from servers import RedisServer  # noqa: E402
from waiting import eventually  # noqa: E402

CRD = HERE.parents[1] / "charts" / "corral" / "files" / "workerpools.corral.dev.yaml"
BURST, MOST = 500, 30
# What a pool takes a pod to need before it has seen one, and the idleAfter of these pools.
POD_START_S, IDLE_AFTER_S = 15.0, 5.0


class Bench:
    """One operator over one namespace, with pools that sleep."""

    def __init__(self, control_plane: ControlPlane, server: RedisServer, node: NodeDriver) -> None:
        self.namespace = Namespace(control_plane, "default")
        self._kubectl = control_plane.kubectl
        self._server = server
        self._node = node

    async def asleep(self, names: list[str], within: float = 300.0) -> float:
        """Make pools on queues that are there and empty; gives the seconds until all have gone to sleep."""
        with self._server.client() as client, client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hset(f"bull:{name}:meta", "opts.maxLenEvents", "10000")
            pipe.execute()
        rows = [_pool(name) for name in names]
        began = time.monotonic()
        for first in range(0, len(rows), 100):
            items: Manifest = {"apiVersion": "v1", "kind": "List", "items": rows[first : first + 100]}
            self._kubectl("create", "-f", "-", manifest=items, within=120)

        def told() -> int:
            rows = [row for row in self.namespace.every("workerpools") if row["metadata"]["name"] in names]
            return sum((row.get("status") or {}).get("decision", {}).get("reason") == "Idle" for row in rows)

        while told() < len(names):
            if time.monotonic() - began > within:
                raise SystemExit(f"only {told()} of {len(names)} pools were served within {within:g} s")
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
        # The listener learns the new queues within a second.
        await asyncio.sleep(3)
        return took

    async def patched(self, name: str, within: float = 30.0) -> float:
        """The epoch time at which the first patch of the replicas of a pool came in."""
        await eventually(lambda: self.namespace.replicas(name), within)
        return _received(await eventually(lambda: self.namespace.scalings(name), 5.0))

    async def wakes(self, count: int) -> None:
        names = [f"wake-{number}" for number in range(count)]
        await self.asleep(names)
        took = []
        for name in names:
            await asyncio.sleep(random.uniform(0.2, 1.2))
            await self._node.add(name, {"name": "job", "data": {}, "opts": {}})
            added = time.time()
            took.append(1000 * (await self.patched(name) - added))
        _print("wake: job added -> patch", took, "ms")

    async def delayed(self, count: int) -> None:
        names = [f"delayed-{number}" for number in range(count)]
        await self.asleep(names)
        delay_s = POD_START_S + IDLE_AFTER_S + 10
        due = {}
        for name in names:
            due[name] = time.time() + delay_s
            opts = {"delay": round(delay_s * 1000)}
            await self._node.add(name, {"name": "job", "data": {}, "opts": opts})
        patched = {name: await self.patched(name, delay_s + 10) for name in names}
        _print("delayed: patch before due", [due[name] - patched[name] for name in names], "s")
        late = [1000 * (patched[name] - due[name] + POD_START_S + IDLE_AFTER_S) for name in names]
        _print("delayed: patch after the moment from which a pod must be there", late, "ms")

    async def bursts(self, count: int) -> None:
        names = [f"burst-{number}" for number in range(count)]
        await self.asleep(names)
        first, full, patches = [], [], []
        for name in names:
            jobs = [{"name": "job", "data": {}, "opts": {}} for _ in range(BURST)]
            # Node takes its time to answer: the patch may be there before `addBulk` returns.
            called = time.time()
            await self._node.queue(name, "addBulk", jobs)
            await eventually(lambda name=name: self.namespace.replicas(name) == MOST, 30)  # type: ignore[misc]
            # What comes later is a patch too many.
            await asyncio.sleep(5)
            rows = self.namespace.scalings(name)
            first.append(1000 * (_received(rows) - called))
            full.append(1000 * (_received(rows[-1:]) - called))
            patches.append(float(len(rows)))
        _print(f"burst of {BURST}: addBulk called -> first patch", first, "ms")
        _print(f"burst of {BURST}: addBulk called -> {MOST} replicas wanted", full, "ms")
        _print(f"burst of {BURST}: patches", patches, "")


def _pool(name: str) -> Manifest:
    spec = {"target": {"wait": "30s"}, "maxReplicas": MOST, "jobSeconds": 2, "idleAfter": f"{IDLE_AFTER_S:g}s"}
    return pool(name, queues=[{"name": name}], **spec)


def _received(rows: list[Manifest]) -> float:
    return datetime.fromisoformat(rows[0]["requestReceivedTimestamp"]).timestamp()


def _print(what: str, values: list[float], unit: str) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    median = statistics.median(ordered)
    print(f"{what:64} n={len(values):<3} p50 {median:.4g} {unit}, p99 {p99:.4g} {unit}, most {ordered[-1]:.4g} {unit}")


def _cost(pid: int) -> tuple[float, float]:
    """Resident MiB, and processor seconds so far."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


async def idle(bench: Bench, operator: OperatorProcess, pools: int, seconds: float) -> None:
    there = len(bench.namespace.every("workerpools"))
    took = await bench.asleep([f"idle-{number}" for number in range(there, pools)])
    print(f"idle: {pools - there} more pools were served {took:.1f} s after the first was asked for")
    # Their first looks, and what the controllers still have to say.
    await asyncio.sleep(20)
    mark = bench.namespace.mark()
    _, before = _cost(operator.pid)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    memory, after = _cost(operator.pid)
    lasted = time.monotonic() - began
    requests, writes = len(bench.namespace.requests(mark)), len(bench.namespace.writes(mark))
    print(
        f"idle: {pools} pools for {lasted:.0f} s: {memory:.0f} MiB resident, {after - before:.2f} s of processor "
        f"({(after - before) / lasted:.3f} cores), {requests} requests to the API server, {writes} of them writes"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wakes", type=int, default=50)
    parser.add_argument("--delayed", type=int, default=10)
    parser.add_argument("--bursts", type=int, default=10)
    parser.add_argument("--idle", type=int, nargs="*", default=[100, 1000], help="numbers of idle pools")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long idle pools are looked at")
    parser.add_argument("--bullmq", default="6", choices=("5", "6"))
    options = parser.parse_args()
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    for stories in ("loads", "idle"):
        with (
            ControlPlane(compiled()) as control_plane,
            RedisServer() as server,
            tempfile.TemporaryDirectory() as folder,
        ):
            kubectl = control_plane.kubectl
            kubectl("apply", "-f", str(CRD))
            kubectl("wait", "--for=condition=Established", "crd/workerpools.corral.dev")
            make_secret(kubectl, server.url)
            env = {"BULLMQ": options.bullmq, "REDIS_URL": server.url}
            async with NodeDriver(env) as node:
                with OperatorProcess(Path(folder), kubectl.kubeconfig) as operator:
                    await watching(operator)
                    bench = Bench(control_plane, server, node)
                    if stories == "idle":
                        for pools in sorted(options.idle):
                            await idle(bench, operator, pools, options.seconds)
                        continue
                    for count, story in (
                        (options.wakes, bench.wakes),
                        (options.delayed, bench.delayed),
                        (options.bursts, bench.bursts),
                    ):
                        if count:
                            await story(count)


if __name__ == "__main__":
    asyncio.run(main())
