"""Two queues that should look alike: one that Corral worked on, one that Node did."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from keyspace import dump, ttls

if TYPE_CHECKING:
    from collections.abc import Collection

    import redis.asyncio

# A time of day in ms, alone or in a text; 1.6e12 is 2020, 2.2e12 is 2039.
_TIME = re.compile(r"(?<!\d)(1[6-9]|2[01])\d{11}(?!\d)")
_JSON_FIELDS = ("data", "opts", "parent", "progress", "returnvalue")


async def portrait(client: redis.asyncio.Redis, queue: str, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The keys of one queue without what differs from run to run: times are `T`, expiring keys `expires`, JSON is read.

    leave_out: fields of hashes and keys (without the queue's base) that are not compared.
    """
    base = f"bull:{queue}:"
    expiring = await ttls(client, f"{base}*")
    picture: dict[str, Any] = {}
    for key, value in (await dump(client, f"{base}*")).items():
        name = key.removeprefix(base)
        if name in leave_out or name in ("stalled-check", "metrics:completed", "metrics:failed"):
            continue
        picture[_timeless(name)] = "expires" if key in expiring else _plain(name, value, queue, leave_out)
    return picture


def _plain(name: str, value: Any, queue: str, leave_out: Collection[str]) -> Any:
    if name == "marker":
        return sorted(value)
    if name == "meta":
        return {field: each for field, each in value.items() if field != "version"}
    if isinstance(value, dict):
        kept = {field: each for field, each in value.items() if field not in leave_out}
        return {_alike(field, queue): _field(field, each, queue) for field, each in kept.items()}
    if isinstance(value, list):
        return [_plain("", each, queue, leave_out) if isinstance(each, dict) else _alike(each, queue) for each in value]
    if isinstance(value, set):
        return {_alike(each, queue) for each in value}
    return _alike(value, queue)


def _field(field: str, value: Any, queue: str) -> Any:
    if isinstance(value, float):
        return "T" if value > 1e12 else value
    if field in _JSON_FIELDS:
        return json.loads(_alike(value, queue))
    if field == "stacktrace":
        return len(json.loads(value))
    return _alike(value, queue)


def _alike(text: Any, queue: str) -> Any:
    return _timeless(text).replace(f"bull:{queue}", "bull:Q") if isinstance(text, str) else text


def _timeless(text: str) -> str:
    return _TIME.sub("T", text) if isinstance(text, str) else text
