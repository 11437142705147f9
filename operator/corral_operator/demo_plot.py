"""The demo's acts, in order. What came of them is told at the end by `demo_tally`."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corral import JobSpec, Queue
from corral.connection import Lines
from corral_operator import demo_load
from corral_operator.demo_holders import holders
from corral_operator.demo_load import LONG, MAILS
from corral_operator.demo_node import NodeMissing, add_from_node
from corral_operator.idleness import idle_after_s
from corral_operator.local_run import LocalRun, LocalView
from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica, ReplicaState
from corral_operator.sentences import count, span

PART_S = 1.0
"""Seconds between two parts of the load."""

HELD_AT_LEAST = 3
"""Long jobs that the worker must hold that is killed."""

ASLEEP_S = 6.0
"""Seconds that a pool sleeps with a delayed job in it before it has to start a worker."""

REMINDER_MOST_S = 20.0
"""A slow machine learns of slow starts; the whole must end within its time."""


@dataclass(slots=True)
class Stage:
    """What the acts work with, and what they leave for the summary."""

    queues: Mapping[str, Queue]
    lines: Lines
    redis_url: str
    node_folders: Sequence[Path]
    run: LocalRun
    view: LocalView
    added: dict[str, dict[str, str]] = field(default_factory=dict)
    """id -> name of every job that was added, by queue."""
    node_note: str = "Node was not asked"
    killed_note: str = "nobody was killed"
    reminder: str | None = None
    """id of the delayed job that wakes a pool."""
    woken_note: str = "no pool was woken"


async def play(stage: Stage) -> None:
    """All acts; back when every pool is at zero again."""
    # The load does not wait for Node, whose start may take seconds.
    await asyncio.gather(_nodes_share(stage), _crash(stage))
    await _finished(stage)
    stage.view.tell("every queue is empty and every pool at zero: now a delayed job")
    await _reminder(stage)
    await _finished(stage)
    stage.view.tell("every pool is back at zero")


async def _crash(stage: Stage) -> None:
    for jobs in demo_load.rising():
        await asyncio.gather(*(_add(stage, queue, specs) for queue, specs in jobs.items()))
        stage.view.tell(f"added {' and '.join(count(len(specs), name) for name, specs in _named(jobs))}")
        await asyncio.sleep(PART_S)
    if (victim := await _victim(stage)) is not None:
        await _kill(stage, victim)


def _named(jobs: demo_load.Jobs) -> list[tuple[str, Sequence[JobSpec]]]:
    return [(queue.removesuffix("s"), specs) for queue, specs in jobs.items()]


async def _nodes_share(stage: Stage) -> None:
    jobs = demo_load.nodes_share()
    try:
        version = await add_from_node(jobs, MAILS, stage.redis_url, stage.node_folders)
    except NodeMissing as missing:
        await _add(stage, MAILS, jobs)
        stage.node_note = f"Node's BullMQ: not found, all jobs added from Python ({missing})"
        stage.view.tell(stage.node_note)
        return
    _note_added(stage, MAILS, jobs)
    stage.node_note = f"{len(jobs)} of them added by Node's BullMQ {version}"
    stage.view.tell(f"Node's BullMQ {version} added {len(jobs)} jobs to the mails")


async def _add(stage: Stage, queue: str, jobs: Sequence[JobSpec]) -> None:
    await stage.queues[queue].add_bulk(jobs)
    _note_added(stage, queue, jobs)


def _note_added(stage: Stage, queue: str, jobs: Sequence[JobSpec]) -> None:
    stage.added.setdefault(queue, {}).update({str(job.opts.job_id): job.name for job in jobs})


async def _victim(stage: Stage) -> Replica | None:
    """A worker in the middle of long jobs; None when these are over before anybody held enough of them."""
    queue = stage.queues[MAILS]
    while (await queue.get_job_counts()).unfinished:
        held = await holders(stage.lines, queue.keys)
        long = Counter(name for job_id, name in held.items() if stage.added[MAILS].get(job_id) == LONG)
        for name, number in long.most_common(1):
            replica = next((row for row in _mailers(stage) if row.name == name), None)
            if number >= HELD_AT_LEAST and replica is not None:
                return replica
        await asyncio.sleep(0.1)
    return None


async def _kill(stage: Stage, victim: Replica) -> None:
    """SIGKILL, as the kernel does when memory is short. Back when its jobs have been recovered."""
    if victim.pid is None:
        return
    os.kill(victim.pid, signal.SIGKILL)
    await _until(lambda: victim.state is not ReplicaState.READY)
    # Counted when it is dead and not yet started anew: nobody finishes these any more, so the number is exact.
    queue = stage.queues[MAILS]
    held = [job_id for job_id, name in (await holders(stage.lines, queue.keys)).items() if name == victim.name]
    stage.killed_note = f"{victim.name} held {len(held)} when it was killed"
    stage.view.tell(f"killed {victim.name} (SIGKILL) while it held {count(len(held), 'job')}")

    async def are_back() -> bool:
        jobs = await asyncio.gather(*(queue.get_job(job_id) for job_id in held))
        return all(job is None or job.stalled_counter or job.finished_on for job in jobs)

    await _until(are_back)
    stage.view.tell(f"the {count(len(held), 'job')} of {victim.name} have been recovered")


async def _reminder(stage: Stage) -> None:
    """A delayed job, due so late that its pool sleeps a while before it has to start a worker."""
    state = _mail_pool(stage)
    assert state.spec is not None  # `find_files` has good ones
    lead_s = state.pod_start_s + idle_after_s(state.spec, state.pod_start_s)
    job = demo_load.reminder(min(REMINDER_MOST_S, lead_s + ASLEEP_S))
    due_at = time.monotonic() + job.opts.delay_ms / 1000
    await _add(stage, MAILS, [job])
    stage.reminder = job.opts.job_id
    stage.view.tell(f"added a mail that is due in {span(job.opts.delay_ms / 1000)}")
    await _until(lambda: bool(_mailers(stage)))
    early_s = due_at - time.monotonic()
    when = f"{span(abs(early_s))} {'before' if early_s > 0 else 'after'}"
    stage.view.tell(f"{MAILS} left zero {when} that mail is due")
    stage.woken_note = f"from when the delayed job was due to its start; its pool left zero {when} that"


async def _finished(stage: Stage) -> None:
    """Until no job is left to run and every pool is at zero."""

    async def is_so() -> bool:
        counts = await asyncio.gather(*(queue.get_job_counts() for queue in stage.queues.values()))
        return not any(each.unfinished for each in counts) and all(map(_at_zero, stage.run.rows()))

    await _until(is_so)
    stage.view.show(stage.run.rows())


def _at_zero(row: tuple[PoolState, Sequence[Replica]]) -> bool:
    state, replicas = row
    decision = state.report.decision if state.report is not None else None
    return decision is not None and decision.replicas == 0 and not replicas


def _mail_pool(stage: Stage) -> PoolState:
    return next(state for state, _ in stage.run.rows() if state.key.name == MAILS)


def _mailers(stage: Stage) -> Sequence[Replica]:
    return stage.run.processes.replicas(_mail_pool(stage).key)


async def _until(check: Callable[[], Awaitable[bool] | bool]) -> None:
    while True:
        found = check()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.05)
