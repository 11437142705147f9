"""Which changes of a status are worth an event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec, Queue
from corral_operator.news import News, news
from pools import pool
from reconciling import reconciling
from waiting import eventually

if TYPE_CHECKING:
    from kube_mock import KubeMock


def _row(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": f"{reason} it is"}


def _status(*rows: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"conditions": list(rows), **more}


def test_a_scaling_is_told_with_the_sentence_of_the_decision() -> None:
    scaled = {"from": 0, "to": 3, "at": "2026-01-01T00:00:00Z", "reason": "Drain"}
    status = _status(lastScale=scaled, decision={"text": "3 replicas: because"})
    assert news({}, status) == [News("ScaledUp", "from 0 to 3: because")]
    assert news(status, status) == []
    down = _status(lastScale={**scaled, "from": 3, "to": 1})
    assert news(status, down) == [News("ScaledDown", "from 3 to 1: Drain")]


@pytest.mark.parametrize(
    ("kind", "bad", "reason"),
    [
        ("Ready", "False", "SecretMissing"),
        ("RedisReachable", "False", "AuthFailed"),
        ("Limited", "True", "Quota"),
        ("Limited", "True", "Downstream"),
        ("Protected", "False", "NoOrders"),
        ("Conflict", "True", "SharedQueue"),
        ("NoConsumer", "True", "NothingTaken"),
        ("PoisonJobs", "True", "OutOfMemory"),
        ("Stuck", "True", "SilentWorkers"),
    ],
)
def test_a_condition_that_turns_bad_is_told_once(kind: str, bad: str, reason: str) -> None:
    good = _status(_row(kind, "True" if bad == "False" else "False", "Good"))
    worse = _status(_row(kind, bad, reason))
    assert news(good, worse) == news({}, worse) == [News(reason, f"{reason} it is", warning=True)]
    other_words = _status({**_row(kind, bad, reason), "message": "two jobs by now"})
    assert news(worse, worse) == news(worse, other_words) == [], "what lasts is not told again"
    assert news(worse, good) == []


def test_another_reason_to_be_bad_is_told() -> None:
    before, after = _status(_row("Ready", "False", "SecretMissing")), _status(_row("Ready", "False", "SecretInvalid"))
    assert [row.reason for row in news(before, after)] == ["SecretInvalid"]


@pytest.mark.parametrize(
    "row",
    [
        _row("Limited", "True", "MaxReplicas"),
        _row("Active", "False", "Idle"),
        _row("Protected", "False", "None"),
        _row("Stuck", "Unknown", "NotLooked"),
    ],
)
def test_what_the_user_asked_for_is_no_news(row: dict[str, str]) -> None:
    assert news({}, _status(row)) == []


@pytest.mark.parametrize("nonsense", [None, "text", [None, 7, {}]])
def test_nonsense_in_the_old_status_counts_as_nothing(nonsense: Any) -> None:
    status = _status(_row("Ready", "False", "SecretMissing"))
    assert [row.reason for row in news({"conditions": nonsense}, status)] == ["SecretMissing"]


# --- one decision, told four times ---


@pytest.mark.usefixtures("quick")
async def test_status_event_log_line_and_metric_say_the_same(
    kube: KubeMock, emails: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "corral.operator")
    kube.add("workerpools", pool(target={"jobsPerReplica": 2}))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))
        await emails.add_bulk([JobSpec("mail")] * 40)
        await eventually(lambda: "ScaledUp" in kube.events())
        await eventually(lambda: kube.status()["decision"]["reason"] == "Length")
        shown = operator.shown()
        body, _ = operator.metrics.render()
    status = kube.status()
    number, _, sentence = status["decision"]["text"].partition(" replicas: ")
    assert (number, sentence) == ("20", "40 jobs at 2 per replica")
    assert status["desired"] == status["lastScale"]["to"] == 20
    assert status["lastScale"]["reason"] == status["decision"]["reason"] == "Length"
    (event,) = (row for row in kube.objects.list("events") if row["reason"] == "ScaledUp")
    assert event["message" if "message" in event else "note"] == f"from 0 to 20: {sentence}"
    (line,) = (row.message for row in caplog.records if "0 -> 20" in row.message)
    assert line == f"default/emails: 0 -> 20 replicas; 20 replicas: {sentence}"
    assert 'corral_pool_desired_replicas{namespace="default",pool="emails"} 20.0' in shown
    assert b'corral_decisions_total{reason="Length"}' in body
    assert b'corral_scale_writes_total{direction="up"} 1.0' in body


@pytest.mark.usefixtures("quick")
async def test_what_lasts_makes_one_event_however_often_it_is_looked_at(kube: KubeMock, emails: Queue) -> None:
    for name in ("emails", "bulk"):
        kube.add("workerpools", pool(name))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.events().count("SharedQueue") == 2)
        await emails.add("mail")
        await operator.look(20)
        assert kube.events().count("SharedQueue") == 2
