"""Secrets that are missing, wrong or rotated, and a Redis that is away or silent: replicas stay, and the pool says why."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from corral import JobSpec, Queue
from corral_operator import inspector, pool_state, readings, secret_store, signs
from kube_mock import base64
from pools import pool
from reconciling import reconciling
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis.asyncio

    from kube_mock import KubeMock
    from servers import RedisServer

LENGTH = {"jobsPerReplica": 2}
FORTY = [JobSpec("mail")] * 40


def _message(kube: KubeMock, kind: str, name: str = "emails") -> str:
    rows = {row["type"]: row["message"] for row in kube.status(name).get("conditions", ())}
    return str(rows[kind])


async def _add(url: str, jobs: int = 40) -> None:
    async with Queue("emails", redis=url) as queue:
        await queue.add_bulk([JobSpec("mail")] * jobs)


async def _clients(client: redis.asyncio.Redis) -> list[str]:
    rows = await client.client_list()
    return sorted(row["name"] for row in rows if row["name"].startswith("corral-operator"))


@pytest.mark.usefixtures("quick")
async def test_a_missing_secret_is_told_and_waited_for(empty_kube: KubeMock, redis7_url: str, emails: Queue) -> None:
    kube = empty_kube
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("False", "SecretMissing"))
        assert kube.replicas() is None
        assert kube.condition("RedisReachable") == ("Unknown", "NotTried")
        kube.add_secret(redis7_url)
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({}, "SecretIncomplete"),
        ({"password": base64("s3cret")}, "SecretIncomplete"),
        ({"url": "%%%"}, "SecretInvalid"),
        ({"url": base64("http://:s3cret@redis:6379")}, "SecretInvalid"),
        ({"url": base64("redis://:s3cret@redis:6379/0?nonsense=1")}, "SecretInvalid"),
        ({"url": base64("rediss://:s3cret@redis:6379"), "ca.crt": base64("-----BEGIN NONSENSE-----")}, "SecretInvalid"),
        ({"sentinels": base64("a:1,b:2")}, "SecretIncomplete"),
    ],
)
async def test_a_wrong_secret_is_told_without_its_content(
    empty_kube: KubeMock, redis7_url: str, emails: Queue, data: dict[str, str], cause: str
) -> None:
    kube = empty_kube
    kube.add("workerpools", pool(target=LENGTH))
    kube.add_secret(**data)
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready") == ("False", cause))
        assert "s3cret" not in str(kube.status()) + str(kube.objects.list("events"))
        kube.change("secrets", lambda body: body.update(data={"url": base64(redis7_url)}), "redis")
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("Ready") == ("True", "Reconciled"))


@pytest.mark.usefixtures("quick")
async def test_what_was_read_of_the_redis_of_before_decides_nothing(
    kube: KubeMock, emails: Queue, new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool turns to another Secret, whose Redis has no jobs, while its queue is read."""
    kube.add_secret(new_server().url, "other")
    kube.add("workerpools", pool(target=LENGTH))
    read = readings.Reader.read

    async def overtaken(*of: Any) -> Any:
        found = await read(*of)
        if any(row.ready for row in found.values()):
            other = {"secretRef": {"name": "other"}}
            kube.change("workerpools", lambda body: body["spec"].update(redis=other))
            await eventually(lambda: [state.secret for state in operator.reconciler.roster] == [None])
        return found

    monkeypatch.setattr(readings.Reader, "read", overtaken)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("QueueFound") == ("False", "NeverCreated"))
        await emails.add_bulk(FORTY)
        await eventually(lambda: kube.status()["observedGeneration"] == 2)
        await eventually(lambda: kube.condition("QueueFound") == ("False", "NeverCreated"))
        assert kube.count("PATCH", "deployments/scale") == 0


@pytest.mark.usefixtures("quick")
async def test_no_room_for_the_certificates_of_one_pool_is_nothing_to_the_others(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    pem = base64("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
    kube.add_secret("rediss://redis:6379", "tls", **{"ca.crt": pem})
    kube.add("workerpools", pool("second", redis={"secretRef": {"name": "tls"}}))
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.condition("Ready", "second") == ("False", "SecretInvalid"))
        await eventually(lambda: kube.replicas() == 20)


@pytest.mark.usefixtures("quick")
async def test_a_secret_that_turns_wrong_leaves_the_replicas(
    kube: KubeMock, emails: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.2)
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 20)
        kube.delete("secrets", "redis")
        await eventually(lambda: kube.condition("Ready") == ("False", "SecretMissing"))
        assert kube.replicas() == 20
        assert "counts" not in kube.status()


