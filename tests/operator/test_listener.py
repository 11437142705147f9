"""The ear at Redis: what wakes, what is never lost, what an outage and a storm do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from corral import Queue
from corral.errors import ConfigurationError
from corral_operator import listener as under_test
from corral_operator.counting import QueueKey
from corral_operator.listener import Listener
from redis_secret import secret_of
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    import redis.asyncio

    from servers import RedisServer

A, B, C = (QueueKey("bull", name) for name in "abc")


class Ear:
    """A running listener, and what it told."""

    def __init__(self, url: str, queues: Iterable[QueueKey] = ()) -> None:
        self.told: Counter[QueueKey] = Counter()
        self.lost = 0
        self.listener = Listener(secret_of(url), self._event, self._outage)
        self.listener.listen(queues)
        self._task = asyncio.create_task(self.listener.run())

    def _event(self, queue: QueueKey) -> None:
        self.told[queue] += 1

    def _outage(self) -> None:
        self.lost += 1

    @property
    def blocked(self) -> bool:
        """It waits for Redis (or is about to: nothing can be lost any more)."""
        assert not self._task.done(), self._task
        return self.listener._blocked is not None

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled(), self._task
        await self.listener.close()


@pytest.fixture
async def new_ear() -> AsyncIterator[Callable[..., Ear]]:
    ears: list[Ear] = []

    def make(url: str, *queues: QueueKey) -> Ear:
        ears.append(Ear(url, queues))
        return ears[-1]

    yield make
    for ear in ears:
        await ear.close()


@pytest.fixture
def slow_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that block for so long that no test sees their end: what is told within it was pushed."""
    monkeypatch.setattr(under_test, "BLOCK_S", 50.0)


async def _event(client: redis.asyncio.Redis, queue: QueueKey) -> None:
    await client.xadd(f"{queue.prefix}:{queue.name}:events", {"event": "waiting", "jobId": "1"})


async def _ready(ear: Ear, client: Any) -> None:
    """Redis has its blocking read."""

    async def waits() -> bool:
        return ear.blocked and int((await client.info("clients"))["blocked_clients"]) == 1

    await eventually(waits)


async def _names(client: redis.asyncio.Redis) -> list[str]:
    return [row["name"] for row in await client.client_list() if row["name"].startswith("corral-operator")]


