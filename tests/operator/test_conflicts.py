"""Pools and autoscalers that get in each other's way: who is told of whom, who shares, and who holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from corral import JobSpec, Queue
from corral_operator import pool_state, rivalry
from corral_operator.autoscaler import Autoscaler
from corral_operator.conflicts import Claim, Claims, rivals_of, slots_of
from corral_operator.deployment import Key
from corral_operator.observed import Observed, Pods, Rivals
from corral_operator.pool_state import PoolState
from corral_operator.refusal import ApiError
from corral_operator.report import Report
from corral_operator.rivalry import ASKED_EVERY_S, POOLS_EVERY_S, Rivalry
from corral_operator.table import Pool
from pools import adopting, pool
from reconciling import reconciling
from redis_secret import secret_of
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from corral_operator.door import Door
    from kube_mock import KubeMock

HPA = "HorizontalPodAutoscaler"


def claim(name: str = "mail", *, workload: str = "", queues: tuple[str, ...] = ("emails",), **fields: Any) -> Claim:
    """A pool in namespace shop; it adopts `workload`, or owns a Deployment of its name."""
    key = Key(fields.pop("namespace", "shop"), name)
    whole: dict[str, Any] = {"place": "redis/0", "prefix": "bull", "acts": True, **fields}
    return Claim(key, queues=queues, workload=Key(key.namespace, workload or name), adopted=bool(workload), **whole)


def rivals(*claims: Claim, slots: Mapping[str, int] | None = None, scalers: tuple[Autoscaler, ...] = ()) -> Rivals:
    """What the first of them has to share."""
    known = Claims()
    for row in claims:
        known.put(row)
    return rivals_of(claims[0], known, scalers, lambda key: (slots or {}).get(key.name, 0), None)


# --- one queue ---


def test_two_pools_on_one_queue_share_its_backlog_by_their_present_slots() -> None:
    mail, bulk = claim(), claim("bulk")
    assert rivals(mail, bulk, slots={"mail": 9, "bulk": 3}).shares == {"emails": 0.75}
    assert rivals(bulk, mail, slots={"mail": 9, "bulk": 3}).shares == {"emails": 0.25}


def test_two_pools_without_slots_share_in_equal_parts() -> None:
    assert rivals(claim(), claim("bulk")).shares == {"emails": 0.5}


def test_a_pool_without_slots_is_not_kept_from_ever_having_one() -> None:
    assert rivals(claim("bulk"), claim(), slots={"mail": 9}).shares == {"emails": 0.1}


def test_a_pool_that_only_watches_and_has_no_slots_takes_no_part() -> None:
    told = rivals(claim(), claim("bulk", acts=False))
    assert told.shares == {}
    assert told.text is not None
    assert "pool bulk (which only watches)" in told.text
    assert rivals(claim(), claim("bulk", acts=False), slots={"bulk": 1}).shares == {"emails": 0.5}


def test_both_pools_on_one_queue_are_told_of_each_other_and_neither_holds() -> None:
    mail, bulk = claim(queues=("emails", "sms")), claim("bulk", namespace="night")
    told = rivals(mail, bulk)
    assert (told.reason, told.holds) == ("SharedQueue", ())
    assert told.text is not None
    assert "Queue emails is served by pool night/bulk too" in told.text
    assert "sms" not in told.text
    other = rivals(bulk, mail)
    assert other.text is not None
    assert "pool shop/mail" in other.text


@pytest.mark.parametrize("other", [{"place": "redis/1"}, {"prefix": "b"}, {"queues": ("sms",)}, {"place": None}])
def test_another_redis_prefix_or_queue_is_no_conflict(other: dict[str, Any]) -> None:
    assert rivals(claim(), claim("bulk", **other)) == Rivals()


# --- one Deployment ---


def test_two_pools_on_one_deployment_are_told_of_each_other_and_hold() -> None:
    mail, bulk = claim(workload="mailer"), claim("bulk", workload="mailer", queues=("bulk",))
    for mine, name in ((rivals(mail, bulk), "bulk"), (rivals(bulk, mail), "mail")):
        assert mine.reason == "SharedDeployment"
        assert mine.holds == (f"pool {name}",)
        assert mine.text is not None
        assert f"Deployment mailer is scaled by pool {name} too" in mine.text


def test_a_pool_that_adopts_another_pools_deployment_conflicts_with_it() -> None:
    owner, thief = claim("mail"), claim("bulk", workload="mail", queues=("bulk",))
    assert rivals(owner, thief).holds == ("pool bulk",)
    assert rivals(thief, owner).holds == ("pool mail",)


def test_a_deployment_of_the_same_name_in_another_namespace_is_another_one() -> None:
    there = claim("bulk", workload="mailer", queues=("bulk",), namespace="night")
    assert rivals(claim(workload="mailer"), there) == Rivals()


@pytest.mark.parametrize("kind", [HPA, "ScaledObject"])
def test_an_autoscaler_on_an_adopted_deployment_makes_the_pool_hold(kind: str) -> None:
    told = rivals(claim(workload="mailer"), scalers=(Autoscaler(kind, "theirs", "mailer"),))
    assert (told.reason, told.holds) == ("Autoscaler", (f"{kind} theirs",))
    assert told.text is not None
    assert f"Deployment mailer is scaled by {kind} theirs too" in told.text


def test_an_autoscaler_of_another_deployment_or_of_an_owned_one_is_nobodys_rival() -> None:
    assert rivals(claim(workload="mailer"), scalers=(Autoscaler(HPA, "theirs", "web"),)) == Rivals()
    assert rivals(claim("mailer"), scalers=(Autoscaler(HPA, "theirs", "mailer"),)) == Rivals()


def test_the_autoscaler_that_keda_makes_is_not_told_beside_its_scaled_object() -> None:
    rows = (Autoscaler(HPA, "keda-hpa-theirs", "mailer"), Autoscaler("ScaledObject", "theirs", "mailer"))
    assert rivals(claim(workload="mailer"), scalers=rows).holds == ("ScaledObject theirs",)


def test_a_pool_that_only_watches_holds_nothing_and_hinders_nobody() -> None:
    """Beside KEDA, say: it shows what it would do."""
    watcher, other = claim(workload="mailer", acts=False), claim("bulk", workload="mailer", queues=("bulk",))
    assert rivals(watcher, scalers=(Autoscaler(HPA, "theirs", "mailer"),)).holds == ()
    assert rivals(watcher, scalers=(Autoscaler(HPA, "theirs", "mailer"),)).reason == "Autoscaler"
    assert rivals(other, watcher).holds == ()
    assert rivals(other, watcher).reason == "SharedDeployment"


def test_everything_that_is_in_the_way_is_told() -> None:
    mail, bulk = claim(workload="mailer"), claim("bulk", workload="mailer")
    told = rivals(mail, bulk, scalers=(Autoscaler(HPA, "theirs", "mailer"),))
    assert told.text is not None
    assert f"scaled by pool bulk and {HPA} theirs too" in told.text
    assert "Queue emails is served by pool bulk too" in told.text


def test_a_claim_that_changed_or_went_is_found_no_more() -> None:
    claims = Claims()
    claims.put(claim())
    claims.put(claim("bulk"))
    assert claims.on_queue(claim(), "emails") == [claim("bulk")]
    claims.put(claim("bulk", queues=("sms",)))
    assert claims.on_queue(claim(), "emails") == []
    claims.put(claim("bulk"))
    claims.keep([Key("shop", "mail")])
    assert claims.on_queue(claim(), "emails") == []
    claims.drop(Key("shop", "mail"))
    claims.drop(Key("shop", "never"))
    assert claims._users == {}


@pytest.mark.parametrize(
    ("status", "slots"), [({"replicas": 3}, 12), ({}, 0), ({"replicas": "3"}, 0), ({"replicas": True}, 0)]
)
def test_slots_of_before_are_read_from_a_status_whatever_it_holds(status: Any, slots: int) -> None:
    assert slots_of(status, 4) == slots


# --- who is asked, and how often ---


class Scalers:
    """A door that knows of autoscalers alone."""

    def __init__(self, *rows: Autoscaler) -> None:
        self.rows = list(rows)
        self.asked: list[str] = []
        self.refused: ApiError | None = None
        self.now_s = 1000.0
        self.states: list[PoolState] = []
        self.looks = 0

    def rivalry(self) -> Rivalry:
        def everybody() -> list[PoolState]:
            self.looks += 1
            return self.states

        return Rivalry(cast("Door", self), everybody, lambda: self.now_s)

    async def autoscalers(self, namespace: str) -> list[Autoscaler]:
        self.asked.append(namespace)
        await asyncio.sleep(0)
        if self.refused is not None:
            raise self.refused
        return self.rows

    def add(self, name: str, *, adopts: str | None = None, present: int = 0, **spec: Any) -> PoolState:
        body = pool(name, **spec) if adopts is None else adopting(name, adopts, **spec)
        key = Key("shop", name)
        state = PoolState.begin(Pool(key, f"uid-{name}", 1, 1, body["spec"], {}), 0.0)
        state.use(secret_of("redis://10.0.0.1:6379/0"))
        if present:
            state.report = Report(state.spec, 1, 0, observed=Observed(0.0, 0, (), Pods.steady(present)))
        self.states.append(state)
        return state


async def test_autoscalers_are_asked_for_once_a_minute_and_namespace_however_many_pools_there_are() -> None:
    door = Scalers(Autoscaler(HPA, "theirs", "mailer-3"))
    states = [
        door.add(f"mail-{number}", adopts=f"mailer-{number}", queues=[{"name": f"q{number}"}]) for number in range(9)
    ]
    who = door.rivalry()
    told = await asyncio.gather(*(who.of(state) for state in states))
    assert door.asked == ["shop"]
    assert [row.reason for row in told] == [None, None, None, "Autoscaler", *[None] * 5]
    door.now_s += ASKED_EVERY_S - 1
    await who.of(states[0])
    assert door.asked == ["shop"]
    door.now_s += 1
    await who.of(states[0])
    assert door.asked == ["shop", "shop"]


async def test_nobody_is_asked_for_pools_that_own_their_deployment() -> None:
    door = Scalers()
    assert await door.rivalry().of(door.add("mail")) == Rivals()
    assert door.asked == []


async def test_nobody_is_asked_anew_for_a_pool_that_rests() -> None:
    door = Scalers(Autoscaler(HPA, "theirs", "mailer"))
    who, state = door.rivalry(), door.add("mail", adopts="mailer")
    for _ in range(3):
        assert (await who.of(state, rests=True)).holds == (f"{HPA} theirs",)
        door.now_s += ASKED_EVERY_S
    assert door.asked == ["shop"]
    door.rows = []
    assert (await who.of(state)).holds == ()


async def test_a_refusal_is_not_known_and_is_not_asked_again_at_once() -> None:
    door = Scalers()
    door.refused = ApiError(403, "Forbidden", "may not list")
    who, state = door.rivalry(), door.add("mail", adopts="mailer")
    for _ in range(5):
        told = await who.of(state)
        door.now_s += 1
    assert told.holds == ()
    assert told.unknown == "the autoscalers of namespace shop cannot be listed: may not list"
    assert door.asked == ["shop"]
    door.refused = None
    door.now_s += ASKED_EVERY_S
    assert (await who.of(state)).unknown is None


async def test_a_cluster_that_knows_no_autoscalers_has_none() -> None:
    door = Scalers()
    door.refused = ApiError(404, "NotFound", "no such resource")
    assert await door.rivalry().of(door.add("mail", adopts="mailer")) == Rivals()


async def test_an_api_server_that_does_not_answer_takes_nothing_back_and_is_asked_again_soon() -> None:
    door = Scalers(Autoscaler(HPA, "theirs", "mailer"))
    who, state = door.rivalry(), door.add("mail", adopts="mailer")
    assert (await who.of(state)).holds == (f"{HPA} theirs",)
    door.refused = ApiError(0, "Unreachable", "no answer")
    door.now_s += ASKED_EVERY_S
    assert (await who.of(state)).holds == (f"{HPA} theirs",)
    door.refused, door.rows = None, []
    door.now_s += rivalry.AGAIN_S
    assert await who.of(state) == Rivals()


async def test_a_new_pool_and_one_that_went_are_known_soon_and_all_pools_are_not_looked_at_every_time() -> None:
    door = Scalers()
    first = door.add("mail", present=3)
    who = door.rivalry()
    assert await who.of(first) == Rivals()
    second = door.add("bulk", present=1)
    assert (await who.of(second)).shares == {"emails": 0.25}
    assert (await who.of(first)).shares == {"emails": 0.75}, "the newcomer told of itself"
    for _ in range(100):
        await who.of(first)
    assert door.looks == 1
    door.states.remove(second)
    door.now_s += POOLS_EVERY_S
    assert await who.of(first) == Rivals()


async def test_a_pool_whose_redis_or_spec_is_not_known_has_no_rivals_at_its_queues() -> None:
    door = Scalers()
    first, second = door.add("mail"), door.add("bulk")
    first.secret = None
    assert await door.rivalry().of(first) == Rivals()
    second.spec = None
    assert await door.rivalry().of(second) == Rivals()


async def test_two_logins_at_one_redis_are_one_redis() -> None:
    door = Scalers()
    first, second = door.add("mail"), door.add("bulk")
    second.use(secret_of("redis://someone:else@10.0.0.1:6379/0"))
    assert (await door.rivalry().of(first)).reason == "SharedQueue"


# --- the whole loop ---


@pytest.mark.usefixtures("quick")
async def test_two_pools_on_one_queue_are_told_of_each_other_and_do_not_start_pods_for_it_twice(
    kube: KubeMock, emails: Queue
) -> None:
    for name in ("emails", "bulk"):
        kube.add("workerpools", pool(name, target={"jobsPerReplica": 2}))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Conflict") == ("True", "SharedQueue"))
        await eventually(lambda: kube.condition("Conflict", "bulk") == ("True", "SharedQueue"))
        await emails.add_bulk([JobSpec("mail")] * 40)
        await eventually(lambda: (kube.replicas() or 0) + (kube.replicas("bulk") or 0) >= 20)
        await operator.look(6)
        assert (kube.replicas() or 0) + (kube.replicas("bulk") or 0) <= 22, "each rounds its part up"
        assert kube.events().count("SharedQueue") == 2


@pytest.mark.usefixtures("quick")
async def test_autoscalers_of_a_sleeping_pool_are_asked_for_when_there_is_work(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 0.2)
    monkeypatch.setattr(rivalry, "ASKED_EVERY_S", 0.0)
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "mailer"}}, "template": {}}
    kube.add("deployments", {"metadata": {"name": "mailer"}, "spec": spec})
    kube.add("workerpools", adopting("emails", "mailer", target={"jobsPerReplica": 2}))
    async with reconciling(kube) as operator:
        await eventually(lambda: all(state.asleep for state in operator.reconciler.roster) and operator.looks > 2)
        await operator.look(2)
        before = len(kube.calls)
        await operator.look(6)
        assert kube.calls[before:] == []
        await emails.add_bulk([JobSpec("mail")] * 40)
        await eventually(lambda: kube.replicas("mailer") == 20)
        asked = [call.resource for call in kube.calls[before:]]
        assert asked.index("horizontalpodautoscalers") < asked.index("deployments/scale")


@pytest.mark.usefixtures("quick")
async def test_two_pools_on_one_deployment_hold_until_one_of_them_is_gone(kube: KubeMock, emails: Queue) -> None:
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "mailer"}}, "template": {}}
    kube.add("deployments", {"metadata": {"name": "mailer"}, "spec": spec})
    for name in ("emails", "bulk"):
        kube.add("workerpools", adopting(name, "mailer", queues=[{"name": name}], target={"jobsPerReplica": 2}))
    await emails.add_bulk([JobSpec("mail")] * 40)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("Conflict") == ("True", "SharedDeployment"))
        await eventually(lambda: kube.condition("Conflict", "bulk") == ("True", "SharedDeployment"))
        await operator.look(6)
        assert kube.replicas("mailer") == 3
        assert kube.count("PATCH", "deployments/scale") == 0
        kube.delete("workerpools", "bulk")
        await eventually(lambda: kube.replicas("mailer") == 20)
        await eventually(lambda: kube.condition("Conflict") == ("False", "NoRivals"))
