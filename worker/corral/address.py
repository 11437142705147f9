"""Where Redis is, and the maker of connections for it.

The environment says it in a URL or in parts:

    REDIS_URL                                        goes first
    REDIS_HOST, REDIS_PORT (default 6379)            without REDIS_URL
    REDIS_USERNAME, REDIS_PASSWORD                   with REDIS_HOST
    REDIS_TLS_CA, REDIS_TLS_CERT, REDIS_TLS_KEY      paths of PEM files; for rediss://, and any of them makes the
                                                     parts use TLS; redis:// and unix:// have no use for them
    REDIS_SENTINELS                                  without REDIS_URL, instead of REDIS_HOST: host:port, comma list
    REDIS_MASTER                                     with them: the name of the primary that they watch

The sentinels are spoken to as Redis is: with TLS or without; they ask for no login, or take that of Redis.
redis-py supplies the connections (URL, TLS, ACL, parser); its own repeats and timeouts are switched off.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from corral.errors import ConfigurationError
from corral.redis_pool import KnownAs, Pool, pool_like
from corral.sentinels import Sentinels
from corral.url import (
    DEFAULT_PORT,
    build_sentinel_url,
    build_url,
    read_watched,
    wrong_with_host,
    wrong_with_port,
    wrong_with_sentinels,
    wrong_with_url,
)

_WORDS = (
    *("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_SENTINELS", "REDIS_MASTER"),
    *("REDIS_TLS_CA", "REDIS_TLS_CERT", "REDIS_TLS_KEY"),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS connection needs beside its URL: paths of PEM files.

    `ca_file`: whom to trust, beside the system's authorities. `cert_file`, `key_file`: who we are.
    `known_as`: by host, the name that its certificate holds where that is another.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    known_as: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is. The URL holds the credentials, and is never shown."""

    url: str = field(repr=False)
    tls: Tls = Tls()


def read_address(environ: Mapping[str, str] = os.environ) -> Address:
    """The address that the environment says. Raises ConfigurationError, naming the variable."""
    words = {word: environ.get(word, "").strip() for word in _WORDS}
    tls = Tls(words["REDIS_TLS_CA"] or None, words["REDIS_TLS_CERT"] or None, words["REDIS_TLS_KEY"] or None)
    if words["REDIS_URL"]:
        return Address(words["REDIS_URL"], tls)
    login = words["REDIS_USERNAME"], words["REDIS_PASSWORD"]
    if words["REDIS_SENTINELS"] or words["REDIS_MASTER"]:
        for name, other in (("REDIS_SENTINELS", "REDIS_MASTER"), ("REDIS_MASTER", "REDIS_SENTINELS")):
            if not words[name]:
                raise ConfigurationError(f"{other} needs {name}: the sentinels, and the name of their primary")
        if wrong := wrong_with_sentinels(words["REDIS_SENTINELS"]):
            raise ConfigurationError(f"REDIS_SENTINELS {wrong}")
        url = build_sentinel_url(words["REDIS_SENTINELS"], words["REDIS_MASTER"], *login, tls=tls != Tls())
        return Address(url, tls)
    host, port = words["REDIS_HOST"], words["REDIS_PORT"]
    if not host:
        raise ConfigurationError(
            "REDIS_URL is not set; set it, like REDIS_URL=redis://127.0.0.1:6379 (or REDIS_HOST, with REDIS_PORT, "
            "REDIS_USERNAME and REDIS_PASSWORD)"
        )
    if port.startswith("tcp://"):
        port = ""  # Kubernetes writes this into every pod beside a Service named `redis`; nobody meant us
    if wrong := wrong_with_host(host):
        raise ConfigurationError(f"REDIS_HOST {wrong}")
    if wrong := wrong_with_port(port or DEFAULT_PORT):
        raise ConfigurationError(f"REDIS_PORT {wrong}")
    return Address(build_url(host, port or DEFAULT_PORT, *login, tls=tls != Tls()), tls)


def address_of(pool: Pool) -> str:
    """Where a pool connects to, without credentials."""
    return pool.where


def make_pool(redis: "str | Redis | None", client_name: str | None = None, *, tls: Tls | None = None) -> Pool:
    """A maker of connections for a URL, for an existing client (its settings are copied), or, with None, for what the
    environment says.

    `tls` goes with a rediss:// URL, whose own options win; a client has settings of its own, and the files that the
    environment names go with the environment's address alone.
    Raises ConfigurationError for what is not a Redis URL, and for TLS files that cannot be used.
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
        return pool_like(redis.connection_pool, ours)
    address = Address(redis, tls or Tls()) if redis is not None else read_address()
    if wrong := wrong_with_url(address.url):
        raise ConfigurationError(f"not a Redis URL: {wrong}")
    watched = read_watched(address.url)
    url = watched.url if watched else address.url
    secured = urlsplit(url).scheme == "rediss"
    files = _tls_options(address.tls) if secured else {}
    try:
        pool = Pool.from_url(url, socket_connect_timeout=5.0, **files, **ours)
        # What a URL says (?decode_responses=, ?socket_timeout=) goes before keywords; ours must hold.
        pool.connection_kwargs.update(ours)
        connection = pool.make_connection()  # type: ignore[no-untyped-call]  # an option it does not know is told here
    except (ValueError, TypeError, AttributeError, RedisError) as error:
        # Never chained: the message of the first error may hold a part of the URL.
        raise ConfigurationError(
            f"the options of the Redis URL are not understood ({type(error).__name__}); a sign like # or / in a "
            "password is written %23 or %2F"
        ) from None
    if files and isinstance(connection, SSLConnection):
        _try_out(connection, files)
    if watched:
        pool.sentinels = Sentinels(watched.nodes, watched.master)
    if secured and address.tls.known_as:
        pool.connection_class = KnownAs
        pool.connection_kwargs["known_as"] = address.tls.known_as
    return pool


def _tls_options(tls: Tls) -> dict[str, str]:
    """The files as redis-py's options. Each is opened once, so that the one that cannot be is told by its name."""
    if tls.key_file and not tls.cert_file:
        raise ConfigurationError("REDIS_TLS_KEY needs REDIS_TLS_CERT: a key is of no use without its certificate")
    named = (
        ("REDIS_TLS_CA", "ssl_ca_certs", tls.ca_file),
        ("REDIS_TLS_CERT", "ssl_certfile", tls.cert_file),
        ("REDIS_TLS_KEY", "ssl_keyfile", tls.key_file),
    )
    for name, _, path in named:
        try:
            if path:
                with open(path, "rb"):
                    pass
        except OSError as error:
            raise ConfigurationError(
                f"{name}: the file {path} cannot be read ({error.strerror}); is the Secret mounted there?"
            ) from None
    return {option: path for _, option, path in named if path}


def _try_out(connection: SSLConnection, files: Mapping[str, str]) -> None:
    """Load the files as a connection will: what is no certificate would look like a Redis that is away."""
    try:
        connection.ssl_context.get()
    except OSError as error:  # an SSLError is one
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"TLS: {', '.join(files.values())} cannot be used ({reason or 'not PEM'}); each must be PEM, and the "
            "key must be the certificate's"
        ) from None
