"""Who pauses x who adds meanwhile x who resumes: BullMQ 5, BullMQ 6 and we, on one queue.

BullMQ 5 renames `wait` to `paused` and back, BullMQ 6 only sets a flag. Where both layouts are in use at once, a resume
of BullMQ 5 renames one list over the other, and the jobs in that one are lost. Those cells are named in `NODES_FAULT`;
every other cell loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest

from corral import Job, Queue, Worker
from node_driver import NodeDriver
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    import redis.asyncio

pytestmark = pytest.mark.interop

WHO = ("v5", "v6", "ours")
BEFORE, MEANWHILE = 3, 2


class Cell(NamedTuple):
    """One run: who does what, whose word `meta.version` has (None: the only one there is), jobs waiting at first."""

    pauses: str
    adds: str
    resumes: str
    version: str | None
    before: int

    @property
    def queue(self) -> str:
        return "-".join(str(part) for part in self)


def cells() -> list[Cell]:
    """All 27, those with both BullMQs in both orders of their start, each with jobs waiting before and without."""
    found = []
    for pauses, adds, resumes in itertools.product(WHO, repeat=3):
        nodes = sorted({pauses, adds, resumes} - {"ours"})
        for version in nodes if len(nodes) == 2 else [None]:
            found += [Cell(pauses, adds, resumes, version, before) for before in (BEFORE, 0)]
    return found


# (pauses, adds, resumes, jobs before) -> jobs that BullMQ 5's resume orphans, whatever we do.
NODES_FAULT = {
    ("v5", "v6", "v5", BEFORE): MEANWHILE,
    ("v6", "v5", "v5", BEFORE): BEFORE,
}


def expected_loss(cell: Cell) -> int:
    """How many jobs a cell loses through Node's own fault."""
    # We pause as the fleet does: as the Node that has told its version.
    nodes = {cell.pauses, cell.adds, cell.resumes} - {"ours"}
    says = cell.version or next(iter(nodes), "v6")
    pauses = says if cell.pauses == "ours" else cell.pauses
    return NODES_FAULT.get((pauses, cell.adds, cell.resumes, cell.before), 0)


class Ours:
    """Our Queue, with the words of NodeDriver."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    async def queue(self, queue: str, method: str) -> None:
        async with Queue(queue, redis=self._redis_url) as ours:
            await getattr(ours, method)()

    async def add(self, queue: str, *jobs: dict[str, str]) -> list[str]:
        async with Queue(queue, redis=self._redis_url) as ours:
            return [(await ours.add(job["name"], {})).id for job in jobs]


async def together(calls: Iterable[Awaitable[object]]) -> None:
    """A phase of all cells at once, some at a time: hundreds of connections at once say nothing more."""
    some = asyncio.Semaphore(16)

    async def one(call: Awaitable[object]) -> None:
        async with some:
            await call

    await asyncio.gather(*(one(call) for call in calls))


async def by(job: Job) -> str:
    return "corral"


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("with_node")
async def test_every_cell_loses_nothing_but_what_node_alone_would_lose(
    redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    all_cells = cells()
    assert len({cell[:3] for cell in all_cells}) == 27
    async with (
        NodeDriver({"BULLMQ": "5", "REDIS_URL": redis7_url}) as v5,
        NodeDriver({"BULLMQ": "6", "REDIS_URL": redis7_url}) as v6,
    ):
        parties = {"v5": v5, "v6": v6, "ours": Ours(redis7_url)}

        async def announce(cell: Cell) -> None:
            """Each Node's Queue object tells its version as it starts; the last one's word stands."""
            nodes = sorted({*cell[:3]} - {"ours"}, key=lambda node: node == cell.version)
            for node in nodes:
                await parties[node].queue(cell.queue, "waitUntilReady")
                wanted = f"bullmq:{node[1:]}".encode()

                async def told(wanted: bytes = wanted) -> bool:
                    version = await redis7_client.hget(f"bull:{cell.queue}:meta", "version")
                    return (version or b"").startswith(wanted)

                await eventually(told)

        def names(cell: Cell, what: str, number: int) -> list[dict[str, str]]:
            return [{"name": f"{what} {index}"} for index in range(number)]

        await together(announce(cell) for cell in all_cells)
        await together(parties[c.pauses].add(c.queue, *names(c, "before", c.before)) for c in all_cells if c.before)
        await together(parties[cell.pauses].queue(cell.queue, "pause") for cell in all_cells)
        await together(parties[c.adds].add(c.queue, *names(c, "meanwhile", MEANWHILE)) for c in all_cells)

        worker = Worker([cell.queue for cell in all_cells], by, redis=redis7_url, concurrency=50)
        task = asyncio.create_task(worker.run())
        try:
            # It has looked into each queue, found all of them paused, and waits for a marker.
            async def waits_at_each() -> bool:
                workers = [client for client in await redis7_client.client_list() if client["cmd"] == "bzpopmin"]
                assert len(workers) == len(all_cells), len(workers)
                return True

            await eventually(waits_at_each, 30)
            for cell in all_cells:
                assert await redis7_client.zcard(f"bull:{cell.queue}:completed") == 0, cell
            await together(parties[cell.resumes].queue(cell.queue, "resume") for cell in all_cells)

            async def rest() -> bool:
                for cell in all_cells:
                    left = await redis7_client.exists(
                        *(f"bull:{cell.queue}:{part}" for part in ("wait", "paused", "active", "prioritized"))
                    )
                    assert not left, cell
                return True

            await eventually(rest, 60)
        finally:
            await worker.close(grace=5)
            await task

        lost: dict[Cell, int] = {}
        for cell in all_cells:
            async with Queue(cell.queue, redis=redis7_url) as queue:
                states = [str(await queue.get_job_state(str(id))) for id in range(1, cell.before + MEANWHILE + 1)]
            assert set(states) <= {"completed", "unknown"}, (cell, states)
            if orphans := states.count("unknown"):
                lost[cell] = orphans
        assert lost == {cell: loss for cell in all_cells if (loss := expected_loss(cell))}


@pytest.mark.parametrize(
    ("version", "lands_in"), [("bullmq:5.81.5", "paused"), ("bullmq:6.7.0", "wait"), ("corral:0.1.0", "wait")]
)
async def test_what_we_add_to_a_paused_empty_queue_lands_where_the_version_says(
    redis7_url: str, redis7_client: redis.asyncio.Redis, version: str, lands_in: str
) -> None:
    await redis7_client.hset("bull:q:meta", mapping={"version": version, "paused": "1"})
    async with Queue("q", redis=redis7_url) as queue:
        await queue.add("n")
    assert await redis7_client.lrange(f"bull:q:{lands_in}", 0, -1) == [b"1"]
