"""`corral operator` as a process, on a pretended API server and a real Redis: probes, metrics, its ends, what it hides."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue
from operator_process import OperatorProcess
from pools import adopting, pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kube_mock import KubeMock
    from servers import RedisServer

LENGTH = {"jobsPerReplica": 2}
FORTY = [JobSpec("mail")] * 40
DEPLOYMENT = {
    "metadata": {"name": "emails"},
    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "emails"}}, "template": {}},
}
ENDS_WITHIN = 5.0


def _watched(kube: KubeMock) -> bool:
    return {call.resource for call in kube.calls if call.verb == "WATCH"} == {"workerpools", "deployments"}


async def test_it_serves_pools_that_come_and_go_and_ends_on_sigterm(
    kube: KubeMock, emails: Queue, tmp_path: Path
) -> None:
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig) as operator:
        await operator.serving()
        await eventually(lambda: _watched(kube))
        assert (await operator.get("/livez"))[0] == (await operator.get("/readyz"))[0] == 200
        kube.add("workerpools", pool(target=LENGTH))
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: "ScaledUp" in kube.events())

        async def shown() -> str:
            return (await operator.get("/metrics"))[1]

        text = await shown()
        assert 'corral_pool_desired_replicas{namespace="default",pool="emails"} 20.0' in text
        assert 'corral_scale_writes_total{direction="up"} 1.0' in text
        assert 'resource="deployments/scale",verb="PATCH"} 1.0' in text
        kube.delete("workerpools")

        async def gone() -> bool:
            return 'pool="emails"' not in await shown()

        await eventually(gone)
        operator.signal()
        assert await operator.wait(ENDS_WITHIN) == 0
        assert operator.said("^ended$")
        assert operator.said(".", "ERROR") == operator.said(".", "WARNING") == []
        # kopf writes nothing: no finalizer, no annotation, no event of its own.
        assert {call.resource for call in kube.writes()} == {
            "deployments",
            "deployments/scale",
            "workerpools/status",
            "events",
        }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_while_redis_and_the_api_server_hang(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer], tmp_path: Path, number: int
) -> None:
    kube, server = empty_kube, new_server()
    kube.add_secret(server.url)
    kube.add("workerpools", pool(minReplicas=1))
    kube.add("workerpools", pool("other", minReplicas=1))
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig) as operator:
        await operator.serving()
        await eventually(lambda: kube.replicas() == kube.replicas("other") == 1)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with kube.fault(hang=True) as fault:
                kube.change("workerpools", lambda body: body["spec"].update(minReplicas=2))
                await eventually(lambda: operator.running and any(fault.hits(call) for call in kube.calls))
                operator.signal(number)
                assert await operator.wait(ENDS_WITHIN) == 0
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert "Traceback" not in operator.output


async def test_it_waits_for_an_api_server_and_is_not_ready_before(kube: KubeMock, tmp_path: Path) -> None:
    kube.add("workerpools", pool())
    with (
        kube.fault("GET", "workerpools", status=404),
        OperatorProcess(tmp_path / "operator", kube.kubeconfig) as operator,
    ):
        await operator.serving()
        await eventually(lambda: operator.said("no WorkerPool resource"))
        assert (await operator.get("/readyz"))[0] == 503
        assert (await operator.get("/livez"))[0] == 200
        kube.heal()
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        assert (await operator.get("/readyz"))[0] == 200
    with (
        kube.fault("GET", "workerpools", hang=True),
        OperatorProcess(tmp_path / "operator", kube.kubeconfig) as operator,
    ):
        await operator.serving()
        operator.signal()
        assert await operator.wait(ENDS_WITHIN) == 0


async def test_a_watch_that_is_cut_off_is_taken_up_again(kube: KubeMock, emails: Queue, tmp_path: Path) -> None:
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig) as operator:
        await operator.serving()
        await eventually(lambda: _watched(kube))
        await kube.shut()
        kube.calls.clear()
        await kube.open()
        kube.add("workerpools", pool(target=LENGTH))
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 20, within=20.0)
        assert operator.running


async def test_only_the_pools_of_its_namespaces_are_served(kube: KubeMock, redis7_url: str, tmp_path: Path) -> None:
    kube.add_secret(redis7_url, namespace="ours")
    kube.add("workerpools", pool("first"), "ours")
    kube.add("workerpools", pool("theirs"))
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig, ["--namespace", "ours"]) as operator:
        await operator.serving()
        await eventually(lambda: _watched(kube))
        await eventually(lambda: kube.has("deployments", "first", "ours"))
        kube.add("workerpools", pool("second"), "ours")
        kube.add("workerpools", pool("theirs-too"))
        await eventually(lambda: kube.has("deployments", "second", "ours"))
        assert not kube.has("deployments", "theirs")
        assert not kube.has("deployments", "theirs-too")


async def test_no_credential_is_shown_anywhere(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    kube, server = empty_kube, new_server(password="s3cret-of-redis")
    kube.add_secret(server.url)
    kube.add("workerpools", pool(target=LENGTH))
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig, env={"CORRAL_LOG_LEVEL": "debug"}) as operator:
        await operator.serving()
        async with Queue("emails", redis=server.url) as queue:
            await queue.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 20)
        server.stop()
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "Unreachable"))
        server.start()
        with server.client() as client:
            client.config_set("requirepass", "another")
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "AuthFailed"))
        with kube.fault(status=500):
            kube.change("workerpools", lambda body: body["spec"].update(maxReplicas=21))
            await eventually(lambda: operator.said("the status is refused"))
        seen = "".join(
            [
                operator.output,
                (await operator.get("/metrics"))[1],
                str([kube.objects.list(resource) for resource in ("workerpools", "deployments", "events")]),
            ]
        )
        operator.signal()
        await operator.wait()
        seen += operator.output
    assert "emails" in seen
    assert not re.search("s3cret-of-redis|token-of-the-operator|redis://", seen)


async def test_once_tells_each_pool_in_a_line_and_ends(
    kube: KubeMock, emails: Queue, redis7_url: str, tmp_path: Path
) -> None:
    with OperatorProcess(tmp_path / "operator", kube.kubeconfig, ["--once"]) as operator:
        assert await operator.wait(20) == 0
        assert operator.output == "there are no WorkerPools\n"
    kube.add("workerpools", pool(target=LENGTH))
    kube.add("deployments", {**DEPLOYMENT, "metadata": {"name": "other"}})
    kube.add("workerpools", adopting("adopting", "other", target=LENGTH, queues=[{"name": "letters"}]))
    await emails.add_bulk(FORTY)
    async with Queue("letters", redis=redis7_url) as letters:
        await letters.add_bulk(FORTY)
    with OperatorProcess(tmp_path / "dry", kube.kubeconfig, ["--once", "--dry-run"]) as operator:
        assert await operator.wait(20) == 0
        adopted, own = operator.output.splitlines()
        assert adopted.startswith("default/adopting: 3 -> 20 ")
        assert own.startswith("default/emails: 0 -> 20 ")
        assert kube.writes() == []
    with OperatorProcess(tmp_path / "wet", kube.kubeconfig, ["--once"]) as operator:
        assert await operator.wait(20) == 0
        assert (kube.replicas(), kube.replicas("other")) == (20, 20)
    kube.add("workerpools", adopting("lost", "nowhere"))
    kube.delete("secrets", "redis")
    with OperatorProcess(tmp_path / "lost", kube.kubeconfig, ["--once"]) as operator:
        assert await operator.wait(20) == 1
        assert "default/lost: SecretMissing: there is no Secret redis" in operator.output
    await kube.shut()
    with OperatorProcess(tmp_path / "nowhere", kube.kubeconfig, ["--once"]) as operator:
        assert await operator.wait(20) == 1
        assert "the pools cannot be listed: the API server did not answer" in operator.output
        assert "Traceback" not in operator.output
