"""What a Redis server must be, and should be, for queues. Asked once, when a worker starts."""

import logging
from collections.abc import Iterable

from corral.cluster_map import tag_of
from corral.connection import Lines
from corral.errors import ConfigurationError, RedisRefused
from corral.failures import UNTAGGED
from corral.keys import Keys

logger = logging.getLogger("corral.worker")

OLDEST = (6, 2)
_NEVER_HEALS = ("WRONGPASS", "NOAUTH", "sentinel-login", "sentinel-permission", "sentinel-instead", "DATABASE")


async def check_server(lines: Lines, queues: Iterable[Keys] = ()) -> None:
    """Raises ConfigurationError for wrong credentials, a server that is too old, or a Cluster in which one of the queues
    has no hash tag; RedisUnavailable when it is away.

    Warns where keys may be evicted: a queue that loses keys loses jobs.
    """
    try:
        text: bytes = await lines.call("INFO")
    except RedisRefused as error:
        if error.code in _NEVER_HEALS:
            raise ConfigurationError(str(error)) from None
        if error.code != "NOPERM":
            raise
        logger.debug("INFO is not permitted; version and eviction policy stay unknown")
        text = b""
    if lines.pool.cluster.found and (spread := [keys.base for keys in queues if tag_of(keys.base.encode()) is None]):
        raise ConfigurationError(f"the keys {', '.join(spread)}* cannot be used: {UNTAGGED}")
    facts = parse_info(text.decode(errors="replace"))
    version = facts.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if len(numbers) == 2 and numbers < OLDEST:
        raise ConfigurationError(f"Redis {version} is too old; Corral needs {OLDEST[0]}.{OLDEST[1]} or newer")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.warning("Redis may evict keys (maxmemory-policy %s): jobs could vanish; set it to noeviction", policy)


def parse_info(text: str) -> dict[str, str]:
    """The `name:value` lines of INFO."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}
