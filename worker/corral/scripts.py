"""One typed function per transition of a job that runs, and of its queue. See `script.py` for how they are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from corral.keys import Keys
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry, Step
from corral.payload import to_json
from corral.rate_limit import RateLimit
from corral.retention import Keep
from corral.script import Caller, pairs, run, to_text
from corral.state import State

OF_WORKERS = ("settle_jobs", "take_jobs", "reclaim_jobs", "renew_locks", "recover_stalled", "recover_silent")
"""What every worker runs, and sends to Redis at its start. Others are sent when they are needed."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One step of one active job, with the token of its lock."""

    job_id: str
    token: str
    step: Step


@dataclass(frozen=True, slots=True)
class Taking:
    """What a worker asks for: up to `want` jobs, locked with `token` for `lock_ms`."""

    want: int
    token: str
    lock_ms: int
    worker: str
    limit: RateLimit | None = None
    """The worker's own rate limit."""
    points: int = 0
    """Minutes kept of the queue's metrics; 0 = write none."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer of `settle_jobs` and `take_jobs`.

    codes: one a settlement, 0 = done (see CODES); jobs: id and hash of each job taken;
    unreadable: ids that were queued without a job; limited_ms: > 0 while a rate limit holds;
    next_due_ms: epoch ms of the next delayed job, 0 = none, or not looked for because enough came;
    troubles: sentences on what broke a step, or went wrong with the parent of a job that has ended.
    """

    codes: list[int]
    jobs: list[tuple[str, dict[bytes, bytes]]]
    unreadable: list[str]
    limited_ms: int
    next_due_ms: int
    troubles: list[str]


OPEN_CHILDREN, FAILED_CHILDREN, NO_LOCK = -4, -9, -2

CODES = {
    -1: "its hash is gone",
    NO_LOCK: "its lock ran out, and it is not in this worker's hands any more",
    -3: "it is not active any more",
    -6: "another worker holds its lock",
    OPEN_CHILDREN: "it has open children",
    FAILED_CHILDREN: "it has failed children",
    -99: "its keys are damaged; it will be recovered",
}
"""Why a settlement changed nothing."""


async def settle_jobs(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, settlements: Sequence[Settlement], taking: Taking
) -> Settled:
    """Write how jobs ended and take the next ones, in one step."""
    most, within = (taking.limit.max, taking.limit.duration_ms) if taking.limit else ("", "")
    args: list[Any] = [now_ms, dialect, taking.want, taking.token, taking.lock_ms, taking.worker, most, within]
    if not settlements:
        return _settled(await run(caller, "take_jobs", keys, *args))
    args.append(taking.points)
    for one in settlements:
        args += _step_args(one)
    return _settled(await run(caller, "settle_jobs", keys, *args))


def _step_args(one: Settlement) -> tuple[Any, ...]:
    step = one.step
    match step:
        case Complete():
            return ("complete", one.job_id, one.token, step.value, "", "", keep_arg(step.keep))
        case Fail():
            stack = to_json(step.stacktrace, "stack")
            return ("fail", one.job_id, one.token, step.reason, stack, int(step.exhausted), keep_arg(step.keep))
        case Retry():
            stack = to_json(step.stacktrace, "stack")
            return ("retry", one.job_id, one.token, step.reason, stack, int(step.lifo), "")
        case Delay():
            stack = to_json(step.stacktrace, "stack")
            return ("delay", one.job_id, one.token, step.reason, stack, step.delay_ms, "")
        case HandBack():
            return ("hand_back", one.job_id, one.token, "", "", "", "")


@lru_cache(1024)
def keep_arg(keep: Keep) -> str:
    """Retention as the scripts read it: `count:age:limit`, empty parts = no bound, '' = keep all."""
    if keep.count is None and keep.age_s is None:
        return ""
    return ":".join("" if part is None else str(part) for part in (keep.count, keep.age_s, keep.limit))


