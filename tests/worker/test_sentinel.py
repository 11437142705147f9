"""Redis behind Sentinel: every connection goes to the primary of that moment, and what is wrong is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from corral import ConfigurationError, FlowJob, FlowProducer, JobSpec, Queue, QueueEvents, RedisRefused, Worker
from corral.address import make_pool, read_address
from corral.connection import Line, Lines
from corral.errors import RedisUnavailable
from corral.server_check import check_server
from corral.sync import Queue as SyncQueue
from failover import caught_up
from running import all_completed, running
from sentinels import MASTER, Watched
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from corral import Job

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Shared: the primary stays where it is."""
    with Watched() as place:
        yield place


@pytest.fixture
def mortal() -> Iterator[Watched]:
    """For a test that takes the primary away."""
    with Watched() as place:
        yield place


@pytest.fixture
async def line(mortal: Watched) -> AsyncIterator[Line]:
    line = Line(make_pool(mortal.url))
    yield line
    await line.close()


async def _failure(url: str) -> RedisUnavailable:
    line = Line(make_pool(url))
    with pytest.raises(RedisUnavailable) as caught:
        await line.call("PING")
    await line.close()
    return caught.value


async def test_sentinels_and_master_of_the_environment_lead_to_the_primary(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SENTINELS", watched.places)
    monkeypatch.setenv("REDIS_MASTER", MASTER)
    async with Lines(make_pool(None)) as lines:
        assert (await lines.call("ROLE"))[0] == b"master"
        assert int(dict(await _info(lines))["tcp_port"]) == watched.primary.port


async def _info(lines: Lines) -> list[list[str]]:
    text: bytes = await lines.call("INFO", "server")
    return [row.split(":", 1) for row in text.decode().splitlines() if ":" in row]


async def test_a_failover_leads_the_next_connection_to_the_new_primary(mortal: Watched, line: Line) -> None:
    await line.call("SET", "kept", "x")
    before = mortal.primary.port
    await caught_up(mortal.replica, mortal.primary)
    await asyncio.to_thread(mortal.fail_over)
    assert await line.call("GET", "kept") == b"x"
    assert (await line.call("ROLE"))[0] == b"master"
    assert _port(line) == mortal.primary.port != before


def _port(line: Line) -> int:
    port: int = line._connections[None].port  # type: ignore[attr-defined]
    return port


def _is_begun(place: Watched) -> bool:
    """Whether the first sentinel begins a failover; one whose replica has not answered it for a while does not."""
    with place.sentinels[0].client() as client:
        try:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)
        except redis.ResponseError as error:
            if "NOGOODSLAVE" not in str(error):
                raise
            return False
    return True


async def test_a_planned_failover_leads_a_line_that_was_refused_to_the_new_primary(mortal: Watched, line: Line) -> None:
    before = mortal.primary
    await line.call("SET", "x", 1)
    await caught_up(mortal.replica, before)
    await eventually(lambda: _is_begun(mortal), 20)

    async def moved() -> bool:
        try:
            await line.call("SET", "x", 2)
        except RedisUnavailable:
            return False
        return _port(line) != before.port

    await eventually(moved, 20)


async def test_the_sentinels_that_are_away_are_passed_over(watched: Watched) -> None:
    away = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    line = Line(make_pool(f"redis+sentinel://{away},{watched.places}/{MASTER}"))
    assert await line.call("PING") == b"PONG"
    await line.close()


async def test_no_sentinel_that_answers_is_told_with_their_addresses() -> None:
    one, other = sorted((free_port(), free_port()))
    failure = await _failure(f"redis+sentinel://:s3cret@127.0.0.1:{one},127.0.0.1:{other}/m")
    assert failure.code == "sentinels"
    assert str(failure).startswith(f"no sentinel answered at 127.0.0.1:{one}, 127.0.0.1:{other} (")
    assert str(failure).endswith("; are they running, and are their addresses right?")
    assert "s3cret" not in str(failure)


async def test_a_name_that_the_sentinels_do_not_know_is_told(watched: Watched) -> None:
    failure = await _failure(watched.url.replace(MASTER, "another"))
    assert failure.code == "master"
    assert "watch no primary called 'another'; correct the name" in str(failure)


