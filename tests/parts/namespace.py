"""One namespace of a control plane, read and written over its API: a kubectl for every poll would keep a core busy."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_plane import AuditEvent, ControlPlane
    from kubectl import Manifest

OPERATOR = ("corral-operator", "kopf")
"""How the user agents of the operator begin: its own and the watch's."""

_BASES = {"workerpools": "apis/corral.dev/v1alpha1", "deployments": "apis/apps/v1"}
_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_WITHIN = 10.0


class Namespace:
    """As the administrator. Any thread may use it."""

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        self.name = name
        self._control_plane = control_plane
        self._trusted = ssl.create_default_context(cafile=str(control_plane.ca))

    # --- objects ---

    def find(self, resource: str, name: str) -> Manifest | None:
        """One object; None when there is none."""
        try:
            found: Manifest = self._call("GET", self._path(resource, name))
            return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def every(self, resource: str) -> list[Manifest]:
        """All of a kind."""
        rows: list[Manifest] = self._call("GET", self._path(resource))["items"]
        return rows

    def write_status(self, resource: str, name: str, status: Manifest) -> None:
        """Put these fields of the status in the place of what is there."""
        self._call("PATCH", f"{self._path(resource, name)}/status", {"status": status})

    # --- what the tests ask most ---

    def pool(self, name: str = "emails") -> Manifest:
        """A pool; an AssertionError when it is not there."""
        found = self.find("workerpools", name)
        assert found is not None, f"there is no pool {name}"
        return found

    def deployment(self, name: str = "emails") -> Manifest:
        """A Deployment; an AssertionError when it is not there."""
        found = self.find("deployments", name)
        assert found is not None, f"there is no Deployment {name}"
        return found

    def replicas(self, name: str = "emails") -> int | None:
        """What a Deployment asks for; None when there is none."""
        found = self.find("deployments", name)
        return None if found is None else int(found["spec"]["replicas"])

    def container(self, name: str = "emails") -> Manifest:
        """The container of a Deployment that is called `worker`."""
        rows = self.deployment(name)["spec"]["template"]["spec"]["containers"]
        return next(dict(row) for row in rows if row["name"] == "worker")

    def status(self, name: str = "emails") -> Manifest:
        """A pool's; empty when it has none yet."""
        status: Manifest = self.pool(name).get("status") or {}
        return status

    def condition(self, kind: str, name: str = "emails") -> tuple[str, str, str] | None:
        """Status, reason and message of one condition of a pool."""
        rows = self.status(name).get("conditions") or ()
        found = next((row for row in rows if row["type"] == kind), None)
        return None if found is None else (found["status"], found["reason"], found["message"])

    def is_told(self, kind: str, status: str, reason: str | None = None, name: str = "emails") -> bool:
        """Whether a condition stands so; an AssertionError with what it says when it does not."""
        found = self.condition(kind, name)
        assert found is not None, f"{name} has no condition {kind}"
        assert found[0] == status, f"{name}: {kind} is {found}"
        assert reason in (None, found[1]), f"{name}: {kind} is {found}"
        return True

    def events(self, name: str = "emails", kind: str = "WorkerPool") -> list[tuple[str, str]]:
        """Reason and message of the events about an object, oldest first."""
        rows = [row for row in self.every("events") if row["involvedObject"]["name"] == name]
        rows = [row for row in rows if row["involvedObject"]["kind"] == kind]
        rows.sort(key=lambda row: int(row["metadata"]["resourceVersion"]))
        return [(row["reason"], row["message"]) for row in rows]

    # --- the audit log ---

    def requests(self, since: int = 0) -> list[AuditEvent]:
        """What an operator asked of this namespace, oldest first; `since`: a `mark`."""
        return [
            event
            for event in self._control_plane.audit()[since:]
            if event.get("objectRef", {}).get("namespace") == self.name
            if event.get("userAgent", "").startswith(OPERATOR)
        ]

    def writes(self, since: int = 0) -> list[AuditEvent]:
        """Those of them that wrote, or tried to."""
        return [event for event in self.requests(since) if event["verb"] in _WRITES]

    def scalings(self, name: str = "emails", since: int = 0) -> list[AuditEvent]:
        """Writes of the replicas of one Deployment."""
        rows = [event for event in self.writes(since) if event["objectRef"].get("subresource") == "scale"]
        return [event for event in rows if event["objectRef"]["name"] == name]

    def mark(self) -> int:
        """This moment in the audit log."""
        return len(self._control_plane.audit())

    # --- the way there ---

    def _path(self, resource: str, name: str | None = None) -> str:
        path = f"{_BASES.get(resource, 'api/v1')}/namespaces/{self.name}/{resource}"
        return path if name is None else f"{path}/{name}"

    def _call(self, verb: str, path: str, body: Manifest | None = None) -> Any:
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        request = urllib.request.Request(
            f"{self._control_plane.url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._control_plane.token}", "Content-Type": kind},
            method=verb,
        )
        with urllib.request.urlopen(request, timeout=_WITHIN, context=self._trusted) as answer:
            return json.loads(answer.read())
