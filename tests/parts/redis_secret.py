"""What the operator's doors to Redis are given: a Secret for a URL, and what to ask of a queue."""

from __future__ import annotations

from base64 import b64encode

from corral_operator.counting import Ask, QueueKey
from corral_operator.secret import RedisSecret, read_secret


def secret_of(url: str, **files: str) -> RedisSecret:
    """The Secret that holds this URL, and PEM texts: `ca`, `crt` and `key`."""
    names = {"ca": "ca.crt", "crt": "tls.crt", "key": "tls.key"}
    data = {"url": url, **{names[short]: text for short, text in files.items()}}
    return read_secret("redis", {key: b64encode(text.encode()).decode() for key, text in data.items()})


def ask(
    name: str,
    *,
    prefix: str = "bull",
    horizon_s: float = 10.0,
    ages: bool = False,
    seen: bool = True,
    workers: bool = False,
    holders: bool = False,
) -> Ask:
    """A question about one queue."""
    return Ask(QueueKey(prefix, name), horizon_s, ages, seen, workers, holders)
