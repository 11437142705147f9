"""The pools that `corral demo` shows are WorkerPools that a cluster takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubectl import Kubectl

POOLS = Path(__file__).parents[2] / "manifests" / "examples" / "demo" / "pools.yaml"


def test_the_api_server_takes_the_pools_of_the_demo_and_prunes_nothing(kubectl: Kubectl) -> None:
    told = kubectl("apply", "--validate=strict", "-f", str(POOLS))
    assert told.splitlines() == [
        "workerpool.corral.dev/mails created",
        "workerpool.corral.dev/thumbnails created",
    ]
    assert kubectl("diff", "-f", str(POOLS)) == ""