async def test_a_primary_that_is_down_is_told_as_the_one_that_the_sentinels_name(watched: Watched) -> None:
    port = free_port()
    for sentinel in watched.sentinels:
        with sentinel.client() as client:
            client.execute_command("SENTINEL", "MONITOR", "gone", "127.0.0.1", port, 2)
    failure = await _failure(watched.url.replace(MASTER, "gone"))
    assert failure.code == "unreachable"
    assert f"Redis at 127.0.0.1:{port}, the primary of 'gone' as its sentinels say, cannot be reached" in str(failure)


async def test_a_replica_that_a_sentinel_still_names_is_refused_and_another_sentinel_asked(watched: Watched) -> None:
    replica = watched.replica
    with watched.sentinels[0].client() as client:
        client.execute_command("SENTINEL", "MONITOR", "late", "127.0.0.1", replica.port, 9)
    pool = make_pool(f"redis+sentinel://127.0.0.1:{watched.sentinels[0].port}/late")
    line = Line(pool)
    try:
        with pytest.raises(RedisUnavailable, match="is a replica; a failover is under way") as caught:
            await line.call("PING")
        assert (caught.value.code, caught.value.maybe_done) == ("replica", False)
    finally:
        await line.close()
        with watched.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "REMOVE", "late")


async def test_redis_itself_is_no_sentinel_and_a_sentinel_is_not_redis(watched: Watched) -> None:
    failure = await _failure(f"redis+sentinel://127.0.0.1:{watched.primary.port}/{MASTER}")
    assert failure.code == "sentinel-none"
    assert "are these sentinels, and not Redis itself?" in str(failure)
    failure = await _failure(f"redis://127.0.0.1:{watched.sentinels[0].port}")
    assert failure.code == "sentinel-instead"
    assert "name it in REDIS_SENTINELS and its primary in REDIS_MASTER" in str(failure)


async def test_clients_of_redis_py_lend_their_sentinels(watched: Watched) -> None:
    nodes = [("127.0.0.1", sentinel.port) for sentinel in watched.sentinels]
    theirs: Any = redis.asyncio.sentinel.Sentinel(nodes)
    async with Queue("lent", redis=theirs.master_for(MASTER)) as queue:
        await queue.add("a", {})
    blocking: Any = redis.sentinel.Sentinel(nodes)
    with SyncQueue("lent", redis=blocking.master_for(MASTER)) as queue:
        assert queue.get_job_counts().waiting == 1


def test_without_a_loop_the_way_is_the_same(watched: Watched) -> None:
    with SyncQueue("blocking", redis=watched.url) as queue:
        queue.add("a", {})
        assert queue.get_job_counts().waiting == 1
    with (
        SyncQueue("q", redis=watched.url.replace(MASTER, "another")) as queue,
        pytest.raises(RedisUnavailable, match="watch no primary called 'another'"),
    ):
        queue.get_job_counts()


# --- the login ---


@pytest.fixture(scope="module")
def locked() -> Iterator[Watched]:
    """Redis and its sentinels want the same password."""
    conf = ["requirepass s3cret", "sentinel sentinel-pass s3cret"]
    with Watched(password="s3cret", sentinel_conf=conf, login="s3cret") as place:
        yield place


async def test_sentinels_may_want_the_password_of_redis(locked: Watched) -> None:
    async with Lines(make_pool(locked.url)) as lines:
        await check_server(lines)
        assert (await lines.call("ROLE"))[0] == b"master"


async def test_a_password_that_the_sentinels_refuse_is_a_wrong_setting(locked: Watched) -> None:
    async with Lines(make_pool(locked.url.replace("s3cret", "wr0ng"))) as lines:
        with pytest.raises(ConfigurationError, match="they must take the user and password of Redis") as caught:
            await check_server(lines)
    assert "wr0ng" not in str(caught.value)


