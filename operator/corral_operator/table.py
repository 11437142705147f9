"""What the watch has told so far: the pools and the Deployments of the cluster, newest version of each.

Three sources fill it, in any order: the list at the start, the watch, and the answers to our own writes. The resource
version says which is the newest. A list now and then finds what the watch missed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from corral_operator.deployment import Deployment, Key, version_of


@dataclass(frozen=True, slots=True)
class Pool:
    """A WorkerPool as the API server holds it; `spec` and `status` unread."""

    key: Key
    uid: str
    version: int
    generation: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    deleting: bool = False
    """It will vanish as soon as what it owns has; nothing may be made for it any more."""


def read_pool(body: Mapping[str, Any]) -> Pool:
    """From the API server's object."""
    metadata = body["metadata"]
    return Pool(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        version=version_of(metadata),
        generation=metadata.get("generation") or 0,
        spec=body.get("spec") or {},
        status=body.get("status") or {},
        deleting=bool(metadata.get("deletionTimestamp")),
    )


class _Row(Protocol):
    @property
    def key(self) -> Key: ...
    @property
    def uid(self) -> str: ...
    @property
    def version(self) -> int: ...


Row = TypeVar("Row", bound=_Row)


class Rows(Generic[Row]):
    """The newest version of each object of one kind."""

    def __init__(self) -> None:
        self._rows: dict[Key, Row] = {}
        # Lately deleted: what a slow list still says of them does not bring them back.
        self._gone: dict[str, int] = {}

    def get(self, key: Key) -> Row | None:
        """None when there is none."""
        return self._rows.get(key)

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, row: Row) -> bool:
        """Take news in; False when they are no newer than what is known.

        Of one version there may be two: what a write of ours was taken to have made of it, and then the API server's word.
        """
        known = self._rows.get(row.key)
        if row.uid in self._gone or (known is not None and (row.version < known.version or row == known)):
            return False
        self._rows[row.key] = row
        return True

    def drop(self, key: Key, uid: str, version: int) -> bool:
        """It was deleted; False when another of this name is there by now."""
        self._gone[uid] = version
        known = self._rows.get(key)
        if known is None or known.uid != uid:
            return False
        del self._rows[key]
        return True

    def resync(self, rows: Iterable[Row], version: int) -> tuple[Key, ...]:
        """Take a whole list in, as of `version`; gives the keys of what has vanished unseen."""
        listed = {row.uid: row for row in rows}
        for row in listed.values():
            self.put(row)
        lost = [row for row in self._rows.values() if row.uid not in listed and row.version <= version]
        for row in lost:
            self.drop(row.key, row.uid, version)
        self._gone = {uid: gone for uid, gone in self._gone.items() if gone >= version}
        return tuple(row.key for row in lost)


class Table:
    """Both kinds."""

    def __init__(self) -> None:
        self.pools: Rows[Pool] = Rows()
        self.deployments: Rows[Deployment] = Rows()
