"""The objects of a pretended API server: versions, generations, owners of fields, and what server-side apply does.

Good enough for what the operator sends. A list within an object is one field here (a real server merges some by name),
and nothing is validated.
"""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Body = dict[str, Any]
Path = tuple[str, ...]
Manager = tuple[str, str]
"""Name, and Apply or Update."""

CREATED_AT = "2026-01-01T00:00:00Z"

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


class At(NamedTuple):
    """Where an object is: `workerpools`, `deployments`, `secrets`, `pods` or `events`."""

    resource: str
    namespace: str
    name: str


class Change(NamedTuple):
    """What a watch is told: ADDED, MODIFIED or DELETED, and the object as it was then."""

    kind: str
    at: At
    version: int
    body: Body


class RefusedError(Exception):
    """The answer of the API server that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Objects:
    """All of them. `told` are called with every change, at once."""

    def __init__(self) -> None:
        self.version = 1000
        self.history: list[Change] = []
        self.told: list[Callable[[Change], None]] = []
        self._rows: dict[At, Body] = {}
        self._owned: dict[At, dict[Manager, set[Path]]] = {}
        self._numbers = itertools.count(1)

    # --- looks ---

    def get(self, at: At) -> Body:
        if at not in self._rows:
            raise RefusedError(404, "NotFound", f'{at.resource} "{at.name}" not found')
        body = deepcopy(self._rows[at])
        body["metadata"]["managedFields"] = [
            {"manager": name, "operation": operation, "fieldsV1": _fields_v1(paths)}
            for (name, operation), paths in self._owned[at].items()
            if paths
        ]
        return body

    def has(self, at: At) -> bool:
        return at in self._rows

    def list(self, resource: str, namespace: str | None = None) -> list[Body]:
        return [
            self.get(at) for at in sorted(self._rows) if at.resource == resource and namespace in (None, at.namespace)
        ]

    def owner_uids(self, resource: str) -> dict[At, set[str]]:
        """Who owns each object."""
        return {
            at: {row["uid"] for row in body["metadata"].get("ownerReferences", ())}
            for at, body in self._rows.items()
            if at.resource == resource
        }

    def uids(self, resource: str) -> set[str]:
        return {body["metadata"]["uid"] for at, body in self._rows.items() if at.resource == resource}

    # --- changes ---

    def create(self, resource: str, body: Body, manager: str = "kubectl") -> Body:
        body = deepcopy(body)
        metadata = body["metadata"]
        at = At(resource, metadata.setdefault("namespace", "default"), metadata["name"])
        if at in self._rows:
            raise RefusedError(409, "AlreadyExists", f'{resource} "{at.name}" already exists')
        self._owned[at] = {(manager, "Update"): {path for path, _ in _leaves(body)}}
        metadata |= {"uid": f"uid-{next(self._numbers)}", "generation": 1}
        metadata.setdefault("creationTimestamp", CREATED_AT)
        if resource == "deployments":
            body.setdefault("spec", {}).setdefault("replicas", 1)
        self._rows[at] = body
        self._note("ADDED", at)
        return self.get(at)

    def edit(self, at: At, edit: Callable[[Body], object], manager: str | None = None) -> Body:
        """`edit` changes the body it is given. Who changes nothing changes no version. `manager` then owns the rest."""
        before = self.get(at)
        after = deepcopy(self._rows[at])
        edit(after)
        return self._became(at, before, after, None if manager is None else (manager, "Update"))

    def replace(self, at: At, body: Body, manager: str) -> Body:
        """A PUT, as Leases take it: it makes what is not there, and else has to name the version that it replaces."""
        version = body["metadata"].get("resourceVersion")
        if at not in self._rows:
            return self.create(at.resource, body, manager)
        if not version:
            raise RefusedError(422, "Invalid", "metadata.resourceVersion: must be specified for an update")
        if self.get(at)["metadata"]["resourceVersion"] != version:
            raise RefusedError(409, "Conflict", "the object has been modified; please apply your changes to it")

        def put(there: Body) -> None:
            there["spec"] = deepcopy(body["spec"])

        return self.edit(at, put, manager)

    def apply(self, resource: str, body: Body, manager: str, *, force: bool, status: bool = False) -> Body:
        """Server-side apply; of the status alone with `status`."""
        metadata = body["metadata"]
        at = At(resource, metadata["namespace"], metadata["name"])
        if (uid := metadata.get("uid")) and (at not in self._rows or self._rows[at]["metadata"]["uid"] != uid):
            if status and at not in self._rows:
                self.get(at)
            raise RefusedError(409, "Conflict", f"Precondition failed: UID in precondition: {uid}")
        who = (manager, "Apply")
        if at not in self._rows:
            if status:
                self.get(at)
            self.create(resource, body, manager)
            self._owned[at] = {who: self._owned[at][manager, "Update"]}
            return self.get(at)
        before = self.get(at)
        wanted = {path: value for path, value in _leaves(body) if (path[0] == "status") == status}
        after = deepcopy(self._rows[at])
        self._check_conflicts(at, who, wanted, force=force)
        owned = self._owned[at]
        others = {path for name, paths in owned.items() if name != who for path in paths}
        for path in owned.get(who, set()) - wanted.keys() - others:
            if (path[0] == "status") == status:
                _remove(after, path)
        for path, value in wanted.items():
            _put(after, path, value)
        if resource == "deployments":
            after["spec"].setdefault("replicas", 1)
        kept = {path for path in owned.get(who, set()) if (path[0] == "status") != status}
        owned[who] = kept | wanted.keys()
        return self._became(at, before, after, who)

    def delete(self, at: At) -> None:
        self.get(at)
        self.version += 1
        body = self.get(at)
        body["metadata"]["resourceVersion"] = str(self.version)
        del self._rows[at], self._owned[at]
        self._tell(Change("DELETED", at, self.version, body))

    def _check_conflicts(self, at: At, who: Manager, wanted: dict[Path, Any], *, force: bool) -> None:
        body, owned = self._rows[at], self._owned[at]
        for other, paths in owned.items():
            taken = {path for path in paths & wanted.keys() if other != who and _value(body, path) != wanted[path]}
            if taken and not force:
                fields = ", ".join("." + ".".join(path) for path in sorted(taken))
                raise RefusedError(409, "Conflict", f'Apply failed with conflicts with "{other[0]}": {fields}')
            owned[other] = paths - taken

    def _became(self, at: At, before: Body, after: Body, who: Manager | None) -> Body:
        changed = {path for path, value in _leaves(after) if _value(before, path) != value}
        for other, paths in self._owned[at].items():
            if other != who:
                self._owned[at][other] = paths - changed
        if who is not None and who[1] == "Update":
            self._owned[at].setdefault(who, set()).update(changed)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        self._rows[at] = after
        if (
            {**self.get(at), "metadata": None} != {**before, "metadata": None}
            or changed
            or (self.get(at)["metadata"] != before["metadata"])
        ):
            self._note("MODIFIED", at)
        return self.get(at)

    def _note(self, kind: str, at: At) -> None:
        self.version += 1
        self._rows[at]["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Change(kind, at, self.version, self.get(at)))

    def _tell(self, change: Change) -> None:
        self.history.append(change)
        for listener in self.told:
            listener(change)


def _leaves(value: Body, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, inner in value.items():
        here = (*path, key)
        if not path and key in ("apiVersion", "kind"):
            continue
        if path == ("metadata",) and key in _IDENTITY:
            continue
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, here)
        else:
            yield here, inner


def _value(body: Any, path: Path) -> Any:
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def _put(body: Body, path: Path, value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(body.get(key), dict):
            body[key] = {}
        body = body[key]
    body[path[-1]] = deepcopy(value)


def _remove(body: Body, path: Path) -> None:
    """With the objects around it that are empty then."""
    inner = body.get(path[0])
    if len(path) > 1 and isinstance(inner, dict):
        _remove(inner, path[1:])
        if inner:
            return
    body.pop(path[0], None)


def _fields_v1(paths: set[Path]) -> Body:
    told: Body = {}
    for path in paths:
        inner = told
        for key in path:
            inner = inner.setdefault(f"f:{key}", {})
    return told
