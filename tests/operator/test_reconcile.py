"""The operator's loop on a pretended API server and a real Redis: pools come, have work, sleep, wake and go."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from corral import JobSpec, Queue
from corral_operator import pool_state, status, workload
from corral_operator.deployment import Key, read_deployment
from corral_operator.metrics import OperatorMetrics
from corral_operator.reconcile import Reconciler
from corral_operator.table import read_pool
from pools import adopting, pool
from reconciling import reconciling
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    import redis.asyncio

    from corral_operator.door import Door
    from corral_operator.table import Pool
    from kube_mock import KubeMock

# Twenty replicas for forty jobs, whatever is learned.
LENGTH = {"jobsPerReplica": 2}
FORTY = [JobSpec("mail")] * 40

DEPLOYMENT = {
    "metadata": {"name": "emails"},
    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "emails"}}, "template": {}},
}


async def _asleep(client: redis.asyncio.Redis) -> None:
    """Wait until the operator sleeps on an event."""

    async def listens() -> bool:
        rows = await client.client_list()
        return any(row["name"] == "corral-operator:events" and row["cmd"] == "xread" for row in rows)

    await eventually(listens)


async def test_a_new_pool_gets_a_deployment_without_replicas(kube: KubeMock) -> None:
    kube.add("workerpools", pool())
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        assert kube.replicas() == 0
        made = kube.get("deployments")
        assert made["metadata"]["ownerReferences"][0]["uid"] == kube.get("workerpools")["metadata"]["uid"]
        assert kube.condition("QueueFound") == ("False", "NeverCreated")
        assert kube.status()["selector"] == "corral.dev/pool=emails"


async def test_jobs_bring_replicas_with_one_write_a_status_and_an_event(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: "ScaledUp" in kube.events())
        await operator.look(2)
        await eventually(lambda: kube.status()["replicas"] == 20)
        assert kube.count("PATCH", "deployments/scale") == 1
        told = kube.status()
        assert told["desired"] == told["replicas"] == 20
        assert (told["lastScale"]["from"], told["lastScale"]["to"], told["lastScale"]["reason"]) == (0, 20, "Length")
        assert told["counts"]["ready"] == 40
        assert kube.condition("Active") == ("True", "Replicas")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("floor", [0, 2])
async def test_an_idle_pool_costs_the_api_server_nothing(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis, floor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 0.2)
    await redis7_client.hset("bull:emails:meta", "version", "bullmq:5.0.0")
    kube.add("workerpools", pool(minReplicas=floor, idleAfter="0s"))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.status().get("pods", {}).get("ready") == kube.replicas() == floor)
        await operator.look(5)
        # Whatever changes from now on would be written at once.
        monkeypatch.setattr(status, "VOLATILE_S", 0.0)
        monkeypatch.setattr(status, "PODS_S", 0.0)
        await operator.look(5)
        before = len(kube.calls)
        await operator.look(10)
        assert kube.calls[before:] == []


@pytest.mark.usefixtures("quick")
async def test_a_pool_leaves_for_zero_when_its_queue_is_empty(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    kube.add("workerpools", pool(target=LENGTH, idleAfter="0s", behavior={"down": {"window": "0s"}}))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 20)
        await redis7_client.delete("bull:emails:wait")
        await eventually(lambda: kube.replicas() == 0)
        await eventually(lambda: "ScaledDown" in kube.events())
        await eventually(lambda: kube.condition("Active") == ("False", "Idle"))


async def test_an_event_of_the_queue_wakes_a_sleeping_pool(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 3600.0)
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await _asleep(redis7_client)
        await emails.add("mail")
        await eventually(lambda: kube.replicas() == 1, within=5.0)


async def test_the_due_time_of_a_delayed_job_wakes_a_sleeping_pool(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 3600.0)
    kube.add("workerpools", pool(idleAfter="1s"))
    async with reconciling(kube) as operator:
        await _asleep(redis7_client)
        # A pod start of 15 s, and idleAfter: due soon is what comes in less than 16 s.
        await emails.add("mail", delay=19.0)
        await eventually(lambda: (kube.status().get("counts") or {}).get("delayed") == 1 or operator.looks > 2)
        assert kube.replicas() == 0
        await eventually(lambda: kube.replicas() == 1)
        await eventually(lambda: kube.status().get("lastScale", {}).get("reason") == "DueSoon")


async def test_a_foreign_deployment_of_the_name_is_left_alone(kube: KubeMock, emails: Queue) -> None:
    kube.add("deployments", DEPLOYMENT)
    before = kube.get("deployments")
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("False", "NameTaken"))
        await eventually(lambda: "NameTaken" in kube.events())
        assert kube.get("deployments") == before


async def test_a_foreign_deployment_that_the_watch_has_not_told_of_is_left_alone_too(kube: KubeMock) -> None:
    kube.add("workerpools", pool())
    async with reconciling(kube, runs=False) as operator:
        await operator.reconciler.sync()
        operator.deaf = True
        before = kube.add("deployments", DEPLOYMENT)
        kube.start_pods(kube.objects.history[-1].at)
        operator.start()
        await eventually(lambda: kube.condition("Ready") == ("False", "NameTaken"))
        assert kube.get("deployments")["spec"] == before["spec"]


@pytest.mark.usefixtures("quick")
async def test_an_adopted_deployment_is_waited_for_and_only_its_replicas_are_written(
    kube: KubeMock, emails: Queue
) -> None:
    kube.add("workerpools", adopting(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("False", "DeploymentNotFound"))
        before = kube.add("deployments", DEPLOYMENT)
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        await operator.look(3)
        assert kube.get("deployments")["spec"] == {**before["spec"], "replicas": 20}
        assert kube.count("PATCH", "deployments") == 0


@pytest.mark.parametrize("mode", ["DryRun", "Paused"])
async def test_such_a_mode_decides_and_writes_no_replicas(kube: KubeMock, emails: Queue, mode: str) -> None:
    kube.add("deployments", DEPLOYMENT)
    kube.add("workerpools", adopting(mode=mode, target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.status().get("desired") == 20)
        await operator.look(2)
        assert kube.replicas() == 3
        assert kube.count("PATCH", "deployments/scale") == 0


async def test_a_dry_run_writes_nothing_at_all(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    kube.add("deployments", {**DEPLOYMENT, "metadata": {"name": "other"}})
    kube.add("workerpools", adopting("adopting", "other", queues=[{"name": "bulk"}], target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube, writes=False) as operator:

        def decided() -> bool:
            return any(
                line.startswith("corral_pool_desired_replicas") and line.endswith(" 20.0") for line in operator.shown()
            )

        await eventually(decided)
        await operator.look(4)
        assert kube.writes() == []


@pytest.mark.usefixtures("quick")
async def test_a_number_set_by_hand_holds_until_it_is_removed(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH, replicas=7))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 7)
        await operator.look(3)
        await eventually(lambda: kube.condition("Manual") == ("True", "SetByHand"))
        assert kube.replicas() == 7
        kube.change("workerpools", lambda body: body["spec"].pop("replicas"))
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("Manual") == ("False", "Automatic"))


@pytest.mark.usefixtures("quick")
async def test_replicas_that_somebody_else_wrote_are_put_right_by_the_pool(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        await operator.look(2)
        kube.change("deployments", lambda body: body["spec"].update(replicas=2))
        await eventually(lambda: kube.replicas() == 20)
        await operator.look(3)
        assert kube.count("PATCH", "deployments/scale") == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("late", [True, False], ids=["behind", "lost"])
async def test_a_number_that_somebody_else_wrote_before_us_leaves_no_wrong_facts(
    kube: KubeMock, emails: Queue, late: bool
) -> None:
    """Our write changes nothing then, so what the watch tells is of the version that our write was answered with."""
    await emails.add_bulk(FORTY)
    kube.add("workerpools", pool(replicas=3))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 3)
        await eventually(lambda: kube.status().get("replicas") == 3)
        operator.deaf = True
        theirs = kube.change("deployments", lambda body: body["spec"].update(replicas=5))
        operator.deaf = False
        kube.change("workerpools", lambda body: body["spec"].update(replicas=5))
        await eventually(lambda: kube.status().get("desired") == 5)
        if late:
            operator.reconciler.roster.deployment_changed(read_deployment(kube.get("deployments")))
        else:
            await operator.reconciler.sync()
        await eventually(lambda: kube.status().get("replicas") == 5)
        known = operator.reconciler.roster.table.deployments.get(Key("default", "emails"))
        assert known is not None
        assert (known.generation, known.settled) == (theirs["metadata"]["generation"], True)


@pytest.mark.usefixtures("quick")
async def test_a_template_that_somebody_else_changes_is_rendered_again_now_and_then(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)

    def spoil() -> None:
        kube.change("deployments", lambda body: body["spec"]["template"]["spec"].update(containers=[]))

    def container() -> str:
        rows = kube.get("deployments")["spec"]["template"]["spec"]["containers"]
        return rows[0]["image"] if rows else ""

    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        spoil()
        await eventually(lambda: container() == "registry.example/emails:1.4")
        before = kube.count("PATCH", "deployments")
        spoil()
        await operator.look(5)
        assert (container(), kube.count("PATCH", "deployments")) == ("", before)  # it may be somebody who does not stop
        monkeypatch.setattr(workload, "AGAIN_S", 0.0)
        await eventually(lambda: container() != "")
        assert kube.replicas() == 20


@pytest.mark.usefixtures("quick")
async def test_a_changed_template_is_rendered_and_keeps_the_replicas(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 20)
        image = "registry.example/emails:1.5"
        kube.change("workerpools", lambda body: body["spec"]["template"]["spec"]["containers"][0].update(image=image))

        def rendered() -> bool:
            spec = kube.get("deployments")["spec"]
            assert spec["replicas"] == 20
            return bool(spec["template"]["spec"]["containers"][0]["image"] == image)

        await eventually(rendered)


@pytest.mark.usefixtures("quick")
async def test_a_wrong_spec_is_told_and_mended(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target={"wait": "soon"}))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("False", "SpecInvalid"))
        assert kube.replicas() is None
        kube.change("workerpools", lambda body: body["spec"].update(target=LENGTH))
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


@pytest.mark.usefixtures("quick")
async def test_a_restart_changes_no_replicas_and_writes_nothing_anew(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(jobSeconds=10, target={"wait": "5s"}))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: (kube.status().get("pods") or {}).get("ready") == 20)
        await operator.look(3)
    told, before = kube.status(), len(kube.writes())
    async with reconciling(kube) as operator:
        await operator.look(5)
    assert kube.replicas() == 20
    # The status may be told anew: what it says of numbers is older than this process.
    assert {call.resource for call in kube.writes()[before:]} <= {"workerpools/status"}
    assert kube.status()["lastScale"] == told["lastScale"]


@pytest.mark.usefixtures("quick")
async def test_a_deleted_pool_is_forgotten_with_its_numbers_and_connections(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    kube.add("workerpools", pool())
    async with reconciling(kube) as operator:
        await eventually(operator.shown)
        kube.delete("workerpools")

        async def nothing_is_left() -> bool:
            assert operator.shown() == []
            rows = await redis7_client.client_list()
            return not [row for row in rows if row["name"].startswith("corral-operator")]

        await eventually(nothing_is_left)
        assert len(operator.reconciler.roster) == 0


@pytest.mark.usefixtures("quick")
async def test_a_pool_made_anew_under_its_name_is_another_pool(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        kube.delete("workerpools")
        second = kube.add("workerpools", pool(target=LENGTH, maxReplicas=5))
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 5)
        assert kube.get("deployments")["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]


@pytest.mark.usefixtures("quick")
async def test_a_spec_that_changes_while_the_status_is_written_is_not_lost(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await emails.add_bulk(FORTY)
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        write = operator.cluster.write_status

        async def overtaken(row: Pool, told: Mapping[str, Any]) -> Pool:
            """The watch tells of the change before the answer to the write is there."""
            answer = await write(row, told)
            if kube.get("workerpools")["metadata"]["generation"] == 2:
                changed = kube.change("workerpools", lambda body: body["spec"].update(maxReplicas=5))
                await eventually(
                    lambda: (
                        [state.pool.generation for state in operator.reconciler.roster]
                        == [changed["metadata"]["generation"]]
                    )
                )
            return answer

        monkeypatch.setattr(operator.cluster, "write_status", overtaken)
        kube.change("workerpools", lambda body: body["spec"].update(idleAfter="40s"))
        await eventually(lambda: kube.replicas() == 5)


@pytest.mark.usefixtures("quick")
async def test_a_pool_that_changes_its_deployment_and_goes_does_not_spoil_the_news_of_the_old_one(
    kube: KubeMock, emails: Queue
) -> None:
    kube.add("deployments", DEPLOYMENT)
    kube.add("deployments", {**DEPLOYMENT, "metadata": {"name": "other"}})
    kube.add("workerpools", adopting("first", "emails", target=LENGTH))
    kube.add("workerpools", adopting("second", "emails", replicas=4))
    async with reconciling(kube) as operator:
        await operator.look(4)
        kube.change("workerpools", lambda body: body["spec"]["deploymentRef"].update(name="other"), "first")
        await operator.look(4)
        kube.delete("workerpools", "first")
        kube.change("deployments", lambda body: body["spec"].update(paused=True))
        await operator.look(4)
        assert kube.replicas() == 4


async def test_a_pool_that_becomes_due_while_the_loop_turns_does_not_wait_for_another_tick() -> None:
    now = [1.9999]

    class Turning(Reconciler):
        async def _settle(self) -> None:
            now[0] = 2.0  # right after the due ones were started

    body = pool(redis=None)
    body["metadata"].update(namespace="default", uid="1", resourceVersion="1")
    loop = Turning(cast("Door", SimpleNamespace(writes=False)), OperatorMetrics(), lambda: now[0])
    loop.roster.pool_changed(read_pool(body))
    (state,) = loop.roster
    state.due_at = 2.0
    running = asyncio.create_task(loop.run())
    try:
        await eventually(lambda: state.report is not None, within=1.0)
    finally:
        running.cancel()
