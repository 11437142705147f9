"""QueueEvents on real servers: what it hears, in which shape, and who is told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from corral import Event, Job, Queue, QueueEvents, QueueEventsProducer, Worker
from corral.errors import ConfigurationError, PayloadNotJSON, RedisRefused, RedisUnavailable
from corral.events_stream import EventStream
from running import running
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis.asyncio

    from servers import RedisServer


async def taken(events: QueueEvents, number: int) -> list[Event]:
    """The next events."""
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(number)]


async def echo(job: Job) -> Any:
    if job.name == "fails":
        raise RuntimeError("boom")
    await job.update_progress({"half": 0.5})
    return {"echo": job.data}


async def test_an_iteration_gives_all_events_of_a_job_in_order_with_their_fields(redis_url: str) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        job = await queue.add("n", [1, "é"])
        async with running(Worker("q", echo, redis=redis_url)):
            found = await taken(events, 6)
    assert [(event.name, dict(event.fields)) for event in found] == [
        ("added", {"job_id": job.id, "name": "n"}),
        ("waiting", {"job_id": job.id}),
        ("active", {"job_id": job.id, "prev": "waiting"}),
        ("progress", {"job_id": job.id, "data": {"half": 0.5}}),
        ("completed", {"job_id": job.id, "returnvalue": {"echo": [1, "é"]}, "prev": "active"}),
        ("drained", {}),
    ]
    assert [event.job_id for event in found] == [job.id] * 5 + [None]
    assert found[4].raw == {"jobId": job.id, "returnvalue": '{"echo":[1,"é"]}', "prev": "active"}


async def test_numbers_and_reasons_come_as_python_means_them(redis_url: str) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        later = await queue.add("later", delay=3600)
        (_, delayed) = await taken(events, 2)
        assert delayed.fields == {"job_id": later.id, "delay": later.timestamp + 3_600_000}
        await queue.add("fails")
        async with running(Worker("q", echo, redis=redis_url)):
            failed, exhausted = (await taken(events, 5))[3:]
    assert (failed.name, failed.fields["failed_reason"]) == ("failed", "boom")
    assert (exhausted.name, exhausted.fields["attempts_made"]) == ("retries-exhausted", 1)


async def test_what_happens_between_the_start_and_the_first_look_is_heard(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add("before")
        async with QueueEvents("q", redis=redis_url) as events:
            await queue.add("after", job_id="after")
            (added, _) = await taken(events, 2)
    assert added.job_id == "after"


async def test_it_begins_at_the_oldest_event_or_after_a_given_one(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add("n", job_id="a")
        await queue.add("n", job_id="b")
        async with QueueEvents("q", redis=redis_url, last_event_id="0") as events:
            first = await taken(events, 4)
        async with QueueEvents("q", redis=redis_url, last_event_id=first[1].id) as events:
            second = await taken(events, 2)
    assert [event.job_id for event in first] == ["a", "a", "b", "b"]
    assert second == first[2:]


@pytest.mark.parametrize("wrong", ["", "now", "1-", "-1", "1-2-3", "٣"])
def test_a_place_that_is_none_is_refused(wrong: str, redis7_url: str) -> None:
    with pytest.raises(ConfigurationError, match="last_event_id"):
        QueueEvents("q", redis=redis7_url, last_event_id=wrong)


async def test_values_that_are_not_json_are_given_as_text_and_the_listener_lives_on(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async with QueueEvents("q", redis=redis_url) as events:
        for fields in (
            {"event": "completed", "jobId": "1", "returnvalue": "NaN"},
            {"event": "progress", "jobId": "1", "data": "[" * 100_000},
            {"event": "delayed", "jobId": "1", "delay": "soon"},
            {"event": b"\xff", "x": b"\xfe"},
            {"jobId": "nameless"},
            {"event": "completed", "jobId": "1", "returnvalue": "7"},
        ):
            await async_client.xadd("bull:q:events", fields)  # type: ignore[arg-type]
        found = await taken(events, 6)
    assert found[0].fields["returnvalue"] == "NaN"
    assert found[1].fields["data"] == "[" * 100_000
    assert found[2].fields["delay"] == "soon"
    assert (found[3].name, found[3].fields) == ("�", {"x": "�"})
    assert (found[4].name, found[4].job_id) == ("", "nameless")
    assert found[5].fields["returnvalue"] == 7


async def test_listeners_plain_and_async_are_told_of_their_event_and_of_all(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, str]] = []
    events = QueueEvents("q", redis=redis_url)

    @events.on("added")
    def added(event: Event) -> None:
        heard.append(("plain", event.name))
        raise RuntimeError("a listener may break")

    @events.on("waiting")
    async def waiting(event: Event) -> None:
        await asyncio.sleep(0)
        heard.append(("async", event.name))

    events.on("*", lambda event: heard.append(("all", event.name)))
    events.on("ready", lambda: heard.append(("state", "ready")))
    async with events, Queue("q", redis=redis_url) as queue:
        await queue.add("n")
        await queue.pause()
        await eventually(lambda: ("all", "paused") in heard)
    assert heard[0] == ("state", "ready")
    assert [name for who, name in heard if who == "all"] == ["added", "waiting", "paused"]
    assert ("plain", "added") in heard
    assert ("async", "waiting") in heard
    assert "a listener of 'added' raised" in caplog.text


async def test_a_listener_that_comes_late_hears_from_the_start(redis_url: str) -> None:
    heard: list[str] = []
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        await queue.add("n")
        events.on("*", lambda event: heard.append(event.name))
        await eventually(lambda: heard == ["added", "waiting"])
        assert [event.name for event in await taken(events, 2)] == heard, "iterating is another reader"


async def test_custom_events_come_with_their_fields_as_texts(redis_url: str) -> None:
    async with QueueEvents("q", redis=redis_url) as events, QueueEventsProducer("q", redis=redis_url) as producer:
        id = await producer.publish_event("shipped", jobId="7", to="Zoë\ud800", boxes=2, list=[1, None], ok=True)
        (event,) = await taken(events, 1)
    assert event.id == id
    assert event.job_id == "7"
    texts = {"jobId": "7", "to": "Zoë\\ud800", "boxes": "2", "list": "[1,null]", "ok": "true"}
    assert (event.name, dict(event.fields)) == ("shipped", texts)


@pytest.mark.parametrize("name", ["completed", "progress", "error", "gap", ""])
async def test_a_custom_event_cannot_pose_as_another(name: str, redis_url: str) -> None:
    async with QueueEventsProducer("q", redis=redis_url) as producer:
        with pytest.raises(ConfigurationError, match="cannot be named"):
            await producer.publish_event(name)


async def test_a_custom_event_that_cannot_be_written_is_refused_and_nothing_is(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    async with QueueEventsProducer("q", redis=redis_url) as producer:
        with pytest.raises(ConfigurationError, match="field 'event'"):
            await producer.publish_event("mine", event="other")
        with pytest.raises(PayloadNotJSON, match="field 'x' of event 'mine'"):
            await producer.publish_event("mine", x=float("nan"))
    assert await async_client.exists("bull:q:events") == 0


async def test_publishing_keeps_the_stream_near_its_length(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    async with QueueEventsProducer("q", redis=redis_url, max_events=50) as producer:
        for number in range(300):
            await producer.publish_event("n", number=number)
    assert 50 <= await async_client.xlen("bull:q:events") <= 150


async def test_only_one_iteration_at_a_time(redis_url: str) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        first = asyncio.ensure_future(anext(events))
        await eventually(lambda: events._reading is not None)
        with pytest.raises(RuntimeError, match="make another QueueEvents"):
            await anext(events)
        await queue.add("n")
        assert (await first).name == "added"


async def test_an_iteration_that_is_given_up_loses_nothing(redis_url: str) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
        await queue.add("n")
        assert [event.name for event in await taken(events, 2)] == ["added", "waiting"]


async def test_an_iteration_cancelled_as_the_events_arrive_leaves_them_to_the_next(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with QueueEvents("q", redis=redis_url) as events, Queue("q", redis=redis_url) as queue:
        first = asyncio.ensure_future(anext(events))
        real = EventStream._taken

        def taken_and_cancelled(stream: EventStream, reply: Any) -> list[Event]:
            if found := real(stream, reply):
                asyncio.get_running_loop().call_soon(first.cancel)
            return found

        monkeypatch.setattr(EventStream, "_taken", taken_and_cancelled)
        await queue.add("n")
        with pytest.raises(asyncio.CancelledError):
            await first
        assert [event.name for event in await taken(events, 2)] == ["added", "waiting"]


async def test_closing_ends_an_iteration_and_leaves_no_connection(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    before = len(await client.client_list())
    events = QueueEvents("q", redis=redis_url)
    events.on("*", print)

    async def all_of_them() -> list[Event]:
        return [event async for event in events]

    iteration = asyncio.create_task(all_of_them())

    async def blocked() -> bool:
        return int((await client.info("clients"))["blocked_clients"]) == 2

    await eventually(blocked)
    names = {found["name"] for found in await client.client_list() if found["cmd"] == "xread"}
    assert names == {"bull:cQ==:qe"}
    await events.close()
    assert await iteration == []
    assert [event async for event in events] == []

    async def as_before() -> bool:
        return len(await client.client_list()) == before

    await eventually(as_before)
    with pytest.raises(RedisUnavailable, match="is closed"):
        await events.start()


async def test_a_wrong_password_is_told_at_the_start(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(password="right")
    events = QueueEvents("q", redis=server.url.replace("right", "wrong"))
    for _ in range(2):
        with pytest.raises(RedisRefused, match="WRONGPASS"):
            await events.start()
    await events.close()


async def test_an_iteration_starts_by_itself_and_is_told_of_a_wrong_password(
    redis_url: str, new_server: Callable[..., RedisServer]
) -> None:
    events = QueueEvents("q", redis=redis_url, last_event_id="0")
    async with Queue("q", redis=redis_url) as queue:
        await queue.add("n")
    assert [event.name for event in await taken(events, 2)] == ["added", "waiting"]
    await events.close()
    server = new_server(password="right")
    refused = QueueEvents("q", redis=server.url.replace("right", "wrong"))
    with pytest.raises(RedisRefused, match="WRONGPASS"):
        await anext(refused)
    await refused.close()


async def test_a_key_that_is_no_stream_is_told_at_the_start(redis_url: str, async_client: redis.asyncio.Redis) -> None:
    await async_client.set("bull:q:events", "text")
    events = QueueEvents("q", redis=redis_url)
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await events.start()
    await events.close()


async def test_a_redis_that_is_not_there_yet_is_waited_for(
    new_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = new_server()
    server.stop()
    events = QueueEvents("q", redis=server.url)
    errors: list[Exception] = []
    ready: list[bool] = []
    events.on("error", errors.append)
    events.on("ready", lambda: ready.append(True))
    with caplog.at_level(logging.WARNING, "corral.events"):
        starting = asyncio.create_task(events.start())
        await eventually(lambda: errors)
        assert not starting.done()
        server.start()
        await starting
        await eventually(lambda: ready)
    assert len(errors) == 1, "an outage is told once"
    assert isinstance(errors[0], RedisUnavailable)
    assert caplog.text.count("are not heard for now") == 1
    await events.close()


async def test_tries_that_fail_leave_no_connections_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    monkeypatch.setattr("corral.events.retry_pause_s", lambda failures, draw: tries.append(failures) or 0.001)
    events = QueueEvents("q", redis=f"redis://127.0.0.1:{free_port()}")
    starting = asyncio.create_task(events.start())
    await eventually(lambda: len(tries) >= 3)
    assert events._lines == []
    await events.close()
    with pytest.raises(RedisUnavailable):
        await starting


async def test_closing_ends_a_start_that_waits_for_redis() -> None:
    events = QueueEvents("q", redis=f"redis://127.0.0.1:{free_port()}")
    starting = asyncio.create_task(events.start())
    await eventually(lambda: events.trouble is not None)
    await events.close()
    with pytest.raises(RedisUnavailable, match="was closed"):
        await starting


async def test_a_user_that_may_not_name_a_connection_listens_all_the_same(
    new_server: Callable[..., RedisServer],
) -> None:
    server = new_server()
    with server.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-client|setname"])
        url = server.url.replace("redis://", "redis://reader:p@")
        async with QueueEvents("q", redis=url) as events, Queue("q", redis=server.url) as queue:
            await queue.add("n")
            assert [event.name for event in await taken(events, 2)] == ["added", "waiting"]


def test_an_event_cannot_be_changed() -> None:
    event = Event("1-0", "added", {})
    with pytest.raises(AttributeError):
        event.name = "other"  # type: ignore[misc]