async def test_at_the_sentinels_a_user_needs_to_connect_and_to_ask_for_the_primary(locked: Watched) -> None:
    user = ("ACL", "SETUSER", "reader", "reset", "on", ">pw", "+@connection")
    with locked.primary.client() as client:
        client.execute_command(*user, "+@read", "~bull:*")
    url = locked.url.replace(":s3cret@", "reader:pw@")
    for sentinel in locked.sentinels:
        with sentinel.client("s3cret") as client:
            client.execute_command(*user)
    failure = await _failure(url)
    assert failure.code == "sentinel-permission"
    assert "`+@connection +sentinel|get-master-addr-by-name`" in str(failure)
    for sentinel in locked.sentinels:
        with sentinel.client("s3cret") as client:
            client.execute_command(*user, "+sentinel|get-master-addr-by-name")
    line = Line(make_pool(url))
    assert await line.call("GET", "bull:q:id") is None
    with pytest.raises(RedisRefused, match="NOPERM"):
        await line.call("SET", "bull:q:id", 1)
    await line.close()


# --- a worker ---


def _worker(name: str, run: Any, url: str) -> Worker:
    return Worker(name, run, redis=url, concurrency=10, lock_duration=3, stalled_interval=1, max_stalled_count=9)


async def test_a_worker_runs_all_kinds_of_jobs(watched: Watched) -> None:
    ran: list[str] = []

    async def run(job: Job) -> str:
        ran.append(job.name)
        return job.name

    async with Queue("kinds", redis=watched.url) as queue, QueueEvents("kinds", redis=watched.url) as events:
        ended: list[str] = []
        events.on("completed", lambda event: ended.append(event.job_id))
        async with running(_worker("kinds", run, watched.url)), FlowProducer(redis=watched.url) as flows:
            await queue.add("now", {})
            await queue.add("later", {}, delay=0.2)
            await queue.add("first", {}, priority=1)
            await flows.add(FlowJob("parent", "kinds", children=[FlowJob("child", "kinds")]))
            await eventually(lambda: set(ran) == {"now", "later", "first", "parent", "child"})
            await eventually(lambda: len(set(ended)) == 5)


async def test_no_job_is_lost_when_the_primary_dies_amid_two_hundred(mortal: Watched) -> None:
    runs: Counter[int] = Counter()

    async def run(job: Job) -> int:
        await asyncio.sleep(0.05)
        runs[job.data["n"]] += 1
        return int(job.data["n"])

    async with Queue("failover", redis=mortal.url) as queue:
        await queue.add_bulk(JobSpec("job", {"n": n}) for n in range(200))
        await caught_up(mortal.replica, mortal.primary)
        async with running(_worker("failover", run, mortal.url)):
            await eventually(lambda: len(runs) >= 40, 20)
            await asyncio.to_thread(mortal.fail_over)
            await eventually(lambda: all_completed(queue, 200), 40)
    assert set(runs) == set(range(200))


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_SENTINELS": "a:1,b", "REDIS_MASTER": "m"}, "redis+sentinel://a:1,b:26379/m"),
        (
            {"REDIS_SENTINELS": " a , b ", "REDIS_MASTER": "my master/1"},
            "redis+sentinel://a:26379,b:26379/my%20master%2F1",
        ),
        (
            {
                "REDIS_SENTINELS": "[fd00::1]:7,fd00::2",
                "REDIS_MASTER": "m",
                "REDIS_USERNAME": "u",
                "REDIS_PASSWORD": "p@",
            },
            "redis+sentinel://u:p%40@[fd00::1]:7,[fd00::2]:26379/m",
        ),
        ({"REDIS_SENTINELS": "a", "REDIS_MASTER": "m", "REDIS_TLS_CA": "ca"}, "rediss+sentinel://a:26379/m"),
        ({"REDIS_SENTINELS": "a", "REDIS_MASTER": "m", "REDIS_HOST": "h"}, "redis+sentinel://a:26379/m"),
    ],
)
def test_the_words_of_the_environment_are_a_url(environ: dict[str, str], url: str) -> None:
    assert read_address(environ).url == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://a:1", "the name of the primary follows the sentinels"),
        ("redis+sentinel://a:x/m", "the sentinels are hosts with their ports"),
        ("redis+sentinel:///m", "the sentinels are hosts with their ports"),
        ("redis+sentinel://a/m/one", "must be the number of a database"),
    ],
)
def test_what_is_no_url_of_sentinels_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_pool(url)


async def test_the_database_of_the_url_is_the_primarys(watched: Watched) -> None:
    async with Lines(make_pool(f"{watched.url}/3")) as lines:
        await lines.call("SET", "here", 1)
        assert "db=3" in (await lines.call("CLIENT", "INFO")).decode()
