"""The URL of a Redis: whether a text is one, and how one is made of its parts. Pure.

    redis://user:password@host:6379/0                            one server, or any node of a Cluster
    rediss://...                                                 the same with TLS
    unix:///run/redis.sock?db=0
    redis+sentinel://user:password@s1:26379,s2:26379/master/0    the primary that these sentinels name
    rediss+sentinel://...                                        with TLS, at the sentinels too

Whatever is wrong is told without quoting what was given: it may hold a password.
"""

import re
from ipaddress import IPv6Address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORT = "6379"
SENTINEL_PORT = "26379"

Node = tuple[str, int]
"""Host and port of a server."""

_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SCHEMES = ("redis", "rediss", "unix", *_SENTINEL)
_CURE = "it must begin with redis://, rediss:// (TLS), unix:// or redis+sentinel://"
_HOST = re.compile(r"[A-Za-z0-9._-]+")


class Watched(NamedTuple):
    """What a URL of sentinels says: who is asked, for which primary, and the URL of that but for its host and port."""

    nodes: tuple[Node, ...]
    master: str
    url: str


def wrong_with_url(url: Any) -> str | None:
    """Why something is no Redis URL, as the rest of a sentence; None = it is one."""
    if not isinstance(url, str):
        return f"it is a {type(url).__name__}; give a text, or a client of redis.asyncio"
    try:
        parts = urlsplit(url)
        _ = None if parts.scheme in _SENTINEL else parts.port
    except ValueError:
        return "it cannot be taken apart; a sign like # or / in a password is written %23 or %2F"
    if not url.lstrip().lower().startswith(f"{parts.scheme or '?'}://"):
        # What stands before the first colon is not shown: without :// it may be a user's name, or a password.
        return f"it has no scheme; {_CURE}"
    if parts.scheme not in _SCHEMES:
        return f"it begins with {parts.scheme!r}; {_CURE}"
    if parts.fragment:
        return "it holds a #, which ends a URL; in a password it is written %23"
    if parts.scheme in _SENTINEL:
        return _wrong_with_watched(parts)
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        return "what follows the port must be the number of a database"
    return None


def wrong_with_host(host: str) -> str | None:
    """Why a text is no host, as the rest of a sentence that begins with its name; None = it is one."""
    if _HOST.fullmatch(host) or _is_ipv6(host):
        return None
    return "must be a host name or an IP address and nothing else: no scheme, no port, no user"


def wrong_with_port(port: str) -> str | None:
    """Why a text is no port, as the rest of a sentence that begins with its name; None = it is one."""
    if port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535:
        return None
    return "must be a number from 1 to 65535"


def wrong_with_sentinels(text: str) -> str | None:
    """Why a text is no list of sentinels, as the rest of a sentence that begins with its name; None = it is one."""
    places = [_host_and_port(place.strip()) for place in text.split(",")]
    if all(not wrong_with_host(host) and not wrong_with_port(port) for host, port in places):
        return None
    return f"must be hosts with their ports (by default {SENTINEL_PORT}) and commas between, like a:26379,b:26379"


def build_url(host: str, port: str, username: str, password: str, *, tls: bool) -> str:
    """The URL of parts that nothing is wrong with; an empty user name or password is none."""
    return f"{'rediss' if tls else 'redis'}://{_login(username, password)}{_place((host, int(port)))}"


def build_sentinel_url(sentinels: str, master: str, username: str, password: str, *, tls: bool) -> str:
    """The URL for a list of sentinels that nothing is wrong with, and the name of their primary."""
    nodes = ",".join(_place(node) for node in _nodes(sentinels))
    scheme = "rediss+sentinel" if tls else "redis+sentinel"
    return f"{scheme}://{_login(username, password)}{nodes}/{quote(master, safe='', errors='surrogateescape')}"


def read_watched(url: str) -> Watched | None:
    """What a URL of sentinels says, once nothing is wrong with it; None for any other URL."""
    parts = urlsplit(url)
    if parts.scheme not in _SENTINEL:
        return None
    login, at, places = parts.netloc.rpartition("@")
    nodes = _nodes(places)
    master, _, database = parts.path.strip("/").partition("/")
    plain = parts._replace(
        scheme=parts.scheme.removesuffix("+sentinel"), netloc=f"{login}{at}{_place(nodes[0])}", path=f"/{database}"
    )
    return Watched(nodes, unquote(master, errors="surrogateescape"), plain.geturl())


def _wrong_with_watched(parts: SplitResult) -> str | None:
    if wrong_with_sentinels(parts.netloc.rpartition("@")[2]):
        return "the sentinels are hosts with their ports and commas between, like a:26379,b:26379"
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        return "the name of the primary follows the sentinels, like redis+sentinel://host:26379/mymaster"
    if database and not database.isdecimal():
        return "what follows the name of the primary must be the number of a database"
    return None


def _nodes(text: str) -> tuple[Node, ...]:
    places = (_host_and_port(place.strip()) for place in text.split(","))
    return tuple((host, int(port)) for host, port in places)


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":") or SENTINEL_PORT
    if _is_ipv6(place):
        return place, SENTINEL_PORT
    host, colon, port = place.partition(":")
    return host, port if colon else SENTINEL_PORT


def _login(username: str, password: str) -> str:
    # Bytes that are no UTF-8 come out of the environment as surrogates; Redis gets them as they are.
    user, word = (quote(text, safe="", errors="surrogateescape") for text in (username, password))
    return f"{user}:{word}@" if word else f"{user}@" if user else ""


def _place(node: Node) -> str:
    host, port = node
    return f"[{host}]:{port}" if _is_ipv6(host) else f"{host}:{port}"


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