@pytest.mark.usefixtures("quick")
async def test_a_secret_that_leads_elsewhere_is_followed(
    kube: KubeMock,
    emails: Queue,
    redis7_client: redis.asyncio.Redis,
    new_server: Callable[..., RedisServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.2)
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube):
        await eventually(lambda: kube.replicas() == 20)
        digest = _digest(kube)
        other = new_server(password="s3cret").url
        await _add(other, 60)
        kube.change("secrets", lambda body: body.update(data={"url": base64(other)}), "redis")
        await eventually(lambda: kube.status()["counts"]["ready"] == 60, within=35.0)
        # The pods start anew with it, and nobody holds on to the Redis of before.
        await eventually(lambda: _digest(kube) != digest)
        assert kube.replicas() == 20

        async def left() -> bool:
            return await _clients(redis7_client) == []

        await eventually(left)


def _digest(kube: KubeMock) -> str:
    return str(kube.get("deployments")["spec"]["template"]["metadata"]["annotations"]["corral.dev/redis-secret"])


@pytest.mark.usefixtures("quick")
async def test_a_password_that_was_rotated_is_read_anew_at_once(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer]
) -> None:
    kube, server = empty_kube, new_server(password="first")
    kube.add_secret(server.url)
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.condition("RedisReachable") == ("True", "Reachable"))
        with server.client() as client:
            client.config_set("requirepass", "second")
            client.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "AuthFailed"))
        url = server.url.replace("first", "second")
        kube.change("secrets", lambda body: body.update(data={"url": base64(url)}), "redis")
        await _add(url)
        # No 60 s pass until the Secret is read again: Redis refused its content.
        await eventually(lambda: kube.replicas() == 20)
        await eventually(lambda: kube.condition("RedisReachable") == ("True", "Reachable"))
        assert "first" not in str(kube.status())
        assert "second" not in str(kube.status())


@pytest.mark.parametrize("jobs", [0, 40], ids=["asleep", "awake"])
async def test_a_redis_that_goes_is_told_within_ten_seconds_and_replicas_stay(
    empty_kube: KubeMock, new_server: Callable[..., RedisServer], jobs: int
) -> None:
    kube, server = empty_kube, new_server(appendonly=True)
    kube.add_secret(server.url)
    kube.add("workerpools", pool(target=LENGTH))
    if jobs:
        await _add(server.url, jobs)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("RedisReachable") == ("True", "Reachable"))
        await eventually(lambda: kube.replicas() == jobs // 2)
        if not jobs:
            await eventually(lambda: _listens(server))
        server.kill()
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "Unreachable"), within=10.0)
        assert kube.replicas() == jobs // 2
        await operator.look(2)
        assert kube.replicas() == jobs // 2
        assert "counts" not in kube.status()
        server.start()
        await _add(server.url, 38 - jobs // 2)
        await eventually(lambda: kube.replicas() == (20 if jobs else 19))
        await eventually(lambda: kube.condition("RedisReachable") == ("True", "Reachable"))


def _listens(server: RedisServer) -> bool:
    with server.client() as client:
        rows = client.client_list()
        return any(row["name"] == "corral-operator:events" and row["cmd"] == "xread" for row in rows)


async def test_a_redis_that_falls_silent_is_told_and_keeps_no_other_pool_waiting(
    kube: KubeMock, emails: Queue, new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "READ_S", 2.0)
    silent = new_server()
    await _add(silent.url)
    kube.add_secret(silent.url, "silent")
    kube.add("workerpools", pool("silent", redis={"secretRef": {"name": "silent"}}, target=LENGTH))
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube):
        await eventually(lambda: kube.replicas("silent") == 20)
        os.kill(silent.pid, signal.SIGSTOP)
        try:
            await emails.add_bulk(FORTY)
            await eventually(lambda: kube.replicas() == 20)
            await eventually(lambda: kube.condition("RedisReachable", "silent") == ("False", "Timeout"))
            assert kube.replicas("silent") == 20
            assert kube.condition("RedisReachable") == ("True", "Reachable")
        finally:
            os.kill(silent.pid, signal.SIGCONT)
        await eventually(lambda: kube.condition("RedisReachable", "silent") == ("True", "Reachable"))


async def test_a_redis_that_is_not_there_from_the_beginning_is_told(empty_kube: KubeMock) -> None:
    kube = empty_kube
    kube.add_secret(f"redis://:s3cret@127.0.0.1:{free_port()}/0")
    kube.add("workerpools", pool(minReplicas=2))
    async with reconciling(kube):
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "Unreachable"))
        assert kube.replicas() == 0
        assert "s3cret" not in str(kube.status())


