"""A pretended API server on 127.0.0.1, for what a real one cannot be made to say: refusals, silence, garbage.

It speaks HTTP like a real one: lists in pages, watches, server-side apply, the scale and status subresources. With
`starts_pods` (the default) it also does a Deployment controller's work, at once: pods are ready when they are made.
Deployments whose owner is gone are collected.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web

from kube_objects import At, Change, Objects, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from kube_objects import Body

MERGE = "application/merge-patch+json"
TOKEN = "token-of-the-operator"
POOLS, API = "workerpools", "corral.dev/v1alpha1"
_GROUPS = {
    "": ("v1", ("secrets", "pods", "events", "namespaces")),
    "apps": ("v1", ("deployments",)),
    "corral.dev": ("v1alpha1", (POOLS,)),
    "coordination.k8s.io": ("v1", ("leases",)),
    "autoscaling": ("v2", ("horizontalpodautoscalers",)),
    # kopf waits until it has seen that there are these, and namespaces.
    "apiextensions.k8s.io": ("v1", ("customresourcedefinitions",)),
}
_KINDS = {
    POOLS: "WorkerPool",
    "deployments": "Deployment",
    "secrets": "Secret",
    "pods": "Pod",
    "events": "Event",
    "leases": "Lease",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "scaledobjects": "ScaledObject",
    "namespaces": "Namespace",
    "customresourcedefinitions": "CustomResourceDefinition",
}


@dataclass(frozen=True)
class Call:
    """One request that came in; a watch is of the verb WATCH. `who`: the client that `kubeconfig_of` was made for."""

    verb: str
    resource: str
    name: str | None
    body: Any
    at_s: float
    who: str = ""


@dataclass
class Fault:
    """What calls of a verb on a resource get in place of an answer. None for either means all; watches are left alone.

    `status` with a Status object of `message`; or `body` as it is; or `hang`; or `drop` (the connection, half way).
    """

    verb: str | None = None
    resource: str | None = None
    status: int = 200
    message: str = "because the test says so"
    retry_after: int | None = None
    body: bytes | None = None
    hang: bool = False
    drop: bool = False
    name: str | None = None
    who: str | None = None
    late: bool = False
    """What it asks for is done all the same; only the answer is spoilt."""

    def hits(self, call: Call) -> bool:
        return (
            self.verb in (None, call.verb)
            and call.verb != "WATCH"
            and self.resource in (None, call.resource)
            and self.name in (None, call.name)
            and self.who in (None, call.who)
        )


@dataclass
class KubeMock:
    """The server; an async context manager. `kubeconfig` says where it is."""

    kubeconfig: Path
    objects: Objects = field(default_factory=Objects)
    starts_pods: bool = True
    delay_s: float = 0.0
    """Seconds that every answer takes, but for watches."""
    under_way: int = 0
    """Calls that wait for their answer."""
    keda: bool = False
    """It is installed; else nobody knows its resources."""
    calls: list[Call] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _port: int = 0
    _watches: set[asyncio.Queue[Change]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self.objects.told.append(self._told)
        await self.open()
        self.kubeconfig.write_text(self._config(TOKEN))
        return self

    def _config(self, token: str) -> str:
        config = {
            "clusters": [{"name": "mock", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
            "users": [{"name": "mock", "user": {"token": token}}],
            "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock"}}],
            "current-context": "mock",
        }
        return yaml.safe_dump(config)

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def shut(self) -> None:
        """Refuse connections, and end those that are there."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- what a test does and asks ---

    @property
    def port(self) -> int:
        return self._port

    def kubeconfig_of(self, who: str) -> Path:
        """For a client whose calls are to be told from those of others."""
        path = self.kubeconfig.with_name(f"kubeconfig-{who}")
        path.write_text(self._config(f"{TOKEN}-{who}"))
        return path

    @contextmanager
    def fault(self, verb: str | None = None, resource: str | None = None, **what: Any) -> Iterator[Fault]:
        """For the length of the block; see Fault."""
        fault = Fault(verb, resource, **what)
        self._faults.append(fault)
        try:
            yield fault
        finally:
            self.heal()

    def heal(self) -> None:
        """Answer as one should from now on."""
        self._faults.clear()

    def count(self, verb: str | None = None, resource: str | None = None) -> int:
        """Calls so far, without watches."""
        return sum(1 for call in self.calls if Fault(verb, resource).hits(call))

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.verb not in ("GET", "WATCH")]

    def add_secret(self, url: str | None = None, name: str = "redis", namespace: str = "default", **data: str) -> None:
        """`data` is base64 text, as the API server has it."""
        content = {"data": {**({} if url is None else {"url": base64(url)}), **data}}
        at = At("secrets", namespace, name)
        if self.objects.has(at):
            self.objects.edit(at, lambda body: body.update(content))
        else:
            self.objects.create("secrets", {"metadata": {"name": name, "namespace": namespace}, **content})

    def add(self, resource: str, manifest: Mapping[str, Any], namespace: str = "default") -> Body:
        body = {**manifest, "metadata": {"namespace": namespace, **manifest["metadata"]}}
        return self.objects.create(resource, body)

    def get(self, resource: str, name: str = "emails", namespace: str = "default") -> Body:
        return self.objects.get(At(resource, namespace, name))

    def has(self, resource: str, name: str = "emails", namespace: str = "default") -> bool:
        return self.objects.has(At(resource, namespace, name))

    def change(self, resource: str, change: Callable[[Body], object], name: str = "emails") -> Body:
        """As a user would: `change` is given the object to change."""
        return self.objects.edit(At(resource, "default", name), change, "kubectl")

    def delete(self, resource: str, name: str = "emails") -> None:
        self.objects.delete(At(resource, "default", name))

    def replicas(self, name: str = "emails") -> int | None:
        """What the Deployment asks for; None without one."""
        at = At("deployments", "default", name)
        return int(self.objects.get(at)["spec"]["replicas"]) if self.objects.has(at) else None

    def status(self, name: str = "emails") -> Body:
        return dict(self.get(POOLS, name).get("status") or {})

    def condition(self, kind: str, name: str = "emails") -> tuple[str, str]:
        """Status and reason of a condition; empty text before it is written."""
        rows = {row["type"]: (row["status"], row["reason"]) for row in self.status(name).get("conditions", ())}
        return rows.get(kind, ("", ""))

    def events(self) -> list[str]:
        """The reasons of all events so far."""
        return [body["reason"] for body in self.objects.list("events")]

    # --- the Deployment controller ---

    def _told(self, change: Change) -> None:
        for watch in self._watches:
            watch.put_nowait(change)
        if (change.at.resource, change.kind) in ((POOLS, "DELETED"), ("deployments", "ADDED")):
            asyncio.get_running_loop().call_soon(self._collect_garbage)
        if change.at.resource == "deployments" and change.kind != "DELETED" and self.starts_pods:
            self.start_pods(change.at)

    def start_pods(self, at: At, *, ready: bool = True) -> None:
        """As many as the Deployment asks for; of too many, those go that are not ready, then the lowest deletion cost."""
        body = self.objects.get(at)
        wanted, labels = body["spec"]["replicas"], body["spec"].get("selector", {}).get("matchLabels", {})
        rows = [row for row in self.objects.list("pods", at.namespace) if _number(at.name, row) is not None]
        free = (name for number in range(len(rows) + wanted) if (name := f"{at.name}-{number}") not in _names(rows))
        for name in itertools.islice(free, max(0, wanted - len(rows))):
            metadata = {"name": name, "namespace": at.namespace, "labels": labels}
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": when}
            metadata["creationTimestamp"] = when
            self.objects.create("pods", {"metadata": metadata, "status": {"conditions": [condition]}})
        rows.sort(key=lambda row: (_ready(row), _cost(row), -(_number(at.name, row) or 0)))
        for row in rows[: max(0, len(rows) - wanted)]:
            self.objects.delete(At("pods", at.namespace, row["metadata"]["name"]))
        count = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted if ready else 0}
        seen = {"observedGeneration": body["metadata"]["generation"], **count}
        self.objects.edit(at, lambda body: body.setdefault("status", {}).update(seen), "kube-controller-manager")

    def _collect_garbage(self) -> None:
        """Deployments whose owner is gone."""
        pools = self.objects.uids(POOLS)
        for at, owners in self.objects.owner_uids("deployments").items():
            if owners - pools:
                self.objects.delete(at)

    # --- HTTP ---

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if parts[0] not in ("api", "apis"):
            return web.json_response({"gitVersion": "v1.33.0"})
        here = parts[1:] if parts[0] == "api" else parts[2:]
        if len(here) <= 1:
            return web.json_response(_discovery(parts))
        here = here[1:]
        namespace = here[1] if here[0] == "namespaces" and len(here) > 2 else None
        resource, name, subresource = (*(here if namespace is None else here[2:]), None, None)[:3]
        full = f"{resource}/{subresource}" if subresource else str(resource)
        text = await request.text()
        watching = request.query.get("watch") == "true"
        body = yaml.safe_load(text) if text else None
        _, known, who = request.headers.get("Authorization", "").partition(f"Bearer {TOKEN}")
        call = Call("WATCH" if watching else request.method, full, name, body, time.monotonic(), who[1:])
        self.calls.append(call)
        if not known:
            return _refusal(RefusedError(401, "Unauthorized", "Unauthorized"))
        for fault in self._faults:
            if fault.hits(call):
                if fault.late:
                    self._answer(call, request.query, namespace, subresource)
                return await _spoilt(request, fault)
        if watching:
            return await self._watch(request, str(resource), namespace)
        self.under_way += 1
        try:
            await asyncio.sleep(self.delay_s)
            return web.json_response(
                self._merge(call, request.query, namespace)
                if request.content_type == MERGE and not subresource
                else self._answer(call, request.query, namespace, subresource)
            )
        except RefusedError as error:
            return _refusal(error)
        finally:
            self.under_way -= 1

    def _answer(self, call: Call, query: Mapping[str, str], namespace: str | None, subresource: str | None) -> Body:
        resource = call.resource.partition("/")[0]
        manager = query.get("fieldManager", "unknown")
        if call.verb == "POST":
            return self.objects.create(resource, call.body, manager)
        if call.name is None:
            return self._list(resource, query, namespace)
        assert namespace is not None
        at = At(resource, namespace, call.name)
        if call.verb == "GET":
            return self.objects.get(at)
        if call.verb == "PUT":
            return self.objects.replace(at, call.body, manager)
        if subresource == "scale":
            replicas = call.body["spec"]["replicas"]
            uid = call.body.get("metadata", {}).get("uid")
            if uid not in (None, self.objects.get(at)["metadata"]["uid"]):
                raise RefusedError(409, "Conflict", f"Precondition failed: UID in precondition: {uid}")
            body = self.objects.edit(at, lambda body: body["spec"].update(replicas=replicas), manager)
            return {"kind": "Scale", "metadata": body["metadata"], "spec": {"replicas": replicas}}
        force = query.get("force") == "true"
        return self.objects.apply(resource, call.body, manager, force=force, status=subresource == "status")

    def _merge(self, call: Call, query: Mapping[str, str], namespace: str | None) -> Body:
        """A merge patch of an object: null takes a field away."""
        assert namespace is not None
        assert call.name is not None
        at = At(call.resource, namespace, call.name)
        uid = call.body.get("metadata", {}).get("uid")
        if uid not in (None, self.objects.get(at)["metadata"]["uid"]):
            raise RefusedError(422, "Invalid", f'metadata.uid: Invalid value: "{uid}": field is immutable')
        return self.objects.edit(at, lambda body: _merged(body, call.body), query.get("fieldManager", "unknown"))

    def _list(self, resource: str, query: Mapping[str, str], namespace: str | None) -> Body:
        if resource == "scaledobjects" and not self.keda:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        rows = self.objects.list(resource, namespace)
        if selector := query.get("labelSelector"):
            wanted = dict(term.split("=") for term in selector.split(","))
            rows = [row for row in rows if wanted.items() <= row["metadata"].get("labels", {}).items()]
        begin = int(query.get("continue") or 0)
        end = begin + int(query.get("limit") or len(rows) or 1)
        metadata = {"resourceVersion": str(self.objects.version)}
        if end < len(rows):
            metadata["continue"] = str(end)
        return {"kind": f"{_KINDS[resource]}List", "apiVersion": "v1", "metadata": metadata, "items": rows[begin:end]}

    async def _watch(self, request: web.Request, resource: str, namespace: str | None) -> web.StreamResponse:
        since = int(request.query.get("resourceVersion") or 0)
        told: asyncio.Queue[Change] = asyncio.Queue()
        for change in self.objects.history:
            if change.version > since:
                told.put_nowait(change)
        self._watches.add(told)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seconds = request.query.get("timeoutSeconds")
        try:
            async with asyncio.timeout(None if seconds is None else float(seconds)):
                while True:
                    change = await told.get()
                    if change.at.resource == resource and namespace in (None, change.at.namespace):
                        row = {"type": change.kind, "object": change.body}
                        await response.write(json.dumps(row).encode() + b"\n")
        except (ConnectionError, TimeoutError):
            return response
        finally:
            self._watches.discard(told)


