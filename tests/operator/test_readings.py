"""The door through which queues are read: one round trip, and every way in which Redis may fail told by its cause."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corral.clock import now_ms
from corral.errors import ConfigurationError, RedisRefused, RedisUnavailable
from corral_operator import readings
from corral_operator.counting import QueueKey
from corral_operator.observed import QueueReading, Unknown
from corral_operator.readings import Reader
from redis_secret import ask, secret_of
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import redis.asyncio

    from corral_operator.counting import Ask
    from corral_operator.observed import Reading
    from servers import RedisServer

NOW = 1_800_000_000_000


@pytest.fixture
async def new_reader() -> AsyncIterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(url: str, **files: str) -> Reader:
        made.append(Reader(secret_of(url, **files)))
        return made[-1]

    yield make
    for reader in made:
        await reader.close()


async def _one(reader: Reader, asked: Ask | None = None, wall_ms: int = NOW) -> Reading:
    (reading,) = (await reader.read([asked or ask("q")], wall_ms)).values()
    return reading


async def _failure(reader: Reader, asked: Ask | None = None) -> Unknown:
    reading = await _one(reader, asked)
    assert isinstance(reading, Unknown), reading
    return reading


async def _calls(client: redis.asyncio.Redis) -> dict[str, int]:
    """How often each command was called so far."""
    stats: dict[str, Any] = await client.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


async def test_many_queues_are_read_at_once_and_each_has_its_own_reading(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    for number in range(1, 4):
        await async_client.rpush(f"bull:q{number}:wait", *range(number))
    await async_client.rpush("mine:q1:wait", *range(9))
    asks = [ask("q1"), ask("q2"), ask("q3"), ask("q4", seen=False), ask("q1", prefix="mine")]
    found = await new_reader(redis_url).read(asks, NOW)
    assert {key: getattr(reading, "waiting", None) for key, reading in found.items()} == {
        QueueKey("bull", "q1"): 1,
        QueueKey("bull", "q2"): 2,
        QueueKey("bull", "q3"): 3,
        QueueKey("bull", "q4"): 0,
        QueueKey("mine", "q1"): 9,
    }
    assert found[QueueKey("bull", "q4")] == QueueReading("q4", exists=False, seen_before=False)


async def test_nothing_asked_is_nothing_read(new_reader: Callable[..., Reader], redis_url: str) -> None:
    assert await new_reader(redis_url).read([], NOW) == {}


class _CountingLine:
    """Stands before the reader's line and counts the round trips."""

    def __init__(self, reader: Reader, plan: Sequence[BaseException | None] = ()) -> None:
        self._line, self._plan = reader._line, iter(plan)
        self.trips: list[int] = []
        reader._line = self  # type: ignore[assignment]

    cluster = False

    async def call_each(self, commands: Sequence[Any], timeout: float = 0) -> list[Any]:
        self.trips.append(len(commands))
        if error := next(self._plan, None):
            raise error
        return await self._line.call_each(commands)

    async def close(self) -> None:
        await self._line.close()


