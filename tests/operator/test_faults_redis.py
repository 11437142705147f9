"""Faults of Redis, of clocks and of what users change: replicas change only as the rules ask, and afterwards all is well."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from corral import JobSpec, Queue
from corral.keys import Keys
from corral_operator import secret_store
from kube_mock import KubeMock, base64
from played_workers import played_workers
from pools import pool
from quick_time import QuickLoop
from reconciling import reconciling
from relay import Relay
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis.asyncio

    from servers import RedisServer

LENGTH = {"jobsPerReplica": 2}
AWAY_S, FASTER = 600.0, 20.0


def _jobs(number: int) -> list[JobSpec]:
    return [JobSpec("mail")] * number


def _turn(kube: KubeMock, url: str) -> None:
    kube.change("secrets", lambda body: body.update(data={"url": base64(url)}), "redis")


async def _names(client: redis.asyncio.Redis) -> list[str]:
    rows = await client.client_list()
    return sorted(row["name"] for row in rows if row["name"].startswith("corral-operator"))


def test_ten_minutes_without_redis_change_no_replicas(tmp_path: Path, new_server: Callable[..., RedisServer]) -> None:
    """The operator's time runs twenty times as fast here."""
    server = new_server(appendonly=True)

    async def story() -> None:
        clock = asyncio.get_running_loop().time
        async with KubeMock(tmp_path / "kubeconfig") as kube, Queue("emails", redis=server.url) as queue:
            kube.add_secret(server.url)
            kube.add("workerpools", pool(target=LENGTH))
            kube.add("workerpools", pool("asleep", queues=[{"name": "asleep"}]))
            with server.client() as client:
                client.hset("bull:asleep:meta", "opts.maxLenEvents", "10000")
            await queue.add_bulk(_jobs(20))
            async with reconciling(kube) as operator:
                await eventually(lambda: (kube.replicas(), kube.replicas("asleep")) == (10, 0))
                await operator.look(5)
                scaled = kube.count("PATCH", "deployments/scale")
                server.stop()
                until_s = clock() + AWAY_S
                await eventually(lambda: kube.condition("RedisReachable")[0] == "False")
                await eventually(lambda: kube.condition("RedisReachable", "asleep")[0] == "False")
                await eventually(lambda: clock() >= until_s, 2 * AWAY_S / FASTER)
                assert kube.count("PATCH", "deployments/scale") == scaled
                server.start()
                await eventually(lambda: kube.condition("RedisReachable")[0] == "True")
                await operator.look(5)
                assert (kube.replicas(), kube.replicas("asleep")) == (10, 0)
                assert kube.count("PATCH", "deployments/scale") == scaled
                # And it goes on.
                with server.client() as client:
                    client.lpush("bull:asleep:wait", "1")
                    client.xadd("bull:asleep:events", {"event": "waiting", "jobId": "1"})
                await eventually(lambda: kube.replicas("asleep") == 1)

    with asyncio.Runner(loop_factory=lambda: QuickLoop(FASTER)) as runner:
        runner.run(story())


@pytest.mark.usefixtures("quick")
async def test_a_redis_that_is_slow_is_read_all_the_same(
    empty_kube: KubeMock, redis7: RedisServer, redis7_url: str, emails: Queue
) -> None:
    kube = empty_kube
    async with Relay(urlsplit(redis7_url).port or 0) as relay:
        relay.delay_s = 0.25
        kube.add_secret(relay.url)
        kube.add("workerpools", pool(target=LENGTH))
        await emails.add_bulk(_jobs(40))
        async with reconciling(kube) as operator:
            await eventually(lambda: kube.replicas() == 20)
            await operator.look(3)
            assert kube.condition("RedisReachable") == ("True", "Reachable")
            assert kube.count("PATCH", "deployments/scale") == 1


@pytest.mark.usefixtures("quick")
async def test_the_wrong_database_changes_no_replicas_and_is_told(
    kube: KubeMock, redis7_url: str, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.2)
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(_jobs(40))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        _turn(kube, redis7_url.rpartition("/")[0] + "/7")
        await eventually(lambda: kube.condition("QueueFound") == ("False", "NeverCreated"))
        await operator.look(5)
        assert (kube.replicas(), kube.count("PATCH", "deployments/scale")) == (20, 1)
        _turn(kube, redis7_url)
        await eventually(lambda: kube.condition("QueueFound") == ("True", "Found"))
        await emails.add_bulk(_jobs(10))
        await operator.look(5)
        assert (kube.replicas(), kube.count("PATCH", "deployments/scale")) == (20, 1), "the most that the pool allows"


