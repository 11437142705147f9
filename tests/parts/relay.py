"""A relay in front of a server, in the test's own loop: cuts its connections, lets nobody through, or falls silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class Relay:
    """Listens on a port of its own and passes everything on to `port`."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        """What is passed on takes so long, each way."""
        self.open = True
        """Whether new connections are passed on; else they are closed at once."""
        self.passed = 0
        """Connections that were passed on."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def freeze(self) -> None:
        """The connections of now stay open and pass nothing any more, as half-open ones do; new ones work."""
        self._frozen |= self._writers

    def cut(self) -> None:
        """Break all connections, as a network does: with a reset."""
        for writer in self._writers:
            writer.transport.abort()

    def shut(self) -> None:
        """Break all connections and let no new one through until `open` is set again."""
        self.open = False
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        self.passed += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, back}
        for pump in (self._pump(reader, back), self._pump(there, writer)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                if writer not in self._frozen:
                    writer.write(data)
                    await writer.drain()
            if writer in self._frozen:
                return  # not even its end is told
        writer.close()
        self._writers.discard(writer)
        self._frozen.discard(writer)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)
