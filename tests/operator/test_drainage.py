"""Scaling down without harm: orders in Redis, marks on pods, and the replicas, on a pretended API server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from corral import JobSpec
from corral.beat_record import quiet_order
from corral.keys import Keys
from corral_operator import drainage, guard
from corral_operator.deployment import Key
from corral_operator.pods import DELETION_COST, LOWEST_COST
from kube_objects import At
from played_workers import PlayedWorkers, played_workers
from pools import pool
from reconciling import reconciling
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from corral import Queue
    from corral_operator.pool_state import PoolState
    from kube_mock import KubeMock
    from reconciling import Reconciling
    from servers import RedisServer

ORDERS = Keys("emails").orders
PODS = ("emails-0", "emails-1", "emails-2")

pytestmark = pytest.mark.usefixtures("quick")


def by_hand(kube: KubeMock, replicas: int) -> None:
    """So many, whatever the load is."""
    kube.change("workerpools", lambda body: body["spec"].update(replicas=replicas))


def pods(kube: KubeMock) -> list[str]:
    return [body["metadata"]["name"] for body in kube.objects.list("pods")]


def costs(kube: KubeMock) -> dict[str, str]:
    """The deletion cost of each pod that has one."""
    found = {body["metadata"]["name"]: body["metadata"].get("annotations", {}) for body in kube.objects.list("pods")}
    return {name: row[DELETION_COST] for name, row in found.items() if DELETION_COST in row}


def marks(kube: KubeMock) -> list[tuple[str | None, str | None]]:
    """Every deletion cost that was written: the pod and its cost."""
    calls = [call for call in kube.calls if (call.verb, call.resource) == ("PATCH", "pods")]
    return [(call.name, call.body["metadata"]["annotations"][DELETION_COST]) for call in calls]


def state_of(operator: Reconciling) -> PoolState:
    return next(state for state in operator.reconciler.roster if state.key == Key("default", "emails"))


@asynccontextmanager
async def pool_of_three(
    kube: KubeMock, client: redis.asyncio.Redis, **spec: Any
) -> AsyncIterator[tuple[Reconciling, PlayedWorkers]]:
    """Three pods, a worker in each, and an operator that knows of them."""
    await client.hset("bull:emails:meta", "version", "bullmq:5.0.0")
    kube.add("workerpools", pool(replicas=3, **spec))
    async with reconciling(kube) as operator, played_workers(client, *PODS) as workers:
        await eventually(lambda: kube.replicas() == 3 and len(pods(kube)) == 3)
        await eventually(lambda: state_of(operator).staff is not None and state_of(operator).departures.checked)
        await operator.look(2)
        yield operator, workers


async def test_victims_are_ordered_quiet_and_deleted_when_they_say_so(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        workers["emails-1"].busy = workers["emails-2"].busy = 1
        workers["emails-0"].obeys = False
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: workers["emails-0"].ordered[-1])
        await operator.look(4)
        # It was told, and has not said that it is quiet: it may be taking a job this moment.
        assert (kube.replicas(), marks(kube)) == (3, [])
        assert workers["emails-1"].ordered[-1] is workers["emails-2"].ordered[-1] is None
        workers["emails-0"].obeys = True
        await eventually(lambda: kube.replicas() == 2)
        assert pods(kube) == ["emails-1", "emails-2"]
        assert marks(kube) == [("emails-0", LOWEST_COST)]
        assert kube.status()["desired"] == 2


async def test_the_cost_is_written_right_before_the_one_write_of_the_replicas(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (_, _workers):
        by_hand(kube, 1)
        await eventually(lambda: kube.replicas() == 1)
        writes = [call for call in kube.writes() if call.resource in ("pods", "deployments/scale")][-3:]
        assert [call.resource for call in writes] == ["pods", "pods", "deployments/scale"]
        assert len(pods(kube)) == 1


async def test_a_busy_pod_is_ordered_and_waited_for_and_finishes_its_job(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="corral.operator")
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        for name in PODS[:2]:
            workers[name].busy = 1
        await operator.look(2)
        by_hand(kube, 1)
        await eventually(lambda: kube.replicas() == 2)
        assert pods(kube) == ["emails-0", "emails-1"]
        await operator.look(4)
        assert kube.replicas() == 2
        state = state_of(operator)
        assert (state.leaving, kube.status()["desired"]) == (1, 1)
        assert "3 -> 2 replicas, 1 more finish their jobs; " in caplog.text
        (leaving,) = [name for name in PODS[:2] if workers[name].ordered[-1]]
        workers[leaving].busy = 0
        await eventually(lambda: kube.replicas() == 1)
        assert leaving not in pods(kube)
        await operator.look(2)
        assert state.leaving == 0


async def test_when_load_returns_the_order_is_taken_back_and_it_takes_again(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        for worker in workers.values():
            worker.busy = 1
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: any(worker.ordered[-1] for worker in workers.values()))
        by_hand(kube, 3)
        await eventually(lambda: not any(worker.ordered[-1] for worker in workers.values()))
        assert await redis7_client.hgetall(ORDERS) == {}
        assert (kube.replicas(), marks(kube)) == (3, [])
        await operator.look(2)
        before = len(kube.calls)
        await operator.look(4)
        assert kube.calls[before:] == []


async def test_an_order_stands_for_a_minute_and_is_renewed_while_it_is_wanted(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drainage.orders, "RENEW_S", 0.3)
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        for worker in workers.values():
            worker.busy = 1
        await operator.look(2)
        by_hand(kube, 0)
        await eventually(lambda: all(worker.ordered[-1] for worker in workers.values()))
        seconds, _ = await redis7_client.time()
        first = workers["emails-0"].ordered[-1]
        assert first is not None
        assert 50 < first / 1000 - seconds < 62
        await eventually(lambda: (workers["emails-0"].ordered[-1] or 0) > first + 500)


async def test_after_a_restart_marks_of_before_are_taken_away_and_orders_of_before_taken_back(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client):
        pass
    kube.objects.edit(
        At("pods", "default", "emails-1"),
        lambda body: body["metadata"].setdefault("annotations", {}).update({DELETION_COST: LOWEST_COST}),
    )
    async with played_workers(redis7_client, *PODS) as workers:
        await redis7_client.hset(ORDERS, "worker-emails-1", quiet_order(1 << 44))
        await redis7_client.hset(ORDERS, "worker-of-another-pool", quiet_order(1 << 44))
        await eventually(lambda: workers["emails-1"].ordered[-1])
        async with reconciling(kube) as operator:
            await eventually(lambda: costs(kube) == {})
            await eventually(lambda: workers["emails-1"].ordered[-1] is None)
            assert await redis7_client.hkeys(ORDERS) == [b"worker-of-another-pool"]
            await operator.look(3)
            # Once, not with every look.
            assert len(marks(kube)) == 1
            listed = kube.count("GET", "pods")
            await operator.look(3)
            assert kube.count("GET", "pods") == listed


async def test_after_max_drain_it_is_told_to_end_all_the_same_with_an_event(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client, protection={"maxDrain": "1s"}) as (operator, workers):
        for worker in workers.values():
            worker.busy = 1
        workers["emails-1"].busy = 2
        workers["emails-2"].busy = 3
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: kube.replicas() == 2)
        assert marks(kube) == [("emails-0", LOWEST_COST)]
        assert pods(kube) == ["emails-1", "emails-2"]
        (event,) = [body for body in kube.objects.list("events") if body["reason"] == "DrainTooLong"]
        assert event["type"] == "Warning"
        assert "protection.maxDrain): emails-0; told to end all the same" in event["message"]


async def test_a_pod_whose_worker_was_never_heard_of_counts_as_busy(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        await workers["emails-2"].end()
        for name in PODS[:2]:
            workers[name].busy = 1
        await operator.look(2)
        by_hand(kube, 0)
        await eventually(lambda: all(workers[name].ordered[-1] for name in PODS[:2]))
        await operator.look(3)
        assert (kube.replicas(), marks(kube)) == (3, [])


async def test_a_beat_of_before_the_order_makes_nobody_safe(kube: KubeMock, redis7_client: redis.asyncio.Redis) -> None:
    """It says quiet since an order of before: by now it may have heard that this was taken back."""
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        quiet = workers["emails-0"]
        await redis7_client.hset(ORDERS, quiet.id, quiet_order(1 << 44))
        await eventually(lambda: quiet.quiet)
        await quiet.beat()
        quiet.mute = True
        for name in PODS[1:]:
            workers[name].busy = 1
        await redis7_client.hdel(ORDERS, quiet.id)
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: _is_ordered(redis7_client, quiet.id))
        await operator.look(4)
        assert (kube.replicas(), marks(kube)) == (3, [])
        quiet.mute = False
        await eventually(lambda: kube.replicas() == 2)


async def _is_ordered(client: redis.asyncio.Redis, worker: str) -> bool:
    return bool(await client.hexists(ORDERS, worker))


async def test_a_namesake_of_a_pod_that_is_gone_is_never_marked(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, _workers):
        await operator.cluster.mark("default", "emails-0", "uid-of-before", LOWEST_COST)
        await operator.cluster.mark("default", "emails-9", "uid-of-before", LOWEST_COST)
        assert costs(kube) == {}


async def test_without_redis_nothing_is_lowered_until_max_drain_is_over(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer]
) -> None:
    kube, server = empty_kube, new_server()
    kube.add_secret(server.url)
    async with reconciling(kube) as operator:
        async with redis.asyncio.from_url(server.url, protocol=2) as client:
            await client.hset("bull:emails:meta", "version", "bullmq:5.0.0")
            kube.add("workerpools", pool(replicas=3, protection={"maxDrain": "4s"}))
            async with played_workers(client, *PODS) as workers:
                await eventually(lambda: kube.replicas() == 3)
                await operator.look(3)
                by_hand(kube, 2)
                workers["emails-2"].busy = workers["emails-1"].busy = workers["emails-0"].busy = 1
                await eventually(lambda: any(worker.ordered[-1] for worker in workers.values()))
        server.stop()
        by_hand(kube, 1)
        await eventually(lambda: kube.status().get("desired") == 1)
        await operator.look(3)
        assert (kube.replicas(), marks(kube)) == (3, [])
        await eventually(lambda: kube.replicas() == 1)


async def test_orders_that_are_refused_hold_and_are_told_with_the_exact_permission(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, redis7_url: str, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drainage, "ASK_AGAIN_S", 0.3)
    rights = ["resetkeys", "~bull:*", "-@all", "+@read", "+@connection"]
    await redis7_client.acl_setuser("op", enabled=True, passwords=["+pw"], reset=True)
    await redis7_client.execute_command("ACL", "SETUSER", "op", *rights)
    kube.add_secret(redis7_url.replace("redis://", "redis://op:pw@"))
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        state = state_of(operator)
        await eventually(lambda: state.orders_refused)
        await eventually(lambda: state.report is not None and state.report.guard is not None)
        await operator.look(2)
        assert state.report is not None
        found = state.report.guard
        assert found is not None
        assert (found.busy, found.reason) == (guard.Busy.COST, "NoOrders")
        assert "Redis refuses the operator's orders (NOPERM hdel); give its user `" in found.text
        assert "`+@read +@connection ~bull:* (+hset +hdel ~bull:*:corral:orders)`" in found.text
        assert "Redis 7" in found.text
        # Mode Cost: the idle one is marked, and nobody is told anything.
        for name in PODS[:2]:
            workers[name].busy = 1
            job = await emails.add("mail")
            await redis7_client.lmove("bull:emails:wait", "bull:emails:active")
            await redis7_client.hset(f"bull:emails:{job.id}", "pb", name)
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: kube.replicas() == 2)
        assert pods(kube) == list(PODS[:2])
        assert marks(kube) == [("emails-2", LOWEST_COST)]
        assert not any(found for worker in workers.values() for found in worker.ordered)
        # The permission comes, and is noticed without a restart.
        await redis7_client.execute_command("ACL", "SETUSER", "op", "(+hset +hdel ~bull:*:corral:orders)")
        await eventually(lambda: state.orders_refused is None)
        await operator.look(2)
        assert state.report.guard.reason == "Drain"
        by_hand(kube, 1)
        await eventually(lambda: any(workers[name].ordered[-1] for name in PODS[:2]))
    await redis7_client.acl_deluser("op")


async def test_the_permissions_of_the_handshake_are_all_that_it_takes(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, redis7_url: str
) -> None:
    words = guard.acl_of("bull")
    selector = words[words.index("(") :]
    rights = words[: words.index("(")].split()
    await redis7_client.acl_setuser("op", enabled=True, passwords=["+pw"], reset=True)
    await redis7_client.execute_command("ACL", "SETUSER", "op", *rights, selector)
    await redis7_client.execute_command("ACL", "LOG", "RESET")
    kube.add_secret(redis7_url.replace("redis://", "redis://op:pw@"))
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        workers["emails-1"].busy = 1
        await operator.look(2)
        by_hand(kube, 0)
        await eventually(lambda: kube.replicas() == 1)
        assert pods(kube) == ["emails-1"]
        by_hand(kube, 1)
        await eventually(lambda: workers["emails-1"].ordered[-1] is None)
        assert state_of(operator).orders_refused is None
        log = await redis7_client.execute_command("ACL", "LOG")
        assert [row for row in log if b"op" in row] == []
    await redis7_client.acl_deluser("op")


async def test_orders_of_workers_that_are_gone_are_tidied_away(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        by_hand(kube, 2)
        await eventually(lambda: kube.replicas() == 2)
        (gone,) = set(PODS) - set(pods(kube))
        # Until its worker has ended the order stands: it must not take a job between the two.
        await operator.look(4)
        assert await redis7_client.hkeys(ORDERS) == [workers[gone].id.encode()]
        await workers[gone].end()

        async def tidy() -> bool:
            return not await redis7_client.hkeys(ORDERS)

        await eventually(tidy)


async def test_a_scale_down_to_zero_of_idle_pods_is_one_write_without_marks(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    async with pool_of_three(kube, redis7_client) as (_, _workers):
        before = len(kube.writes())
        by_hand(kube, 0)
        await eventually(lambda: kube.replicas() == 0)
        written = [call.resource for call in kube.writes()[before:]]
        assert written.count("deployments/scale") == 1
        assert "pods" not in written


async def test_more_replicas_do_not_wait_for_old_marks_that_cannot_be_looked_for(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, emails: Queue
) -> None:
    async with pool_of_three(kube, redis7_client):
        pass
    kube.change("workerpools", lambda body: body["spec"].pop("replicas"))
    kube.change("workerpools", lambda body: body["spec"].update(target={"jobsPerReplica": 2}))
    await emails.add_bulk([JobSpec("mail")] * 40)
    with kube.fault("GET", "pods", status=403):
        async with reconciling(kube):
            await eventually(lambda: kube.replicas() == 20)


async def test_others_that_write_the_cost_are_noticed(kube: KubeMock, redis7_client: redis.asyncio.Redis) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        kube.objects.edit(
            At("pods", "default", "emails-2"),
            lambda body: body["metadata"].setdefault("annotations", {}).update({DELETION_COST: "-7"}),
        )
        workers["emails-2"].busy = 1
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: kube.replicas() == 2)
        assert "emails-2" in pods(kube)
        state = state_of(operator)
        await eventually(lambda: state.report and state.report.guard and state.report.guard.reason == "OtherWriter")
        assert state.report is not None
        assert state.report.guard is not None
        assert "the deletion cost of emails-2" in state.report.guard.text
        assert costs(kube) == {"emails-2": "-7"}


async def test_while_the_last_jobs_of_a_pool_are_waited_for_a_new_one_lets_a_pod_take_again(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, emails: Queue
) -> None:
    async with pool_of_three(kube, redis7_client, idleAfter="0s") as (operator, workers):
        for worker in workers.values():
            worker.obeys = False  # told, and not quiet yet
        kube.change("workerpools", lambda body: body["spec"].pop("replicas"))
        await eventually(lambda: all(worker.ordered[-1] for worker in workers.values()))
        await emails.add("mail")
        await operator.look(3)
        await eventually(lambda: any(worker.ordered[-1] is None for worker in workers.values()))
        assert len(pods(kube)) == kube.replicas() == 3


async def test_where_marks_take_long_to_write_the_pods_are_looked_at_again_before_the_number_is_lowered(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, _workers):
        drains = operator.reconciler._attendant._drainage
        told: list[str] = []
        real = {name: getattr(operator.cluster, name) for name in ("pods", "mark", "scale")}
        clock, late_s = drains._clock, 0.0

        def spied(name: str) -> Callable[..., Any]:
            async def call(*args: Any) -> Any:
                nonlocal late_s
                told.append(name)
                late_s = late_s + 20 if name == "mark" else 0.0
                return await real[name](*args)

            return call

        for name in real:
            monkeypatch.setattr(operator.cluster, name, spied(name))
        monkeypatch.setattr(drains, "_clock", lambda: clock() + late_s)
        by_hand(kube, 1)
        await eventually(lambda: kube.replicas() == 1)
        # An order that was relied on before the marks may have run out since.
        first = told.index("scale")
        assert told[:first].count("mark") == 2
        assert told[first - 1] == "pods"
        assert len(pods(kube)) == 1


@pytest.mark.parametrize("mode", ["DryRun", "Paused"])
async def test_a_pool_that_stops_to_scale_in_the_middle_of_it_lets_its_pods_off(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, mode: str
) -> None:
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        workers["emails-1"].busy = workers["emails-2"].busy = 1
        await operator.look(2)
        with kube.fault("PATCH", "deployments/scale", status=500):
            by_hand(kube, 1)
            await eventually(lambda: costs(kube) == {"emails-0": LOWEST_COST})
            kube.change("workerpools", lambda body: body["spec"].update(mode=mode))
            await eventually(lambda: costs(kube) == {})
        await eventually(lambda: not any(worker.ordered[-1] for worker in workers.values()))
        await operator.look(2)
        before = len(kube.writes())
        await operator.look(4)
        assert (kube.replicas(), kube.writes()[before:]) == (3, [])


async def test_workers_that_name_a_pod_late_are_drained_all_the_same(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "UNHEARD_S", 0.5)
    async with pool_of_three(kube, redis7_client):
        pass
    for name in PODS:  # their records are gone
        await redis7_client.zrem(Keys("emails").beats, f"worker-{name}")
        await redis7_client.hdel(Keys("emails").workers, f"worker-{name}")
    async with played_workers(redis7_client, "others-0"), reconciling(kube) as operator:
        await eventually(lambda: state_of(operator).departures.nameless_since_s is not None)
        async with played_workers(redis7_client, *PODS):
            state = state_of(operator)
            await eventually(lambda: state.departures.nameless_since_s is None)
            await operator.look(8)
            assert state.report is not None
            assert state.report.guard is not None
            assert state.report.guard.reason == "Drain"


async def test_orders_that_have_run_out_are_waited_for_no_longer_where_nobody_can_take_them_back(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drainage, "LIST_S", 0.1)
    async with pool_of_three(kube, redis7_client) as (operator, workers):
        for worker in workers.values():
            worker.busy = 1
        await operator.look(2)
        by_hand(kube, 2)
        await eventually(lambda: state_of(operator).departures.orders)
        monkeypatch.setattr(drainage, "ORDER_S", 1.0)
        kube.change("workerpools", lambda body: body["spec"].update(runtime="Any", replicas=3))
        await eventually(lambda: not state_of(operator).departures.under_way)
        assert state_of(operator).departures.orders == {}


# --- who may not write ---

ONLY_LOOKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a dry run": ({"writes": False}, {}),
    "another operator leads": ({"leads": lambda: False}, {}),
    "a pool that only decides": ({}, {"mode": "DryRun"}),
    "a paused pool": ({}, {"mode": "Paused"}),
}


@pytest.mark.parametrize("who", ONLY_LOOKS)
async def test_who_only_looks_on_gives_no_orders_and_does_not_even_ask_whether_it_may(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, redis7_url: str, emails: Queue, who: str
) -> None:
    how, spec = ONLY_LOOKS[who]
    async with pool_of_three(kube, redis7_client):
        pass
    # Whatever this login writes is refused, and noted.
    await redis7_client.acl_setuser("looker", enabled=True, passwords=["+pw"], reset=True)
    await redis7_client.execute_command("ACL", "SETUSER", "looker", "~*", "-@all", "+@read", "+@connection")
    await redis7_client.execute_command("ACL", "LOG", "RESET")
    kube.add_secret(redis7_url.replace("redis://", "redis://looker:pw@"), "looker")
    login = {"redis": {"secretRef": {"name": "looker"}}}
    kube.change("workerpools", lambda body: body["spec"].update(**login, **spec, replicas=1))
    # Something for the closer look as well.
    await emails.add("mail")
    await redis7_client.lmove("bull:emails:wait", "bull:emails:active")
    before = len(kube.writes())
    async with reconciling(kube, **how) as operator, played_workers(redis7_client, *PODS) as workers:
        await operator.look(8)
        workers["emails-1"].mute = True
        await operator.look(2)
        (state,) = operator.reconciler.roster
        assert state.report is not None
        assert state.report.decision is not None
        assert state.report.decision.replicas == 1
        assert not any(found for worker in workers.values() for found in worker.ordered)
    log = await redis7_client.execute_command("ACL", "LOG")
    assert [row for row in log if b"looker" in row] == []
    assert not {call.resource for call in kube.writes()[before:]} & {"pods", "deployments", "deployments/scale"}
    assert kube.replicas() == 3
    await redis7_client.acl_deluser("looker")


async def test_who_has_lost_the_lead_since_the_look_began_gives_no_orders(
    kube: KubeMock, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = True
    async with pool_of_three(kube, redis7_client):
        pass
    async with reconciling(kube, leads=lambda: leads) as operator, played_workers(redis7_client, *PODS) as workers:
        await operator.look(4)
        listed = operator.cluster.pods

        async def overtaken(*of: str) -> Any:
            nonlocal leads
            leads = False
            return await listed(*of)

        monkeypatch.setattr(operator.cluster, "pods", overtaken)
        by_hand(kube, 1)
        await eventually(lambda: not leads)
        await operator.look(3)
        assert not any(found for worker in workers.values() for found in worker.ordered)
        assert await redis7_client.hgetall(ORDERS) == {}
        assert kube.replicas() == 3
