"""Who is there, and who is woken by what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral_operator.counting import QueueKey
from corral_operator.deployment import Deployment, Key, read_deployment
from corral_operator.redises import way_of
from corral_operator.roster import Roster
from corral_operator.table import Pool, read_pool
from pools import adopting, pool
from redis_secret import secret_of

A, B = secret_of("redis://a"), secret_of("redis://b")


class Watched:
    """A roster, and what it called."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.woken = 0
        self.gone: list[str] = []
        self.roster = Roster(lambda: self.now_s, self._wake, lambda key: self.gone.append(key.name))

    def _wake(self) -> None:
        self.woken += 1

    def settle_all(self) -> None:
        """Let every pool sleep far into the future."""
        self.woken = 0
        for state in self.roster:
            state.asleep, state.due_at = True, 10_000.0

    def due(self) -> list[str]:
        return sorted(state.key.name for state in self.roster if state.due_at <= self.now_s)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def _pool(name: str = "emails", version: int = 1, uid: str = "", generation: int = 1, **more: Any) -> Pool:
    metadata = {"namespace": "shop", "name": name, "uid": uid or name, "resourceVersion": str(version)}
    deleting = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if more.pop("deleting", False) else {}
    manifest = adopting(name, more.pop("deployment"), **more) if "deployment" in more else pool(name, **more)
    return read_pool({**manifest, "metadata": {**metadata, **deleting, "generation": generation}})


def _deployment(name: str = "emails", version: int = 1, generation: int = 1) -> Deployment:
    metadata = {"namespace": "shop", "name": name, "uid": f"d-{name}", "resourceVersion": str(version)}
    return read_deployment({"metadata": {**metadata, "generation": generation}})


def test_a_new_pool_is_due_and_wakes_the_loop(watched: Watched) -> None:
    watched.roster.pool_changed(_pool())
    assert (watched.due(), watched.woken, len(watched.roster)) == (["emails"], 1, 1)


def test_only_a_changed_spec_wakes(watched: Watched) -> None:
    watched.roster.pool_changed(_pool())
    watched.settle_all()
    watched.roster.pool_changed(_pool(version=2))
    assert (watched.due(), watched.woken) == ([], 0)
    watched.roster.pool_changed(_pool(version=3, generation=2))
    assert (watched.due(), watched.woken) == (["emails"], 1)


@pytest.mark.parametrize("how", ["deleted", "deleting"])
def test_a_pool_that_goes_is_forgotten(watched: Watched, how: str) -> None:
    watched.roster.pool_changed(_pool())
    if how == "deleted":
        watched.roster.pool_changed(_pool(version=2), deleted=True)
    else:
        watched.roster.pool_changed(_pool(version=2, deleting=True))
    assert (len(watched.roster), watched.gone) == (0, ["emails"])
    watched.roster.pool_changed(_pool(version=1))
    assert len(watched.roster) == 0


def test_another_pool_of_the_name_begins_anew(watched: Watched) -> None:
    watched.roster.pool_changed(_pool())
    (first,) = watched.roster
    watched.roster.pool_changed(_pool(version=9, uid="second"))
    (second,) = watched.roster
    assert second is not first
    watched.roster.pool_changed(_pool(version=5), deleted=True)  # late news of the first
    assert list(watched.roster) == [second]


def test_a_deployment_wakes_the_pools_that_use_it_when_somebody_changed_it(watched: Watched) -> None:
    watched.roster.pool_changed(_pool("emails"))
    watched.roster.pool_changed(_pool("adopting", deployment="emails"))
    watched.roster.pool_changed(_pool("other"))
    watched.settle_all()
    watched.roster.deployment_changed(_deployment())
    assert watched.due() == ["adopting", "emails"]
    watched.settle_all()
    watched.roster.deployment_changed(_deployment(version=2))  # its status
    assert watched.due() == []
    watched.roster.deployment_changed(_deployment(version=3, generation=2))
    assert watched.due() == ["adopting", "emails"]
    watched.settle_all()
    watched.roster.deployment_changed(_deployment(version=2, generation=2))  # late
    assert watched.due() == []
    watched.roster.deployment_changed(_deployment(version=4, generation=2), deleted=True)
    assert watched.due() == ["adopting", "emails"]


def test_a_pool_that_used_a_deployment_once_and_is_gone_is_nobody_to_wake(watched: Watched) -> None:
    watched.roster.pool_changed(_pool("first", deployment="emails"))
    watched.roster.pool_changed(_pool("second", deployment="emails"))
    watched.roster.pool_changed(_pool("first", version=2, generation=2, deployment="other"))
    watched.roster.pool_changed(_pool("first", version=3), deleted=True)
    watched.settle_all()
    watched.roster.deployment_changed(_deployment())
    assert watched.due() == ["second"]


def test_a_queue_wakes_the_pools_that_sleep_on_it(watched: Watched) -> None:
    for name, secret in (("one", A), ("two", A), ("three", A), ("far", B)):
        queue = "sms" if name == "three" else "emails"
        watched.roster.pool_changed(_pool(name, queues=[{"name": queue}]))
        next(state for state in watched.roster if state.key.name == name).use(secret)
    watched.settle_all()
    emails, sms = QueueKey("bull", "emails"), QueueKey("bull", "sms")
    assert watched.roster.settle() == {way_of(A): {emails, sms}, way_of(B): {emails}}
    watched.roster.heard(way_of(A), emails)
    assert watched.due() == ["one", "two"]
    watched.settle_all()
    watched.roster.settle()
    watched.roster.heard(way_of(A), None)  # the connection was lost
    assert watched.due() == ["one", "three", "two"]


def test_secrets_of_one_address_share_no_connection_when_the_names_of_its_certificate_differ() -> None:
    known = replace(A, known_as={"a.shop.svc": "a"})
    assert way_of(known) != way_of(A)
    assert way_of(known) == way_of(replace(A, known_as={"a.shop.svc": "a"}))
    assert hash(way_of(known))


def test_who_is_awake_needs_no_queue_to_be_heard_and_still_uses_its_redis(watched: Watched) -> None:
    watched.roster.pool_changed(_pool())
    assert watched.roster.settle() == {}  # its Secret was not read yet
    next(iter(watched.roster)).use(A)
    assert watched.roster.settle() == {way_of(A): set()}


def test_a_queue_of_a_pool_that_has_gone_wakes_nobody(watched: Watched) -> None:
    watched.roster.pool_changed(_pool())
    next(iter(watched.roster)).use(A)
    watched.settle_all()
    watched.roster.settle()
    watched.roster.forget(Key("shop", "emails"))
    watched.roster.heard(way_of(A), QueueKey("bull", "emails"))
    assert watched.woken == 0
