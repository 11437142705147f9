"""Every way in which a Redis may not serve a pool, each by a real server in that state: its cause, and what to do."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import redis

from corral import JobSpec, Queue
from corral_operator import causes, secret_store
from corral_operator.observed import QueueReading, Unknown
from corral_operator.readings import Reader
from failover import follow, promote
from kube_mock import base64
from pools import pool
from reconciling import reconciling
from redis_secret import ask, secret_of
from servers import free_port
from tls_files import TlsFiles
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from corral_operator.observed import Reading
    from kube_mock import KubeMock
    from servers import RedisServer

    NewServer = Callable[..., RedisServer]

NOW = 1_800_000_000_000
ENDLESS = "while true do end"


class Reads:
    """Readers by URL, each with a connection that stays."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    async def one(self, url: str) -> Reading:
        reader = self._readers.setdefault(url, Reader(secret_of(url)))
        (reading,) = (await reader.read([ask("q")], NOW)).values()
        return reading

    async def failure(self, url: str) -> Unknown:
        reading = await self.one(url)
        assert isinstance(reading, Unknown), reading
        assert "REDIS_" not in reading.text
        return reading

    async def close(self) -> None:
        for reader in self._readers.values():
            await reader.close()


@pytest.fixture
async def reads() -> AsyncIterator[Reads]:
    reads = Reads()
    yield reads
    await reads.close()


