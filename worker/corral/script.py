"""Lua scripts: how one is put together, sent and called. The only room that loads Lua.

A script names what it includes by comment lines `-- include: NAME`; each paragraph of `lua/includes` lands in a script
once. Redis keeps scripts by their SHA-1; after its restart the text is sent again.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from corral.errors import RedisRefused
from corral.keys import Keys

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


class Caller(Protocol):
    """Whoever carries a command to Redis: a Line or Lines."""

    async def call(self, *command: Any, timeout: float = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """Read `lua/NAME.lua` with everything it includes."""
    lua = files("corral") / "lua"
    included: list[str] = []
    paragraphs: list[str] = []

    def include(source: str) -> None:
        for part in _INCLUDE.findall(source):
            if part not in included:
                included.append(part)
                text = (lua / "includes" / f"{part}.lua").read_text("utf-8")
                include(text)
                paragraphs.append(text)

    source = (lua / f"{name}.lua").read_text("utf-8")
    include(source)
    text = "\n".join([*paragraphs, source])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


async def send(caller: Caller, *names: str) -> None:
    """Send scripts to Redis, which compiles them. Raises RedisUnavailable; RedisRefused without permission."""
    for name in names:
        await caller.call("SCRIPT", "LOAD", load(name).text)


async def run(caller: Caller, name: str, keys: Keys, *args: Any) -> Any:
    """Call a script on one queue and give Redis' reply. Raises RedisUnavailable, RedisRefused."""
    script = load(name)
    try:
        return await caller.call("EVALSHA", script.sha, 1, keys.base, *args)
    except RedisRefused as error:
        if error.code != "NOSCRIPT":
            raise
    return await caller.call("EVAL", script.text, 1, keys.base, *args)


def to_text(value: bytes) -> str:
    """An id or a sentence of a script's reply."""
    # An id that is not UTF-8 cannot be sent back as it was; made readable, it is at least told.
    return value.decode(errors="backslashreplace")


def pairs(reply: Any) -> dict[bytes, bytes]:
    """A hash as Redis gives it: a dict with RESP 3, else its fields and values in turn."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
