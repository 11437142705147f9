"""A thousand jobs run while Redis, or the way to it, or every worker is away for long: none of them runs a second time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from audit import audit
from corral import JobSpec, Queue
from corral_process import CorralProcess
from relay import Relay
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import RedisServer

JOBS, OUTAGE_S = 1000, 20.0

SOURCE = """
import asyncio, os
from pathlib import Path
from corral import Worker

folder = Path(os.environ["FOLDER"])

async def run(job):
    with (folder / "runs").open("a") as runs:
        runs.write(job.id + "\\n")
    ends = folder / job.name
    while not ends.exists():
        await asyncio.sleep(0.5)
    return job.id

worker = Worker("q", run, concurrency=500, lock_duration=LOCK, stalled_interval=LOOK)
"""


@dataclass
class Fleet:
    """Processes that run a thousand jobs of one Redis, half of which may end while it is away."""

    server: RedisServer
    urls: list[str]
    """Of each process."""
    folder: Path
    lock_s: float = 30.0
    """BullMQ's own numbers."""
    look_s: float = 30.0
    processes: list[CorralProcess] = field(default_factory=list)

    async def begin(self, stack: AsyncExitStack) -> None:
        """Start, and wait until all run, and every worker's connection has been unbroken for long enough to look."""
        self.folder.mkdir()
        async with Queue("q", redis=self.server.url) as queue:
            await queue.add_bulk(JobSpec("early" if n % 2 else "late", n) for n in range(JOBS))
        source = SOURCE.replace("LOCK", str(self.lock_s)).replace("LOOK", str(self.look_s))
        for url in self.urls:
            process = CorralProcess(self.folder, source, url, {"FOLDER": str(self.folder)})
            self.processes.append(stack.enter_context(process))
        await eventually(lambda: len(self.runs()) == JOBS, 40)
        await self.looked()

    def runs(self) -> list[str]:
        """The ids of the jobs that have begun to run, once for each time."""
        path = self.folder / "runs"
        return path.read_text().split() if path.exists() else []

    async def looked(self) -> None:
        """Until somebody has looked for dead workers, which nobody does within 10 s of a start or an outage."""
        async with redis.asyncio.from_url(self.server.url, protocol=2) as client:
            for below, above in ((4001, 2000), (2000, -3)):
                await eventually(lambda below=below, above=above: _lasts(client, below, above), 40)

    def end(self, some: str) -> None:
        (self.folder / some).touch()

    async def finish(self) -> None:
        """All end, and each has run once."""
        await self.looked()
        assert len(self.runs()) == JOBS
        self.end("late")
        async with redis.asyncio.from_url(self.server.url, protocol=2) as client:
            asked: Any = client

            async def all_completed() -> bool:
                ended = await asked.zcard("bull:q:completed")
                assert ended == JOBS, (ended, await asked.llen("bull:q:active"))
                return True

            await eventually(all_completed, 40)
            assert sorted(self.runs(), key=int) == [str(n + 1) for n in range(JOBS)]
            for n in range(JOBS):
                facts = await asked.hmget(f"bull:q:{n + 1}", "ats", "atm", "stc")
                assert facts == [b"1", b"1", None], n + 1
            assert await audit(client) == []


async def _lasts(client: Any, below: int, above: int) -> bool:
    """Whether the last look keeps others from looking for so many ms."""
    return above < int(await client.pttl("bull:q:corral:look")) < below


async def passed(seconds: float) -> None:
    until = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() > until, seconds + 10)


async def away(begin: Callable[[], object], end: Callable[[], object], fleet: Fleet, seconds: float) -> None:
    """An outage, in the middle of which half of the jobs end."""
    begin()
    await passed(seconds / 2)
    fleet.end("early")
    await passed(seconds / 2)
    end()


def one_after_the_other(relays: list[Relay]) -> None:
    """Let through again; one worker comes back seconds later than the other."""
    for number, relay in enumerate(relays):
        asyncio.get_running_loop().call_later(6.0 * number, setattr, relay, "open", True)


def tell(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


@pytest.mark.timeout(240)
async def test_an_outage_of_twenty_seconds_with_a_thousand_running_jobs_leads_to_no_second_run(
    tmp_path: Path, new_server: Callable[..., RedisServer]
) -> None:
    """Restarted, frozen, cut off; and all workers frozen at once. At the same time, for each is mostly waited for."""
    async with AsyncExitStack() as stack:
        restarted = new_server("redis", appendonly=True)
        frozen, cut, lost, living = new_server("valkey"), new_server("redis"), new_server("redis"), new_server("redis")
        relays = [await stack.enter_async_context(Relay(server.port)) for server in (cut, cut, lost, lost)]
        # Locks and looks so short that every lock runs out, and others look for such jobs again and again.
        short = {"lock_s": 5.0, "look_s": 3.0}
        # So long that each of them tells whose job it is when the others are back.
        long = {"lock_s": 90.0}
        fleets = [
            Fleet(restarted, [restarted.url] * 2, tmp_path / "restarted"),
            Fleet(frozen, [frozen.url] * 2, tmp_path / "frozen", **short),
            Fleet(cut, [relay.url for relay in relays[:2]], tmp_path / "cut", **long),
            Fleet(lost, [relay.url for relay in relays[2:]], tmp_path / "lost", **short),
            Fleet(living, [living.url] * 2, tmp_path / "workers", **short),
        ]
        await asyncio.gather(*(fleet.begin(stack) for fleet in fleets))
        workers = [process.pid for process in fleets[-1].processes]
        stack.callback(lambda: restarted.running or restarted.start())
        outages: list[tuple[Callable[[], object], Callable[[], object]]] = [
            (restarted.kill, restarted.start),
            (lambda: tell([frozen.pid], signal.SIGSTOP), lambda: tell([frozen.pid], signal.SIGCONT)),
            (lambda: [relay.shut() for relay in relays[:2]], lambda: one_after_the_other(relays[:2])),
            (lambda: [relay.shut() for relay in relays[2:]], lambda: one_after_the_other(relays[2:])),
            (lambda: tell(workers, signal.SIGSTOP), lambda: tell(workers, signal.SIGCONT)),
        ]
        spans = (OUTAGE_S, OUTAGE_S, OUTAGE_S, OUTAGE_S, 15.0)
        await asyncio.gather(
            *(away(*outage, fleet, span) for outage, fleet, span in zip(outages, fleets, spans, strict=True))
        )
        await asyncio.gather(*(fleet.finish() for fleet in fleets))
