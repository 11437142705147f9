"""One typed function per transition. The only room that loads Lua.

A script names what it includes by comment lines `-- include: NAME`; each paragraph of `lua/includes` lands in a script
once. Redis keeps scripts by their SHA-1; after its restart the text is sent again.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Protocol

from corral.errors import RedisRefused
from corral.job import to_json
from corral.keys import Keys
from corral.lifecycle import Complete, Delay, Fail, HandBack, Retry, State, Step
from corral.retention import Keep
from corral.version import __version__

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


class Caller(Protocol):
    """Whoever carries a command to Redis: a Line or Lines."""

    async def call(self, *command: Any, timeout: float = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """Read `lua/NAME.lua` with everything it includes."""
    lua = files("corral") / "lua"
    included: list[str] = []
    paragraphs: list[str] = []

    def include(source: str) -> None:
        for part in _INCLUDE.findall(source):
            if part not in included:
                included.append(part)
                text = (lua / "includes" / f"{part}.lua").read_text("utf-8")
                include(text)
                paragraphs.append(text)

    source = (lua / f"{name}.lua").read_text("utf-8")
    include(source)
    text = "\n".join([*paragraphs, source])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


async def load_all(caller: Caller) -> None:
    """Send every script to Redis, which compiles them. Raises RedisUnavailable; RedisRefused without permission."""
    for path in (files("corral") / "lua").iterdir():
        if path.name.endswith(".lua"):
            await caller.call("SCRIPT", "LOAD", load(path.name.removesuffix(".lua")).text)


async def _run(caller: Caller, name: str, keys: Keys, *args: Any) -> Any:
    script = load(name)
    try:
        return await caller.call("EVALSHA", script.sha, 1, keys.base, *args)
    except RedisRefused as error:
        if error.code != "NOSCRIPT":
            raise
    return await caller.call("EVAL", script.text, 1, keys.base, *args)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as `add_jobs` writes it; `job_id` empty = the queue's counter gives one."""

    job_id: str
    name: str
    data: str
    opts: str
    timestamp_ms: int
    delay_ms: int
    priority: int
    lifo: bool


async def add_jobs(caller: Caller, keys: Keys, dialect: str, jobs: Sequence[NewJob]) -> list[str]:
    """Add jobs, all or none; gives their ids in order."""
    args: list[Any] = []
    for job in jobs:
        args += (job.job_id, job.name, job.data, job.opts, job.timestamp_ms, job.delay_ms, job.priority, int(job.lifo))
    return [_text(id) for id in await _run(caller, "add_jobs", keys, dialect, f"corral:{__version__}", *args)]


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


OPEN_CHILDREN, FAILED_CHILDREN = -4, -9

CODES = {
    -1: "its hash is gone",
    -2: "its lock ran out",
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
    args: list[Any] = [now_ms, dialect, taking.want, taking.token, taking.lock_ms, taking.worker]
    if not settlements:
        return _settled(await _run(caller, "take_jobs", keys, *args))
    for one in settlements:
        args += _step_args(one)
    return _settled(await _run(caller, "settle_jobs", keys, *args))


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
        [_text(id) for id in unreadable],
        limited_ms,
        next_due_ms,
        [_text(trouble) for trouble in troubles],
    )


def _jobs(reply: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    return [(_text(id), dict(zip(flat[::2], flat[1::2], strict=True))) for id, flat in reply]


async def reclaim_jobs(caller: Caller, keys: Keys, token: str, lock_ms: int) -> list[tuple[str, dict[bytes, bytes]]]:
    """The jobs that a call with `token` took, when its answer was lost on the way; their locks last anew."""
    return _jobs(await _run(caller, "reclaim_jobs", keys, token, lock_ms))


async def renew_locks(
    caller: Caller, keys: Keys, lock_ms: int, held: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Hold locks, given as (job id, token), for another `lock_ms`; gives those that are lost."""
    args = [part for pair in held for part in pair]
    places: list[int] = await _run(caller, "renew_locks", keys, lock_ms, *args)
    return [held[place - 1] for place in places]


async def recover_stalled(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, interval_ms: int, max_stalled: int
) -> list[str]:
    """Put back jobs whose worker died; gives their ids. Does nothing within `interval_ms` of anyone's last look."""
    reply = await _run(caller, "recover_stalled", keys, now_ms, dialect, interval_ms, max_stalled)
    return [_text(id) for id in reply]


async def update_progress(caller: Caller, keys: Keys, job_id: str, progress: str) -> bool:
    """Store progress (JSON). False: the job is gone."""
    return bool(await _run(caller, "update_progress", keys, job_id, progress) == 0)


async def add_log(caller: Caller, keys: Keys, job_id: str, row: str, kept: int | None) -> int:
    """Add a log row; gives the number of rows kept, or -1: the job is gone."""
    return int(await _run(caller, "add_log", keys, job_id, row, "" if kept is None else kept))


async def pause_queue(caller: Caller, keys: Keys, dialect: str) -> bool:
    """Stop takes. False: was paused already."""
    return bool(await _run(caller, "pause_queue", keys, dialect))


async def resume_queue(caller: Caller, keys: Keys) -> bool:
    """Allow takes. False: was not paused."""
    return bool(await _run(caller, "resume_queue", keys))


async def job_state(caller: Caller, keys: Keys, job_id: str) -> State:
    """Where a job is."""
    return State(_text(await _run(caller, "job_state", keys, job_id)))


def _text(value: bytes) -> str:
    # An id that is not UTF-8 cannot be sent back as it was; made readable, it is at least told.
    return value.decode(errors="backslashreplace")
