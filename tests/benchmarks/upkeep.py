"""What so many pools cost the operator: while nothing happens, and while jobs come and go on every queue."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stage import Gauge, Stage, cost
from tally import of_buckets

from kubelet_played import KubeletPlayed
from operating import watching
from waiting import eventually

if TYPE_CHECKING:
    from tally import Tally

    from operator_process import OperatorProcess

LAG = "corral_tick_lag_seconds"
SETTLES_S = 45.0
"""Their first looks, the first closer look at each, and what the controllers still have to say."""


class Goals:
    """Of autoscaling.md section 5, for a number of pools."""

    def __init__(self, pools: int) -> None:
        large = pools > 1000
        self.cores = f"<= {'1' if large else '0.1'} core"
        self.memory = f"<= {'512' if large else '256'} MiB"
        self.busy_cores = f"<= {'1' if large else '0.5'} core"
        self.lag = f"p99 <= {'5' if large else '1'} s"


async def upkeep(tally: Tally, pools: int, seconds: float, jobs_per_s: float) -> None:
    """Idle, then busy, then a restart; on a stage of its own."""
    with Stage() as stage:
        operator = stage.operator()
        await watching(operator)
        took = await stage.asleep([f"pool-{number}" for number in range(pools)])
        tally.add(f"{pools} pools made at once: all served", f"{took:.1f} s")
        await asyncio.sleep(SETTLES_S)
        await _idle(tally, stage, operator, pools, seconds)
        if jobs_per_s:
            await _busy(tally, stage, operator, pools, seconds, jobs_per_s)


async def _idle(tally: Tally, stage: Stage, operator: OperatorProcess, pools: int, seconds: float) -> None:
    goals, mark, commands = Goals(pools), stage.namespace.mark(), stage.commands()
    before = await Gauge.of(operator)
    await asyncio.sleep(seconds)
    after = await Gauge.of(operator)
    lasted = after.at_s - before.at_s
    tally.add(f"{pools} idle: processor", f"{(after.cpu_s - before.cpu_s) / lasted:.3f} core", goals.cores)
    tally.add(f"{pools} idle: memory", f"{after.memory_mib:.0f} MiB", goals.memory)
    requests, writes = len(stage.namespace.requests(mark)), len(stage.namespace.writes(mark))
    tally.add(f"{pools} idle: API writes", f"{writes} in {lasted:.0f} s (and {requests - writes} reads)", "0")
    tally.add(f"{pools} idle: Redis commands", f"{(stage.commands() - commands) / lasted:.1f} a second")
    tally.add(f"{pools} idle: Redis connections", str(len(stage.connections())), "2")


async def _busy(
    tally: Tally, stage: Stage, operator: OperatorProcess, pools: int, seconds: float, jobs_per_s: float
) -> None:
    goals, what = Goals(pools), f"{pools} busy ({jobs_per_s:g} jobs/s)"
    script = str(Path(__file__).with_name("traffic.py"))
    traffic = await asyncio.create_subprocess_exec(
        *(sys.executable, script, stage.server.url, str(pools), str(jobs_per_s)), stdout=asyncio.subprocess.PIPE
    )
    sent = _Sent(traffic)
    try:
        with KubeletPlayed(stage.namespace), suppress(AssertionError):
            await eventually(lambda: _ready(stage) >= pools * 0.9, 180)
        tally.add(f"{what}: pools with a ready pod", str(_ready(stage)))
        commands, theirs = stage.commands(), sent.commands
        before = await Gauge.of(operator)
        most = before.memory_mib
        while time.monotonic() - before.at_s < seconds:
            most = max(most, cost(operator.pid)[0])  # a page of its metrics every time would be its main work
            await asyncio.sleep(2)
        now = await Gauge.of(operator)
        lasted = now.at_s - before.at_s
        per_s = (stage.commands() - commands - sent.commands + theirs) / lasted
        counts = {bound: count - before.buckets(LAG)[bound] for bound, count in now.buckets(LAG).items()}
        lag = ", ".join(f"p{share * 100:.0f} {of_buckets(counts, share):.3f}" for share in (0.5, 0.99))
        tally.add(f"{what}: tick lag", f"{lag} s", goals.lag)
        tally.add(f"{what}: processor", f"{(now.cpu_s - before.cpu_s) / lasted:.3f} core", goals.busy_cores)
        tally.add(f"{what}: memory", f"{most:.0f} MiB", goals.memory)
        decided = (now.total("corral_decisions_total") - before.total("corral_decisions_total")) / lasted
        tally.add(f"{what}: decisions", f"{decided:.0f} a second")
        scaled = (now.total("corral_scale_writes_total") - before.total("corral_scale_writes_total")) / lasted
        writes = (now.writes() - before.writes()) / lasted
        tally.add(f"{what}: API writes", f"{writes:.1f} a second, {scaled:.1f} of them of replicas")
        tally.add(f"{what}: Redis commands", f"{per_s:.0f} a second")
        tally.add(f"{what}: Redis connections", str(len(stage.connections())), "2")
        await _restart(tally, stage, operator, pools, what)
    finally:
        traffic.terminate()
        await traffic.wait()
        await sent.end()


async def _restart(tally: Tally, stage: Stage, operator: OperatorProcess, pools: int, what: str) -> None:
    await operator.kill()
    began = time.monotonic()
    another = stage.operator()

    async def decided(number: int, name: str) -> bool:
        try:
            return (await Gauge.of(another)).total(name) >= number
        except AssertionError:
            return False  # it serves no page yet

    await eventually(lambda: another.port is not None, 30)
    await eventually(lambda: decided(1, "corral_decisions_total"), 60)
    tally.add(f"{what}: first decision after a restart", f"{time.monotonic() - began:.1f} s")
    await eventually(lambda: decided(pools, "corral_pools"), 120)
    tally.add(f"{what}: all pools decided after a restart", f"{time.monotonic() - began:.1f} s")


def _ready(stage: Stage) -> int:
    return sum(bool((row["status"] or {}).get("readyReplicas")) for row in stage.namespace.every("deployments"))


class _Sent:
    """Reads how many commands the traffic has sent so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.commands = 0
        self._process = process
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for row in self._process.stdout:
            self.commands = json.loads(row)["commands"]

    async def end(self) -> None:
        await self._task
