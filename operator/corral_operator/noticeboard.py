"""What `corral up` tells other processes of this machine: its pools with their status, in a file of its own folder.

It stands between the loop and the view: whatever is shown is written as well, in the form of an API server's objects.
Pod templates are left out: their environment may hold passwords, and nobody asks for them.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral_operator.local_run import LocalView
from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica
from corral_operator.stamps import stamp
from corral_operator.status import status_of

if TYPE_CHECKING:
    from corral_operator.deployment import Key

FILE = "pools.json"


class Noticeboard:
    """`folder` is readable for this user alone. A file that cannot be written is left aside: jobs matter more."""

    def __init__(self, folder: Path, view: LocalView, began_ms: float) -> None:
        self._path = folder / FILE
        self._view = view
        self._began = stamp(began_ms)
        self._statuses: dict[Key, Mapping[str, Any]] = {}
        self._versions: dict[Key, int] = {}
        self._written: str | None = None

    def tell(self, text: str) -> None:
        """As the view does."""
        self._view.tell(text)

    def show(self, rows: Sequence[tuple[PoolState, Sequence[Replica]]]) -> None:
        """As the view does; and for others."""
        self._view.show(rows)
        text = json.dumps({"pid": os.getpid(), "pools": [self._body(state) for state, _ in rows]})
        if text == self._written:
            return
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._written = text

    def _body(self, state: PoolState) -> dict[str, Any]:
        before = self._statuses.get(state.key, {})
        status = before if state.report is None else status_of(state.report, before)
        if status != before:
            self._statuses[state.key] = status
            self._versions[state.key] = self._versions.get(state.key, 0) + 1
        return {
            "metadata": {
                "namespace": state.key.namespace,
                "name": state.key.name,
                "generation": state.pool.generation,
                "resourceVersion": str(self._versions.get(state.key, 0)),
                "creationTimestamp": self._began,
            },
            "spec": {**state.pool.spec, "template": {}},
            "status": status,
        }
