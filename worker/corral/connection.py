"""The door to Redis: connections that tell whether a broken call may have been carried out.

redis-py supplies the connections (URL, TLS, ACL, hiredis); its client with retries of its own does not serve here,
because a script that moves jobs must never be sent twice behind our back.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from corral.errors import RedisUnavailable
from corral.failures import Redirected, refused, unavailable
from corral.greeting import greet
from corral.redis_pool import Pool
from corral.routing import routed
from corral.sentinels import ASK_S
from corral.tls_probe import explained, is_doubtful
from corral.url import Node

CALL_TIMEOUT = 10.0
"""Seconds that one call may take before its connection counts as broken."""
CONNECT_S = 1.0
"""Seconds that even a short call may spend on connecting."""


def retry_pause_s(failures: int, draw: float) -> float:
    """Seconds before Redis is asked again: from 0.1 s on, doubled with each failure, at most 5 s; a `draw` from [0, 1)
    spreads it over the upper half, so that the workers of a fleet do not come back at once."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 6)) * (0.5 + draw / 2)


class Line:
    """One connection, for one call at a time; in a Cluster, one to each node that has a key it was called for.

    Connects at the first call, and anew after a break: behind Sentinel to the primary of that moment.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connections: dict[Node | None, AbstractConnection] = {}

    @property
    def cluster(self) -> bool:
        """Whether Redis is known to be a Cluster; before the first call it is not."""
        return self._pool.cluster.found

    async def call(self, *command: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """Send a command and give Redis' reply, as bytes, numbers and lists.

        Raises RedisUnavailable (with `maybe_done`) or RedisRefused. Cancelled in the middle, it drops the connection.
        """
        connection = await self._entered(timeout)
        if connection is not None:
            try:
                return await self._exchange(connection, [pack_command(command)], 1, timeout)
            except Redirected:
                pass  # a Cluster that did not say so when it was greeted
        (reply,) = await self._routed([command], timeout)
        if isinstance(reply, RedisUnavailable):
            raise reply
        return reply

    async def call_many(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """Send commands in one round trip and give their replies. Raises as `call`, with the first error.

        In a Cluster it is a round trip to each node.
        """
        connection = await self._entered(timeout)
        if connection is None:
            replies = await self._routed(commands, timeout)
            if error := next((reply for reply in replies if isinstance(reply, RedisUnavailable)), None):
                raise error
            return replies
        packed = [pack_command(command) for command in commands]
        replies = await self._exchange(connection, packed, len(commands), timeout)
        return [replies] if len(commands) == 1 else replies

    async def call_each(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """Send commands in one round trip and give for each, in order, its reply, or the RedisRefused of that command.

        Raises RedisUnavailable when the connection fails, and RedisRefused when Redis refuses the connection as such
        (no login, still loading). In a Cluster these come as replies too: the other nodes' are there.
        """
        connection = await self._entered(timeout)
        if connection is None:
            return await self._routed(commands, timeout)
        packed = [pack_command(command) for command in commands]
        replies: list[Any] = await self._exchange(connection, packed, len(commands), timeout, each=True)
        return replies

    @property
    def fresh(self) -> bool:
        """Whether the next call will connect anew."""
        there = self._connections.values()
        return not there or any(_gone(connection) for connection in there)

    async def _entered(self, timeout: float) -> AbstractConnection | None:
        """The connection; None in a Cluster, where it depends on the key."""
        cluster = self._pool.cluster
        connection = None if cluster.found else await self._connected(None, timeout)
        return None if cluster.found else connection

    async def _routed(self, commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        async def exchange(place: Node | None, some: Sequence[tuple[Any, ...]]) -> list[Any]:
            connection = await self._connected(place, timeout)
            packed = [pack_command(command) for command in some]
            replies: list[Any] = await self._exchange(connection, packed, len(some), timeout, each=True)
            return replies

        return await routed(self._pool.cluster, commands, exchange, _side_by_side)

    async def _exchange(
        self, connection: AbstractConnection, packed: Any, replies: int, timeout: float, *, each: bool = False
    ) -> Any:
        try:
            async with asyncio.timeout(timeout):
                await connection.send_packed_command(packed, check_health=False)
                if each:
                    return [await _reply_or_refusal(connection) for _ in range(replies)]
                if replies == 1:
                    return await connection.read_response()
                return [await connection.read_response() for _ in range(replies)]
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            if replies > 1 or not isinstance(error, NoScriptError):
                # Further replies may be on the way; and after a failover only a new connection can do better.
                await self._drop(connection)
            self._pool.cluster.found |= isinstance(error, MovedError)
            raise refused(error) from None
        except (RedisError, OSError, TimeoutError) as error:
            await self._drop(connection)
            raise unavailable(where(connection, self._pool), error, tls=self._pool.tls, maybe_done=True) from None
        except BaseException:
            await self._drop(connection)
            raise

    async def _connected(self, place: Node | None, timeout: float) -> AbstractConnection:
        if (there := self._connections.get(place)) is not None:
            if not _gone(there):
                return there
            await self._drop(there)
        pool = self._pool
        node = place
        if node is None and pool.sentinels is not None:
            node = await pool.sentinels.primary(self._ask)
        connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        if node is not None:
            connection.host, connection.port = node
        try:
            async with asyncio.timeout(min(CALL_TIMEOUT, max(timeout, CONNECT_S))):
                await connection.connect()
                await greet(pool.sentinels, pool.cluster, partial(_told, connection))
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            await connection.disconnect(nowait=True)
            raise refused(error) from None
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            failure = unavailable(where(connection, pool), error, tls=pool.tls, maybe_done=False)
            if is_doubtful(failure, error, tls=pool.tls) and hasattr(connection, "host"):
                failure = await asyncio.to_thread(explained, failure, (connection.host, connection.port), tls=pool.tls)
            raise failure from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        made: AbstractConnection = connection
        self._connections[place] = made
        return made

    async def _ask(self, node: Node, login: bool, question: tuple[Any, ...]) -> Any:
        line = Line(self._pool.to_sentinel(node, login=login))
        try:
            return await line.call(*question, timeout=ASK_S)
        finally:
            await line.close()

    async def _drop(self, connection: AbstractConnection) -> None:
        self._connections = {place: one for place, one in self._connections.items() if one is not connection}
        writer = connection._writer  # noqa: SLF001  (redis-py can only ask it to close)
        await connection.disconnect(nowait=True)
        if writer is not None:
            # Every call has its answer or has been given up: wait neither for TLS' farewell nor to send the rest.
            writer.transport.abort()

    async def close(self) -> None:
        """Drop the connection. A later call connects anew."""
        for connection in list(self._connections.values()):
            await self._drop(connection)


class Lines:
    """A few connections shared by many callers; each call gets one for itself."""

    def __init__(self, pool: Pool, most: int = 8) -> None:
        self.pool = pool
        self._free = asyncio.Semaphore(most)
        self._idle: list[Line] = []
        self._closed = False

    async def call(self, *command: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """As `Line.call`, on a connection that is free; waits for one while all are in use."""
        async with self._line() as line:
            return await line.call(*command, timeout=timeout)

    async def call_many(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """As `Line.call_many`, on a connection that is free."""
        async with self._line() as line:
            return await line.call_many(commands, timeout=timeout)

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Line]:
        async with self._free:
            if self._closed:
                raise RedisUnavailable("the connections are closed; the queue or worker has ended")
            line = self._idle.pop() if self._idle else Line(self.pool)
            try:
                yield line
            finally:
                await self._put_back(line)

    async def _put_back(self, line: Line) -> None:
        if self._closed:
            await line.close()
        else:
            self._idle.append(line)

    async def close(self) -> None:
        """Close the connections; calls under way still end, later ones are refused."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def _side_by_side(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    if len(coroutines) == 1:
        await coroutines[0]
    else:
        await asyncio.gather(*coroutines)


def where(connection: Any, pool: Pool) -> str:
    """Whom a connection was made to, without credentials."""
    if not hasattr(connection, "host"):
        return pool.where
    named = "" if pool.sentinels is None else f", the primary of {pool.sentinels.master!r} as its sentinels say,"
    return f"{connection.host}:{connection.port}{named}"


def _gone(connection: AbstractConnection) -> bool:
    return not connection.is_connected or _hung_up(connection)


def _hung_up(connection: AbstractConnection) -> bool:
    """Whether the other side has closed it: what is sent now would be lost, and nobody could tell whether it was done."""
    reader = connection._reader  # noqa: SLF001  (redis-py tells it nowhere else)
    return reader is None or reader.at_eof() or reader.exception() is not None


async def _reply_or_refusal(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return refused(error)


async def _told(connection: AbstractConnection, command: tuple[Any, ...]) -> Any:
    await connection.send_packed_command([pack_command(command)], check_health=False)
    return await _reply_or_refusal(connection)
