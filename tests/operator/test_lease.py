"""The election: what is decided of a Lease, and two operators that hold to it whatever comes in between."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec, Queue
from corral_operator import cluster, leader, lease
from corral_operator.cluster import Cluster
from corral_operator.deployment import Key
from corral_operator.lease import Seen, lease_body, may_write, pause_s, seen_now, why_ours
from corral_operator.refusal import ApiError
from electing import LEASE, Terms, elector, two_electors
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from kube_mock import KubeMock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LENGTH = {"jobsPerReplica": 2}
THEIRS = Seen("other", "7", changed_at=100.0)


# --- what is decided ---


@pytest.mark.parametrize(
    ("seen", "now_s", "why"),
    [
        (None, 0.0, "there was none"),
        (Seen("me", "7", 100.0), 1e6, "it is ours"),
        (Seen("", "7", 100.0), 100.0, "it was given back"),
        (THEIRS, 100.0, None),
        (THEIRS, 111.9, None),
        (THEIRS, 112.0, "other had not renewed it for 12 s"),
        (Seen("other", "", 100.0), 111.9, None),
        (Seen("other", "", 100.0), 112.0, "other had not renewed it for 12 s"),
    ],
)
def test_a_lease_is_ours_to_write_when_nobody_else_can_hold_it(
    seen: Seen | None, now_s: float, why: str | None
) -> None:
    assert why_ours(seen, "me", now_s) == why


def _found(version: str, holder: str | None = "other", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder, **spec}}


@pytest.mark.parametrize(
    ("before", "found", "now_s", "after"),
    [
        (None, None, 1.0, None),
        (None, _found("7"), 1.0, Seen("other", "7", 1.0)),
        (None, _found("7", None), 1.0, Seen("", "7", 1.0)),
        (None, {"metadata": {}}, 1.0, Seen("", "", 1.0)),
        # Whatever it says of times: what counts is when it changed.
        (THEIRS, _found("7", renewTime="2999-01-01T00:00:00.000000Z"), 105.0, THEIRS),
        (THEIRS, _found("8"), 105.0, Seen("other", "8", 105.0)),
        # Taken away from under its holder, who may not know yet.
        (THEIRS, None, 105.0, Seen("other", "", 105.0)),
        (Seen("other", "", 105.0), None, 110.0, Seen("other", "", 105.0)),
        (None, _found("7", acquireTime="x", leaseTransitions=3), 1.0, Seen("other", "7", 1.0, "x", 3)),
    ],
)
def test_a_lease_is_as_old_as_its_last_change(
    before: Seen | None, found: dict[str, Any] | None, now_s: float, after: Seen | None
) -> None:
    assert seen_now(before, found, now_s) == after


def test_its_holder_stops_long_before_another_may_begin() -> None:
    assert [may_write(100.0, now_s) for now_s in (100.0, 105.9, 106.0)] == [True, True, False]
    assert not may_write(None, 0.0)
    assert lease.RENEW_S + leader.CALL_S < lease.WRITES_FOR_S, "a renewal that hangs must cost nothing"
    assert lease.WRITES_FOR_S + cluster.WRITE_TIMEOUT < lease.DURATION_S
    assert lease.LOOK_S + lease.DURATION_S + leader.CALL_S <= 15.0


@pytest.mark.parametrize(
    ("seen", "now_s", "pause"),
    [(Seen("me", "7", 0.0), 500.0, 2.0), (None, 0.0, 2.0), (THEIRS, 100.0, 1.0), (THEIRS, 111.75, 0.25), (THEIRS, 113.0, 0.0)],
)  # fmt: skip
def test_who_waits_looks_right_when_the_lease_runs_out(seen: Seen | None, now_s: float, pause: float) -> None:
    assert pause_s(seen, "me", now_s) == pause


@pytest.mark.parametrize(
    ("seen", "holder", "metadata", "spec"),
    [
        (None, "me", {}, ("me", "2026-03-01T12:00:00.000000Z", 1)),
        (Seen("other", "7", 1.0, "then", 3), "me", {"resourceVersion": "7"}, ("me", "2026-03-01T12:00:00.000000Z", 4)),
        (Seen("me", "7", 1.0, "then", 3), "me", {"resourceVersion": "7"}, ("me", "then", 3)),
        (Seen("me", "", 1.0, "then", 3), "me", {}, ("me", "then", 3)),
        (Seen("me", "7", 1.0, "then", 3), "", {"resourceVersion": "7"}, (None, "then", 3)),
    ],
)
def test_a_lease_is_written_over_the_version_that_was_seen(
    seen: Seen | None, holder: str, metadata: dict[str, str], spec: tuple[str | None, str, int]
) -> None:
    body = lease_body("ours", "operators", seen, holder, NOON)
    assert body["metadata"] == {"namespace": "ours", "name": "operators", **metadata}
    assert (body["spec"]["holderIdentity"], body["spec"]["acquireTime"], body["spec"]["leaseTransitions"]) == spec
    assert (body["spec"]["leaseDurationSeconds"], body["spec"]["renewTime"]) == (12, "2026-03-01T12:00:00.000000Z")


# --- what is done ---


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spans of the election, an eighth of what they are."""
    for name in ("DURATION_S", "RENEW_S", "WRITES_FOR_S", "LOOK_S"):
        monkeypatch.setattr(lease, name, getattr(lease, name) / 8)
    monkeypatch.setattr(leader, "LOOK_S", lease.LOOK_S)
    monkeypatch.setattr(leader, "CALL_S", leader.CALL_S / 8)
    monkeypatch.setattr(cluster, "WRITE_TIMEOUT", cluster.WRITE_TIMEOUT / 8)


