"""What the loop needs of the place where workers run: a cluster (`cluster.py`), or this machine (`processes.py`).

Every method raises ApiError for what the place refuses.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from corral_operator.autoscaler import Autoscaler
from corral_operator.deployment import Deployment, Key
from corral_operator.table import Pool


class Door(Protocol):
    """`writes` False: a dry run, or another operator leads; nothing is to be changed at this moment.

    `in_cluster`: we are a pod, though in another namespace.
    """

    in_cluster: bool

    @property
    def writes(self) -> bool: ...

    async def pools(self) -> tuple[list[Pool], int]:
        """All pools, and the version that the list is of."""

    async def deployments(self) -> tuple[list[Deployment], int]:
        """All Deployments, and the version that the list is of."""

    async def deployment(self, key: Key) -> Deployment | None:
        """One Deployment; None when there is none."""

    async def secret(self, key: Key) -> Mapping[str, str]:
        """The content of a Secret, in base64."""

    async def pods(self, namespace: str, selector: str) -> list[Mapping[str, Any]]:
        """The pods that a selector selects."""

    async def autoscalers(self, namespace: str) -> list[Autoscaler]:
        """Everybody else there that writes the replicas of a Deployment."""

    async def create(self, manifest: Mapping[str, Any]) -> Deployment:
        """Make a rendered Deployment, with no replicas yet. 409 when there is one of the name."""

    async def update(self, manifest: Mapping[str, Any], known: Deployment) -> Deployment:
        """Bring the rendered part of a Deployment of ours up to date."""

    async def scale(self, key: Key, replicas: int, uid: str) -> int:
        """Ask for so many replicas; gives the Deployment's new version. 409 when it is not that Deployment any more."""

    async def mark(self, namespace: str, pod: str, uid: str, cost: str | None) -> None:
        """Give a pod this deletion cost, or take it away with None. A pod that is gone is left at that."""

    async def write_status(self, pool: Pool, status: Mapping[str, Any]) -> Pool:
        """Replace the whole status."""

    async def tell(self, pool: Pool, reason: str, text: str, *, warning: bool = False) -> None:
        """An event on the pool."""
