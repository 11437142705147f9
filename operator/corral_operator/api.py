"""Calls to the Kubernetes API as plain JSON. The only file that knows the client library.

Its generated models are left aside: they refuse what a newer server answers. What remains of it is how to find and
trust a cluster, how to stay logged in, and the connections.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from corral.errors import ConfigurationError
from corral.version import __version__
from corral_operator.refusal import ApiError

CALL_TIMEOUT = 8.0
"""Seconds that one call may take which says nothing else."""

AT_ONCE = 16
"""Calls under way at one time: an operator with a thousand pools must not be a storm to its API server."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

Body = Mapping[str, Any]
Counter = Callable[[str, str, int], None]

logger = logging.getLogger("corral.operator.api")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster, for clients that are not this one (the watch)."""

    server: str
    ca_file: str | None
    token: str | None = field(repr=False)
    certificate_file: str | None
    key_file: str | None
    insecure: bool


class Api:
    """A cluster's API. Inside of a pod its ServiceAccount's, else what KUBECONFIG or ~/.kube/config says."""

    def __init__(self, configuration: Configuration, count: Counter, agent: str = "corral-operator") -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        # The name in audit logs; the client would give its generator's.
        self._client.user_agent = f"{agent}/{__version__}"
        self._count = count
        self._free = asyncio.Semaphore(AT_ONCE)

    @classmethod
    async def connect(cls, count: Counter, agent: str = "corral-operator") -> "Api":
        """Find the cluster; nothing is asked of it yet. Raises ConfigurationError when none is configured.

        `count` is told of every call: verb, resource and HTTP status. `agent` is who asks, for audit logs.
        """
        return cls(await _configuration(), count, agent)

    async def call(
        self,
        verb: str,
        path: str,
        resource: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        within: float | None = None,
        guard: Callable[[], None] | None = None,
    ) -> Any:
        """One call; gives the answer's JSON. `resource` is what metrics call it. Raises ApiError.

        `within`: seconds that it may take, CALL_TIMEOUT by default. `guard` is called right before it is sent, and may raise instead.
        """
        code = 0
        within = CALL_TIMEOUT if within is None else within
        try:
            async with self._free, asyncio.timeout(within):
                request = await self._client.param_serialize(
                    verb,
                    path,
                    query_params=list((query or {}).items()),
                    header_params={"Accept": "application/json", "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                if guard is not None:
                    guard()
                answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=within))
                code = answer.status
                text = await answer.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"the API server did not answer: {_brief(error)}") from None
        finally:
            self._count(verb, resource, code)
        if code >= 400:
            raise _refusal(code, text, answer.headers.get("Retry-After"))
        return _object(code, text)

    async def access(self) -> Access:
        """How to reach the cluster, with a token that is fresh. Raises ConfigurationError."""
        fresh = await _configuration()
        token = await fresh.get_api_key_with_prefix("BearerToken")
        return Access(
            server=fresh.host,
            ca_file=fresh.ssl_ca_cert,
            token=token.split(" ", 1)[-1].strip() if token else None,
            certificate_file=fresh.cert_file,
            key_file=fresh.key_file,
            insecure=not fresh.verify_ssl,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]


def current_namespace() -> str:
    """The namespace that a user means who names none: the kubeconfig's context says, or the pod's own; else `default`.

    To be asked after `Api.connect`, which tells what is wrong with a configuration.
    """
    if _in_cluster():
        try:
            return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
        except OSError:
            return "default"
    _, active = config.list_kube_config_contexts(os.environ.get("KUBECONFIG"))  # type: ignore[no-untyped-call]
    return str((active.get("context") or {}).get("namespace") or "default")


def _in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


async def _configuration() -> Configuration:
    configuration = Configuration()
    # Its own repeats would hide what the loop has to know. (A number is a count of tries; with 0 it never gives up.)
    configuration.retries = None
    configuration.connection_pool_maxsize = AT_ONCE
    try:
        if _in_cluster():
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            # Named here: the library looks at the environment when it is imported.
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                os.environ.get("KUBECONFIG"), client_configuration=configuration
            )
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        why = _brief(error)
    except (TypeError, ValueError, LookupError, AttributeError):  # the library takes its form for granted
        why = "the kubeconfig has another form"
    else:
        return configuration
    raise ConfigurationError(f"no Kubernetes cluster is configured ({why}); set KUBECONFIG to the path of a kubeconfig")


def _object(code: int, text: bytes) -> dict[str, Any]:
    """What every answer of an API server is: an object or a list of them, with metadata."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("metadata"), dict):
        raise ApiError(
            code, "NotUnderstood", f"this is no answer of an API server: {_shown(text)}; is a proxy in between?"
        )
    return answer


def _refusal(code: int, text: bytes, retry_after: str | None) -> ApiError:
    """From the Status object that the API server answers with; a proxy in between answers with anything."""
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {}
    details = status.get("details")
    wait = str((details.get("retryAfterSeconds") if isinstance(details, dict) else None) or retry_after)
    return ApiError(
        code,
        str(status.get("reason") or f"HTTP{code}"),
        str(status.get("message") or _shown(text) or "no reason given"),
        float(wait) if wait.isdecimal() else None,
    )


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")[:500]


def _brief(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