def _said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def test_of_many_that_begin_at_once_one_leads(
    empty_kube: KubeMock, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    terms = Terms(empty_kube)
    async with AsyncExitStack() as stack:
        all_ = [await stack.enter_async_context(elector(empty_kube, f"number-{number}")) for number in range(8)]
        await eventually(lambda: any(each.leader.writes() for each in all_))
        await eventually(lambda: empty_kube.count("GET", "leases") > 60)
        assert sum(each.leader.writes() for each in all_) == sum(each.prepared for each in all_) == 1
        assert len(terms.rows) == 1
    # On a machine that is busy elsewhere a call may be late; that is told, and is another matter.
    complaints = [row.getMessage() for row in caplog.records if "did not answer" not in row.getMessage()]
    assert complaints == [], "who was slower has nothing to complain of"


async def test_a_lease_that_is_given_back_is_taken_at_the_next_look(
    empty_kube: KubeMock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    terms = Terms(empty_kube)
    async with two_electors(empty_kube) as (one, two):
        await eventually(lambda: _said(caplog, "stands by: one has the lease default/operators"))
        await one.end()
        assert not one.leader.writes()
        await eventually(two.leader.writes, 2.0)
        assert terms.holders == ["one", "", "two"]
        assert _said(caplog, "gave the lease default/operators back")
        assert _said(caplog, "leads: two has the lease default/operators; it was given back")
        assert empty_kube.get("leases", LEASE)["spec"]["leaseTransitions"] == 2


async def test_a_crash_is_noticed_by_the_silence_alone(
    empty_kube: KubeMock, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with two_electors(empty_kube) as (one, two):
        await one.crash()
        await two.leads()
        assert _said(caplog, "leads: two has the lease default/operators; one had not renewed it")


async def test_a_wall_clock_that_jumps_changes_nothing(
    empty_kube: KubeMock, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Jumping(datetime):
        now_ = NOON

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            Jumping.now_ += timedelta(days=-400, microseconds=1) if Jumping.now_ > NOON else timedelta(days=800)
            return Jumping.now_

    monkeypatch.setattr(leader, "datetime", Jumping)
    terms = Terms(empty_kube)
    async with two_electors(empty_kube) as (one, _):
        puts = empty_kube.count("PUT", "leases")
        await eventually(lambda: empty_kube.count("PUT", "leases") > puts + 10)
        assert one.leader.writes()
        assert terms.holders == ["one"]


async def test_one_that_slept_knows_it_at_once_and_looks_who_leads(empty_kube: KubeMock, short: None) -> None:
    async with elector(empty_kube, "one") as one:
        await one.leads()
        one.ahead_s += 100.0
        assert not one.leader.writes()
        await one.leads()
        assert one.prepared == 1, "nobody else has led meanwhile"


async def test_a_leader_without_answers_stops_by_itself_and_goes_on_when_they_come(
    empty_kube: KubeMock, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    for what in ({"hang": True}, {"status": 500}, {"drop": True}, {"body": b"<html>"}):
        caplog.clear()
        async with elector(empty_kube, "one") as one:
            await one.leads()
            with empty_kube.fault(resource="leases", **what):
                await eventually(lambda: _said(caplog, "writes nothing for now: the lease default/operators was not"))
                assert not one.leader.writes()
                assert _said(caplog, "the lease default/operators cannot be used:") == 1, "once, not with every look"
            await one.leads()
            assert one.prepared == 1


async def test_an_answer_that_was_lost_makes_nobody_give_up(empty_kube: KubeMock, short: None) -> None:
    """The renewal went through: its own name is found in the Lease, of another version than was seen."""
    terms = Terms(empty_kube)
    async with two_electors(empty_kube) as (one, two):
        with empty_kube.fault("PUT", "leases", drop=True, late=True):
            puts = empty_kube.count("PUT", "leases")
            await eventually(lambda: empty_kube.count("PUT", "leases") > puts + 2)
        await one.leads()
        assert (one.prepared, two.prepared, terms.holders) == (1, 0, ["one"])


async def test_a_stolen_lease_is_let_go_and_taken_again_when_the_thief_keeps_silent(
    empty_kube: KubeMock, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with elector(empty_kube, "one") as one:
        await one.leads()
        empty_kube.change("leases", lambda body: body["spec"].update(holderIdentity="thief"), LEASE)
        await eventually(lambda: not one.leader.writes())
        await eventually(lambda: _said(caplog, "writes nothing any more: the lease default/operators was taken away"))
        await one.leads()
        assert one.prepared == 2, "it begins anew"


async def test_a_refused_renewal_counts_at_once_even_if_nobody_tells_whose_the_lease_is_now(
    empty_kube: KubeMock, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "WRITES_FOR_S", 3600.0)
    async with elector(empty_kube, "one") as one:
        await one.leads()
        with empty_kube.fault("GET", "leases", status=500):
            empty_kube.change("leases", lambda body: body["spec"].update(holderIdentity="thief"), LEASE)
            await eventually(lambda: not one.leader.writes())


async def test_one_that_was_cut_off_begins_anew_when_another_led_and_went_meanwhile(
    empty_kube: KubeMock, short: None
) -> None:
    terms = Terms(empty_kube)
    async with two_electors(empty_kube) as (one, two):
        with empty_kube.fault(who="one", hang=True):
            await two.leads()
            await two.end()
        await eventually(lambda: one.prepared == 2)
        assert terms.holders == ["one", "two", "", "one"]


async def test_a_renewal_that_nobody_can_see_is_none(
    empty_kube: KubeMock, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PUT that changes nothing gives no new version: for the others the lease runs out all the same."""

    class Standing(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOON

    async with elector(empty_kube, "one") as one:
        await one.leads()
        with monkeypatch.context() as standing:
            standing.setattr(leader, "datetime", Standing)
            await eventually(lambda: not one.leader.writes())
        await one.leads()


async def test_a_lease_that_is_deleted_is_made_again_by_its_holder(empty_kube: KubeMock, short: None) -> None:
    terms = Terms(empty_kube)
    async with two_electors(empty_kube) as (one, two):
        looks = empty_kube.count("GET", "leases")
        await eventually(lambda: empty_kube.count("GET", "leases") > looks + 2)
        for _ in range(3):
            empty_kube.delete("leases", LEASE)
            await eventually(lambda: empty_kube.has("leases", LEASE))
        await one.leads()
        assert (two.prepared, terms.holders) == (0, ["one"])


async def test_without_the_right_it_says_which_one_it_needs(
    empty_kube: KubeMock, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    with empty_kube.fault(resource="leases", status=403, message="leases is forbidden"):
        async with elector(empty_kube, "one") as one:
            await eventually(lambda: empty_kube.count("GET", "leases") > 4)
            assert not one.leader.writes()
            (text,) = [record.getMessage() for record in caplog.records]
            assert text == (
                "the lease default/operators cannot be used: leases is forbidden; allow get, create and update of "
                "leases.coordination.k8s.io operators in namespace default, as the chart's Role does"
            )
            empty_kube.heal()
            await one.leads()


async def test_nothing_is_written_before_what_there_is_was_listed(kube: KubeMock, short: None, quick: None) -> None:
    kube.add("workerpools", pool(minReplicas=1))
    async with elector(kube, "one", reconciles=True) as one:
        await one.leads()
        await eventually(lambda: kube.replicas() == 1)
        async with elector(kube, "two", reconciles=True) as two:
            with kube.fault("GET", "deployments", who="two", status=500):
                await one.crash()
                await eventually(lambda: two.prepared > 3)
                assert two.writes == []
            kube.change("workerpools", lambda body: body["spec"].update(minReplicas=2))
            await eventually(lambda: kube.replicas() == 2)


async def test_a_write_that_had_to_wait_is_not_sent_when_its_time_has_passed(empty_kube: KubeMock) -> None:
    """Asked before all the lines were busy, it was still true that this operator leads."""
    async with elector(empty_kube, "one") as one:
        api = one.leader._api
        leads = True
        door = Cluster(api, leads=lambda: leads)
        while not api._free.locked():
            await api._free.acquire()
        assert door.writes
        waiting = asyncio.create_task(door.scale(Key("default", "emails"), 3, ""))
        await asyncio.sleep(0)
        leads = False
        for _ in range(16):
            api._free.release()
        with pytest.raises(ApiError, match="nothing was written") as refused:
            await waiting
        assert (refused.value.code, refused.value.reason) == (409, "NotLeading")
        assert empty_kube.count("PATCH") == 0


# --- two that serve pools ---


async def test_the_one_that_stands_by_decides_everything_and_writes_nothing(
    kube: KubeMock, emails: Queue, short: None, quick: None
) -> None:
    terms = Terms(kube)
    async with two_electors(kube, reconciles=True) as (_, two):
        kube.add("workerpools", pool(target=LENGTH))
        await emails.add_bulk([JobSpec("mail")] * 40)
        await eventually(lambda: kube.replicas() == 20)
        assert two.operator is not None
        await two.operator.look()
        assert any(line.startswith("corral_pool_desired_replicas") for line in two.operator.shown())
        assert (two.writes, terms.astray()) == ([], [])


@pytest.mark.parametrize("how", ["end", "crash"])
async def test_a_successor_goes_on_where_the_one_before_it_was(
    how: str, kube: KubeMock, emails: Queue, short: None, quick: None
) -> None:
    terms = Terms(kube)
    kube.add("workerpools", pool(target=LENGTH))
    async with two_electors(kube, reconciles=True) as (one, two):
        await emails.add_bulk([JobSpec("mail")] * 20)
        await eventually(lambda: kube.replicas() == 10)
        await eventually(lambda: kube.status().get("lastScale", {}).get("to") == 10)
        scaled = kube.status()["lastScale"]
        await getattr(one, how)()
        await two.leads()
        await emails.add_bulk([JobSpec("mail")] * 20)
        await eventually(lambda: kube.replicas() == 20)
        scalings = [call.body["spec"]["replicas"] for call in kube.calls if call.resource == "deployments/scale"]
        assert scalings == [10, 20], "nothing went down on the way"
        await eventually(lambda: kube.status()["lastScale"]["to"] == 20)
        told = [call.body["status"]["lastScale"] for call in two.writes if call.resource == "workerpools/status"]
        assert all(row == scaled or row["to"] == 20 for row in told), "what the one before did is known"
        assert terms.astray() == []


@pytest.mark.parametrize("what", [{"hang": True}, {"drop": True}, {"status": 503}])
async def test_a_leader_that_is_cut_off_writes_nothing_after_another_has_taken_over(
    what: dict[str, Any], kube: KubeMock, emails: Queue, short: None, quick: None
) -> None:
    terms = Terms(kube)
    kube.add("workerpools", pool(target=LENGTH))
    async with two_electors(kube, reconciles=True) as (one, two):
        await eventually(lambda: kube.replicas() == 0)
        with kube.fault(who="one", **what):
            await emails.add_bulk([JobSpec("mail")] * 20)
            await two.leads()
            await eventually(lambda: kube.replicas() == 10)
        await eventually(lambda: one.leader._seen is not None and one.leader._seen.holder == "two")
        assert one.operator is not None
        await one.operator.look()
        await emails.add_bulk([JobSpec("mail")] * 20)
        await eventually(lambda: kube.replicas() == 20)
        await one.operator.look()
        assert terms.holders == ["one", "two"]
        assert terms.astray() == []
