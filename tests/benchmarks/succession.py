"""Two operators: how soon the other one writes when the leader is ended, and when it crashes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from stage import Stage

from operating import number, watching
from waiting import eventually

if TYPE_CHECKING:
    from tally import Tally

    from operator_process import OperatorProcess


async def succession(tally: Tally, times: int) -> None:
    """Planned hand-overs and crashes in turn, each with a job that is added at that moment to a pool at zero."""
    planned, crashed = [], []
    with Stage() as stage:
        leader = stage.operator(lease=True)
        await watching(leader)
        await eventually(lambda: _leads(leader), 30)
        await stage.asleep([f"pool-{count}" for count in range(2 * times)])
        for count in range(2 * times):
            follower = stage.operator(lease=True)
            await watching(follower)
            # It has everything in its table, and has read the Secret.
            await asyncio.sleep(5)
            await eventually(lambda leader=leader: _leads(leader), 30)  # type: ignore[misc]
            ended = time.time()
            if count % 2:
                await leader.kill()
            else:
                leader.signal()
            _add(stage, f"pool-{count}")
            took = await stage.patched(f"pool-{count}", 60) - ended
            (crashed if count % 2 else planned).append(took)
            leader = follower
    tally.spread("leader ended, job added at once -> patch by the other", planned, "s", "<= 2 s")
    tally.spread("leader killed, job added at once -> patch by the other", crashed, "s", "<= 15 s")


async def _leads(operator: OperatorProcess) -> bool:
    return await number(operator, "corral_operator_leader") == 1


def _add(stage: Stage, name: str) -> None:
    with stage.server.client() as client:
        client.lpush(f"bull:{name}:wait", "1")
        client.hset(f"bull:{name}:1", "name", "job")
        client.incr(f"bull:{name}:id")
        client.xadd(f"bull:{name}:events", {"event": "waiting", "jobId": "1"})
