"""Where Redis is, and the maker of connections for it.

redis-py supplies the connections (URL, TLS, ACL, parser); its own repeats and timeouts are switched off.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from corral.errors import ConfigurationError


def redis_url(environ: Mapping[str, str] = os.environ) -> str:
    """The address from REDIS_URL. Raises ConfigurationError when it is not set."""
    url = environ.get("REDIS_URL", "").strip()
    if not url:
        raise ConfigurationError("REDIS_URL is not set; set it, like REDIS_URL=redis://127.0.0.1:6379")
    return url


def address_of(pool: ConnectionPool) -> str:
    """Where a pool connects to, without credentials."""
    kwargs = pool.connection_kwargs
    if "path" in kwargs:
        return str(kwargs["path"])
    return f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"


def make_pool(redis: "str | Redis | None", client_name: str | None = None) -> ConnectionPool:
    """A maker of connections for a URL, for an existing client (its settings are copied), or for REDIS_URL.

    Raises ConfigurationError for what is not a Redis URL.
    """
    ours: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "client_name": client_name,
        "health_check_interval": 0,
        # Needs RESP 3, and is on by default in the settings of a client.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if isinstance(redis, Redis):
        theirs = redis.connection_pool
        kept = {name: value for name, value in theirs.connection_kwargs.items() if not name.startswith("maint_")}
        return ConnectionPool(connection_class=theirs.connection_class, **{**kept, **ours})
    url = redis if redis is not None else redis_url()
    if wrong := _wrong_with(url):
        raise ConfigurationError(f"not a Redis URL: {wrong}")
    try:
        pool = ConnectionPool.from_url(url, socket_connect_timeout=5.0, **ours)
        # What a URL says (?decode_responses=, ?socket_timeout=) goes before keywords; ours must hold.
        pool.connection_kwargs.update(ours)
        pool.make_connection()  # type: ignore[no-untyped-call]  # an option it does not know is told here
    except (ValueError, TypeError, AttributeError, RedisError) as error:
        # Never chained: the message of the first error may hold a part of the URL.
        raise ConfigurationError(
            f"the options of the Redis URL are not understood ({type(error).__name__}); a sign like # or / in a "
            "password is written %23 or %2F"
        ) from None
    return pool


def _wrong_with(url: Any) -> str | None:
    """Why something is no Redis URL, without quoting it; None = it is one."""
    if not isinstance(url, str):
        return f"it is a {type(url).__name__}; give a text, or a client of redis.asyncio"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it cannot be taken apart; a sign like # or / in a password is written %23 or %2F"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return f"it begins with {parts.scheme!r}; it must begin with redis://, rediss:// (TLS) or unix://"
    if parts.fragment:
        return "it holds a #, which ends a URL; in a password it is written %23"
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        return "what follows the port must be the number of a database"
    return None
