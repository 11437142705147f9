"""Redis servers that follow one another, and an address that stays while what is behind it changes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from typing import Self

    from servers import RedisServer


async def follow(replica: RedisServer, primary: RedisServer) -> None:
    """Make one server the replica of another, and wait until it has what that has."""
    with primary.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    with replica.client() as client:
        client.replicaof("127.0.0.1", primary.port)
    await caught_up(replica, primary)


async def caught_up(replica: RedisServer, primary: RedisServer) -> None:
    """Wait until a replica has all that its primary has."""
    with replica.client() as behind, primary.client() as ahead:

        def same() -> bool:
            state = behind.info("replication")
            offset = ahead.info("replication")["master_repl_offset"]
            return bool(state["master_link_status"] == "up" and state["slave_repl_offset"] >= offset)

        await eventually(same, 20)


def promote(replica: RedisServer) -> None:
    """Make a replica a primary."""
    with replica.client() as client:
        client.replicaof("NO", "ONE")


class Switch:
    """A port of 127.0.0.1 that leads to a server; also an async context manager. `to` can be changed: new connections
    lead there, old ones stay where they are.
    """

    def __init__(self, to: RedisServer) -> None:
        self.to = to
        self.port = free_port()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to.port)
        for source, sink in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(_carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while some := await source.read(65536):
                sink.write(some)
                await sink.drain()
    finally:
        sink.close()
