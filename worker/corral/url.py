"""The URL of a Redis: whether a text is one, and how one is made of its parts. Pure.

Whatever is wrong is told without quoting what was given: it may hold a password.
"""

import re
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import quote, urlsplit

DEFAULT_PORT = "6379"

_SCHEMES = ("redis", "rediss", "unix")
_CURE = "it must begin with redis://, rediss:// (TLS) or unix://"
_HOST = re.compile(r"[A-Za-z0-9._-]+")


def wrong_with_url(url: Any) -> str | None:
    """Why something is no Redis URL, as the rest of a sentence; None = it is one."""
    if not isinstance(url, str):
        return f"it is a {type(url).__name__}; give a text, or a client of redis.asyncio"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it cannot be taken apart; a sign like # or / in a password is written %23 or %2F"
    if not url.lstrip().lower().startswith(f"{parts.scheme or '?'}://"):
        # What stands before the first colon is not shown: without :// it may be a user's name, or a password.
        return f"it has no scheme; {_CURE}"
    if parts.scheme not in _SCHEMES:
        return f"it begins with {parts.scheme!r}; {_CURE}"
    if parts.fragment:
        return "it holds a #, which ends a URL; in a password it is written %23"
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


def build_url(host: str, port: str, username: str, password: str, *, tls: bool) -> str:
    """The URL of parts that nothing is wrong with; an empty user name or password is none."""
    # Bytes that are no UTF-8 come out of the environment as surrogates; Redis gets them as they are.
    user, word = (quote(text, safe="", errors="surrogateescape") for text in (username, password))
    login = f"{user}:{word}@" if word else f"{user}@" if user else ""
    place = f"[{host}]" if _is_ipv6(host) else host
    return f"{'rediss' if tls else 'redis'}://{login}{place}:{port}"


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
