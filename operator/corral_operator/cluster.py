"""What the operator reads and writes in a cluster, one function each. Raises ApiError.

    reads     pools and Deployments (lists), Secrets and Deployments by name, the pods of one Deployment, autoscalers
    writes    the rendered Deployment (server-side apply), its replicas (scale subresource), the deletion cost of its
              pods, the pool's status, events

Permissions for exactly this are in the chart's operator role.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from corral_operator.api import APPLY, MERGE, Api
from corral_operator.autoscaler import Autoscaler
from corral_operator.deployment import APPLIER, SCALER, Deployment, Key, read_deployment, version_of
from corral_operator.pods import DELETION_COST
from corral_operator.refusal import ApiError
from corral_operator.spec import API_VERSION, KIND
from corral_operator.stamps import stamp
from corral_operator.table import Pool, read_pool

PAGE = 500
"""Objects per answer of a list."""

_AUTOSCALERS = (
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("keda.sh/v1alpha1", "scaledobjects", "ScaledObject"),
)

LONGEST_NOTE = 1000
"""Characters of an event; the API server takes 1,024 bytes."""

WRITE_TIMEOUT = 5.0
"""Seconds that a write may take: with a Lease's 6 s for beginning one, over before another operator may write."""


class Cluster:
    """`namespaces`: only these; empty is all of them. With `writes` False nothing is ever written (a dry run).

    `in_cluster`: this process is a pod of the cluster. `leads` is asked right before each write: False while another
    operator is the one that writes.
    """

    def __init__(
        self,
        api: Api,
        namespaces: Sequence[str] = (),
        *,
        writes: bool = True,
        in_cluster: bool = False,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api = api
        self._namespaces = tuple(namespaces)
        self._writes = writes
        self._leads = leads
        self.in_cluster = in_cluster

    @property
    def writes(self) -> bool:
        """Whether anything may be written at this moment."""
        return self._writes and self._leads()

    # --- reads ---

    async def pools(self) -> tuple[list[Pool], int]:
        """All pools, and the version that the list is of."""
        bodies, version = await self._list(f"/apis/{API_VERSION}", "workerpools")
        return [read_pool(body) for body in bodies], version

    async def deployments(self) -> tuple[list[Deployment], int]:
        """All Deployments, and the version that the list is of."""
        bodies, version = await self._list("/apis/apps/v1", "deployments")
        return [read_deployment(body) for body in bodies], version

    async def deployment(self, key: Key) -> Deployment | None:
        """One Deployment; None when there is none."""
        try:
            return read_deployment(await self._api.call("GET", _deployment(key), "deployments"))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def secret(self, key: Key) -> Mapping[str, str]:
        """The content of a Secret, in base64."""
        path = f"/api/v1/namespaces/{key.namespace}/secrets/{key.name}"
        return (await self._api.call("GET", path, "secrets")).get("data") or {}

    async def pods(self, namespace: str, selector: str) -> list[Mapping[str, Any]]:
        """The pods that a selector selects."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        return list(_rows(await self._api.call("GET", path, "pods", query={"labelSelector": selector})))

    async def autoscalers(self, namespace: str) -> list[Autoscaler]:
        """HorizontalPodAutoscalers, and KEDA's ScaledObjects where there are any, that scale a Deployment."""
        found = []
        for group, resource, kind in _AUTOSCALERS:
            path = f"/apis/{group}/namespaces/{namespace}/{resource}"
            try:
                rows, _ = await self._pages(path, resource)
            except ApiError as error:
                if error.code != 404:  # nobody has installed KEDA
                    raise
                continue
            for body in rows:
                target = body["spec"].get("scaleTargetRef") or {}
                if target.get("kind", "Deployment") == "Deployment" and target.get("name"):
                    found.append(Autoscaler(kind, body["metadata"]["name"], target["name"]))
        return found

    async def _list(self, base: str, resource: str) -> tuple[list[dict[str, Any]], int]:
        bodies: list[dict[str, Any]] = []
        version = 0
        places = [f"/namespaces/{name}" for name in self._namespaces] or [""]
        for place in places:
            rows, at = await self._pages(f"{base}{place}/{resource}", resource)
            bodies += rows
            # Of several lists, the oldest: what it does not know may be newer than it.
            version = min(version, at) if version else at
        return bodies, version

    async def _pages(self, path: str, resource: str) -> tuple[Iterable[dict[str, Any]], int]:
        rows: list[dict[str, Any]] = []
        query = {"limit": str(PAGE)}
        while True:
            answer = await self._api.call("GET", path, resource, query=query)
            rows += _rows(answer)
            if not (more := answer["metadata"].get("continue")):
                return rows, version_of(answer["metadata"])
            query["continue"] = more

    # --- writes ---

    async def create(self, manifest: Mapping[str, Any]) -> Deployment:
        """Make a rendered Deployment, with no replicas yet. 409 when a foreign one of the name came in between.

        The replicas get an owner of their own at once: a later render without them would bring back the default of 1.
        """
        body = {**manifest, "spec": {**manifest["spec"], "replicas": 0}}
        made = read_deployment(await self._apply(body, APPLIER, force=False))
        return await self.claim(made)

    async def update(self, manifest: Mapping[str, Any], known: Deployment) -> Deployment:
        """Bring the rendered part of a Deployment of ours up to date; 409 when it is not that Deployment any more."""
        if not known.replicas_claimed:
            known = await self.claim(known)
        body = {**manifest, "metadata": {**manifest["metadata"], "uid": known.uid}}
        return read_deployment(await self._apply(body, APPLIER, force=True))

    async def claim(self, known: Deployment) -> Deployment:
        """Own the replicas, as many as there are, apart from the render."""
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"namespace": known.key.namespace, "name": known.key.name, "uid": known.uid},
            "spec": {"replicas": known.replicas},
        }
        return read_deployment(await self._apply(body, SCALER, force=True))

    async def scale(self, key: Key, replicas: int, uid: str) -> int:
        """Ask for so many replicas; gives the Deployment's new version. 409 when it is not that Deployment any more."""
        answer = await self._write(
            "PATCH",
            f"{_deployment(key)}/scale",
            "deployments/scale",
            query={"fieldManager": SCALER},
            body={"metadata": {"uid": uid}, "spec": {"replicas": replicas}},
            content_type=MERGE,
        )
        return version_of(answer["metadata"])

    async def mark(self, namespace: str, pod: str, uid: str, cost: str | None) -> None:
        """Give a pod this deletion cost, or take it away with None. A pod that is gone is left at that.

        The uid keeps it from a pod that has taken the name since.
        """
        try:
            await self._write(
                "PATCH",
                f"/api/v1/namespaces/{namespace}/pods/{pod}",
                "pods",
                query={"fieldManager": SCALER},
                body={"metadata": {"uid": uid, "annotations": {DELETION_COST: cost}}},
                content_type=MERGE,
            )
        except ApiError as error:
            if error.code != 404 and not _another(error):
                raise

    async def write_status(self, pool: Pool, status: Mapping[str, Any]) -> Pool:
        """Replace the whole status; 409 when it is not that pool any more."""
        answer = await self._write(
            "PATCH",
            f"/apis/{API_VERSION}/namespaces/{pool.key.namespace}/workerpools/{pool.key.name}/status",
            "workerpools/status",
            query={"fieldManager": APPLIER, "force": "true"},
            body={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"namespace": pool.key.namespace, "name": pool.key.name, "uid": pool.uid},
                "status": status,
            },
            content_type=APPLY,
        )
        return read_pool(answer)

    async def tell(self, pool: Pool, reason: str, text: str, *, warning: bool = False) -> None:
        """An event on the pool, for `kubectl describe`."""
        now = stamp(time.time() * 1000)
        await self._write(
            "POST",
            f"/api/v1/namespaces/{pool.key.namespace}/events",
            "events",
            body={
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{pool.key.name}.{uuid4().hex[:16]}", "namespace": pool.key.namespace},
                "involvedObject": {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "namespace": pool.key.namespace,
                    "name": pool.key.name,
                    "uid": pool.uid,
                    "resourceVersion": str(pool.version),
                },
                "type": "Warning" if warning else "Normal",
                "reason": reason,
                "message": text[:LONGEST_NOTE],
                "source": {"component": "corral-operator"},
                "reportingComponent": "corral.dev/operator",
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )

    async def _apply(self, body: Mapping[str, Any], manager: str, *, force: bool) -> Any:
        metadata = body["metadata"]
        return await self._write(
            "PATCH",
            _deployment(Key(metadata["namespace"], metadata["name"])),
            "deployments",
            query={"fieldManager": manager, "force": "true" if force else "false"},
            body=body,
            content_type=APPLY,
        )

    async def _write(self, verb: str, path: str, resource: str, **what: Any) -> Any:
        return await self._api.call(verb, path, resource, within=WRITE_TIMEOUT, guard=self._check, **what)

    def _check(self) -> None:
        if not self.writes:
            raise ApiError(409, "NotLeading", "another operator may hold the lease by now; nothing was written")


def _deployment(key: Key) -> str:
    return f"/apis/apps/v1/namespaces/{key.namespace}/deployments/{key.name}"


def _another(error: ApiError) -> bool:
    """The pod of that name has another uid."""
    return error.code == 422 and "metadata.uid" in error.text


def _rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = answer.get("items")
    if not isinstance(rows, list):
        raise ApiError(200, "NotUnderstood", "the API server was asked for a list, and its answer has no items")
    return rows
