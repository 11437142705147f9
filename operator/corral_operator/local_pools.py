"""The pools that a `corral up` of this machine runs, as it tells of them itself. Raises CorralError."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.errors import CorralError
from corral_operator.deployment import Key
from corral_operator.letterbox import post
from corral_operator.noticeboard import FILE

FOLDERS = "corral-up-*"

ANSWER_S = 10.0
"""Seconds that a `corral up` may take to do what it is asked."""

_LOOK_S = 0.1

Body = Mapping[str, Any]


class LocalPools:
    """The pools of one `corral up`, by the folder that it names when it begins."""

    namespace = None
    """Who names no namespace means all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def list(self, namespace: str | None) -> list[Body]:
        """As they are now."""
        told = _read(self._folder / FILE)
        if told is None:
            raise CorralError(f"no `corral up` runs in {self._folder} any more")
        return [body for body in told if namespace in (None, body["metadata"]["namespace"])]

    async def get(self, key: Key) -> Body:
        """One of them; the namespace of the key may be empty."""
        for body in await self.list(key.namespace or None):
            if body["metadata"]["name"] == key.name:
                return body
        within = f" in the namespace {key.namespace}" if key.namespace else ""
        raise CorralError(f"there is no WorkerPool {key.name}{within}; `corral pools --up` shows all")

    async def make_automatic(self, key: Key) -> None:
        """Take the number away that its file set, for as long as it runs."""
        try:
            post(self._folder, key)
        except OSError as error:
            raise CorralError(f"{self._folder} cannot be written: {error.strerror}") from None
        until = time.monotonic() + ANSWER_S
        while (await self.get(key))["spec"].get("replicas") is not None:
            if time.monotonic() > until:
                raise CorralError(
                    f"the `corral up` of {self._folder} did not answer within {ANSWER_S:g} s; does it end?"
                )
            await asyncio.sleep(_LOOK_S)


def find_local_pools(folder: str) -> LocalPools:
    """Those of a folder; of the one that runs when no folder is given."""
    if folder:
        return LocalPools(Path(folder))
    running = [path.parent for path in Path(tempfile.gettempdir()).glob(f"{FOLDERS}/{FILE}") if _read(path) is not None]
    if not running:
        raise CorralError(f"no `corral up` of yours runs on this machine: there is none in {tempfile.gettempdir()}")
    if len(running) > 1:
        folders = ", ".join(sorted(map(str, running)))
        raise CorralError(f"more than one `corral up` runs; name one with --up FOLDER: {folders}")
    return LocalPools(running[0])


def _read(path: Path) -> list[Body] | None:
    """What is told; None when nobody of ours tells it, or does not any more."""
    try:
        if path.stat().st_uid != os.getuid():
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
        os.kill(told["pid"], 0)
        pools: list[Body] = told["pools"]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return pools
