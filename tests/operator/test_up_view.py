"""What `corral up` shows beside its counts: pods that leave, and what a closer look found."""

from __future__ import annotations

import asyncio
import io
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from rich.console import Console

from corral_operator import local_run
from corral_operator.decision import Reason
from corral_operator.deployment import Key
from corral_operator.findings import Finding, Findings
from corral_operator.local_run import LocalRun
from corral_operator.pool_state import PoolState
from corral_operator.table import Pool
from corral_operator.up_view import LiveView, PlainView, pods_of
from pools import pool
from reports import decided, quiet, report, unread
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from corral_operator.processes import Processes
    from corral_operator.reconcile import Reconciler

NOTHING = Findings(looked=True)
POISON = Findings((Finding("OutOfMemory", "job 7 of emails ran in emails-1 when it died"),), looked=True)


def state_of(findings: Findings = NOTHING, leaving: int = 0) -> PoolState:
    state = PoolState.begin(Pool(Key("default", "emails"), "uid", 1, 1, pool()["spec"], {}), 0.0)
    state.leaving = leaving
    state.report = report(quiet(waiting=5), findings=findings, leaving=leaving)
    return state


def lines_of(out: io.StringIO) -> list[str]:
    """Without the time before each."""
    return [re.sub(r"^ *[\d.]+ s  ", "", line) for line in out.getvalue().splitlines()]


def test_replicas_that_leave_are_counted_in_the_line_of_the_replicas() -> None:
    assert pods_of(state_of(), ()) == "replicas 0 of 3"
    assert pods_of(state_of(leaving=2), ()) == "replicas 0 of 3, 2 leaving"


def test_a_plain_view_tells_each_finding_once_and_again_when_it_has_been_away() -> None:
    out = io.StringIO()
    view = PlainView(out)
    for findings in (NOTHING, POISON, POISON, NOTHING, POISON):
        view.show([(state_of(findings), ())])
    told = [line for line in lines_of(out) if "job 7" in line]
    assert told == ["emails: job 7 of emails ran in emails-1 when it died"] * 2


def test_a_live_view_shows_findings_below_the_sentence_of_the_pool_and_leaving_replicas_in_its_row() -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    view = LiveView(console)
    view.show([(state_of(POISON, leaving=2), ())])
    console.print(view._picture())
    text = console.export_text()
    assert "0 of 3  2 leaving" in text
    assert text.index("3 replicas: because") < text.index("job 7 of emails ran in emails-1")


async def test_an_outage_its_fallback_and_its_end_are_told_once_each_even_if_the_number_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_run, "SHOW_S", 0.01)
    state, shown, told = state_of(), [0], list[str]()

    def show(_: object) -> None:
        shown[0] += 1

    run = LocalRun(
        cast("Processes", SimpleNamespace(replicas=lambda _: ())),
        cast("Reconciler", SimpleNamespace(roster=[state])),
        SimpleNamespace(tell=told.append, show=show),
        tmp_path,
    )
    showing = asyncio.create_task(run._show())
    for reason in (Reason.FLOW, Reason.UNKNOWN, Reason.FALLBACK, Reason.DRAIN):
        state.report = report(unread(), decision=decided(3, reason))
        until = shown[0] + 3
        await eventually(lambda until=until: shown[0] >= until)
    showing.cancel()
    assert told == ["emails: 3 replicas: because"] * 4
