"""A watch on a real API server whose connections die without a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from namespace import Namespace
from operating import make_secret, number, watching
from operator_process import OperatorProcess
from pools import pool
from relay import Relay
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl

RENEWED_WITHIN = 60.0


@pytest.mark.timeout(180)
async def test_a_watch_that_goes_silent_is_noticed_renewed_and_told(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    make_secret(kubectl, redis7_url)
    async with Relay(urlsplit(control_plane.url).port or 0) as relay:
        path = tmp_path / "kubeconfig"
        config = json.loads(control_plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{relay.port}"
        path.write_text(json.dumps(config))
        with OperatorProcess(tmp_path / "operator", path, ("--namespace", kubectl.namespace)) as operator:
            await watching(operator)
            kubectl("apply", "-f", "-", manifest=pool("before", minReplicas=1))
            await eventually(lambda: namespace.replicas("before") == 1)
            relay.freeze()
            kubectl("apply", "-f", "-", manifest=pool("meanwhile", minReplicas=1))
            await eventually(lambda: namespace.replicas("meanwhile") == 1, RENEWED_WITHIN)
            await eventually(lambda: operator.said("the watch of workerpools was silent", "WARNING"))

            async def counted() -> bool:
                return (await number(operator, "corral_watch_silences_total", resource="workerpools") or 0) >= 1

            await eventually(counted)
            # From now on news come at once, again.
            kubectl("apply", "-f", "-", manifest=pool("after", minReplicas=1))
            await eventually(lambda: namespace.replicas("after") == 1)
            assert operator.running
