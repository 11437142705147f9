"""An API server that refuses, is silent, or talks nonsense: nothing breaks, no storm, and replicas end right."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec
from corral_operator import api, cluster, pool_state, reconcile, secret_store
from corral_operator.refusal import ApiError
from kube_objects import At
from pools import adopting, pool
from reconciling import reconciling
from waiting import eventually

if TYPE_CHECKING:
    from corral import Queue
    from kube_mock import Fault, KubeMock

pytestmark = pytest.mark.usefixtures("quick")

LENGTH = {"jobsPerReplica": 2}
FORTY = [JobSpec("mail")] * 40
DEPLOYMENT = {
    "metadata": {"name": "emails"},
    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "emails"}}, "template": {}},
}

TROUBLE = {
    "conflict": {"status": 409},
    "too many requests": {"status": 429},
    "internal error": {"status": 500},
    "unavailable": {"status": 503, "body": b"<html>no healthy upstream</html>"},
    "silence": {"hang": True},
    "dropped": {"drop": True},
    "nonsense": {"body": b"<html>Sign in to the hotel's network</html>"},
    "another document": {"body": b'{"message": "sign in", "details": "of the hotel"}'},
    "no object": {"body": b"[]"},
    "an odd refusal": {"status": 500, "body": b'{"message": 7, "details": "odd", "reason": {}}'},
}
# Every trouble with one call, and one of them with every other.
CASES = [
    *(("PATCH", "deployments/scale", trouble) for trouble in TROUBLE),
    ("GET", "secrets", "nonsense"),
    ("GET", "deployments", "internal error"),
    ("PATCH", "deployments", "too many requests"),
    ("PATCH", "workerpools/status", "silence"),
    ("GET", "pods", "another document"),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CALL_TIMEOUT", 1.0)
    monkeypatch.setattr(cluster, "WRITE_TIMEOUT", 1.0)
    monkeypatch.setattr(reconcile, "DOUBT_S", 0.5)


def _hits(kube: KubeMock, fault: Fault, since: int = 0) -> list[float]:
    return [call.at_s for call in kube.calls[since:] if fault.hits(call)]


@pytest.mark.parametrize(("verb", "resource", "trouble"), CASES)
async def test_trouble_with_a_call_is_no_storm_and_passes(
    kube: KubeMock, emails: Queue, verb: str, resource: str, trouble: str
) -> None:
    kube.starts_pods = False  # so that somebody has to look at pods
    await emails.add_bulk(FORTY)
    kube.add("workerpools", pool(target=LENGTH))
    # Deployments are listed too, at the start.
    one = "emails" if (verb, resource) == ("GET", "deployments") else None
    with kube.fault(verb, resource, name=one, **TROUBLE[trouble]) as fault:
        async with reconciling(kube):
            await eventually(lambda: len(_hits(kube, fault)) >= 4)
            hits = _hits(kube, fault)
            kube.heal()
            await eventually(lambda: kube.replicas() == 20)
            await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
    # Each pause is twice the last, but that after the first conflict.
    gaps = [after - before for before, after in pairwise(hits)]
    least = [0.1 * 2**number for number in range(len(gaps))]
    if trouble == "conflict":
        least[0] = 0.0
    assert all(gap >= floor * 0.95 for gap, floor in zip(gaps, least, strict=True)), gaps


async def test_retry_after_is_heeded(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    with kube.fault("PATCH", "deployments/scale", status=429, retry_after=2) as fault:
        async with reconciling(kube):
            await eventually(lambda: len(_hits(kube, fault)) >= 2)
    first, second = _hits(kube, fault)[:2]
    assert second - first >= 2.0


async def test_a_server_that_refuses_connections_is_waited_for(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 0)
        await kube.shut()
        await emails.add_bulk(FORTY)
        await kube.open()
        await eventually(lambda: kube.replicas() == 20)


async def test_a_refused_template_is_told_in_the_servers_words_and_is_no_storm(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    message = 'Deployment.apps "emails" is invalid: spec.template.spec.containers[0].image: Required value'
    with kube.fault("PATCH", "deployments", status=422, message=message) as fault:
        async with reconciling(kube):
            await eventually(lambda: kube.condition("Ready") == ("False", "TemplateInvalid"))
            rows = {row["type"]: row["message"] for row in kube.status()["conditions"]}
            assert message in rows["Ready"]
            await eventually(lambda: len(_hits(kube, fault)) >= 4)
            gaps = [after - before for before, after in pairwise(_hits(kube, fault))]
            assert all(gap >= 0.19 * number for number, gap in enumerate(gaps, 1)), gaps
            assert kube.count("POST", "events") == 1
            kube.heal()
            await eventually(lambda: kube.replicas() == 20)


async def test_a_template_that_is_refused_does_not_keep_the_pods_of_before_from_following(
    kube: KubeMock, emails: Queue
) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 0)
        with kube.fault("PATCH", "deployments", status=422, message="no image"):
            worse = {"spec": {"containers": [{"name": "worker", "image": ""}]}}
            kube.change("workerpools", lambda body: body["spec"].update(template=worse))
            await eventually(lambda: kube.condition("Ready") == ("False", "TemplateInvalid"))
            await emails.add_bulk(FORTY)
            await eventually(lambda: kube.replicas() == 20)
            assert kube.condition("Ready") == ("False", "TemplateInvalid")


@pytest.mark.parametrize(
    ("verb", "resource"), [("PATCH", "deployments/scale"), ("PATCH", "deployments"), ("GET", "secrets")]
)
async def test_a_missing_permission_is_told(kube: KubeMock, emails: Queue, verb: str, resource: str) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    with kube.fault(verb, resource, status=403, message="cannot do this in the namespace"):
        async with reconciling(kube):
            await eventually(lambda: kube.condition("Ready") == ("False", "Forbidden"))
            rows = {row["type"]: row["message"] for row in kube.status()["conditions"]}
            assert "cannot do this in the namespace" in rows["Ready"]
            kube.heal()
            await eventually(lambda: kube.replicas() == 20)
            await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


@pytest.mark.parametrize("code", [400, 422])
async def test_a_refused_number_of_replicas_is_told(kube: KubeMock, emails: Queue, code: int) -> None:
    """As an admission webhook refuses it."""
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    with kube.fault("PATCH", "deployments/scale", status=code, message="no more than 3 on a Friday"):
        async with reconciling(kube):
            await eventually(lambda: kube.condition("Ready") == ("False", "Forbidden"))
            kube.heal()
            await eventually(lambda: kube.replicas() == 20)
            await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


async def test_without_permission_to_see_pods_the_deployments_counts_have_to_do(kube: KubeMock, emails: Queue) -> None:
    kube.starts_pods = False
    kube.add("workerpools", pool(target=LENGTH))
    with kube.fault("GET", "pods", status=403):
        async with reconciling(kube) as operator:
            await emails.add_bulk(FORTY)
            await eventually(lambda: kube.replicas() == 20)
            await eventually(lambda: kube.condition("Ready") == ("False", "Forbidden"))
            ready = {"replicas": 20, "readyReplicas": 11, "updatedReplicas": 20}
            kube.change("deployments", lambda body: body.update(status=ready))
            await eventually(lambda: kube.status()["pods"]["ready"] == 11)
            await operator.look(3)
            assert kube.count("PATCH", "deployments/scale") == 1


async def test_events_that_are_refused_keep_nobody_from_anything(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    with kube.fault("POST", "events", status=403):
        async with reconciling(kube) as operator:
            await eventually(lambda: kube.replicas() == 20)
            await operator.look(4)
            assert kube.count("POST", "events") == 1
            assert kube.count("PATCH", "deployments/scale") == 1


async def test_a_pool_that_vanishes_unseen_is_dropped_when_its_status_is_refused(kube: KubeMock, emails: Queue) -> None:
    kube.add("deployments", DEPLOYMENT)
    kube.add("workerpools", adopting(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        operator.deaf = True
        kube.delete("workerpools")
        await emails.add_bulk(FORTY)
        await eventually(lambda: len(operator.reconciler.roster) == 0)
        assert operator.shown() == []
        refused = kube.count("PATCH", "workerpools/status")
    assert kube.count("PATCH", "workerpools/status") == refused


async def test_a_deployment_that_vanishes_unseen_is_made_again(kube: KubeMock, emails: Queue) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        operator.deaf = True
        kube.delete("deployments")
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.replicas() == 20)


async def test_an_adopted_deployment_that_vanishes_unseen_is_missed(kube: KubeMock, emails: Queue) -> None:
    kube.add("deployments", DEPLOYMENT)
    kube.add("workerpools", adopting(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        operator.deaf = True
        kube.delete("deployments")
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.condition("Ready") == ("False", "DeploymentNotFound"))
        operator.deaf = False
        kube.add("deployments", DEPLOYMENT)
        await eventually(lambda: kube.replicas() == 20)


async def test_a_list_now_and_then_finds_what_the_watch_missed(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "RESYNC_S", 0.3)
    kube.add("workerpools", pool("old"))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready", "old") == ("True", "Reconciled"))
        operator.deaf = True
        kube.delete("workerpools", "old")
        kube.add("workerpools", pool(target=LENGTH))
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: operator.shown("old") == [])
        with kube.fault("GET", "workerpools", body=b'{"kind": "Status"}') as fault:
            await eventually(lambda: _hits(kube, fault))
        kube.change("workerpools", lambda body: body["spec"].update(maxReplicas=4))
        await eventually(lambda: kube.replicas() == 4)


async def test_while_secrets_cannot_be_read_the_last_content_serves(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.2)
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        with kube.fault("GET", "secrets", status=500) as fault:
            await eventually(lambda: _hits(kube, fault))
            await emails.add_bulk(FORTY)
            await eventually(lambda: kube.replicas() == 20)


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_whatever_is_answered_a_call_raises_one_kind_of_error_and_is_made_once(
    kube: KubeMock, trouble: str
) -> None:
    async with reconciling(kube, runs=False) as operator:
        with kube.fault("GET", **TROUBLE[trouble]):
            for call in (
                operator.cluster.pools,
                operator.cluster.deployments,
                lambda: operator.cluster.secret(At("secrets", "default", "redis")),  # type: ignore[arg-type]
                lambda: operator.cluster.pods("default", "app=emails"),
            ):
                before = len(kube.calls)
                with pytest.raises(ApiError) as refused:
                    await call()  # type: ignore[operator]
                # The client itself repeats a GET once when a connection that it had kept turns out to be dead.
                assert len(kube.calls) - before <= (2 if trouble == "dropped" else 1)
                assert isinstance(refused.value.text, str)
                assert len(refused.value.text) < 2000


def test_the_pauses_after_refusals_grow_up_to_half_a_minute() -> None:
    state = pool_state.PoolState.begin(_plain_pool(), 0.0)
    pauses = []
    for _ in range(12):
        state.refused(500, None, 0.0)
        pauses.append(state.not_before)
    assert pauses == sorted(pauses)
    assert pauses[-1] <= pool_state.LONGEST_PAUSE_S


def _plain_pool() -> Any:
    from corral_operator.table import read_pool

    metadata = {"namespace": "default", "name": "emails", "uid": "u", "resourceVersion": "1", "generation": 1}
    return read_pool({**pool(), "metadata": metadata})