async def test_ages_cost_a_second_round_trip_and_only_where_jobs_run(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    for name, ages_s in {"a": [1, 3], "b": [10]}.items():
        for number, age_s in enumerate(ages_s):
            await async_client.rpush(f"bull:{name}:active", number)
            await async_client.hset(f"bull:{name}:{number}", "processedOn", NOW - age_s * 1000)
    reader = new_reader(redis_url)
    line = _CountingLine(reader)
    found = await reader.read([ask("a", ages=True), ask("idle", ages=True), ask("b")], NOW)
    ages = [reading.running_age_s for reading in found.values() if isinstance(reading, QueueReading)]
    assert ages == [4.0, None, None]
    assert (len(line.trips), line.trips[1]) == (2, 2)
    await reader.read([ask("idle", ages=True), ask("b")], NOW)
    assert len(line.trips) == 3


async def test_jobs_without_a_start_leave_the_age_unknown_and_the_rest_known(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.rpush("bull:q:active", "gone", "list")
    await async_client.rpush("bull:q:list", "x")
    reading = await _one(new_reader(redis_url), ask("q", ages=True))
    assert isinstance(reading, QueueReading)
    assert (reading.active, reading.running_age_s) == (2, None)


async def test_a_second_trip_that_fails_leaves_the_counts_known(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.rpush("bull:q:active", 1)
    reader = new_reader(redis_url)
    _CountingLine(reader, [None, readings.RedisUnavailable("broke", code="broken")])
    reading = await _one(reader, ask("q", ages=True))
    assert isinstance(reading, QueueReading)
    assert (reading.active, reading.running_age_s) == (1, None)


async def test_ages_and_holders_come_with_the_same_second_round_trip(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    for name in ("a", "b"):
        for number, pod in enumerate(["p", "p", "q"]):
            await async_client.rpush(f"bull:{name}:active", number)
            await async_client.hset(f"bull:{name}:{number}", mapping={"processedOn": NOW - 2000, "pb": pod})
    reader = new_reader(redis_url)
    line = _CountingLine(reader)
    asks = [ask("a", holders=True), ask("b", ages=True), ask("idle", holders=True, workers=True)]
    a, b, idle = (await reader.read(asks, NOW)).values()
    assert isinstance(a, QueueReading)
    assert isinstance(b, QueueReading)
    assert isinstance(idle, QueueReading)
    assert (a.running_age_s, a.holders) == (6.0, {"p": 2, "q": 1})
    assert (b.running_age_s, b.holders) == (6.0, None)
    assert (idle.holders, idle.workers) == ({}, ())
    assert (len(line.trips), line.trips[1]) == (2, 6)


async def test_many_running_jobs_are_looked_at_in_several_trips(
    new_reader: Callable[..., Reader],
    redis_url: str,
    async_client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readings, "JOBS_PER_TRIP", 7)
    for queue in range(5):
        for number in range(3):
            await async_client.rpush(f"bull:q{queue}:active", number)
            await async_client.hset(f"bull:q{queue}:{number}", mapping={"processedOn": NOW - 2000, "pb": f"p{queue}"})
    reader = new_reader(redis_url)
    line = _CountingLine(reader)
    found = await reader.read([ask(f"q{number}", holders=True) for number in range(5)], NOW)
    holders = [reading.holders for reading in found.values() if isinstance(reading, QueueReading)]
    assert holders == [{f"p{number}": 3} for number in range(5)]
    assert line.trips[1:] == [6, 6, 3]
    monkeypatch.setattr(readings, "JOBS_PER_TRIP", 1)  # one queue always goes
    await reader.read([ask("q1", holders=True)], NOW)
    assert line.trips[-1] == 3


async def test_a_big_fleet_is_read_in_several_trips(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.rpush("bull:q1100:wait", 1)
    reader = new_reader(redis_url)
    line = _CountingLine(reader)
    found = await reader.read([ask(f"q{number}") for number in range(1101)], NOW)
    assert [getattr(reading, "waiting", None) for reading in found.values()] == [0] * 1100 + [1]
    assert len(line.trips) == 3
    assert max(line.trips) < 10_000


async def test_what_was_read_before_a_failure_stands(new_reader: Callable[..., Reader], redis_url: str) -> None:
    reader = new_reader(redis_url)
    _CountingLine(reader, [None, readings.RedisUnavailable("broke", code="broken")])
    found = await reader.read([ask(f"q{number}") for number in range(501)], NOW)
    unread = [reading for reading in found.values() if isinstance(reading, Unknown)]
    assert unread == [Unknown("q500", "ConnectionLost", "broke")]
    assert len(found) == 501


async def test_reads_at_the_same_time_do_not_mix_their_replies(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    for number in range(20):
        await async_client.rpush(f"bull:q{number}:wait", *range(number + 1))
    reader = new_reader(redis_url)
    found = await asyncio.gather(*(_one(reader, ask(f"q{number}")) for number in range(20)))
    assert [getattr(reading, "waiting", None) for reading in found] == list(range(1, 21))


async def test_one_queue_of_another_type_leaves_the_others_known(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.set("bull:bad:wait", "x")
    await async_client.rpush("bull:last:wait", 1)
    found = list((await new_reader(redis_url).read([ask("first"), ask("bad"), ask("last")], NOW)).values())
    assert [getattr(reading, "waiting", None) for reading in found] == [0, None, 1]
    assert isinstance(found[1], Unknown)
    assert (found[1].queue, found[1].cause) == ("bad", "WrongType")


# --- what is written ---


async def test_writes_go_over_the_connection_that_reads_and_each_has_its_reply(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.set("bull:q:corral:orders", "x")
    reader = new_reader(redis_url)
    orders = [("HSET", f"bull:{name}:corral:orders", "w1", "quiet:7") for name in ("p", "q", "r")]
    _, replies, _ = await asyncio.gather(_one(reader), reader.send(orders), _one(reader))
    assert (replies[0], replies[2]) == (1, 1)
    assert isinstance(replies[1], RedisRefused)
    assert replies[1].code == "WRONGTYPE"
    assert await async_client.hgetall("bull:r:corral:orders") == {b"w1": b"quiet:7"}
    names = [client["name"] for client in await async_client.client_list()]
    assert names.count("corral-operator") == 1
    assert await reader.send([]) == []


async def test_five_hundred_writes_go_in_one_round_trip(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    reader = new_reader(redis_url)
    line = _CountingLine(reader)
    orders = [("HSET", "bull:q:corral:orders", f"w{number}", "quiet:7") for number in range(1001)]
    assert await reader.send(orders) == [1] * 1001
    assert line.trips == [500, 500, 1]
    assert await async_client.hlen("bull:q:corral:orders") == 1001


async def test_orders_are_all_that_the_operator_may_write(
    new_reader: Callable[..., Reader], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    rights = ("+@read", "+@connection", "~bull:*")
    await redis7_client.execute_command(
        *("ACL", "SETUSER", "writer", "reset", "on", ">pw", *rights, "(+hset +hdel ~bull:*:corral:orders)")
    )
    reader = new_reader(redis7_url.replace("redis://", "redis://writer:pw@"))
    written, taken_back, else_where, other = await reader.send(
        [
            ("HSET", "bull:q:corral:orders", "w1", "quiet:7"),
            ("HDEL", "bull:q:corral:orders", "w1"),
            ("HSET", "bull:q:corral:workers", "w1", "{}"),
            ("DEL", "bull:q:corral:orders"),
        ]
    )
    assert (written, taken_back) == (1, 1)
    assert [else_where.code, other.code] == ["NOPERM", "NOPERM"]
    assert isinstance(await _one(reader, ask("q", ages=True, workers=True, holders=True)), QueueReading)
    assert await redis7_client.execute_command("ACL", "DELUSER", "writer")


async def test_a_write_that_nobody_answers_may_have_been_done(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server("redis")
    reader = new_reader(server.url)
    await _one(reader)
    monkeypatch.setattr(readings, "READ_S", 0.3)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnavailable, match="did not answer within") as caught:
            await reader.send([("HSET", "bull:q:corral:orders", "w1", "quiet:7")])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert (caught.value.code, caught.value.maybe_done) == ("timeout", True)
    server.stop()

    async def unreachable() -> bool:
        try:
            await reader.send([("HDEL", "bull:q:corral:orders", "w1")])
        except RedisUnavailable as error:
            return error.code == "unreachable"
        return False

    await eventually(unreachable)


# --- who may read ---


async def test_reading_and_connecting_is_all_the_permission_it_needs(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.execute_command(
        "ACL", "SETUSER", "operator", "reset", "on", ">pw", "+@read", "+@connection", "~bull:*"
    )
    await async_client.rpush("bull:q:active", 1)
    await async_client.hset("bull:q:1", "processedOn", NOW - 2000)
    reader = new_reader(redis_url.replace("redis://", "redis://operator:pw@"))
    found = await reader.read([ask("q", ages=True), ask("q", prefix="theirs")], NOW)
    mine, theirs = found.values()
    assert isinstance(mine, QueueReading)
    assert (mine.active, mine.running_age_s) == (1, 2.0)
    assert isinstance(theirs, Unknown)
    assert theirs.cause == "NoPermission"
    assert theirs.text == "the ACL user may not read theirs:q:wait (NOPERM); it needs `+@read +@connection ~theirs:*`"
    assert await async_client.execute_command("ACL", "DELUSER", "operator")


async def test_a_permission_that_is_granted_later_is_used_at_the_next_read(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    user: Sequence[str] = ("ACL", "SETUSER", "late")
    await async_client.execute_command(*user, "reset", "on", ">pw", "+@connection", "~bull:*")
    reader = new_reader(redis_url.replace("redis://", "redis://late:pw@"))
    assert (await _failure(reader)).cause == "NoPermission"
    await async_client.execute_command(*user, "+@read")
    assert isinstance(await _one(reader), QueueReading)
    assert await async_client.execute_command("ACL", "DELUSER", "late")


@pytest.mark.parametrize("login", ["", ":wrong-w0rd@", "nobody:wrong-w0rd@"])
async def test_a_wrong_login_is_told_with_the_secret_as_its_cure_and_never_shown(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader], login: str
) -> None:
    server = new_server("redis", password="right-w0rd")
    failure = await _failure(new_reader(f"redis://{login}127.0.0.1:{server.port}"))
    assert failure.cause == "AuthFailed"
    assert "Secret" in failure.text
    assert "w0rd" not in failure.text
    assert isinstance(await _one(new_reader(server.url)), QueueReading)


# --- outages ---


async def test_a_server_that_is_gone_and_comes_back_is_read_again_at_once(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader]
) -> None:
    server = new_server("redis", appendonly=True)
    reader = new_reader(server.url)
    with server.client() as client:
        client.rpush("bull:q:wait", 1, 2)
    assert isinstance(await _one(reader), QueueReading)
    server.stop()

    async def unreachable() -> bool:
        return (await _failure(reader)).cause == "Unreachable"

    await eventually(unreachable)
    failure = await _failure(reader)
    assert failure.text.startswith(f"Redis at 127.0.0.1:{server.port} cannot be reached: ")
    assert failure.text.endswith("; is it running, and is the address in the Secret right?")
    server.start()
    reading = await _one(reader)
    assert isinstance(reading, QueueReading)
    assert reading.waiting == 2


async def test_a_name_that_nobody_knows_is_unreachable(new_reader: Callable[..., Reader]) -> None:
    assert (await _failure(new_reader("redis://no-such-host.invalid:6379"))).cause == "Unreachable"


async def _listen(
    what: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> tuple[asyncio.Server, str]:
    server = await asyncio.start_server(what, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_who_accepts_and_never_answers_is_a_timeout(
    new_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "READ_S", 0.3)

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server, url = await _listen(swallow)
    async with server:
        failure = await _failure(new_reader(url))
    assert failure.cause == "Timeout"
    assert failure.text.startswith(f"Redis at {url.removeprefix('redis://')} did not answer within 0.3 s; is it over")


def test_an_outage_can_be_told_within_ten_seconds() -> None:
    # A read may wait for one other read of the same Redis to end.
    assert 2 * readings.READ_S < 10


async def test_a_server_that_stands_still_is_a_timeout_and_read_again_when_it_moves(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server("valkey")
    reader = new_reader(server.url)
    assert isinstance(await _one(reader), QueueReading)
    monkeypatch.setattr(readings, "READ_S", 0.3)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert (await _failure(reader)).cause == "Timeout"
        assert (await _failure(reader)).cause == "Timeout"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert isinstance(await _one(reader), QueueReading)


async def test_a_connection_that_breaks_amid_the_answers_is_lost(new_reader: Callable[..., Reader]) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The name of the connection, two words about the library and the greeting are answered; then a part of the counts.
        for word in (b"CLIENT", b"CLIENT", b"CLIENT", b"HELLO"):
            await reader.readuntil(word)
            writer.write(b"+OK\r\n")
        await reader.readuntil(b"LLEN")
        writer.write(b":1\r\n")
        await writer.drain()
        writer.close()

    server, url = await _listen(half)
    async with server:
        failure = await _failure(new_reader(url))
    assert failure.cause == "ConnectionLost"
    assert "broke" in failure.text


async def test_a_server_that_loads_its_data_is_told_as_such(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader]
) -> None:
    server = new_server("redis", extra=("--enable-debug-command", "yes"))
    reader = new_reader(server.url)
    with server.client() as client:
        client.mset({f"k{number}": "x" for number in range(2000)})
        client.config_set("key-load-delay", 1000)
        client.config_set("loading-process-events-interval-bytes", 1024)
    assert isinstance(await _one(reader), QueueReading)
    loading = asyncio.create_task(asyncio.to_thread(_reload, server))

    async def told() -> Unknown | None:
        reading = await _one(reader)
        return reading if isinstance(reading, Unknown) else None

    failure = await eventually(told)
    assert failure is not None
    assert (failure.cause, failure.text) == (
        "Loading",
        "Redis refused (LOADING): it is loading its data; wait until it is done",
    )
    await loading
    assert isinstance(await _one(reader), QueueReading)


def _reload(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("DEBUG", "RELOAD")


async def test_what_redis_refuses_otherwise_is_told_in_its_own_words(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader]
) -> None:
    server = new_server("redis", extra=("--rename-command", "LLEN", ""))
    failure = await _failure(new_reader(server.url))
    assert (failure.cause, failure.text) == ("Refused", "Redis refused (ERR): unknown command 'LLEN'")


def test_an_address_that_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="options of the Redis URL are not understood"):
        Reader(secret_of("redis://h?no_such_option=1"))


async def test_a_cancelled_read_is_cancelled_and_the_next_one_has_its_own_replies(
    new_server: Callable[..., RedisServer], new_reader: Callable[..., Reader]
) -> None:
    server = new_server("redis")
    reader = new_reader(server.url)
    await _one(reader)
    with server.client() as client:
        client.rpush("bull:q:wait", 1)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        reading = asyncio.create_task(_one(reader))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert getattr(await _one(reader, ask("other")), "waiting", None) == 0
    assert getattr(await _one(reader), "waiting", None) == 1


# --- TLS ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and a certificate of it for 127.0.0.1: ca.crt, tls.crt, tls.key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name, more in {
        "ca": ["-subj", "/CN=authority"],
        "tls": ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-CA", "ca.crt", "-CAkey", "ca.key"],
    }.items():
        command = [*new, *more, "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_url(new_server: Callable[..., RedisServer], certificates: Path) -> str:
    """A Redis that speaks to those with a certificate of the authority."""
    port = free_port()
    files = {
        f"--tls-{option}-file": certificates / name
        for option, name in {"ca-cert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}.items()
    }
    new_server("redis", extra=("--tls-port", str(port), *(str(word) for pair in files.items() for word in pair)))
    return f"rediss://127.0.0.1:{port}"


def _pem(folder: Path) -> dict[str, str]:
    return {
        short: (folder / name).read_text()
        for short, name in {"ca": "ca.crt", "crt": "tls.crt", "key": "tls.key"}.items()
    }


async def test_the_secrets_certificates_open_a_tls_connection(
    new_reader: Callable[..., Reader], certificates: Path, tls_url: str
) -> None:
    assert isinstance(await _one(new_reader(tls_url, **_pem(certificates))), QueueReading)


@pytest.mark.parametrize("there", [[], ["ca"]], ids=["no authority", "no certificate of ours"])
async def test_without_them_tls_fails_and_says_what_to_check(
    new_reader: Callable[..., Reader], certificates: Path, tls_url: str, there: list[str]
) -> None:
    pem = _pem(certificates)
    failure = await _failure(new_reader(tls_url, **{name: pem[name] for name in there}))
    assert failure.cause == "TLSFailed", failure
    assert failure.text.endswith(
        "; check ca.crt, tls.crt and tls.key of the Secret, and whether Redis speaks TLS there"
    )
    assert "REDIS_" not in failure.text


def test_keys_lie_where_only_we_may_read_them_until_the_reader_is_closed(certificates: Path) -> None:
    reader = Reader(secret_of("rediss://127.0.0.1:1", **_pem(certificates)))
    tls = reader._certificates.tls
    assert tls is not None
    assert tls.key_file is not None
    key = Path(tls.key_file)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (key, key.parent)] == [0o600, 0o700]
    asyncio.run(reader.close())
    assert not key.parent.exists()


def test_without_certificates_there_are_no_files() -> None:
    assert Reader(secret_of("redis://h"))._certificates.tls is None


async def test_the_connection_carries_the_operators_name(
    new_reader: Callable[..., Reader], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await _one(new_reader(redis_url), wall_ms=now_ms())
    assert "corral-operator" in [client["name"] for client in await async_client.client_list()]
    assert "llen" in await _calls(async_client)
