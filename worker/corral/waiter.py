"""Waiting for the end of one job: with an event loop, or by looking again and again without one."""

import asyncio
import random
import time
from typing import Any

from corral.connection import Lines, retry_pause_s
from corral.errors import ConfigurationError, JobFailed, JobNotFound, JobTimeout, RedisUnavailable
from corral.events import QueueEvents
from corral.events_gap import order
from corral.events_record import read_event
from corral.events_stream import MOST
from corral.events_watch import AWAY_S, End, ends_in, finish_commands, newest_id, read_end
from corral.keys import Keys


async def wait_until_finished(keys: Keys, job_id: str, events: QueueEvents, timeout_ms: int | None) -> Any:
    """Wait until a job has finished; gives its return value.

    It cannot hang: whoever waits is told by the events, and by a look at the job at once, every few seconds, and after
    each outage or gap. What ended before that first look and has begun anew is not the end. Raises JobFailed, JobNotFound, JobTimeout after `timeout_ms`, and RedisUnavailable when Redis is
    away then, or, without a time limit, when it has been away for half a minute.
    """
    if events.keys != keys:
        raise ConfigurationError(
            f"job {job_id} is in queue {keys.base!r}, but the events are of {events.keys.base!r}; "
            "make a QueueEvents of the job's queue and prefix"
        )
    limit = None if timeout_ms is None else asyncio.get_running_loop().time() + timeout_ms / 1000
    await _started(events, limit)
    watch = events.watch()
    waiter = watch.expect(job_id, limited=limit is not None)
    try:
        async with asyncio.timeout_at(limit):
            end = await waiter.end
    except TimeoutError:
        if watch.trouble is not None:
            raise watch.trouble from None
        raise _too_late(job_id, keys, timeout_ms) from None
    finally:
        watch.forget(job_id, waiter)
    return value_of(end, job_id, keys.queue)


async def _started(events: QueueEvents, limit: float | None) -> None:
    away = asyncio.get_running_loop().time() + AWAY_S
    try:
        async with asyncio.timeout_at(away if limit is None else limit):
            await events.start()
    except TimeoutError:
        raise events.trouble or RedisUnavailable(f"the events of queue {events.name!r} did not start in time") from None


def _too_late(job_id: str, keys: Keys, timeout_ms: int | None) -> JobTimeout:
    return JobTimeout(f"job {job_id} of queue {keys.queue!r} has not finished within {(timeout_ms or 0) / 1000:g} s")


async def look_until_finished(lines: Lines, keys: Keys, job_id: str, timeout_ms: int | None) -> Any:
    """The same over blocking lines: waits in the thread, and holds a connection only while it looks. Raises the same."""
    began = time.monotonic()
    over = None if timeout_ms is None else began + timeout_ms / 1000
    last, gone_at, pause, failures, away = "", "", 0.01, 0, began
    while True:
        try:
            last = last or await _newest(lines, keys)
            *replies, news = await lines.call_many(
                [*finish_commands(keys, job_id), ("XREAD", "COUNT", MOST, "STREAMS", keys.events, last)]
            )
            end = read_end(replies)
            is_gone = end is not None and end.kind == "gone"
            gone_at = (gone_at or await _newest(lines, keys)) if is_gone else ""
        except RedisUnavailable:
            failures, away = failures + 1, away if failures else time.monotonic()
            if time.monotonic() >= (away + AWAY_S if over is None else over):
                raise
            time.sleep(retry_pause_s(failures, random.random()))  # noqa: ASYNC251  (there is no loop)
            continue
        failures = 0
        entries = news[0][1] if news else []
        last, behind = entries[-1][0].decode() if entries else last, len(entries) == MOST
        # The event of a job that retention removed as it completed has the value that a look finds no more.
        if end is None or end.kind == "gone":
            end = ends_in([read_event(*entry) for entry in entries], job_id) or end
        if end is not None and (end.kind != "gone" or not behind or order(last) >= order(gone_at)):
            return value_of(end, job_id, keys.queue)
        if over is not None and time.monotonic() >= over:
            raise _too_late(job_id, keys, timeout_ms)
        if not behind:
            left = pause if over is None else min(pause, max(0.0, over - time.monotonic()))
            time.sleep(left)  # noqa: ASYNC251
            pause = min(0.25, pause * 1.5)


async def _newest(lines: Lines, keys: Keys) -> str:
    newest = await lines.call("XREVRANGE", keys.events, "+", "-", "COUNT", 1)
    return newest_id(newest)


def value_of(end: End, job_id: str, queue: str) -> Any:
    """The value of a completed job. Raises JobFailed, JobNotFound, RedisUnavailable."""
    match end.kind:
        case "completed":
            return end.value
        case "failed":
            raise JobFailed(f"job {job_id} of queue {queue!r} failed: {end.value}", end.value)
        case "gone":
            raise JobNotFound(
                f"job {job_id} of queue {queue!r} does not exist (any more): it was removed, or retention removed it "
                "when it had finished"
            )
        case "lost":
            raise end.value
