"""How the operator itself is run: its options, and what the environment says. Pure.

CORRAL_NAMESPACES    comma list: only the pools of these namespaces (default: all); option --namespace
CORRAL_LEASE         NAMESPACE/NAME of the Lease by which several operators agree which of them writes (default: none,
                     this one is alone)
CORRAL_PORT          port of probes and metrics (default 8080; 0 = any free one)
CORRAL_LIVEZ_STALL   seconds without a turn of the event loop until /livez says so (default 120)
CORRAL_LOG_FORMAT    text or json (default: text on a terminal, else json)
CORRAL_LOG_LEVEL     debug, info, warning or error (default info)
KUBECONFIG           the cluster, outside of one; inside of a pod its ServiceAccount says
KUBERNETES_SERVICE_HOST   set by Kubernetes, which tells that this is a pod
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from corral.errors import ConfigurationError
from corral.settings import Settings

_LEASE = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The options and the environment, checked. `livez_stall` in seconds."""

    namespaces: tuple[str, ...] = ()
    dry_run: bool = False
    lease: tuple[str, str] | None = None
    """Namespace and name; None: nobody else writes."""
    in_cluster: bool = False
    port: int = 8080
    livez_stall: float = 120.0
    log_format: str | None = None
    log_level: str = "info"

    @classmethod
    def read(cls, environ: Mapping[str, str], *, namespaces: Sequence[str] = (), dry_run: bool = False) -> Self:
        """Options go before the environment. Raises ConfigurationError, naming the variable and what it takes."""
        shared = Settings.from_env(environ)
        named = namespaces or [name.strip() for name in environ.get("CORRAL_NAMESPACES", "").split(",")]
        return cls(
            namespaces=tuple(dict.fromkeys(name for name in named if name)),
            dry_run=dry_run,
            lease=_lease(environ.get("CORRAL_LEASE", "")),
            in_cluster=bool(environ.get("KUBERNETES_SERVICE_HOST")) and not environ.get("KUBECONFIG"),
            port=shared.port,
            livez_stall=shared.livez_stall,
            log_format=shared.log_format,
            log_level=shared.log_level,
        )


def _lease(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    if not _LEASE.fullmatch(text):
        raise ConfigurationError(f"CORRAL_LEASE takes NAMESPACE/NAME, like corral-system/corral-operator; not {text!r}")
    namespace, _, name = text.partition("/")
    return namespace, name
