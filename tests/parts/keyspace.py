"""Read a whole keyspace into plain Python values, to compare before with after.

Values are text where they are UTF-8, bytes where they are not. What runs out is kept apart (`ttls`), because a
remaining time differs from one look to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis.asyncio

Text = str | bytes
Value = Text | dict[Text, Any] | list[Any] | set[Text]


def text(raw: bytes | str) -> Text:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


async def dump(client: redis.asyncio.Redis, match: str = "*") -> dict[str, Value]:
    """Every key with its value: string, hash -> dict, list, set, zset -> dict member -> score, stream -> list of dicts.

    A stream's entries are their fields, without the ids, which are times.
    """
    keys = sorted({raw async for raw in client.scan_iter(match=match, count=1000)})
    return {str(text(key)): value for key in keys if (value := await _value(client, key)) is not None}


async def ttls(client: redis.asyncio.Redis, match: str = "*") -> dict[str, int]:
    """Milliseconds left of every key that runs out."""
    keys = sorted({raw async for raw in client.scan_iter(match=match, count=1000)})
    return {str(text(key)): left for key in keys if (left := int(await client.pttl(key))) >= 0}


async def _value(client: Any, key: bytes) -> Value | None:
    # The client is Any: redis-py's types mix its blocking and its async answers.
    kind = text(await client.type(key))
    if kind == "none":  # it ran out since the scan
        return None
    if kind == "string":
        return text(await client.get(key))
    if kind == "hash":
        return _fields(await client.hgetall(key))
    if kind == "list":
        return [text(item) for item in await client.lrange(key, 0, -1)]
    if kind == "set":
        return {text(item) for item in await client.smembers(key)}
    if kind == "zset":
        return {text(member): score for member, score in await client.zrange(key, 0, -1, withscores=True)}
    if kind == "stream":
        return [_fields(fields) for _, fields in await client.xrange(key)]
    raise TypeError(f"key {key!r} has a type that BullMQ never writes: {kind!r}")


def _fields(raw: dict[bytes, bytes]) -> dict[Text, Any]:
    return {text(name): text(value) for name, value in raw.items()}
