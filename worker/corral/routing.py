"""Commands for a Redis Cluster: each goes to the node that has its key, and follows once it is told of another.

Whoever sends them gives the way to a node, so that this serves connections with an event loop and without one.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from corral.cluster_map import ClusterMap, key_of, slot_of, tag_of
from corral.errors import RedisRefused, RedisUnavailable
from corral.failures import UNTAGGED, Redirected
from corral.url import Node

HOPS = 5
"""Times that a command is sent on: to a node that is not the right one, past one that is away, to the new one of a slot."""

Command = tuple[Any, ...]
Exchange = Callable[[Node | None, Sequence[Command]], Awaitable[list[Any]]]
"""Sends commands to a place; gives for each its reply or its RedisRefused. Raises RedisUnavailable."""
AtOnce = Callable[[Sequence[Coroutine[Any, Any, None]]], Awaitable[Any]]
"""Runs coroutines side by side, or one after another."""


class _Way(NamedTuple):
    place: Node | None
    asking: bool = False


async def routed(cluster: ClusterMap, commands: Sequence[Command], exchange: Exchange, at_once: AtOnce) -> list[Any]:
    """Send the commands to where their keys live. Gives for each its reply, or the RedisUnavailable (RedisRefused) that it
    met: a node that is away costs the others nothing.

    What a node redirects it has not carried out, so that sending it on is safe. A command without a key goes where the
    one before it goes.
    """
    replies: list[Any] = [None] * len(commands)
    ways: dict[int, _Way] = {}
    away: dict[Node | None, RedisUnavailable] = {}
    way = _Way(cluster.entry)
    for place, command in enumerate(commands):
        key = key_of(command)
        if key is not None:
            if tag_of(key) is None:
                replies[place] = RedisRefused(f"Redis would refuse (CROSSSLOT): {UNTAGGED}", "CROSSSLOT")
                continue
            way = _Way(cluster.place_of(slot_of(key)))
        ways[place] = way
    for _ in range(HOPS):
        groups: dict[_Way, list[int]] = defaultdict(list)
        for place, way in ways.items():
            groups[way].append(place)
        ways.clear()
        if not groups:
            break
        await at_once([_sent(cluster, commands, exchange, *group, replies, ways, away) for group in groups.items()])
    return replies


async def _sent(
    cluster: ClusterMap,
    commands: Sequence[Command],
    exchange: Exchange,
    way: _Way,
    places: Sequence[int],
    replies: list[Any],
    ways: dict[int, _Way],
    away: dict[Node | None, RedisUnavailable],
) -> None:
    """Send some commands one way. Fills in their `replies`, the further `ways` of those that are not done, and who is
    `away`: until its failover is over, the others go on naming it."""
    sent = [commands[place] for place in places]
    try:
        if way.asking:
            found = (await exchange(way.place, [each for command in sent for each in (("ASKING",), command)]))[1::2]
        else:
            found = await exchange(way.place, sent)
    except RedisUnavailable as error:
        cluster.lost(way.place)
        away[way.place] = error
        for place in places:
            replies[place] = error
            # One that is slow is not given up for another: the time of the call is used up.
            if error.code == "unreachable" and cluster.entry != way.place:
                ways[place] = _Way(cluster.entry)
        return
    for place, reply in zip(places, found, strict=True):
        replies[place] = reply
        if isinstance(reply, Redirected) and (further := _further(cluster, commands[place], reply, way.place)):
            if further.place in away:
                replies[place] = away[further.place]
            else:
                ways[place] = further


def _further(cluster: ClusterMap, command: Command, told: Redirected, place: Node | None) -> _Way | None:
    host, port = told.node
    if not host:
        # The node knows no name of that one: the host is its own.
        host = place[0] if place else cluster.home_host
        if not host:
            return None
    if told.code == "MOVED":
        return _Way(cluster.learn(told.slot, (host, port)))
    if str(command[0]).upper() in ("EVAL", "EVALSHA"):
        # While a slot is moved its keys lie on both nodes, and a script that is let in sees half a queue.
        return None
    return _Way(cluster.known_as((host, port)), asking=True)
