"""One run of the demo: opens everything, plays the acts within their time, counts every job, closes everything."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from corral import CorruptJob, Queue, logs
from corral.address import make_pool
from corral.connection import Lines
from corral.keys import DEFAULT_PREFIX
from corral_operator.demo_files import POOLS, find_files
from corral_operator.demo_load import MAILS, THUMBNAILS, is_doomed
from corral_operator.demo_node import node_folders
from corral_operator.demo_peaks import Peaks
from corral_operator.demo_plot import Stage, play
from corral_operator.demo_summary import Summary
from corral_operator.demo_tally import Ending, Tally
from corral_operator.embedded import EmbeddedServer
from corral_operator.local_run import local_run
from corral_operator.pool_file import read_pools
from corral_operator.table import Pool
from corral_operator.up_view import UpView, open_view

ACTS_S = 78.0
"""Seconds for the acts. With the server's start and the count, everything is over within 90."""


def perform() -> int:
    """Run the demo on stdout; gives the exit code. Raises ConfigurationError, CorralError, KeyboardInterrupt."""
    began = time.monotonic()
    # The view says what the log would; what breaks is told there too.
    logs.configure("text", "error")
    with _ended_like_ctrl_c(), open_view(sys.stdout) as view:
        try:
            summary = _performed(view)
        except KeyboardInterrupt:
            view.tell("interrupted; workers and server have been ended")
            raise
    sys.stdout.write("\n".join(["", *summary.lines(time.monotonic() - began)]) + "\n")
    return 1 if summary.troubles else 0


def _performed(view: UpView) -> Summary:
    files, folders = find_files(), node_folders()
    pools = read_pools((files / POOLS).read_text(), POOLS)
    # In the folder of the files, as a reader of them would be: nothing of the current one may pass for a module of theirs.
    with EmbeddedServer() as server, contextlib.chdir(files):
        view.pin(f"{server.version} of its own on {server.url}")
        view.pin(f"pools.yaml and its workers: {files}")
        return asyncio.run(_run(pools, server, folders, view))


async def _run(pools: Sequence[Pool], server: EmbeddedServer, folders: Sequence[Path], view: UpView) -> Summary:
    peaks = Peaks(view)
    async with (
        # The prefix is named: one that the user set for workers of their own is not for these.
        Queue(MAILS, redis=server.url, prefix=DEFAULT_PREFIX) as mails,
        Queue(THUMBNAILS, redis=server.url, prefix=DEFAULT_PREFIX) as thumbnails,
        Lines(make_pool(server.url)) as lines,
    ):
        queues = {MAILS: mails, THUMBNAILS: thumbnails}
        async with local_run(pools, server.url, server.folder, os.environ, peaks) as run:
            stage = Stage(queues, lines, server.url, folders, run, peaks)
            troubles = await _played(stage)
        view.tell("counting every job")
        return await _summary(stage, peaks, troubles)


async def _played(stage: Stage) -> list[str]:
    """The acts, within their time, while the pools are kept; what went wrong."""
    try:
        async with asyncio.timeout(ACTS_S), asyncio.TaskGroup() as group:
            keeping = group.create_task(stage.run.keep())
            await play(stage)
            keeping.cancel()
    except TimeoutError:
        late = f"not over after {ACTS_S:g} s"
        stage.view.tell(f"{late}: the workers are ended as they are")
        return [late]
    return []


async def _summary(stage: Stage, peaks: Peaks, troubles: list[str]) -> Summary:
    endings = {name: await _endings(queue, stage.added.get(name, {})) for name, queue in stage.queues.items()}
    total = Tally.of([ending for row in endings.values() for ending in row])
    return Summary(
        total=total,
        pools={name: Tally.of(row) for name, row in endings.items()},
        most=peaks.most,
        woken_ms=next((row.wait_ms for row in endings[MAILS] if row.id == stage.reminder), None),
        node_note=stage.node_note,
        killed_note=stage.killed_note,
        woken_note=stage.woken_note,
        troubles=[*troubles, *total.lost],
    )


async def _endings(queue: Queue, added: dict[str, str]) -> list[Ending]:
    return list(await asyncio.gather(*(_ending(queue, job_id, name) for job_id, name in added.items())))


async def _ending(queue: Queue, job_id: str, name: str) -> Ending:
    state = await queue.get_job_state(job_id)
    try:
        job = await queue.get_job(job_id)
    except CorruptJob:
        job = None
    return Ending.of(job_id, state, job, doomed=is_doomed(name))


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
