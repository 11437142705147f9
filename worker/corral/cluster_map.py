"""Where the keys of a Redis Cluster live, as far as it is known: learned from the Cluster's own answers. Pure.

A node that is asked for a slot of another one names that one (MOVED); this is all that is needed, and an ACL user without
any right to CLUSTER learns it too. The other nodes are known so that one of them can be asked when the first is away.
"""

import binascii
import re
from collections.abc import Sequence
from typing import Any

from corral.url import Node

_SLOTS = 16384
_KEY_AT = {
    **dict.fromkeys(("EVAL", "EVALSHA", "FCALL"), 3),
    **dict.fromkeys(("XINFO", "OBJECT", "MEMORY"), 2),
}
_KEYLESS = frozenset(
    (
        *(
            "ACL",
            "ASKING",
            "AUTH",
            "CLIENT",
            "CLUSTER",
            "CONFIG",
            "DBSIZE",
            "ECHO",
            "FLUSHALL",
            "HELLO",
            "INFO",
            "PING",
        ),
        *("ROLE", "SCRIPT", "SELECT", "TIME", "WAIT"),
    )
)
_TAG = re.compile(rb"\{([^}]+)\}")


def key_of(command: Sequence[Any]) -> bytes | None:
    """The first key of a command; None when it has none. For SCAN: the pattern, all of whose keys have its hash tag."""
    name = str(command[0]).upper()
    if name in _KEYLESS:
        return None
    if name == "SCAN":
        words = [str(word).upper() for word in command[2::2]]
        place = 2 * words.index("MATCH") + 3 if "MATCH" in words else len(command)
    elif name in ("XREAD", "XREADGROUP"):
        place = [str(word).upper() for word in command].index("STREAMS") + 1
    else:
        place = _KEY_AT.get(name, 1)
    if place >= len(command):
        return None
    key = command[place]
    return key if isinstance(key, bytes) else str(key).encode(errors="surrogateescape")


def tag_of(key: bytes) -> bytes | None:
    """What stands between the first braces of a key: keys with the same tag live together."""
    start = key.find(b"{")
    found = _TAG.match(key, start) if start >= 0 else None
    return found[1] if found else None


def slot_of(key: bytes) -> int:
    """Which of the 16384 slots a key belongs to."""
    return binascii.crc_hqx(tag_of(key) or key, 0) % _SLOTS


class ClusterMap:
    """What is known of one Cluster. Until `found`, nothing says that there is one.

    A place is a node, or None: the address that the user gave, wherever it leads.
    """

    def __init__(self, home: Node | None) -> None:
        self.found = False
        self.greeted = False
        self._home = home
        self._places: dict[int, Node | None] = {}
        self._entries: list[Node | None] = [None]

    @property
    def home_host(self) -> str:
        """The host of the address that the user gave; empty when it has none."""
        return self._home[0] if self._home else ""

    @property
    def entry(self) -> Node | None:
        """Whom to ask for what nobody is known to have."""
        return self._entries[0]

    def place_of(self, slot: int) -> Node | None:
        """Who has a slot, or can tell who has."""
        return self._places.get(slot, self.entry)

    def learn(self, slot: int, node: Node) -> Node | None:
        """A slot has moved there. Gives the place by which that node is known."""
        place = self.known_as(node)
        self._places[slot] = place
        self._add(place)
        return place

    def learn_nodes(self, reply: Any) -> None:
        """From the answer to CLUSTER SLOTS: start, end and nodes (address, port, id) of each range."""
        for row in reply:
            for address, port, *_ in row[2:]:
                if address:
                    self._add(self.known_as((address.decode(), int(port))))

    def lost(self, place: Node | None) -> None:
        """That node did not answer: what it had may be another's now, and another one is to be asked."""
        self._places = {slot: had for slot, had in self._places.items() if had != place}
        if place == self.entry:
            self._entries.append(self._entries.pop(0))

    def known_as(self, node: Node) -> Node | None:
        """The place that a node is."""
        return None if node == self._home else node

    def _add(self, place: Node | None) -> None:
        if place not in self._entries:
            self._entries.append(place)
