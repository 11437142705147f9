"""One run of the demo: opens everything, plays the acts within their time, counts every job, closes everything."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from corral import CorruptJob, Queue
from corral.address import make_pool
from corral.connection import Lines
from corral.keys import DEFAULT_PREFIX
from corral_operator.demo_fleet import Fleet
from corral_operator.demo_load import QUEUE, is_doomed
from corral_operator.demo_plot import Stage, play
from corral_operator.demo_tally import Ending, Tally
from corral_operator.demo_view import SummaryRow, View, open_view
from corral_operator.demo_watch import Watch
from corral_operator.embedded import EmbeddedServer

ACTS_S = 45.0
"""Seconds for the acts. With the workers' end and the count, everything is over within 60."""

WORKER = "corral_operator.demo_jobs:worker"


def perform() -> int:
    """Run the demo on stdout; gives the exit code. Raises ConfigurationError, CorralError, KeyboardInterrupt."""
    began = time.monotonic()
    with _ended_like_ctrl_c(), open_view(sys.stdout) as view:
        try:
            tally, stage, troubles = _performed(view)
        except KeyboardInterrupt:
            view.tell("interrupted; workers and server have been ended")
            raise
    troubles += tally.lost
    view.sum_up(_summary(tally, stage, time.monotonic() - began), troubles)
    return 1 if troubles else 0


def _performed(view: View) -> tuple[Tally, Stage, list[str]]:
    with EmbeddedServer() as server:
        view.tell(f"{server.version} of its own on {server.url}")
        with Fleet(WORKER, server.url, server.folder) as fleet:
            return asyncio.run(_run(server.url, fleet, view))


async def _run(redis_url: str, fleet: Fleet, view: View) -> tuple[Tally, Stage, list[str]]:
    # The prefix is named: one that the user set for workers of their own is not for these.
    async with Queue(QUEUE, redis=redis_url, prefix=DEFAULT_PREFIX) as queue, Lines(make_pool(redis_url)) as lines:
        stage = Stage(queue, redis_url, fleet, Watch(queue, lines, fleet), view)
        try:
            async with asyncio.timeout(ACTS_S):
                await play(stage)
        except TimeoutError:
            troubles = [f"not over after {ACTS_S:g} s"]
            view.tell(f"{troubles[0]}: counting what is there")
        else:
            troubles = []
            view.tell("no job is left; SIGTERM to the workers")
        troubles += await fleet.drain()
        view.tell("counting every job")
        return Tally.of(await _endings(stage)), stage, troubles


async def _endings(stage: Stage) -> list[Ending]:
    return list(await asyncio.gather(*(_ending(stage.queue, id, name) for id, name in stage.added.items())))


async def _ending(queue: Queue, job_id: str, name: str) -> Ending:
    state = await queue.get_job_state(job_id)
    try:
        job = await queue.get_job(job_id)
    except CorruptJob:
        job = None
    return Ending.of(job_id, state, job, doomed=is_doomed(name))


def _summary(tally: Tally, stage: Stage, seconds: float) -> list[SummaryRow]:
    return [
        ("jobs", f"{tally.jobs:,}", stage.node_note),
        ("completed", f"{tally.completed:,}", ""),
        ("failed", f"{tally.failed:,}", "as planned"),
        ("retries", f"{tally.retries:,}", "after failed attempts, with exponential backoff"),
        ("recovered", f"{tally.recovered:,}", f"{stage.killed} held {stage.held} when it was killed"),
        ("wait p50", _ms(tally.wait_p50), "from due to first start"),
        ("wait p95", _ms(tally.wait_p95), ""),
        ("lost", f"{len(tally.lost):,}", ""),
        ("took", f"{seconds:.1f} s", ""),
    ]


def _ms(wait: int | None) -> str:
    return "unknown" if wait is None else f"{wait:,} ms"


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does, so that everything is cleaned up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # asyncio answers Ctrl-C with a handler of its own; and a shell without job control lets us ignore it.
        ctrl_c = signal.getsignal(signal.SIGINT)
        (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(number, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
