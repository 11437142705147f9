"""A queue laid out key by key, one call on it, and what the call changed: everything, or the test fails.

Keys are written without `bull:q:` where they belong to the queue `q`; all others (a parent's queue, say) in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from corral import add_scripts, scripts
from corral.job_spec import NewJob
from corral.keys import Keys
from corral.scripts import Settled, Settlement, Taking
from keyspace import dump, ttls

if TYPE_CHECKING:
    from collections.abc import Mapping

    import redis.asyncio

    from corral.connection import Lines
    from corral.lifecycle import Step
    from corral.rate_limit import RateLimit

NOW = 1_800_000_000_000
"""The clock of these tests: epoch ms."""

LOCK_MS = 36_000_000
"""Hours: no lock runs out while a test looks at it."""

BEATS_ON = 1 << 52
"""When a worker was heard of that never falls silent: beats go by Redis' own clock, which no test sets."""

BASE = "bull:q:"


@dataclass(frozen=True)
class Px:
    """A string that runs out. How soon is not compared; see `Stage.left_ms`."""

    value: str
    ms: int = field(default=LOCK_MS, compare=False)


def job(**fields: str | int) -> dict[str, str]:
    """A job's hash as an add writes it, with other `fields`."""
    plain = {"name": "n", "data": "{}", "opts": "{}", "timestamp": NOW - 1000, "delay": 0, "priority": 0}
    return {name: str(value) for name, value in (plain | fields).items()}


def new_job(job_id: str = "", **fields: Any) -> NewJob:
    """What `Queue.add` hands to the script, with other `fields`."""
    plain: dict[str, Any] = {
        "name": "n",
        "data": "{}",
        "opts": "{}",
        "timestamp_ms": NOW,
        "delay_ms": 0,
        "priority": 0,
        "lifo": False,
    }
    return NewJob(job_id, **(plain | fields))


def active(*ids: str, token: str = "t:1", **fields: str | int) -> dict[str, Any]:
    """The keys of jobs in the hands of a worker, the last id taken first."""
    keys: dict[str, Any] = {"active": list(ids)}
    for id in ids:
        keys[id] = job(processedOn=NOW - 500, ats=1, **fields)
        keys[f"{id}:lock"] = Px(token)
    return keys


def released(*ids: str, left: list[str] | None = None) -> dict[str, Any]:
    """What changes when these jobs leave `active`; `left` = who is still there."""
    return {"active": left, **{f"{id}:lock": None for id in ids}}


def ids_of(settled: Settled) -> list[str]:
    return [id for id, _ in settled.jobs]


class Stage:
    """The queue `q` on an empty server."""

    def __init__(self, client: redis.asyncio.Redis, caller: Lines) -> None:
        # Any: redis-py's types mix its blocking and its async answers.
        self.client: Any = client
        self.caller = caller
        self.keys = Keys("q")
        self._seen: dict[str, Any] = {}

    async def lay(self, *parts: Mapping[str, Any]) -> None:
        """Write keys: str, Px, dict of str -> hash, dict of numbers -> zset, list, set. Later changes count from here."""
        for part in parts:
            for name, value in part.items():
                await self._write(_full(name), value)
        self._seen = await self._dump()

    async def changed(self) -> dict[str, Any]:
        """What changed since the last look: new values, only the fields for a hash, None for what is gone.

        `events` are the new ones, as text: `waiting jobId=1 prev=active`.
        """
        before, self._seen = self._seen, await self._dump()
        return _changes(before, self._seen)

    async def left_ms(self, name: str) -> int:
        """How long a key has to live."""
        return (await ttls(self.client, _full(name)))[_full(name)]

    async def add(self, *jobs: NewJob, now: int = NOW, dialect: str = "") -> list[str]:
        ids = await add_scripts.add_jobs(self.caller, self.keys, dialect, now, jobs)
        assert not isinstance(ids, add_scripts.Refused), ids
        return ids

    async def take(
        self,
        want: int = 10,
        *,
        now: int = NOW,
        token: str = "t:1",
        worker: str = "",
        dialect: str = "",
        limit: RateLimit | None = None,
    ) -> Settled:
        return await self.settle(now=now, want=want, token=token, worker=worker, dialect=dialect, limit=limit)

    async def settle(
        self,
        *steps: tuple[str, Step],
        held: str = "t:1",
        now: int = NOW,
        want: int = 0,
        token: str = "t:2",
        worker: str = "",
        dialect: str = "",
        limit: RateLimit | None = None,
        points: int = 0,
    ) -> Settled:
        """Settle (id, step) pairs whose locks have the token `held`, and take up to `want`, locked with `token`."""
        settlements = [Settlement(id, held, step) for id, step in steps]
        taking = Taking(want, token, LOCK_MS, worker, limit, points)
        return await scripts.settle_jobs(self.caller, self.keys, dialect, now, settlements, taking)

    async def _write(self, key: str, value: Any) -> None:
        match value:
            case str():
                await self.client.set(key, value)
            case Px():
                await self.client.set(key, value.value, px=value.ms)
            case list():
                await self.client.rpush(key, *value)
            case set():
                await self.client.sadd(key, *value)
            case dict() if all(isinstance(each, int | float) for each in value.values()):
                await self.client.zadd(key, value)
            case dict():
                await self.client.hset(key, mapping=value)
            case _:
                raise TypeError(f"no key holds a {type(value).__name__}")

    async def _dump(self) -> dict[str, Any]:
        expiring = await ttls(self.client)
        keys = await dump(self.client)
        return {name.removeprefix(BASE): Px(str(value)) if name in expiring else value for name, value in keys.items()}


def _full(name: str) -> str:
    return name if name.startswith("bull:") else BASE + name


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name.endswith("events"):
            known = len(old or [])
            same = (new or [])[:known] == (old or [])
            changes[name] = [_event(entry) for entry in (new or [])[known if same else 0 :]]
        elif isinstance(old, dict) and isinstance(new, dict) and _is_hash(old) and _is_hash(new):
            changes[name] = {part: new.get(part) for part in old.keys() | new.keys() if old.get(part) != new.get(part)}
        else:
            changes[name] = new
    return changes


def _is_hash(value: dict[str, Any]) -> bool:
    return all(isinstance(each, str) for each in value.values())


def _event(entry: dict[str, str]) -> str:
    return " ".join([entry["event"], *(f"{name}={value}" for name, value in entry.items() if name != "event")])