@pytest.mark.usefixtures("quick")
async def test_a_queue_of_another_type_is_told_and_the_replicas_stay(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    kube.add("workerpools", pool(target=LENGTH))
    await emails.add_bulk(FORTY)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        await redis7_client.set("bull:emails:wait", "no list")
        await eventually(lambda: kube.condition("RedisReachable") == ("False", "WrongType"))
        await operator.look(3)
        assert kube.replicas() == 20
        assert "bull:emails:wait" in _message(kube, "RedisReachable")


async def test_two_pools_on_one_redis_share_two_connections(
    kube: KubeMock, emails: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    kube.add_secret(redis7_url, "other")
    kube.add("workerpools", pool(target=LENGTH))
    kube.add("workerpools", pool("second", target=LENGTH, redis={"secretRef": {"name": "other"}}))
    async with reconciling(kube) as operator:

        async def connected() -> bool:
            return await _clients(redis7_client) == ["corral-operator", "corral-operator:events"]

        await eventually(connected)
        await emails.add_bulk(FORTY)
        # Each wants its part of what they share.
        await eventually(lambda: (kube.replicas() or 0) + (kube.replicas("second") or 0) >= 20)
        await operator.look(4)
        # Nobody sleeps now, so there is nothing to hear of.
        assert set(await _clients(redis7_client)) <= {"corral-operator", "corral-operator:events"}
        assert (await _clients(redis7_client)).count("corral-operator") == 1


@pytest.mark.timeout(120)
async def test_two_hundred_pools_settle_and_then_cost_nothing(
    kube: KubeMock, redis7_url: str, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 4.0)
    names = [f"pool-{number}" for number in range(200)]
    for name in names:
        kube.add("workerpools", pool(name, queues=[{"name": name}], target=LENGTH))
    async with reconciling(kube) as operator:

        def settled() -> bool:
            return all(kube.condition("Ready", name) == ("True", "Reconciled") for name in names)

        await eventually(settled, within=60.0)
        await eventually(lambda: all(state.asleep for state in operator.reconciler.roster))
        before = len(kube.calls)
        async with Queue("pool-7", redis=redis7_url) as queue:
            await queue.add_bulk(FORTY)
        await eventually(lambda: kube.replicas("pool-7") == 20)
        await operator.look(250)
        assert {call.name for call in kube.calls[before:]} <= {"pool-7", None}
        assert len(kube.calls) - before < 30
        # One Secret: asked for once, and not by each of them.
        assert kube.count("GET", "secrets") == 1
        assert await _clients(redis7_client) == ["corral-operator", "corral-operator:events"]


@pytest.mark.usefixtures("quick")
async def test_a_look_at_a_sleeping_pool_costs_redis_one_round_trip_of_reads(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_state, "NET_S", 0.2)
    monkeypatch.setattr(signs, "EVERY_S", 0.5)
    monkeypatch.setattr(inspector, "EVERY_S", 0.5)
    call, trips = readings.Reader._call, []

    async def counted(reader: readings.Reader, commands: Sequence[Any]) -> list[Any]:
        trips.append(commands)
        return await call(reader, commands)

    monkeypatch.setattr(readings.Reader, "_call", counted)
    # Neither wakes it: what failed, and what is due tomorrow.
    await emails.add("mail", delay=86_400.0)
    await redis7_client.zadd("bull:emails:failed", {"7": 1})
    await redis7_client.hset("bull:emails:7", mapping={"name": "mail", "data": "{}", "failedReason": "no"})
    kube.add("workerpools", pool(idleAfter="0s"))
    async with reconciling(kube) as operator:
        await eventually(lambda: operator.looks > 4 and all(state.asleep for state in operator.reconciler.roster))
        # The closer look comes once, and then no more for these jobs.
        (state,) = operator.reconciler.roster
        await eventually(lambda: state.inspected is not None and state.inspected.findings.looked)
        await operator.look(2)
        trips.clear()
        looks = operator.looks
        await operator.look(8)
        assert len(trips) <= operator.looks - looks + 1
        writes = {"HSET", "HDEL", "SET", "DEL", "ZADD", "EVAL", "EVALSHA"}
        assert not {command[0] for commands in trips for command in commands} & writes


@pytest.mark.usefixtures("quick")
async def test_the_pods_of_a_busy_pool_are_not_listed_once_they_are_ready(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    await emails.add_bulk(FORTY)
    kube.add("workerpools", pool(target=LENGTH))
    async with reconciling(kube) as operator:
        await eventually(lambda: (kube.status().get("pods") or {}).get("ready") == 20)
        await operator.look(4)
        for _ in range(20):
            await redis7_client.lmove("bull:emails:wait", "bull:emails:active")
        await operator.look(2)
        before = kube.count("GET", "pods")
        await operator.look(8)
        assert kube.count("GET", "pods") == before