@pytest.mark.usefixtures("slow_net")
async def test_a_new_queue_is_told_once_and_then_at_each_event(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await _event(async_client, A)
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    assert ear.told == {A: 1, B: 1}
    await _event(async_client, B)
    await eventually(lambda: ear.told[B] == 2)
    await _ready(ear, async_client)
    await _event(async_client, A)
    await eventually(lambda: ear.told[A] == 2)
    assert ear.told == {A: 2, B: 2}
    assert ear.lost == 0


@pytest.mark.usefixtures("slow_net")
async def test_a_job_that_is_added_wakes_its_queue(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A)
    await _ready(ear, async_client)
    async with Queue("a", redis=redis_url) as queue:
        await queue.add("n")
    await eventually(lambda: ear.told[A] == 2)


@pytest.mark.usefixtures("slow_net")
async def test_prefixes_are_told_apart(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    mine = QueueKey("mine", "a")
    ear = new_ear(redis_url, A, mine)
    await _ready(ear, async_client)
    await _event(async_client, mine)
    await eventually(lambda: ear.told == {A: 1, mine: 2})


@pytest.mark.usefixtures("slow_net")
async def test_what_comes_between_two_reads_is_told_by_the_next(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    await _event(async_client, A)
    await eventually(lambda: ear.told[A] == 2)
    # It rests now, before it reads again.
    assert not ear.blocked
    await _event(async_client, A)
    await _event(async_client, B)
    await eventually(lambda: ear.told == {A: 3, B: 2})


@pytest.mark.usefixtures("slow_net")
async def test_a_thousand_events_at_once_are_told_once_or_twice(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    async with async_client.pipeline() as pipe:
        for _ in range(1000):
            pipe.xadd("bull:a:events", {"event": "waiting"})
        await pipe.execute()
    await eventually(lambda: ear.told[A] >= 2)
    # When it hears of a later event of another queue, it has caught up.
    await _ready(ear, async_client)
    await _event(async_client, B)
    await eventually(lambda: ear.told[B] == 2)
    assert ear.told[A] <= 3


@pytest.mark.usefixtures("slow_net")
async def test_a_storm_is_told_at_once_and_then_a_few_times_a_second(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float, result: Any = None) -> Any:
        if delay == under_test.PAUSE_S:
            pauses.append(delay)
        return await sleep(delay, result)

    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    monkeypatch.setattr(asyncio, "sleep", noted)

    over = asyncio.Event()

    async def storm() -> None:
        while not over.is_set():
            await _event(async_client, A)

    raging = asyncio.create_task(storm())
    await eventually(lambda: ear.told[A] >= 5)
    # One rest for each answer (the last may be about to begin), and nobody else is drowned.
    assert ear.told[A] - 1 - len(pauses) in (0, 1)
    await _event(async_client, B)
    await eventually(lambda: ear.told[B] == 2)
    over.set()
    await raging
    assert under_test.PAUSE_S >= 0.25


# --- the set of queues ---


@pytest.mark.usefixtures("slow_net")
async def test_a_queue_that_is_added_while_it_waits_is_told_and_heard(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A)
    await _ready(ear, async_client)
    ear.listener.listen([A, B])
    await eventually(lambda: ear.told == {A: 1, B: 1})
    await _ready(ear, async_client)
    await _event(async_client, B)
    await _event(async_client, A)
    await eventually(lambda: ear.told == {A: 2, B: 2})
    assert ear.lost == 0


@pytest.mark.usefixtures("slow_net")
async def test_changes_on_the_heels_of_one_another_are_taken_in_together(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A)
    await _ready(ear, async_client)
    before = (await async_client.info("stats"))["total_connections_received"]
    ear.listener.listen([A, B])
    await eventually(lambda: ear.told[B] == 1)
    await _ready(ear, async_client)
    listener = ear.listener
    listener.listen([A, B, C])
    # One read was given up a moment ago: the next one goes on for a while, and hears what happens.
    given_up_at = listener._blocked and listener._blocked.when()
    assert given_up_at is not None
    assert given_up_at >= listener._given_up_at + under_test.CHANGE_S
    more = [QueueKey("bull", str(number)) for number in range(50)]
    for number in range(50):
        ear.listener.listen([A, *more[: number + 1]])
        await asyncio.sleep(0)
    await _event(async_client, A)
    await eventually(lambda: all(ear.told[queue] == 1 for queue in more))
    await eventually(lambda: ear.told[A] == 2)
    assert (await async_client.info("stats"))["total_connections_received"] <= before + 3


@pytest.mark.usefixtures("slow_net")
async def test_a_queue_that_left_is_not_told_any_more_and_is_new_when_it_comes_back(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    ear.listener.listen([A])
    await _event(async_client, B)
    await _event(async_client, A)
    await eventually(lambda: ear.told[A] == 2)
    assert ear.told[B] == 1
    ear.listener.listen([A, B])
    await eventually(lambda: ear.told[B] == 2)


async def test_the_same_set_again_costs_nothing(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    ear.listener.listen([B, A])
    assert ear.listener._blocked is not None
    assert ear.listener._blocked.when() is None


@pytest.mark.usefixtures("slow_net")
async def test_without_queues_there_is_no_connection(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    ear = new_ear(redis_url)
    await asyncio.sleep(0)
    assert await _names(async_client) == []
    ear.listener.listen([A])
    await _ready(ear, async_client)
    assert await _names(async_client) == ["corral-operator:events"]
    ear.listener.listen([])

    async def alone() -> bool:
        return await _names(async_client) == []

    await eventually(alone)
    ear.listener.listen([B])
    await _ready(ear, async_client)
    assert (ear.told, ear.lost) == ({A: 1, B: 1}, 0)


@pytest.mark.usefixtures("slow_net")
async def test_a_thousand_queues_are_heard_on_one_connection(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    queues = [QueueKey("bull", f"q{number}") for number in range(1000)]
    ear = new_ear(redis_url, *queues)
    await _ready(ear, async_client)
    assert ear.told == dict.fromkeys(queues, 1)
    for queue in (queues[0], queues[500], queues[999]):
        await _event(async_client, queue)
    await eventually(lambda: ear.told.total() == 1003)
    assert [ear.told[queues[number]] for number in (0, 500, 999)] == [2, 2, 2]
    assert await _names(async_client) == ["corral-operator:events"]


# --- what Redis refuses ---


@pytest.mark.usefixtures("slow_net")
async def test_a_stream_of_another_type_does_not_deafen_the_others(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    await async_client.set("bull:b:events", "x")
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    await _event(async_client, A)
    await eventually(lambda: ear.told == {A: 2})
    assert ear.lost == 0


async def test_a_stream_that_turns_into_something_else_is_left_out_and_tried_again_later(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "BLOCK_S", 0.3)
    monkeypatch.setattr(under_test, "DEAF_S", 0.5)
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    await async_client.set("bull:b:events", "x")
    await eventually(lambda: B in ear.listener._deaf_until)
    told = ear.told[A]
    await _event(async_client, A)
    await eventually(lambda: ear.told[A] > told)
    await async_client.delete("bull:b:events")
    await eventually(lambda: ear.told[B] == 2)
    told = ear.told[B]
    await _event(async_client, B)
    await eventually(lambda: ear.told[B] > told)
    assert ear.lost == 0


@pytest.mark.usefixtures("slow_net")
async def test_queues_without_permission_do_not_deafen_the_others(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    user = ("ACL", "SETUSER", "operator", "reset", "on", ">pw", "+@read", "+@connection", "~bull:*")
    await async_client.execute_command(*user)
    ear = new_ear(redis_url.replace("redis://", "redis://operator:pw@"), A, QueueKey("theirs", "a"))
    await _ready(ear, async_client)
    await _event(async_client, A)
    await eventually(lambda: ear.told == {A: 2})
    assert ear.lost == 0
    assert await async_client.execute_command("ACL", "DELUSER", "operator")


async def test_a_wrong_password_is_an_outage(
    new_ear: Callable[..., Ear], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis", password="right")
    ear = new_ear(f"redis://:wrong@127.0.0.1:{server.port}", A)
    await eventually(lambda: ear.lost == 1)
    assert ear.told == {}


@pytest.mark.usefixtures("slow_net")
async def test_a_refusal_of_the_whole_read_is_an_outage_and_told_once(
    new_ear: Callable[..., Ear], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis", extra=("--rename-command", "XREAD", ""))
    ear = new_ear(server.url, A)
    # Each attempt counts the queue again: while nothing is pushed, that is the best it can do.
    await eventually(lambda: ear.told[A] >= 3)
    assert ear.lost == 1


def test_an_address_that_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        Listener(secret_of("redis://h?no_such_option=1"), lambda queue: None, lambda: None)


# --- outages ---


@pytest.mark.usefixtures("slow_net")
async def test_an_outage_is_told_once_and_every_queue_when_it_is_over(
    new_ear: Callable[..., Ear], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis", appendonly=True)
    ear = new_ear(server.url, A, B)
    await eventually(lambda: ear.blocked)
    server.kill()
    await eventually(lambda: ear.lost == 1)
    assert ear.told == {A: 1, B: 1}
    server.start()
    await eventually(lambda: ear.told == {A: 2, B: 2}, 15)
    with server.client() as client:
        client.xadd("bull:b:events", {"event": "waiting"})
        await eventually(lambda: ear.told == {A: 2, B: 3})
    assert ear.lost == 1
    server.kill()
    await eventually(lambda: ear.lost == 2)


@pytest.mark.usefixtures("slow_net")
async def test_ids_that_went_back_in_an_outage_are_heard(
    new_ear: Callable[..., Ear], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("valkey")
    with server.client() as client:
        client.xadd("bull:a:events", {"event": "waiting"}, id="9999999999999-0")
    ear = new_ear(server.url, A)
    await eventually(lambda: ear.blocked)
    server.kill()
    server.start()  # and everything is forgotten
    await eventually(lambda: ear.told[A] == 2, 15)
    with server.client() as client:
        client.xadd("bull:a:events", {"event": "waiting"})
    await eventually(lambda: ear.told[A] == 3)


async def test_a_connection_that_is_killed_loses_nothing(
    new_ear: Callable[..., Ear], redis_url: str, async_client: Any
) -> None:
    ear = new_ear(redis_url, A)
    await _ready(ear, async_client)
    (mine,) = [row["id"] for row in await async_client.client_list() if row["name"] == "corral-operator:events"]
    await async_client.client_kill_filter(_id=mine)
    await _event(async_client, A)
    await eventually(lambda: ear.told[A] >= 2)
    assert ear.lost == 1


async def test_a_server_that_stands_still_is_an_outage(
    new_ear: Callable[..., Ear], new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "BLOCK_S", 0.2)
    monkeypatch.setattr(under_test, "LATE_S", 0.3)
    server = new_server()
    ear = new_ear(server.url, A)
    await eventually(lambda: ear.blocked)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await eventually(lambda: ear.lost == 1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await eventually(lambda: ear.told[A] >= 2)


def test_an_outage_can_be_told_within_ten_seconds() -> None:
    assert under_test.BLOCK_S + under_test.LATE_S < 10


@pytest.mark.usefixtures("slow_net")
async def test_an_answer_that_is_empty_too_early_is_an_event_of_all(
    new_ear: Callable[..., Ear], redis_url: str, async_client: Any
) -> None:
    ear = new_ear(redis_url, A, B)
    await _ready(ear, async_client)
    (mine,) = [row["id"] for row in await async_client.client_list() if row["name"] == "corral-operator:events"]
    assert await async_client.client_unblock(mine)
    await eventually(lambda: ear.told == {A: 2, B: 2})
    assert ear.lost == 0


async def test_an_answer_that_is_empty_in_time_is_no_event(
    new_ear: Callable[..., Ear], redis_url: str, async_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "BLOCK_S", 0.15)
    ear = new_ear(redis_url, A)

    async def reads() -> int:
        stats: dict[str, Any] = await async_client.info("commandstats")
        return int(stats.get("cmdstat_xread", {}).get("calls", 0))

    async def some() -> bool:
        return await reads() > before + 3

    await eventually(lambda: ear.told[A] == 1)
    before = await reads()
    await eventually(some)
    assert (ear.told, ear.lost) == ({A: 1}, 0)
