"""What a server says of itself when it is greeted: HELLO is permitted to whoever may connect at all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from corral.cluster_map import ClusterMap
from corral.errors import RedisRefused, RedisUnavailable
from corral.sentinels import Sentinels

GREETING = ("HELLO", 2)


class Greeting(NamedTuple):
    """`mode`: standalone, cluster or sentinel; `role`: master or replica. Empty where a server does not say it."""

    mode: str = ""
    role: str = ""


def read_greeting(reply: Any) -> Greeting:
    """The reply to GREETING. A server that knows no HELLO, or forbids it, has said nothing."""
    if not isinstance(reply, Sequence) or isinstance(reply, bytes | str):
        return Greeting()
    facts = dict(zip(reply[::2], reply[1::2], strict=False))
    return Greeting(_text(facts.get(b"mode")), _text(facts.get(b"role")))


async def greet(
    sentinels: Sentinels | None, cluster: ClusterMap, exchange: Callable[[tuple[Any, ...]], Awaitable[Any]]
) -> None:
    """Before the first call on a connection: whether it is the primary that sentinels promised, and, once for all
    connections, whether it is a Cluster. `exchange` sends a command and gives its reply or its RedisRefused.

    Raises RedisUnavailable for a replica, RedisRefused for a sentinel.
    """
    if cluster.greeted and sentinels is None:
        return
    greeting = read_greeting(await exchange(GREETING))
    if greeting.mode == "sentinel":
        raise RedisRefused(
            "this is a sentinel, and not Redis itself: name it in REDIS_SENTINELS and its primary in REDIS_MASTER",
            "sentinel-instead",
        )
    if sentinels is not None and greeting.role not in ("", "master"):
        sentinels.doubt()
        what = f"the primary of {sentinels.master!r} as its sentinels say is a replica"
        raise RedisUnavailable(what, "a failover is under way", code="replica")
    cluster.greeted = True
    if greeting.mode == "cluster":
        cluster.found = True
        nodes = await exchange(("CLUSTER", "SLOTS"))
        if isinstance(nodes, list):
            cluster.learn_nodes(nodes)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
