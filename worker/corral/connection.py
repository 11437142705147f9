"""The door to Redis: connections that tell whether a broken call may have been carried out.

redis-py supplies the connections (URL, TLS, ACL, hiredis); its client with retries of its own does not serve here,
because a script that moves jobs must never be sent twice behind our back.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from corral.address import address_of
from corral.errors import RedisRefused, RedisUnavailable

CALL_TIMEOUT = 10.0
"""Seconds that one call may take before its connection counts as broken."""

_CURES = {
    "WRONGPASS": "the user name or password is wrong; check REDIS_URL",
    "NOAUTH": "a password is needed; put it into REDIS_URL, like redis://:password@host:6379",
    "NOPERM": "the ACL user lacks a permission; Corral's workers need +@all on the keys of their queues",
    "OOM": "its memory is full; raise maxmemory, or remove finished jobs; the policy should be noeviction",
    "READONLY": "it is a replica; point REDIS_URL at the primary",
    "LOADING": "it is loading its data; wait until it is done",
    "MISCONF": "it cannot save to disk; look at its log",
    "WRONGTYPE": "a key of this queue holds a value of another type; is the prefix shared with another program?",
    "BUSY": "a script blocks it; look at its log, or end the script with SCRIPT KILL",
    "NOREPLICAS": "too few replicas are connected for a write",
}


def retry_pause_s(failures: int, draw: float) -> float:
    """Seconds before Redis is asked again: from 0.1 s on, doubled with each failure, at most 5 s; a `draw` from [0, 1)
    spreads it over the upper half, so that the workers of a fleet do not come back at once."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 6)) * (0.5 + draw / 2)


class Line:
    """One connection, for one call at a time. Connects at the first call, and anew after a break."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None

    async def call(self, *command: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """Send a command and give Redis' reply, as bytes, numbers and lists.

        Raises RedisUnavailable (with `maybe_done`) or RedisRefused. Cancelled in the middle, it drops the connection.
        """
        connection = await self._connected()
        return await self._exchange(connection, [pack_command(command)], 1, timeout)

    async def call_many(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """Send commands in one round trip and give their replies. Raises as `call`, with the first error."""
        connection = await self._connected()
        packed = [pack_command(command) for command in commands]
        replies = await self._exchange(connection, packed, len(commands), timeout)
        return [replies] if len(commands) == 1 else replies

    async def call_each(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """Send commands in one round trip and give for each, in order, its reply, or the RedisRefused of that command.

        Raises RedisUnavailable when the connection fails, and RedisRefused when Redis refuses the connection as such
        (no login, still loading).
        """
        connection = await self._connected()
        packed = [pack_command(command) for command in commands]
        replies: list[Any] = await self._exchange(connection, packed, len(commands), timeout, each=True)
        return replies

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
                await self.close()
            raise refused(error) from None
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            raise unavailable(self._pool, error, maybe_done=True) from None
        except BaseException:
            await self.close()
            raise

    @property
    def fresh(self) -> bool:
        """Whether the next call will connect anew."""
        return self._connection is None or not self._connection.is_connected or _hung_up(self._connection)

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None:
            if not self.fresh:
                return self._connection
            await self.close()
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            await connection.disconnect(nowait=True)
            raise refused(error) from None
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            raise unavailable(self._pool, error, maybe_done=False) from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return connection

    async def close(self) -> None:
        """Drop the connection. A later call connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            writer = connection._writer  # noqa: SLF001  (redis-py can only ask it to close)
            await connection.disconnect(nowait=True)
            if writer is not None:
                # Every call has its answer or has been given up: wait neither for TLS' farewell nor to send the rest.
                writer.transport.abort()


class Lines:
    """A few connections shared by many callers; each call gets one for itself."""

    def __init__(self, pool: ConnectionPool, most: int = 8) -> None:
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


def _hung_up(connection: AbstractConnection) -> bool:
    """Whether the other side has closed it: what is sent now would be lost, and nobody could tell whether it was done."""
    reader = connection._reader  # noqa: SLF001  (redis-py tells it nowhere else)
    return reader is None or reader.at_eof() or reader.exception() is not None


async def _reply_or_refusal(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return refused(error)


def refused(error: Exception) -> RedisRefused:
    """What Redis' own error means to the reader of a log."""
    text = str(error)
    # redis-py takes the leading word off the errors it knows, and keeps it in `status_code`.
    code = getattr(error, "status_code", None) or text.split(" ", 1)[0]
    if isinstance(error, AuthenticationError) and code not in ("NOAUTH", "WRONGPASS"):
        code = "NOAUTH"
    # Of an unknown command Redis quotes the arguments, which may be a password or a payload.
    text = text.split(", with args", 1)[0]
    return RedisRefused(f"Redis refused ({code}): {_CURES.get(code, text)}", code)


def unavailable(pool: ConnectionPool, error: Exception, *, maybe_done: bool) -> RedisUnavailable:
    """What an error of the network, or of redis-py, means to the reader of a log."""
    where = address_of(pool)
    if isinstance(error, TimeoutError | RedisTimeout):
        what, cure = f"Redis at {where} did not answer in time", "is it overloaded?"
        return RedisUnavailable(what, cure, maybe_done=maybe_done, code="timeout")
    if _is_of_tls(pool, error, connecting=not maybe_done):
        what = f"no TLS connection with Redis at {where}: {_brief(error)}"
        cure = "check the certificates, and whether Redis speaks TLS there"
        return RedisUnavailable(what, cure, maybe_done=maybe_done, code="tls")
    if maybe_done:
        what = f"the connection to Redis at {where} broke: {_brief(error)}"
        return RedisUnavailable(what, maybe_done=True, code="broken")
    what = f"Redis at {where} cannot be reached: {_brief(error)}"
    return RedisUnavailable(what, "is it running, and is REDIS_URL right?", code="unreachable")


def _is_of_tls(pool: ConnectionPool, error: BaseException | None, *, connecting: bool) -> bool:
    """Whether TLS failed beneath an error of redis-py, which chains none on purpose.

    A server that dislikes our certificate says so after the handshake and hangs up: often only that is seen of it.
    """
    hung_up: tuple[type[OSError], ...] = ()
    if connecting and issubclass(pool.connection_class, SSLConnection):
        hung_up = (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)
    while error is not None:
        if isinstance(error, hung_up) or (isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)):
            return True
        error = error.__context__
    return False


def _brief(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