def _number(name: str, pod: Body) -> int | None:
    """Of a pod of this Deployment."""
    of, _, number = str(pod["metadata"]["name"]).rpartition("-")
    return int(number) if of == name and number.isdecimal() else None


def _names(pods: list[Body]) -> set[str]:
    return {row["metadata"]["name"] for row in pods}


def _ready(pod: Body) -> bool:
    return any((row["type"], row["status"]) == ("Ready", "True") for row in pod["status"].get("conditions", ()))


def _cost(pod: Body) -> int:
    return int(pod["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", 0))


def _merged(body: Body, patch: Body) -> None:
    for key, value in patch.items():
        if isinstance(value, dict):
            _merged(body.setdefault(key, {}), value)
        elif value is None:
            body.pop(key, None)
        else:
            body[key] = value


async def _spoilt(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.hang:
        await asyncio.sleep(3600)
    if fault.drop:
        assert request.transport is not None
        request.transport.abort()
    if fault.body is not None:
        return web.Response(status=fault.status, body=fault.body)
    return _refusal(RefusedError(fault.status, f"Test{fault.status}", fault.message), fault.retry_after)


def _refusal(error: RefusedError, retry_after: int | None = None) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
    }
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(body, status=error.code, headers=headers)


def _discovery(parts: list[str]) -> Body:
    """What there is: /api, /apis, /api/v1, /apis/GROUP/VERSION."""
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        versions = {group: {"groupVersion": f"{group}/{row[0]}", "version": row[0]} for group, row in _GROUPS.items()}
        rows = [
            {"name": group, "versions": [version], "preferredVersion": version}
            for group, version in versions.items()
            if group
        ]
        return {"kind": "APIGroupList", "groups": rows}
    _, resources = _GROUPS["" if parts[0] == "api" else parts[1]]
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    return {
        "kind": "APIResourceList",
        "resources": [
            {"name": name, "singularName": "", "kind": _KINDS[name], "namespaced": True, "verbs": verbs}
            for name in resources
        ],
    }


def base64(text: str) -> str:
    """As `data` of a Secret wants it."""
    return b64encode(text.encode()).decode()
