"""Every key of every queue under a prefix, read at once and sorted by what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from corral.keys import KEY_NAMES

if TYPE_CHECKING:
    import redis.asyncio

_READ = """
local rows = {}
local reads = {
  string = function(key) return redis.call('GET', key) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key) return '' end,
}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind = redis.call('TYPE', key).ok
  rows[#rows + 1] = {key, kind, redis.call('PTTL', key), reads[kind](key)}
end
return rows
"""

LISTS = ("wait", "paused", "active")
FINISHED = ("completed", "failed")
SETS = ("prioritized", "delayed", "waiting-children", *FINISHED)
STATES = (*LISTS, *SETS)

KINDS = (
    dict.fromkeys(LISTS, "list")
    | dict.fromkeys((*SETS, "marker", "repeat"), "zset")
    | dict.fromkeys(("id", "pc", "stalled-check", "limiter"), "string")
    | {"meta": "hash", "stalled": "set", "events": "stream"}
    | dict.fromkeys(("metrics:completed", "metrics:failed"), "hash")
    | {"corral:beats": "zset", "corral:workers": "hash", "corral:orders": "hash", "corral:look": "string"}
    | dict.fromkeys(("metrics:completed:data", "metrics:failed:data"), "list")
)
PART_KINDS = {
    "lock": "string",
    "logs": "list",
    "dependencies": "set",
    "processed": "hash",
    "failed": "hash",
    "unsuccessful": "zset",
}
ALWAYS = frozenset({"name", "data", "opts", "timestamp", "delay", "priority"})
"""The fields that every job has."""
assert KINDS.keys() >= KEY_NAMES


@dataclass
class Found:
    """One key: its type, its value (dict for hash and zset), milliseconds left (-1 = for ever)."""

    kind: str
    left_ms: int
    value: Any


@dataclass
class QueueSpace:
    """One queue, its keys sorted by what they are."""

    name: str
    base: str
    own: dict[str, Found] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: dict[tuple[str, str], Found] = field(default_factory=dict)
    """Job id and suffix -> what hangs on that job."""
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    owners: dict[str, Found] = field(default_factory=dict)
    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def held(self, state: str) -> Any:
        """The list, set or dict under one of the queue's own keys; empty when there is none or it is damaged."""
        found = self.own.get(state)
        kind = KINDS[state]
        if found is None or found.kind != kind:
            return {} if kind in ("zset", "hash") else []
        return found.value

    @cached_property
    def places(self) -> dict[str, list[str]]:
        """Every id that lies in a state, and in which; a state comes as often as it holds the id."""
        places: dict[str, list[str]] = {}
        for state in STATES:
            for job_id in self.held(state):
                places.setdefault(job_id, []).append(state)
        return places

    def states(self, job_id: str) -> list[str]:
        """The places where a job is."""
        return self.places.get(job_id, [])

    def is_finished(self, job_id: str) -> bool:
        """Whether a job has come to its end and is still there."""
        return bool(set(self.states(job_id)) & set(FINISHED))


async def read_space(client: redis.asyncio.Redis, prefix: str) -> dict[str, QueueSpace]:
    """Every queue under a prefix, in one step, so that nothing moves meanwhile; by its base (`prefix:queue:`)."""
    pattern = "".join(f"\\{sign}" if sign in "*?[]\\^-" else sign for sign in prefix) + ":*"
    # Any: redis-py's types mix its blocking and its async answers.
    untyped: Any = client
    rows = await untyped.execute_command("EVAL", _READ, 0, pattern)
    return sorted_out({_text(key): _found(*rest) for key, *rest in rows}, prefix)


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw


def _found(kind: bytes | str, left_ms: int, raw: Any) -> Found:
    kind = _text(kind)
    if kind in ("hash", "zset"):
        texts = [_text(each) for each in raw]
        pairs = dict(zip(texts[::2], texts[1::2], strict=True))
        scores = {member: float(score) for member, score in pairs.items()} if kind == "zset" else {}
        return Found(kind, left_ms, scores or pairs)
    if kind in ("list", "set"):
        return Found(kind, left_ms, [_text(each) for each in raw])
    return Found(kind, left_ms, _text(raw))


def sorted_out(keys: dict[str, Found], prefix: str) -> dict[str, QueueSpace]:
    """The queues of a keyspace, by their base (`prefix:queue:`)."""
    space: dict[str, QueueSpace] = {}
    schedulers = {key: set(found.value) for key, found in keys.items() if key.endswith(":repeat")}
    for key, found in sorted(keys.items()):
        name, colon, rest = key.removeprefix(f"{prefix}:").partition(":")
        base = f"{prefix}:{name}:"
        queue = space.setdefault(base, QueueSpace(name, base))
        if not colon or not rest:
            queue.unknown.append(key)
        else:
            _sort(queue, rest, found, schedulers.get(f"{base}repeat", set()))
    return space


def _sort(queue: QueueSpace, rest: str, found: Found, schedulers: set[str]) -> None:
    owner, _, suffix = rest.rpartition(":")
    first, _, tail = rest.partition(":")
    if rest in KINDS:
        queue.own[rest] = found
    elif first == "repeat" and tail in schedulers and found.kind == "hash":
        queue.records[tail] = found.value
    elif found.kind == "hash" and len(ALWAYS & found.value.keys()) > 3:  # a scheduler's record has three of them
        queue.jobs[rest] = found.value
    elif first == "de" and found.kind == "string" and suffix != "lock":
        queue.owners[tail] = found
    elif first == "dn" and found.kind == "hash":
        queue.kept[tail] = found.value
    elif owner and suffix in PART_KINDS:
        queue.parts[owner, suffix] = found
    else:
        queue.unknown.append(queue.base + rest)
