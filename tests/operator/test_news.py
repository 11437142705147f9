"""Which changes of a status are worth an event."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.news import News, news


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
    ("kind", "bad"), [("Ready", "False"), ("RedisReachable", "False"), ("NoConsumer", "True"), ("Limited", "True")]
)
def test_a_condition_that_turns_bad_is_told_once(kind: str, bad: str) -> None:
    good = _status(_row(kind, "True" if bad == "False" else "False", "Good"))
    worse = _status(_row(kind, bad, "Quota"))
    assert news(good, worse) == news({}, worse) == [News("Quota", "Quota it is", warning=True)]
    assert news(worse, worse) == []
    assert news(worse, good) == []


def test_another_reason_to_be_bad_is_told() -> None:
    before, after = _status(_row("Ready", "False", "SecretMissing")), _status(_row("Ready", "False", "SecretInvalid"))
    assert [row.reason for row in news(before, after)] == ["SecretInvalid"]


@pytest.mark.parametrize("row", [_row("Limited", "True", "MaxReplicas"), _row("Active", "False", "Idle")])
def test_what_the_user_asked_for_is_no_news(row: dict[str, str]) -> None:
    assert news({}, _status(row)) == []


@pytest.mark.parametrize("nonsense", [None, "text", [None, 7, {}]])
def test_nonsense_in_the_old_status_counts_as_nothing(nonsense: Any) -> None:
    status = _status(_row("Ready", "False", "SecretMissing"))
    assert [row.reason for row in news({"conditions": nonsense}, status)] == ["SecretMissing"]
