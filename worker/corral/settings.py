"""What the environment says to a worker: the words that a pool and its workers share. Pure.

REDIS_URL            address of Redis; read where a connection is made, as all of REDIS_*
REDIS_HOST           the same in parts, where there is no REDIS_URL
REDIS_PORT           with REDIS_HOST (default 6379)
REDIS_USERNAME       with REDIS_HOST
REDIS_PASSWORD       with REDIS_HOST
REDIS_TLS_CA         path of a PEM file: whom to trust, for rediss:// and for parts
REDIS_TLS_CERT       path of a PEM file: the client certificate
REDIS_TLS_KEY        path of a PEM file: its key
REDIS_SENTINELS      instead of REDIS_HOST: the sentinels, host:port, comma list
REDIS_MASTER         with REDIS_SENTINELS: the name of the primary that they watch
CORRAL_QUEUES        comma list: the queues of a worker that names none
CORRAL_CONCURRENCY   jobs at once, for a worker that does not say (default 1)
CORRAL_PREFIX        first part of every key (default bull)
CORRAL_POOL          name of the pool, for logs
CORRAL_WORKER        what `corral work` runs when no argument names it: module:attribute, comma list
CORRAL_GRACE         seconds between SIGTERM and the end (default 30)
CORRAL_LIVEZ_STALL   seconds without a turn of the event loop until /livez says so (default 120)
CORRAL_PORT          port of probes and metrics (default 8080; 0 = any free one)
CORRAL_LOG_FORMAT    text or json (default: text on a terminal, else json)
CORRAL_LOG_LEVEL     debug, info, warning or error (default info)
POD_NAME             the worker's name on every job it runs
POD_NAMESPACE        where that pod is, for those who read what a worker says of itself
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from corral.errors import ConfigurationError
from corral.keys import DEFAULT_PREFIX


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, checked. `grace` and `livez_stall` in seconds."""

    queues: tuple[str, ...] = ()
    concurrency: int = 1
    prefix: str = DEFAULT_PREFIX
    pool: str | None = None
    workers: tuple[str, ...] = ()
    grace: float = 30.0
    livez_stall: float = 120.0
    port: int = 8080
    log_format: str | None = None
    log_level: str = "info"
    pod: str | None = None
    namespace: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ConfigurationError, naming the variable and what it takes."""
        return cls(
            queues=_names(environ.get("CORRAL_QUEUES", "")),
            concurrency=_whole(environ, "CORRAL_CONCURRENCY", 1, least=1),
            prefix=environ.get("CORRAL_PREFIX") or DEFAULT_PREFIX,
            pool=environ.get("CORRAL_POOL") or None,
            workers=_names(environ.get("CORRAL_WORKER", "")),
            grace=_seconds(environ, "CORRAL_GRACE", 30.0),
            livez_stall=_seconds(environ, "CORRAL_LIVEZ_STALL", 120.0),
            port=_whole(environ, "CORRAL_PORT", 8080, least=0),
            log_format=environ.get("CORRAL_LOG_FORMAT") or None,
            log_level=environ.get("CORRAL_LOG_LEVEL") or "info",
            pod=environ.get("POD_NAME") or None,
            namespace=environ.get("POD_NAMESPACE") or None,
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ConfigurationError(f"{name} takes a whole number from {least} up, got {text!r}")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip().removesuffix("s")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ConfigurationError(f"{name} takes a number of seconds, like 30, got {environ[name]!r}")
    return seconds
