"""The door to Redis for code without an event loop: the calls of `Lines`, which here wait in the thread.

Their coroutines never suspend, so `drive` runs whatever awaits only them to its end. Threads share the connections; a
forked process makes its own. No lock guards them: what a signal's handler raises can break off a call anywhere, and would
leave the lock held. A deque needs none.
"""

import os
import select
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import redis.asyncio.connection as theirs
import redis.connection as blocking
from hiredis import pack_command
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from corral.address import make_pool
from corral.connection import CALL_TIMEOUT, Lines, where
from corral.errors import RedisUnavailable
from corral.failures import Redirected, refused, unavailable
from corral.greeting import greet
from corral.redis_pool import Pool, sentinels_of
from corral.routing import routed
from corral.sentinels import ASK_S
from corral.tls_probe import explained, is_doubtful
from corral.url import Node

T = TypeVar("T")

Connection = Any
"""One of redis-py's blocking connections, whose methods have no types."""

_TWINS: tuple[tuple[type[theirs.AbstractConnection], type[blocking.AbstractConnection]], ...] = (
    (theirs.SSLConnection, blocking.SSLConnection),
    (theirs.UnixDomainSocketConnection, blocking.UnixDomainSocketConnection),
    (theirs.Connection, blocking.Connection),
)
_LOOPS = ("retry", "maint_", "oss_cluster_", "event_dispatcher", "himport_", "parser_class", "connection_pool")
"""Settings of a connection that mean something else without a loop; the defaults are right."""