def _settled(reply: Any) -> Settled:
    codes, jobs, unreadable, limited_ms, next_due_ms, troubles = reply
    return Settled(
        codes,
        _jobs(jobs),
        [to_text(id) for id in unreadable],
        limited_ms,
        next_due_ms,
        [to_text(trouble) for trouble in troubles],
    )


def _jobs(reply: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    return [(to_text(id), pairs(flat)) for id, flat in reply]


async def reclaim_jobs(caller: Caller, keys: Keys, token: str, lock_ms: int) -> list[tuple[str, dict[bytes, bytes]]]:
    """The jobs that a call with `token` took, when its answer was lost on the way; their locks last anew."""
    return _jobs(await run(caller, "reclaim_jobs", keys, token, lock_ms))


class Held(NamedTuple):
    """A lock that a worker holds. `starts`: how often its job has been started, that run included."""

    job_id: str
    token: str
    starts: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """The locks that are lost, and those that had run out and are held anew. All others last longer."""

    lost: list[Held]
    anew: list[Held]


async def renew_locks(caller: Caller, keys: Keys, lock_ms: int, held: Sequence[Held]) -> Renewed:
    """Hold locks for another `lock_ms`, and set anew those that are missing while nobody has taken their jobs."""
    args = [part for one in held for part in one]
    lost, anew = await run(caller, "renew_locks", keys, lock_ms, *args)
    return Renewed([held[place - 1] for place in sorted(lost)], [held[place - 1] for place in anew])


async def recover_stalled(
    caller: Caller,
    keys: Keys,
    dialect: str,
    now_ms: int,
    interval_ms: int,
    max_stalled: int,
    *,
    asked_ms: int | None = None,
) -> list[str]:
    """Put back jobs whose worker died; gives their ids. Does nothing within `interval_ms` of anyone's last look.

    `asked_ms`: Redis' time (`redis_ms`) just before; a look that comes long after it does nothing.
    """
    asked = "" if asked_ms is None else asked_ms
    reply = await run(caller, "recover_stalled", keys, now_ms, dialect, interval_ms, max_stalled, asked)
    return [to_text(id) for id in reply]


async def recover_silent(
    caller: Caller, keys: Keys, dialect: str, worker_id: str, max_stalled: int, *, asked_ms: int | None = None
) -> tuple[list[str], int]:
    """Put back jobs of Corral's workers that have fallen silent; gives their ids, and in how many ms to look again.

    One look for each queue and 4 s, whoever makes it. `asked_ms`: as for `recover_stalled`.
    """
    asked = "" if asked_ms is None else asked_ms
    ids, next_ms = await run(caller, "recover_silent", keys, worker_id, dialect, max_stalled, asked)
    return [to_text(id) for id in ids], next_ms


async def redis_ms(caller: Caller) -> int:
    """Redis' own time, epoch ms."""
    seconds, microseconds = await caller.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


async def update_progress(caller: Caller, keys: Keys, job_id: str, progress: str) -> bool:
    """Store progress (JSON). False: the job is gone."""
    return bool(await run(caller, "update_progress", keys, job_id, progress) == 0)


async def add_log(caller: Caller, keys: Keys, job_id: str, row: str, kept: int | None) -> int:
    """Add a log row; gives the number of rows kept, or -1: the job is gone."""
    return int(await run(caller, "add_log", keys, job_id, row, "" if kept is None else kept))


async def pause_queue(caller: Caller, keys: Keys, dialect: str) -> bool:
    """Stop takes. False: was paused already."""
    return bool(await run(caller, "pause_queue", keys, dialect))


async def resume_queue(caller: Caller, keys: Keys) -> bool:
    """Allow takes. False: was not paused."""
    return bool(await run(caller, "resume_queue", keys))


async def job_state(caller: Caller, keys: Keys, job_id: str) -> State:
    """Where a job is."""
    return State(to_text(await run(caller, "job_state", keys, job_id)))


async def get_logs(caller: Caller, keys: Keys, job_id: str) -> list[str]:
    """The log rows of a job, oldest first."""
    rows: Sequence[bytes] = await caller.call("LRANGE", keys.logs(job_id), 0, -1)
    return [row.decode(errors="replace") for row in rows]
