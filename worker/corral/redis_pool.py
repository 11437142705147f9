"""redis-py's maker of connections, with what is known of the place that they lead to."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection

from corral.cluster_map import ClusterMap
from corral.sentinels import ASK_S, Sentinels
from corral.url import DEFAULT_PORT, Node


class Pool(ConnectionPool):
    """redis-py's maker of connections, with what is known of the place that they lead to."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        kwargs = self.connection_kwargs
        self.sentinels: Sentinels | None = None
        """Whom to ask for the primary at each connection; None: the address is Redis' own."""
        self.cluster = ClusterMap(None if "path" in kwargs else (kwargs.get("host", "localhost"), _port(kwargs)))

    @property
    def tls(self) -> bool:
        return issubclass(self.connection_class, SSLConnection)

    @property
    def where(self) -> str:
        """The address that was given, without credentials."""
        if self.sentinels is not None:
            return f"the sentinels {self.sentinels.where}"
        kwargs = self.connection_kwargs
        return str(kwargs["path"]) if "path" in kwargs else f"{kwargs.get('host', 'localhost')}:{_port(kwargs)}"

    def to_sentinel(self, node: Node, *, login: bool) -> "Pool":
        """The same for one of the sentinels: with the login of Redis or without, and quick to give up."""
        left_out = ("client_name", "db", *(() if login else ("username", "password", "credential_provider")))
        kept = {name: value for name, value in self.connection_kwargs.items() if name not in left_out}
        host, port = node
        pool = Pool(
            connection_class=self.connection_class,
            **{**kept, "host": host, "port": port, "socket_connect_timeout": ASK_S},
        )
        pool.cluster.greeted = True
        return pool


class KnownAs(SSLConnection):
    """A connection to a host whose certificate holds another name."""

    def __init__(self, known_as: Mapping[str, str] = MappingProxyType({}), **settings: Any) -> None:
        super().__init__(**settings)
        self._known_as = known_as

    def _connection_arguments(self) -> Mapping[str, Any]:
        host = str(self.host)
        return {**super()._connection_arguments(), "server_hostname": self._known_as.get(host, host)}


def sentinels_of(pool: Any) -> Sentinels | None:
    """The sentinels that a pool of redis-py, with an event loop or without, asks for its primary; None = it asks none."""
    if isinstance(pool, Pool):
        return pool.sentinels
    manager = getattr(pool, "sentinel_manager", None)
    if manager is None:
        return None
    settings = [client.connection_pool.connection_kwargs for client in manager.sentinels]
    return Sentinels(tuple((one.get("host", "localhost"), _port(one)) for one in settings), pool.service_name)


def pool_like(theirs: ConnectionPool, ours: Mapping[str, Any]) -> Pool:
    """One with the settings of a client's pool, but for those that are ours."""
    left_out = ("maint_", "connection_pool")
    kept = {name: value for name, value in theirs.connection_kwargs.items() if not name.startswith(left_out)}
    sentinels, kind = sentinels_of(theirs), theirs.connection_class
    if sentinels is not None:
        kind = SSLConnection if issubclass(kind, SSLConnection) else Connection
    pool = Pool(connection_class=kind, **{**kept, **ours})
    pool.sentinels = sentinels
    return pool


def _port(kwargs: Mapping[str, Any]) -> int:
    return int(kwargs.get("port", DEFAULT_PORT))
