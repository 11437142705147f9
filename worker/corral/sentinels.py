"""Redis behind Sentinel: whom to ask for the primary, and what their answers say.

Who asks gives the way to a sentinel, so that this serves connections with an event loop and without one.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from corral.errors import RedisRefused, RedisUnavailable
from corral.url import Node

ASK_S = 0.8
"""Seconds that one sentinel may take: three that are away must not use up the time of a read."""

Ask = Callable[[Node, bool, tuple[Any, ...]], Awaitable[Any]]
"""Asks a sentinel, with Redis' own user and password or without. Raises RedisUnavailable, RedisRefused."""


class Sentinels:
    """The sentinels of one primary; who answered last is asked first."""

    def __init__(self, nodes: tuple[Node, ...], master: str) -> None:
        self.master = master
        self._nodes = list(nodes)

    @property
    def where(self) -> str:
        """Their addresses."""
        return ", ".join(sorted(f"{host}:{port}" for host, port in self._nodes))

    async def primary(self, ask: Ask) -> Node:
        """Where the primary is now. Raises RedisUnavailable: none answered, or none knows it; RedisRefused: no login."""
        failures: list[RedisUnavailable] = []
        for node in list(self._nodes):
            try:
                found = await self._asked(ask, node)
            except RedisUnavailable as error:
                failures.append(error)
                continue
            if found is not None:
                self._nodes.remove(node)
                self._nodes.insert(0, node)
                return found
        if len(failures) < len(self._nodes):
            what = f"the sentinels at {self.where} watch no primary called {self.master!r}"
            raise RedisUnavailable(what, "correct the name; SENTINEL MASTERS tells those they know", code="master")
        refusal = next((error for error in failures if isinstance(error, RedisRefused)), None)
        if refusal is not None:
            raise self._refused(refusal)
        what = f"no sentinel answered at {self.where} ({failures[-1].what})"
        raise RedisUnavailable(what, "are they running, and are their addresses right?", code="sentinels")

    def doubt(self) -> None:
        """Who answered last was wrong: ask another one first."""
        self._nodes.append(self._nodes.pop(0))

    async def _asked(self, ask: Ask, node: Node) -> Node | None:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master)
        try:
            reply = await ask(node, False, question)
        except RedisRefused as error:
            if error.code not in ("NOAUTH", "NOPERM"):
                raise
            reply = await ask(node, True, question)
        return None if reply is None else (reply[0].decode(), int(reply[1]))

    def _refused(self, error: RedisRefused) -> RedisRefused:
        what = f"the sentinels at {self.where} refused ({error.code})"
        if error.code in ("NOAUTH", "WRONGPASS"):
            return RedisRefused(f"{what}: they must take the user and password of Redis, or none", "sentinel-login")
        if error.code == "NOPERM":
            cure = "there the user needs `+@connection +sentinel|get-master-addr-by-name`"
            return RedisRefused(f"{what}: {cure}", "sentinel-permission")
        return RedisRefused(f"{what}: are these sentinels, and not Redis itself?", "sentinel-none")
