"""The watch: kopf tells of every change to pools and Deployments. The only file that knows kopf.

kopf runs in a thread with a loop of its own: when it ends, it ends every task of its loop, and its start-up must not
keep the probes waiting. Only `on.event` is used, so kopf writes nothing: no finalizers, no annotations, no events.

A connection can die without a word, half open or swallowed by a proxy, and the watch would wait on it for ever. So the
API server is asked to end each watch after a while, and one that says nothing, not even that, is begun anew from where
it was: what it missed is told then.
"""

import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from corral_operator.api import Access
from corral_operator.deployment import Deployment, read_deployment
from corral_operator.table import Pool, read_pool

GROUP, VERSION, PLURAL = "corral.dev", "v1alpha1", "workerpools"

STOPPED_WITHIN = 2.0
"""Seconds that kopf gets to end; its thread does not keep the process alive."""

ENDS_AFTER_S = 30
"""Seconds after which the API server is asked to end a watch. The next one begins at once where this one was."""

SILENT_S = 35.0
"""Seconds without a word after which a watch counts as dead."""

# Nobody hears of it, for it stands alone. Left to itself, kopf asks for the user's name, and an image's may have none.
_IDENTITY: Any = "corral-operator"

logger = logging.getLogger("corral.operator.watch")

# It tells this for debugging only. Our own words are written instead.
_WATCHING = logging.getLogger("kopf._cogs.clients.watching")
_INACTIVE = re.compile(r"Watch-stream for ([a-z]+)\b.* is inactive")

# kopf says that it does not hear signals in this thread; it is not meant to.
logging.getLogger("kopf._core.reactor.running").addFilter(lambda record: "OS signals" not in record.getMessage())


class Watch:
    """Calls `pool` and `deployment` in the loop that `start` was called in; `died` when the watch ends by itself, and
    `silent` with the resource (`workerpools`) whose watch was found dead and is begun anew.

    `access` gives the address and a fresh login whenever kopf needs one; it is awaited in kopf's loop.
    """

    def __init__(
        self,
        access: Callable[[], Awaitable[Access]],
        namespaces: tuple[str, ...],
        pool: Callable[[Pool, bool], None],
        deployment: Callable[[Deployment, bool], None],
        died: Callable[[], None],
        silent: Callable[[str], None],
    ) -> None:
        self._access = access
        self._namespaces = namespaces
        self._pool = pool
        self._deployment = deployment
        self._died = died
        self._silent = silent
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """From here on, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="corral-watch", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End it, or leave it behind when it does not end in time."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOPPED_WITHIN)

    def _run(self) -> None:
        ear = _Ear(self._fell_silent)
        level = _WATCHING.level
        _WATCHING.addFilter(ear)
        _WATCHING.setLevel(logging.DEBUG)
        try:
            kopf.run(
                registry=self._registry(),
                settings=_settings(),
                identity=_IDENTITY,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stopping,
            )
        except Exception:
            logger.exception("the watch broke")
        finally:
            _WATCHING.setLevel(level)
            _WATCHING.removeFilter(ear)
            if not self._stopping.is_set():
                self._in_loop(self._died)

    def _fell_silent(self, resource: str) -> None:
        logger.warning(
            "the watch of %s was silent for %.0f s, and is begun anew; does a proxy or a firewall drop connections?",
            resource,
            SILENT_S,
        )
        self._in_loop(self._silent, resource)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            access = await self._access()
            return kopf.ConnectionInfo(
                server=access.server,
                ca_path=access.ca_file,
                insecure=access.insecure,
                token=access.token,
                certificate_path=access.certificate_file,
                private_key_path=access.key_file,
            )

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def pool(event: Any, **_: Any) -> None:
            self._in_loop(self._pool, read_pool(event["object"]), event["type"] == "DELETED")

        @kopf.on.event("apps", "v1", "deployments", registry=registry)
        async def deployment(event: Any, **_: Any) -> None:
            self._in_loop(self._deployment, read_deployment(event["object"]), event["type"] == "DELETED")

        return registry

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: nobody listens any more
            logger.debug("an event came after the end")


class _Ear(logging.Filter):
    """Hears kopf say that a watch is inactive, and lets through what it warns of, as for the rest of kopf."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        self._told = told

    def filter(self, record: logging.LogRecord) -> bool:
        if found := _INACTIVE.match(record.getMessage()):
            self._told(found[1])
        return record.levelno >= logging.WARNING


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Neither CustomResourceDefinitions nor namespaces have to be watched, so a Role is enough.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = ENDS_AFTER_S
    settings.watching.inactivity_timeout = SILENT_S
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    # An object that falls silent needs no task of its own for long.
    settings.queueing.idle_timeout = 1.0
    return settings
