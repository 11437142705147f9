"""One queue `q`, laid out key by key, and one deed on it: asked of our Queue, or of Node's, to compare what each leaves."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from corral.address import make_pool
from corral.connection import Lines
from jobs import Stage
from keyspace import dump, ttls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from corral import Queue
    from node_driver import NodeDriver

_METAS = ("bull:up:meta", "bull:down:meta")
"""Of parents' and children's queues: Node's scripts write there how long an events stream may be."""


def of_job(job_id: str, method: str, *args: Any, **named: Any) -> Callable[[Queue], Awaitable[Any]]:
    async def ask(queue: Queue) -> None:
        found = await queue.get_job(job_id)
        assert found is not None
        await getattr(found, method)(*args, **named)

    return ask


def of_queue(method: str, *args: Any, **named: Any) -> Callable[[Queue], Awaitable[Any]]:
    return lambda queue: getattr(queue, method)(*args, **named)


@asynccontextmanager
async def stage_on(client: Any, url: str) -> AsyncIterator[Stage]:
    async with Lines(make_pool(url)) as lines:
        yield Stage(client, lines)


async def found(client: Any, aside: tuple[str, ...]) -> dict[str, Any]:
    """All keys, without what a Node Queue tells of itself; the present time, wherever it is stored, is `now`."""
    keys: dict[str, Any] = await dump(client)
    meta = keys.pop("bull:q:meta", {})
    if rest := {name: value for name, value in meta.items() if name not in ("version", "opts.maxLenEvents")}:
        keys["bull:q:meta"] = rest
    told = {name: _timeless(value) for name, value in keys.items() if name not in (*aside, *_METAS)}
    return {**told, "what runs out": sorted(await ttls(client))}


def _timeless(value: Any) -> Any:
    match value:
        case dict():
            return {name: _timeless(each) for name, each in value.items()}
        case list():
            return [_timeless(each) for each in value]
        case str() if value.isdigit():
            return _timeless(float(value))
        case int() | float():
            ms = value / 4096 if value > 2**50 else value
            return "now" if abs(ms - time.time() * 1000) < 100_000 else value
    return value


async def ask_node(node: NodeDriver, kind: str, *call: Any) -> None:
    if kind == "queue":
        await node.queue("q", call[0], *call[1:])
    else:
        await node.call("job", queue="q", id=call[0], method=call[1], args=call[2:])