def drive(call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits nothing but blocking lines. Raises what it raises."""
    try:
        call.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    call.close()
    raise RuntimeError("this needs an event loop; use the async Queue or FlowProducer")


def settings_of(redis: str | Redis | BlockingRedis | None) -> str | Redis | None:
    """A blocking client as an async one with its settings, which is never connected; all else as it is."""
    if not isinstance(redis, BlockingRedis):
        return redis
    pool = redis.connection_pool
    kind = next((one for one, twin in _TWINS if issubclass(pool.connection_class, twin)), theirs.Connection)
    twin = Pool(connection_class=kind, **_kept(pool.connection_kwargs))
    twin.sentinels = sentinels_of(pool)
    return Redis(connection_pool=twin)


def _kept(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if not name.startswith(_LOOPS)}


class BlockingLines(Lines):
    """A connection for each call that is under way; `most` are kept for later ones.

    `within`: seconds that connecting may take, and each step of it.
    """

    def __init__(self, redis: str | Redis | Pool | None, most: int = 8, within: float = CALL_TIMEOUT) -> None:
        super().__init__(redis if isinstance(redis, Pool) else make_pool(redis), most)
        kind = next(twin for one, twin in _TWINS if issubclass(self.pool.connection_class, one))
        kwargs = _kept(self.pool.connection_kwargs)
        kwargs |= {
            "socket_timeout": within,
            "socket_connect_timeout": min(kwargs.get("socket_connect_timeout") or within, within),
            "retry": Retry(NoBackoff(), 0),
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        self._make: Callable[[], Connection] = lambda: kind(**kwargs)
        self._most = most
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """Forget the connections, which are the parent's: in a forked process, before anything else."""
        self._unused: dict[Node | None, deque[Connection]] = {}

    @property
    def fresh(self) -> bool:
        """Whether the next call will connect anew, unless another thread's connection is free by then."""
        unused = [connection for some in list(self._unused.values()) for connection in some]
        return not unused or not all(_usable(connection) for connection in unused)

    async def call(self, *command: Any, timeout: float = CALL_TIMEOUT) -> Any:
        return (await self.call_many([command], timeout))[0]

    async def call_many(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        if not self._is_cluster():
            try:
                return self._exchange(None, commands, timeout)
            except Redirected:
                if len(commands) > 1:
                    raise
        replies = await self._routed(commands, timeout)
        if error := next((reply for reply in replies if isinstance(reply, RedisUnavailable)), None):
            raise error
        return replies

    async def call_each(self, commands: Sequence[tuple[Any, ...]], timeout: float = CALL_TIMEOUT) -> list[Any]:
        """As `Line.call_each`."""
        if not self._is_cluster():
            return self._exchange(None, commands, timeout, each=True)
        return await self._routed(commands, timeout)

    async def close(self) -> None:
        self._closed = True
        for unused in list(self._unused.values()):
            while unused:
                unused.pop().disconnect()

    def _is_cluster(self) -> bool:
        """Whether the key says where a command goes; the first time this connects, to be told."""
        if not self.pool.cluster.greeted:
            with self._connection(None):
                pass
        return self.pool.cluster.found

    async def _routed(self, commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        async def exchange(place: Node | None, some: Sequence[tuple[Any, ...]]) -> list[Any]:
            return self._exchange(place, some, timeout, each=True)

        return await routed(self.pool.cluster, commands, exchange, _in_turn)

    def _exchange(
        self, place: Node | None, commands: Sequence[tuple[Any, ...]], timeout: float, *, each: bool = False
    ) -> list[Any]:
        packed = b"".join(pack_command(command) for command in commands)
        with self._connection(place) as connection:
            over = time.monotonic() + timeout
            try:
                connection.send_packed_command([packed], check_health=False)
                return [_reply(connection, over, each=each) for _ in commands]
            except (ResponseError, AuthenticationError, BusyLoadingError) as error:
                if len(commands) > 1 or not isinstance(error, NoScriptError):
                    connection.disconnect()
                self.pool.cluster.found |= isinstance(error, MovedError)
                raise refused(error) from None
            except (RedisError, OSError) as error:
                connection.disconnect()
                raise unavailable(where(connection, self.pool), error, tls=self.pool.tls, maybe_done=True) from None
            except BaseException:
                connection.disconnect()
                raise

    @contextmanager
    def _connection(self, place: Node | None) -> Iterator[Connection]:
        """A connection of one's own to a place, connected."""
        if self._closed:
            raise RedisUnavailable("the connections are closed; the queue has ended")
        unused = self._unused.setdefault(place, deque())
        try:
            connection = unused.pop()
        except IndexError:
            connection = self._make()
        try:
            self._connect(connection, place)
            yield connection
        finally:
            self._give_back(connection, unused)

    def _give_back(self, connection: Connection, unused: deque[Connection]) -> None:
        if self._closed:
            connection.disconnect()
            return
        unused.append(connection)
        if len(unused) > self._most:
            with suppress(IndexError):  # another thread was faster
                unused.popleft().disconnect()

    def _connect(self, connection: Connection, place: Node | None) -> None:
        if _usable(connection):
            return
        connection.disconnect()
        pool = self.pool
        node = place
        if node is None and pool.sentinels is not None:
            node = drive(pool.sentinels.primary(self._ask))
        if node is not None:
            connection.host, connection.port = node
        try:
            connection.connect()
            drive(greet(pool.sentinels, pool.cluster, partial(_told, connection)))
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            connection.disconnect()
            raise refused(error) from None
        except (RedisError, OSError) as error:
            connection.disconnect()
            failure = unavailable(where(connection, pool), error, tls=pool.tls, maybe_done=False)
            if is_doubtful(failure, error, tls=pool.tls) and hasattr(connection, "host"):
                failure = explained(failure, (connection.host, connection.port), tls=pool.tls)
            raise failure from None
        except BaseException:
            connection.disconnect()
            raise

    async def _ask(self, node: Node, login: bool, question: tuple[Any, ...]) -> Any:
        lines = BlockingLines(self.pool.to_sentinel(node, login=login), 1, within=ASK_S)
        try:
            return await lines.call(*question, timeout=ASK_S)
        finally:
            await lines.close()


async def _in_turn(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    for coroutine in coroutines:
        await coroutine


async def _told(connection: Connection, command: tuple[Any, ...]) -> Any:
    connection.send_packed_command([pack_command(command)], check_health=False)
    return _reply(connection, time.monotonic() + connection.socket_timeout, each=True)


def _usable(connection: Connection) -> bool:
    """Connected, and nothing to read: before a call, that is only the other side's farewell."""
    sock = connection._sock  # noqa: SLF001  (redis-py has no question that does not read)
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _reply(connection: Connection, over: float, *, each: bool) -> Any:
    try:
        return connection.read_response(timeout=max(0.001, over - time.monotonic()))
    except ResponseError as error:
        if not each:
            raise
        return refused(error)


_all: "weakref.WeakSet[BlockingLines]" = weakref.WeakSet()


def _forked() -> None:
    for lines in _all:
        lines.begin_anew()


os.register_at_fork(after_in_child=_forked)
