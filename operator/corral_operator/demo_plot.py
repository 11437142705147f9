"""The demo's acts, in order. What came of them is told at the end by `demo_tally`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from corral import JobSpec, Queue
from corral_operator import demo_load
from corral_operator.demo_fleet import Fleet, WorkerProcess
from corral_operator.demo_node import NodeMissing, add_from_node
from corral_operator.demo_view import View
from corral_operator.demo_watch import Watch

LOOK_EVERY_S = 0.25
HELD_AT_LEAST = 3
"""Reports that the worker must hold that is killed."""


@dataclass(slots=True)
class Stage:
    """What the acts work with, and what they leave for the summary."""

    queue: Queue
    redis_url: str
    fleet: Fleet
    watch: Watch
    view: View
    added: dict[str, str] = field(default_factory=dict)
    """id -> name of every job that was added."""
    node_note: str = "it was not asked yet"
    killed: str = "nobody was killed"
    held: int = 0
    """Jobs that the killed worker held when it was dead."""


async def play(stage: Stage) -> None:
    """All acts; back when no job is left to run. Raises CorralError when a worker ends by itself."""
    async with _shown(stage):
        await _started(stage, 2)
        # The crash does not wait for Node, whose start may take longer than the reports.
        await asyncio.gather(_nodes_share(stage), _crash(stage))
        await _until(stage, lambda: _nothing_left(stage))


async def _crash(stage: Stage) -> None:
    await _first_burst(stage)
    await _kill_one(stage)
    await asyncio.gather(_second_burst(stage), _started(stage, 1), _recovered(stage))


@asynccontextmanager
async def _shown(stage: Stage) -> AsyncIterator[None]:
    """Keep the view fresh meanwhile."""

    async def loop() -> None:
        while True:
            stage.view.show(await stage.watch.look())
            await asyncio.sleep(LOOK_EVERY_S)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until(stage: Stage, check: Callable[[], Awaitable[bool]]) -> None:
    while not await check():
        stage.fleet.check()
        await asyncio.sleep(0.05)


async def _started(stage: Stage, number: int) -> None:
    new = [stage.fleet.start() for _ in range(number)]
    stage.view.tell(f"starting {' and '.join(f'{worker.name} (pid {worker.pid})' for worker in new)}")
    await _until(stage, lambda: stage.watch.present(new))
    for worker in new:
        worker.state = "working"


async def _add(stage: Stage, jobs: Sequence[JobSpec]) -> None:
    await stage.queue.add_bulk(jobs)
    _note_added(stage, jobs)


def _note_added(stage: Stage, jobs: Sequence[JobSpec]) -> None:
    stage.added.update({str(job.opts.job_id): job.name for job in jobs})


async def _first_burst(stage: Stage) -> None:
    jobs = demo_load.first_burst()
    await _add(stage, jobs)
    stage.view.tell(f"added {len(jobs)} jobs at once: mails, some later, some first, some that fail, long reports")


async def _nodes_share(stage: Stage) -> None:
    jobs = demo_load.nodes_share()
    try:
        version = await add_from_node(jobs, stage.queue.name, stage.redis_url)
    except NodeMissing as missing:
        await _add(stage, jobs)
        stage.node_note = f"Node's BullMQ: not found, all jobs added from Python ({missing})"
        stage.view.tell(stage.node_note)
        return
    _note_added(stage, jobs)
    stage.node_note = f"{len(jobs)} of them added by Node's BullMQ {version}"
    stage.view.tell(f"Node's BullMQ {version} added {len(jobs)} jobs to the same queue")


async def _kill_one(stage: Stage) -> None:
    """SIGKILL to a worker that is in the middle of reports."""
    victims: list[WorkerProcess] = []

    async def found() -> bool:
        holders = await stage.watch.holders()
        for worker in stage.fleet.workers:
            reports = [id for id, name in holders.items() if name == worker.name and stage.added.get(id) == "report"]
            if len(reports) >= HELD_AT_LEAST:
                victims.append(worker)
        return bool(victims)

    await _until(stage, found)
    worker = victims[0]
    stage.fleet.kill(worker)
    # Counted when it is dead: nobody finishes these any more, so the number is exact.
    stage.held = list((await stage.watch.holders()).values()).count(worker.name)
    stage.killed = worker.name
    stage.view.tell(f"killed {worker.name} (pid {worker.pid}, SIGKILL) while it held {stage.held} jobs")


async def _second_burst(stage: Stage) -> None:
    jobs = demo_load.second_burst()
    await _add(stage, jobs)
    stage.view.tell(f"added {len(jobs)} more jobs; those of {stage.killed} are recovered when their locks run out")


async def _recovered(stage: Stage) -> None:
    """Until another worker, or the queue, has every job that the dead one held."""

    async def are_back() -> bool:
        return stage.killed not in (await stage.watch.holders()).values()

    await _until(stage, are_back)
    stage.view.tell(f"the {stage.held} jobs of {stage.killed} have been recovered")


async def _nothing_left(stage: Stage) -> bool:
    return (await stage.queue.get_job_counts()).unfinished == 0