@pytest.mark.usefixtures("quick")
async def test_a_rotated_password_is_read_within_seconds_rolls_the_pods_and_loses_nothing_learned(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.5)
    kube, server = empty_kube, new_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">first", "+@read", "+@connection", "~*")
        kube.add_secret(f"redis://reader:first@127.0.0.1:{server.port}/0")
        kube.add("workerpools", pool(target=LENGTH))
        async with Queue("emails", redis=server.url) as queue:
            await queue.add_bulk(_jobs(20))
        async with reconciling(kube) as operator:
            await eventually(lambda: kube.replicas() == 10)
            (state,) = operator.reconciler.roster
            rendered = kube.get("deployments")["spec"]["template"]["metadata"]["annotations"]
            assert state.found == {"emails"}
            forgotten: list[str] = []
            monkeypatch.setattr(type(state), "_forget_queues", lambda _: forgotten.append("all"))
            # As one rotates: the new one is taken beside the old one, then the Secret, then the old one goes.
            client.execute_command("ACL", "SETUSER", "reader", ">second")
            _turn(kube, f"redis://reader:second@127.0.0.1:{server.port}/0")

            def rolled() -> bool:
                now = kube.get("deployments")["spec"]["template"]["metadata"]["annotations"]
                return bool(now["corral.dev/redis-secret"] != rendered["corral.dev/redis-secret"])

            await eventually(rolled)
            client.execute_command("ACL", "SETUSER", "reader", "<first")
            client.execute_command("CLIENT", "KILL", "USER", "reader")
            client.lpush("bull:emails:wait", *[f"more-{number}" for number in range(10)])
            await eventually(lambda: kube.replicas() == 15)
            assert kube.condition("RedisReachable") == ("True", "Reachable")
            assert kube.count("PATCH", "deployments/scale") == 2
            assert forgotten == []


@pytest.mark.usefixtures("quick")
async def test_a_queue_that_is_renamed_in_the_spec_changes_no_replicas_until_the_new_one_has_jobs(
    kube: KubeMock, redis7_url: str, emails: Queue
) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(_jobs(10))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 5)
        kube.change("workerpools", lambda body: body["spec"].update(queues=[{"name": "letters"}]))
        await eventually(lambda: kube.condition("QueueFound") == ("False", "NeverCreated"))
        await operator.look(5)
        assert (kube.replicas(), kube.count("PATCH", "deployments/scale")) == (5, 1)
        assert [row["name"] for row in kube.status()["queues"]] == ["letters"]
        async with Queue("letters", redis=redis7_url) as letters:
            await letters.add_bulk(_jobs(20))
        await eventually(lambda: kube.replicas() == 10)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
async def test_a_wall_clock_that_jumps_an_hour_changes_no_replicas(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    kube.add("workerpools", pool(target=LENGTH, idleAfter="1s"))
    await emails.add_bulk(_jobs(10))
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 5)
        await operator.look(5)
        told = kube.status()
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump_s)
        await operator.look(10)
        assert (kube.replicas(), kube.count("PATCH", "deployments/scale")) == (5, 1)
        assert kube.condition("Ready") == ("True", "Reconciled")
        assert kube.status()["counts"] == told["counts"]
        await emails.add_bulk(_jobs(10))
        await eventually(lambda: kube.replicas() == 10)


@pytest.mark.usefixtures("quick")
async def test_a_pool_that_is_deleted_while_its_pods_drain_leaves_nothing_behind(
    kube: KubeMock, redis7_client: redis.asyncio.Redis
) -> None:
    """The order runs out by itself: nobody renews it."""
    await redis7_client.hset("bull:emails:meta", "version", "bullmq:5.0.0")
    kube.add("workerpools", pool(replicas=2))
    pods = ("emails-0", "emails-1")
    async with reconciling(kube) as operator, played_workers(redis7_client, *pods) as workers:
        await eventually(lambda: kube.replicas() == 2)
        await operator.look(4)
        workers["emails-0"].busy = workers["emails-1"].busy = 1
        kube.change("workerpools", lambda body: body["spec"].update(replicas=1))

        async def ordered() -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = await redis7_client.hgetall(Keys("emails").orders)
            return found

        before = await eventually(ordered)
        kube.delete("workerpools")
        await eventually(lambda: len(operator.reconciler.roster) == 0)
        assert operator.shown() == []
        writes = len(kube.writes())
        kube.add("workerpools", pool("another", queues=[{"name": "another"}], minReplicas=1))
        await eventually(lambda: kube.condition("Ready", "another") == ("True", "Reconciled"))
        assert {call.name for call in kube.writes()[writes:] if call.resource != "events"} == {"another"}
        assert await ordered() == before


@pytest.mark.timeout(150)
async def test_however_many_pools_there_are_two_connections_serve_a_redis(
    kube: KubeMock, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    """Asleep and awake, and over two Secrets of one content; counted by the server."""
    kube.add_secret(redis7_url, "same")
    names = [f"pool-{number}" for number in range(200)]
    for number, name in enumerate(names):
        secret = {"secretRef": {"name": ("redis", "same")[number % 2]}}
        kube.add("workerpools", pool(name, queues=[{"name": name}], target=LENGTH, redis=secret))
    seen: set[int] = set()
    ended = asyncio.Event()

    async def count() -> None:
        while not ended.is_set():
            seen.add(len(await _names(redis7_client)))
            await asyncio.sleep(0.05)

    counting = asyncio.create_task(count())
    async with reconciling(kube) as operator:
        await eventually(lambda: all(state.asleep for state in operator.reconciler.roster), 60)

        async def both() -> bool:
            return await _names(redis7_client) == ["corral-operator", "corral-operator:events"]

        await eventually(both)
        async with redis7_client.pipeline(transaction=False) as pipe:
            for name in names[:100]:
                pipe.lpush(f"bull:{name}:wait", "1", "2")
                pipe.xadd(f"bull:{name}:events", {"event": "waiting"})
            await pipe.execute()
        await eventually(lambda: all(kube.replicas(name) == 1 for name in names[:100]), 60)
        assert (await _names(redis7_client)).count("corral-operator") == 1
    ended.set()
    await counting
    assert max(seen) == 2
