"""WorkerPools as a user reaches them, with their own rights: list, look at one, take back a number set by hand.

Raises CorralError, with what the API server said and what to do about it.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from corral.errors import CorralError
from corral_operator.api import MERGE, Api, current_namespace
from corral_operator.deployment import Key
from corral_operator.refusal import ApiError
from corral_operator.spec import API_VERSION

PAGE = 500
"""Pools per answer of a list."""

Body = Mapping[str, Any]


class PoolAccess:
    """The pools of the cluster that KUBECONFIG names, or that this pod is in. `namespace`: for who names none."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    async def list(self, namespace: str | None) -> list[Body]:
        """The pools of one namespace, or of all of them, by namespace and name. Raises ApiError."""
        place = "" if namespace is None else f"/namespaces/{namespace}"
        bodies: list[Body] = []
        query = {"limit": str(PAGE)}
        while True:
            answer = await self._api.call("GET", f"/apis/{API_VERSION}{place}/workerpools", "workerpools", query=query)
            rows = answer.get("items")
            if not isinstance(rows, list):
                raise ApiError(200, "NotUnderstood", "it was asked for a list, and its answer has no items")
            bodies += rows
            if not (more := answer["metadata"].get("continue")):
                return bodies
            query["continue"] = more

    async def get(self, key: Key) -> Body:
        """One pool, whole."""
        with explained("read", key):
            answer: Body = await self._api.call("GET", _path(key), "workerpools")
            return answer

    async def make_automatic(self, key: Key) -> None:
        """Take the number away that was set by hand."""
        with explained("change", key):
            await self._api.call(
                "PATCH",
                _path(key),
                "workerpools",
                query={"fieldManager": "corral-auto"},
                body={"spec": {"replicas": None}},
                content_type=MERGE,
            )


@asynccontextmanager
async def open_pools() -> AsyncIterator[PoolAccess]:
    """Find the cluster. Raises ConfigurationError when none is configured."""
    api = await Api.connect(lambda *_: None, agent="corral")
    try:
        yield PoolAccess(api, current_namespace())
    finally:
        await api.close()


@contextmanager
def explained(doing: str, key: Key | None = None, namespace: str | None = None) -> Iterator[None]:
    """What the API server refuses becomes a CorralError; `doing` is read or change, of one pool or of many."""
    try:
        yield
    except ApiError as error:
        raise CorralError(why_refused(error, doing, key, namespace)) from error


def why_refused(error: ApiError, doing: str, key: Key | None = None, namespace: str | None = None) -> str:
    """Cause and cure, for a user. Without a key the pools of a namespace, or of all, were asked for."""
    if error.code == 0:
        return f"{error.text}; is this the right context of the kubeconfig?"
    if error.code == 401:
        return f"the API server does not know who asks ({error.text}): log in anew, or name another KUBECONFIG"
    if error.code == 403:
        role = "view" if doing == "read" else "edit"
        within = key.namespace if key is not None else namespace
        where = "of the cluster (-n NAMESPACE asks for one alone)" if within is None else f"in {within}"
        return f"not allowed: {error.text}; the role {role} {where} allows it"
    if error.code == 404 and key is not None and error.reason == "NotFound":
        return f"there is no WorkerPool {key.name} in the namespace {key.namespace}; `corral pools -A` shows all"
    if error.code == 404:
        return "this cluster knows no WorkerPools: install Corral's chart, or choose another context of the kubeconfig"
    return f"the API server refused ({error.reason}): {error.text}"


def _path(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/workerpools/{key.name}"
