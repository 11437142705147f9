"""Every way to a Redis, for the reads, the ear and the orders of the operator: Sentinel, Cluster, TLS, a user of its own."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from corral import Queue
from corral.errors import RedisRefused
from corral_operator import listener as listening
from corral_operator.counting import QueueKey
from corral_operator.listener import Listener
from corral_operator.observed import QueueReading, Unknown
from corral_operator.readings import Reader
from corral_operator.secret import RedisSecret, read_secret
from failover import caught_up
from redis_cluster import RedisCluster
from redis_secret import ask, secret_of
from sentinels import MASTER, Sentinel, Watched
from servers import free_port
from tls_files import TlsFiles
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import redis.asyncio as redis_asyncio

    from servers import RedisServer

pytestmark = pytest.mark.timeout(90)

NOW = 1_800_000_000_000


def _parts(**texts: str) -> RedisSecret:
    """A Secret of parts; a _ in a name stands for a dot."""
    named = {key.replace("_", "."): text for key, text in texts.items()}
    return read_secret("redis", {key: b64encode(text.encode()).decode() for key, text in named.items()})


class Doors:
    """A reader and a listener for one Secret, as the operator has them."""

    def __init__(self, secret: RedisSecret) -> None:
        self.reader = Reader(secret)
        self.told: Counter[QueueKey] = Counter()
        self.lost = 0
        self.listener = Listener(secret, self._event, self._outage)
        self._task: asyncio.Task[None] | None = None

    def _event(self, queue: QueueKey) -> None:
        self.told[queue] += 1

    def _outage(self) -> None:
        self.lost += 1

    async def listen(self, *queues: QueueKey) -> None:
        """Until each is told as new."""
        self.listener.listen(queues)
        self._task = self._task or asyncio.create_task(self.listener.run())
        await eventually(lambda: set(self.told) >= set(queues))

    async def waiting(self, *queues: QueueKey) -> list[int | str]:
        """Waiting jobs of each, or why it could not be read."""
        found = await self.reader.read([ask(queue.name, prefix=queue.prefix) for queue in queues], NOW)
        return [row.waiting if isinstance(row, QueueReading) else row.cause for row in found.values()]

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.listener.close()
        await self.reader.close()


@pytest.fixture
async def doors() -> AsyncIterator[Callable[[RedisSecret], Doors]]:
    made: list[Doors] = []

    def make(secret: RedisSecret) -> Doors:
        made.append(Doors(secret))
        return made[-1]

    yield make
    for each in made:
        await each.close()


# --- a user of the operator's own ---

ACL = ("+@read", "+@connection", "~bull:*", "(+hset +hdel ~bull:*:corral:orders)")


async def test_under_exactly_the_documented_rights_it_reads_hears_and_orders_and_nothing_else(
    doors: Callable[[RedisSecret], Doors], redis_url: str, async_client: redis_asyncio.Redis
) -> None:
    q = QueueKey("bull", "q")
    await async_client.execute_command("ACL", "SETUSER", "operator", "reset", "on", ">pw", *ACL)
    own = doors(secret_of(redis_url.replace("redis://", "redis://operator:pw@")))
    await async_client.rpush("bull:q:active", 1)
    await async_client.hset("bull:q:1", "processedOn", NOW - 2000)
    asked = replace(ask("q", ages=True), workers=True, holders=True)
    (reading,) = (await own.reader.read([asked], NOW)).values()
    assert isinstance(reading, QueueReading)
    assert (reading.active, reading.workers, reading.running_age_s) == (1, (), 2.0)
    await own.listen(q)
    before = own.told[q]
    async with Queue("q", redis=redis_url) as queue:
        await queue.add("a", {})
    await eventually(lambda: own.told[q] > before)
    orders = "bull:q:corral:orders"
    assert await own.reader.send([("HSET", orders, "w", "quiet:7"), ("HDEL", orders, "w")]) == [1, 1]
    outside: list[tuple[Any, ...]] = [
        ("HSET", "bull:q:corral:workers", "w", "{}"),
        ("HDEL", "bull:q:meta", "paused"),
        ("HSET", "other:q:corral:orders", "w", "quiet:7"),
        ("DEL", orders),
        ("EXPIRE", orders, 9),
        ("LPUSH", "bull:q:wait", 1),
        ("LLEN", "other:q:wait"),
        ("XADD", "bull:q:events", "*", "event", "x"),
        ("EVAL", "return 1", 0),
        ("MULTI",),
        ("INFO",),
        ("CONFIG", "GET", "*"),
        ("TIME",),
        ("ROLE",),
        ("FLUSHALL",),
        ("ACL", "LIST"),
        ("SCRIPT", "LOAD", "return 1"),
    ]
    replies = await own.reader.send(outside)
    refused = [isinstance(reply, RedisRefused) and reply.code == "NOPERM" for reply in replies]
    assert refused == [True] * len(outside), list(zip(outside, replies, strict=True))
    assert own.lost == 0
    assert await async_client.execute_command("ACL", "DELUSER", "operator")


# --- Sentinel ---


@pytest.fixture
def watched() -> Iterator[Watched]:
    with Watched() as place:
        yield place


async def test_a_secret_of_sentinels_and_master_is_read_and_heard_through_a_failover(
    doors: Callable[[RedisSecret], Doors], watched: Watched
) -> None:
    own = doors(_parts(sentinels=watched.places, master=MASTER))
    q = QueueKey("bull", "q")
    async with Queue("q", redis=watched.url) as queue:
        await queue.add("a", {})
        assert await own.waiting(q) == [1]
        await own.listen(q)
        await caught_up(watched.replica, watched.primary)
        await asyncio.to_thread(watched.fail_over)

        async def read_again() -> bool:
            return await own.waiting(q) == [1]

        await eventually(read_again)
        before = own.told[q]
        await eventually(lambda: own.lost == 1)
        await eventually(lambda: own.told[q] > before)  # it is back
        before = own.told[q]
        await queue.add("b", {})
        await eventually(lambda: own.told[q] > before)
        assert await own.waiting(q) == [2]


async def test_sentinels_that_are_away_and_names_that_they_do_not_know_are_causes_of_their_own(
    doors: Callable[[RedisSecret], Doors], watched: Watched
) -> None:
    async def failure(secret: RedisSecret) -> Unknown:
        (found,) = (await doors(secret).reader.read([ask("q")], NOW)).values()
        assert isinstance(found, Unknown)
        return found

    gone = await failure(_parts(sentinels=f"127.0.0.1:{free_port()}", master=MASTER, password="s3cret"))
    assert (gone.cause, "no sentinel answered at 127.0.0.1:" in gone.text) == ("SentinelsUnreachable", True)
    assert "s3cret" not in gone.text
    unheard_of = await failure(_parts(sentinels=watched.places, master="nobody"))
    assert unheard_of.cause == "UnknownMaster"
    assert "watch no primary called 'nobody'; correct `master` in the Secret" in unheard_of.text
    no_sentinel = await failure(_parts(sentinels=f"127.0.0.1:{watched.primary.port}", master=MASTER))
    assert no_sentinel.cause == "NotASentinel"
    a_sentinel = await failure(_parts(host="127.0.0.1", port=str(watched.sentinels[0].port)))
    assert a_sentinel.cause == "IsASentinel"
    assert "put it into the Secret as `sentinels`, with `master`" in a_sentinel.text


async def test_with_certificates_redis_and_its_sentinels_are_spoken_to_by_tls(
    doors: Callable[[RedisSecret], Doors], new_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    files = TlsFiles(tmp_path, "IP:127.0.0.1")
    port, secured = free_port(), free_port()
    new_server("redis", extra=files.options(port))
    with Sentinel(port, [*files.conf(secured), "tls-replication yes"], quorum=1) as sentinel:
        await eventually(lambda: _answers(sentinel))
        own = doors(_parts(sentinels=f"127.0.0.1:{secured}", master=MASTER, ca_crt=files.text("ca.crt")))
        assert await own.waiting(QueueKey("bull", "q")) == [0]


def _answers(sentinel: Sentinel) -> bool:
    with sentinel.client() as client, suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


# --- a Cluster ---


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as made:
        yield made


def _spread(cluster: RedisCluster) -> list[QueueKey]:
    """A queue on each node."""
    return [QueueKey("bull", f"{{{cluster.tag_at(index)}}}") for index in range(3)]


async def test_queues_on_several_nodes_are_read_and_heard_over_two_connections_to_each(
    doors: Callable[[RedisSecret], Doors], cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "POLL_S", 0.1)
    cluster.clear()
    queues = _spread(cluster)
    own = doors(secret_of(cluster.nodes[1].url))
    await own.listen(*queues)
    for count, key in enumerate(queues, 1):
        before = Counter(own.told)
        async with Queue(key.name, redis=cluster.nodes[0].url) as queue:
            for _ in range(count):
                await queue.add("a", {})
        await eventually(lambda key=key, before=before: own.told[key] > before[key])  # type: ignore[misc]
        assert all(own.told[other] == before[other] for other in queues if other != key)
    assert await own.waiting(*queues) == [1, 2, 3]
    names = [
        sorted(row["name"] for row in _clients(node) if row["name"].startswith("corral-operator"))
        for node in cluster.primaries
    ]
    assert names == [["corral-operator", "corral-operator:events"]] * 3
    assert own.lost == 0


def _clients(node: RedisServer) -> list[dict[str, str]]:
    with node.client() as client:
        return list(client.client_list())


async def test_on_a_cluster_the_ends_of_the_streams_are_looked_at_every_two_seconds() -> None:
    assert listening.POLL_S == 2.0


async def test_the_documented_rights_are_enough_on_a_cluster(
    doors: Callable[[RedisSecret], Doors], cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "POLL_S", 0.1)
    cluster.clear()
    for node in cluster.primaries:
        cluster.command(node, "ACL", "SETUSER", "operator", "reset", "on", ">pw", *ACL)
    own = doors(secret_of(cluster.nodes[0].url.replace("redis://", "redis://operator:pw@")))
    queues = _spread(cluster)
    assert await own.waiting(*queues) == [0, 0, 0]
    await own.listen(*queues)
    posts = [f"bull:{queue.name}:corral:orders" for queue in queues]
    assert await own.reader.send([("HSET", post, "w", "quiet:7") for post in posts]) == [1, 1, 1]
    assert await own.reader.send([("HDEL", post, "w") for post in posts]) == [1, 1, 1]


async def test_a_queue_without_a_hash_tag_is_told_and_the_others_are_read(
    doors: Callable[[RedisSecret], Doors], cluster: RedisCluster
) -> None:
    cluster.clear()
    tagged, plain = _spread(cluster)[0], QueueKey("bull", "plain")
    own = doors(secret_of(cluster.nodes[0].url))
    found = await own.reader.read([ask(tagged.name), ask(plain.name)], NOW)
    assert isinstance(found[tagged], QueueReading)
    problem = found[plain]
    assert isinstance(problem, Unknown)
    assert problem.cause == "CrossSlot"
    assert "by a hash tag in the pool's prefix, like {bull}" in problem.text


async def test_queues_of_a_node_that_is_away_are_unknown_and_those_of_the_others_are_read_and_heard(
    doors: Callable[[RedisSecret], Doors], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "POLL_S", 0.1)
    with RedisCluster() as mortal:
        here, away, _ = queues = _spread(mortal)
        own = doors(secret_of(mortal.nodes[0].url))
        await own.listen(*queues)
        assert await own.waiting(*queues) == [0, 0, 0]
        mortal.nodes[1].kill()
        first, gone, last = await own.waiting(*queues)
        assert (first, last) == (0, 0)
        assert gone in ("ConnectionLost", "Unreachable")
        before = own.told[here]
        async with Queue(here.name, redis=mortal.nodes[0].url) as queue:
            await queue.add("a", {})
        await eventually(lambda: own.told[here] > before)
        before = own.told[away]
        mortal.nodes[1].start()
        await eventually(lambda: own.told[away] > before)  # it is new again: something may have been missed

        async def all_read() -> bool:
            return await own.waiting(*queues) == [1, 0, 0]

        await eventually(all_read)


# --- TLS ---


async def test_a_bare_host_that_was_completed_is_known_by_the_name_that_its_pods_know(
    doors: Callable[[RedisSecret], Doors], new_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """The certificate holds `redis`, and the operator calls it `redis.shop.svc`: here, 127.0.0.1."""
    files, port = TlsFiles(tmp_path, "DNS:redis"), free_port()
    new_server("redis", extra=files.options(port))
    secret = _parts(host="127.0.0.1", port=str(port), ca_crt=files.text("ca.crt"))
    assert await doors(secret).waiting(QueueKey("bull", "q")) == ["TLSFailed"]
    assert await doors(replace(secret, known_as={"127.0.0.1": "redis"})).waiting(QueueKey("bull", "q")) == [0]
    assert await doors(replace(secret, known_as={"127.0.0.1": "other"})).waiting(QueueKey("bull", "q")) == ["TLSFailed"]