def test_every_cause_is_a_constant_with_a_row_in_the_table() -> None:
    constants = {value for name, value in vars(causes).items() if name.isupper() and isinstance(value, str)}
    told = set(re.findall(r"^    ([A-Z]\w+)  ", causes.__doc__ or "", re.MULTILINE))
    assert told == constants
    assert all(re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", cause) for cause in constants)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_wrong_database_is_told_by_its_cause(reads: Reads, new_server: NewServer, kind: str) -> None:
    failure = await reads.failure(new_server(kind).url.replace("/0", "/99"))
    assert failure.cause == "WrongDatabase"
    assert "out of range; correct the number of the database in the address" in failure.text


async def test_another_database_than_the_first_is_wrong_in_a_cluster(reads: Reads, new_server: NewServer) -> None:
    server = new_server("redis", extra=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    assert (await reads.failure(server.url.replace("/0", "/1"))).cause == "WrongDatabase"


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_replica_reads_well_and_is_told_all_the_same(reads: Reads, new_server: NewServer, kind: str) -> None:
    primary, replica = new_server(kind), new_server(kind)
    await follow(replica, primary)
    failure = await reads.failure(replica.url)
    assert failure.cause == "NotAPrimary"
    assert failure.text.startswith(
        "this Redis is a replica, where no worker can work; put the address of the primary into"
    )
    promote(replica)
    assert isinstance(await reads.one(replica.url), QueueReading)


async def test_a_primary_that_becomes_a_replica_under_an_open_connection_is_noticed(
    reads: Reads, new_server: NewServer
) -> None:
    server, other = new_server("redis"), new_server("redis")
    assert isinstance(await reads.one(server.url), QueueReading)
    await follow(server, other)
    assert (await reads.failure(server.url)).cause == "NotAPrimary"


async def test_a_replica_that_has_lost_its_primary_and_serves_nothing_is_no_primary(
    reads: Reads, new_server: NewServer
) -> None:
    primary, replica = new_server("redis"), new_server("redis", extra=("--replica-serve-stale-data", "no"))
    await follow(replica, primary)
    primary.kill()
    assert (await reads.failure(replica.url)).cause == "NotAPrimary"


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_script_that_blocks_redis_is_told_as_such(reads: Reads, new_server: NewServer, kind: str) -> None:
    server = new_server(kind, extra=("--busy-reply-threshold", "50"))
    assert isinstance(await reads.one(server.url), QueueReading)
    blocked = asyncio.create_task(asyncio.to_thread(_endless, server))

    async def busy() -> Unknown | None:
        reading = await reads.one(server.url)
        return reading if isinstance(reading, Unknown) and reading.cause == "Busy" else None

    try:
        failure = await eventually(busy)
        assert failure is not None
        assert "a script blocks it; look at its log, or end the script with SCRIPT KILL" in failure.text
    finally:
        with server.client() as client:
            client.script_kill()
        await blocked
    assert isinstance(await reads.one(server.url), QueueReading)


def _endless(server: RedisServer) -> None:
    with server.client() as client, suppress(redis.ResponseError):
        client.eval(ENDLESS, 0)


async def test_a_cluster_without_the_slot_is_down(reads: Reads, new_server: NewServer) -> None:
    server = new_server("redis", extra=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    reader = Reader(secret_of(server.url))
    (found,) = (await reader.read([ask("{q}")], NOW)).values()
    await reader.close()
    assert isinstance(found, Unknown)
    assert found.cause == "ClusterDown"
    assert "does not serve this slot now; look at CLUSTER INFO" in found.text


async def test_the_command_or_the_key_that_is_not_permitted_is_named(reads: Reads, new_server: NewServer) -> None:
    server = new_server("redis")
    user = ("ACL", "SETUSER", "some", "reset", "on", ">pw", "+@read", "+@connection")
    with server.client() as client:
        client.execute_command(*user, "~bull:*", "-hgetall")
        client.execute_command("ACL", "SETUSER", "other", "reset", "on", ">pw", "+@read", "+@connection", "~theirs:*")
    failure = await reads.failure(server.url.replace("//", "//some:pw@"))
    assert (failure.cause, failure.text) == (
        "NoPermission",
        "the ACL user may not run HGETALL (NOPERM); it needs `+@read +@connection ~bull:*`",
    )
    failure = await reads.failure(server.url.replace("//", "//other:pw@"))
    assert failure.text.startswith("the ACL user may not read bull:q:wait (NOPERM)")


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return TlsFiles(tmp_path, "IP:127.0.0.1")


async def test_a_tls_port_without_tls_and_the_other_way_round_are_told_apart(
    reads: Reads, new_server: NewServer, files: TlsFiles
) -> None:
    port = free_port()
    server = new_server("redis", extra=files.options(port))
    wanted = await reads.failure(f"redis://:s3cret@127.0.0.1:{port}")
    assert (wanted.cause, wanted.text) == (
        "TLSRequired",
        f"Redis at 127.0.0.1:{port} wants TLS; write rediss:// into the Secret's url, or put ca.crt beside its parts",
    )
    none = await reads.failure(server.url.replace("redis://", "rediss://"))
    assert none.cause == "TLSFailed"
    assert none.text.startswith(
        f"Redis at 127.0.0.1:{server.port} speaks no TLS there; write redis:// into the Secret's"
    )


# --- rule 3: replicas stay, and the condition names the cause within 10 s ---


def _unreachable(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    server.stop()
    return None


def _missing_acl(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "reset", "on", ">pw", "+@connection", "~bull:*")
    return server.url.replace("//", "//poor:pw@")


def _wrong_type(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    with server.client() as client:
        client.set("bull:emails:active", "x")
    return None


def _wrong_database(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    return server.url.replace("/0", "/99")


def _loading(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    with server.client() as client:
        client.mset({f"k{number}": "x" for number in range(20_000)})
        client.config_set("key-load-delay", 500)
        client.config_set("loading-process-events-interval-bytes", 1024)
    threading.Thread(target=_reload, args=[server], daemon=True).start()
    return None


def _reload(server: RedisServer) -> None:
    # Until the test ends it.
    with server.client() as client, suppress(redis.RedisError):
        client.execute_command("DEBUG", "RELOAD")


def _wrong_password(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    with server.client() as client:
        client.config_set("requirepass", "other")
        client.client_kill_filter(_type="normal", skipme=True)
    return None


def _no_primary(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    with server.client() as client:
        client.replicaof("127.0.0.1", free_port())
    return None


def _wants_tls(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    port = free_port()
    new_server("redis", extra=files.options(port))
    return f"redis://127.0.0.1:{port}"


def _speaks_no_tls(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    return server.url.replace("redis://", "rediss://")


def _no_sentinel(server: RedisServer, new_server: NewServer, files: TlsFiles) -> str | None:
    return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/mymaster"


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (_unreachable, "Unreachable"),
        (_missing_acl, "NoPermission"),
        (_wrong_type, "WrongType"),
        (_wrong_database, "WrongDatabase"),
        (_loading, "Loading"),
        (_wrong_password, "AuthFailed"),
        (_no_primary, "NotAPrimary"),
        (_wants_tls, "TLSRequired"),
        (_speaks_no_tls, "TLSFailed"),
        (_no_sentinel, "SentinelsUnreachable"),
    ],
)
async def test_whatever_is_wrong_with_redis_replicas_stay_and_the_condition_names_the_cause_within_ten_seconds(
    empty_kube: KubeMock,
    new_server: NewServer,
    files: TlsFiles,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[RedisServer, NewServer, TlsFiles], str | None],
    cause: str,
) -> None:
    monkeypatch.setattr(secret_store, "FRESH_S", 0.5)
    kube, server = empty_kube, new_server("redis", extra=("--enable-debug-command", "yes"))
    kube.add_secret(server.url)
    kube.add("workerpools", pool(target={"jobsPerReplica": 2}))
    async with Queue("emails", redis=server.url) as queue:
        await queue.add_bulk([JobSpec("mail")] * 40)
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.replicas() == 20)
        url = await asyncio.to_thread(broken, server, new_server, files)
        if url is not None:
            kube.change("secrets", lambda body: body.update(data={"url": base64(url)}), "redis")
        await eventually(lambda: kube.condition("RedisReachable") == ("False", cause), within=10.0)
        await operator.look(2)
        assert kube.replicas() == 20
        assert "counts" not in kube.status()
