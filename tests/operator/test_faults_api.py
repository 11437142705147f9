"""Faults of the API server over a whole pool's life: only what is asked for is written, nothing is stuck, and it heals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec
from corral_operator import api, cluster, pool_state, reconcile, secret_store
from pools import pool
from reconciling import reconciling
from waiting import eventually

if TYPE_CHECKING:
    from corral import Queue
    from kube_mock import KubeMock

pytestmark = pytest.mark.usefixtures("quick")

LENGTH = {"jobsPerReplica": 2}


def _jobs(number: int) -> list[JobSpec]:
    return [JobSpec("mail")] * number


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CALL_TIMEOUT", 1.0)
    monkeypatch.setattr(cluster, "WRITE_TIMEOUT", 1.0)
    monkeypatch.setattr(reconcile, "DOUBT_S", 0.5)


@pytest.mark.parametrize("code", [409, 429, 500, 503])
async def test_a_status_that_is_refused_slows_no_look_and_no_scaling(kube: KubeMock, emails: Queue, code: int) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 0)
        with kube.fault("PATCH", "workerpools/status", status=code, retry_after=30) as fault:
            for jobs in (2, 4, 8, 16):
                await emails.add_bulk(_jobs(jobs))
                await eventually(lambda jobs=jobs: kube.replicas() == jobs - 1, 2.0)  # type: ignore[misc]
            await operator.look(10)
            refused = sum(fault.hits(call) for call in kube.calls)
        assert 1 <= refused <= 3, "while it is to be left alone, it is"


async def test_a_status_that_was_refused_is_told_later_even_if_the_pool_sleeps(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 600.0)
    kube.add("workerpools", pool(target=LENGTH))
    with kube.fault("PATCH", "workerpools/status", status=500):
        async with reconciling(kube) as operator:
            await eventually(lambda: all(state.asleep for state in operator.reconciler.roster))
            assert kube.status() == {}
            kube.heal()
            await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


async def test_a_pool_that_is_falsely_said_to_be_gone_is_served_on(kube: KubeMock, emails: Queue) -> None:
    """A proxy, or a resource that is made anew, answers 404 for a pool that is there."""
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        await emails.add_bulk(_jobs(10))
        with kube.fault("PATCH", "workerpools/status", status=404):
            await eventually(lambda: kube.replicas() == 5)
            lists = kube.count("GET", "workerpools")
            await eventually(lambda: kube.count("GET", "workerpools") > lists)
            assert len(operator.reconciler.roster) == 1
        await emails.add_bulk(_jobs(10))
        await eventually(lambda: kube.replicas() == 10)
        await eventually(lambda: kube.status()["desired"] == 10)


async def test_conflicts_in_a_row_are_no_storm_and_end_right(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(_jobs(20))
    async with reconciling(kube) as operator:
        with kube.fault(status=409, verb="PATCH") as fault:
            await eventually(lambda: sum(fault.hits(call) for call in kube.calls) >= 4)
            writes = len(kube.writes())
            assert kube.replicas() in (None, 0)
        await eventually(lambda: kube.replicas() == 10)
        assert writes < 20
        await operator.look(3)
        assert kube.count("PATCH", "deployments/scale") >= 1
        assert kube.replicas() == 10


async def test_an_api_server_that_is_slow_makes_nothing_pile_up(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"pool-{number}" for number in range(60)]
    for name in names:
        kube.add("workerpools", pool(name, minReplicas=1))
    most = 0
    async with reconciling(kube) as operator:
        kube.delay_s = 0.3
        deadline = asyncio.get_running_loop().time() + 40
        while not all(kube.has("deployments", name) and kube.replicas(name) == 1 for name in names):
            most = max(most, kube.under_way)
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        kube.delay_s = 0.0
        await eventually(lambda: all(kube.condition("Ready", name) == ("True", "Reconciled") for name in names), 20)
        assert 1 < most <= api.AT_ONCE
        assert len(operator.reconciler.roster) == 60


async def test_an_api_server_that_forbids_everything_for_a_while_changes_no_replicas(
    kube: KubeMock, emails: Queue
) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(_jobs(20))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 10)
        await eventually(lambda: kube.status().get("desired") == 10)
        scaled = kube.count("PATCH", "deployments/scale")
        with kube.fault(status=403):
            await operator.look(5)
        await operator.look(5)
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        assert kube.count("PATCH", "deployments/scale") == scaled
        await emails.add_bulk(_jobs(10))
        await eventually(lambda: kube.replicas() == 15)


async def test_an_annotation_that_somebody_rewrites_is_no_storm_of_renders(kube: KubeMock, emails: Queue) -> None:
    """A webhook that drops or rewrites what says what was rendered: every look would render anew."""
    kube.add("workerpools", pool(minReplicas=1))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))

        def rewrite(body: dict[str, dict[str, dict[str, str]]]) -> None:
            body["metadata"]["annotations"]["corral.dev/rendered"] = "rewritten"

        rendered = kube.count("PATCH", "deployments")
        for _ in range(5):
            kube.change("deployments", rewrite)
            await operator.look(3)
        assert kube.count("PATCH", "deployments") - rendered <= 2


async def test_a_template_that_changes_without_end_is_rendered_a_few_times_and_then_waited_for(
    kube: KubeMock, emails: Queue
) -> None:
    kube.add("workerpools", pool(minReplicas=1))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        rendered = kube.count("PATCH", "deployments")
        for number in range(8):
            container = {"name": "worker", "image": f"registry.example/emails:{number}"}
            template = {"spec": {"containers": [container]}}
            kube.change("workerpools", lambda body, new=template: body["spec"].update(template=new))  # type: ignore[misc]
            await operator.look(3)
        assert kube.count("PATCH", "deployments") - rendered == 3


async def test_a_secret_that_is_read_anew_keeps_nobody_waiting_and_is_asked_for_once(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the API server hangs over it, pools are looked at with the content that served until now."""
    monkeypatch.setattr(secret_store, "FRESH_S", 0.3)
    monkeypatch.setattr(api, "CALL_TIMEOUT", 30.0)
    for number in range(20):
        kube.add("workerpools", pool(f"pool-{number}", queues=[{"name": f"pool-{number}"}], minReplicas=1))
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        with kube.fault("GET", "secrets", hang=True) as fault:
            asked = 1 + sum(fault.hits(call) for call in kube.calls)
            await eventually(lambda: kube.count("GET", "secrets") == asked)
            await emails.add_bulk(_jobs(10))
            await eventually(lambda: kube.replicas() == 5)
            await operator.look(60)
            assert kube.count("GET", "secrets") == asked
