"""A worker whose Redis user may not do everything, or whose Redis is not what it should be."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, Queue, Worker
from corral.address import make_pool
from corral.connection import Lines
from corral.footing import Footing
from corral.keys import Keys
from corral.stalled import recover
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    async with Queue("q", redis=redis_url) as queue:
        yield queue


@pytest.fixture
async def limited(redis_url: str, async_client: redis.asyncio.Redis) -> AsyncIterator[Any]:
    """`await limited("-command", ...)`: the URL of a user that may do all but that."""
    client: Any = async_client

    async def make(*rules: str) -> str:
        await client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "&*", "+@all", *rules)
        return redis_url.replace("redis://", "redis://app:secret@")

    yield make
    await client.execute_command("ACL", "DELUSER", "app")


async def completed(queue: Queue) -> bool:
    return (await queue.get_job_counts()).completed == 1


async def test_a_user_that_may_not_name_its_connection_works_and_is_warned(
    queue: Queue, limited: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = await limited("-client|setname")
    async with running(Worker("q", lambda job: 1, redis=url)):
        await queue.add("x")
        await eventually(lambda: completed(queue))
    told = [record for record in caplog.records if "dashboards will not see this worker" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]


async def test_a_worker_that_cannot_wait_for_markers_says_so_and_is_not_ready(
    queue: Queue, limited: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("corral.shift.PULSE_S", 0.05)
    url = await limited("-bzpopmin")
    worker = Worker("q", lambda job: 1, redis=url)
    async with running(worker):
        await eventually(lambda: worker.shift and "new jobs of queue q are found late: " in str(worker.shift.unready))
        # Late, but found.
        await queue.add("x")
        await eventually(lambda: completed(queue), within=20)
    told = [record for record in caplog.records if "are found late" in record.message]
    assert len(told) == 1


async def test_signs_that_no_name_of_a_connection_takes_keep_no_worker_away(
    queue: Queue, redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    client: Any = async_client
    worker = Worker("q", lambda job: 1, redis=redis_url, name="pöd 7\n")

    async def named() -> bool:
        names = {each["name"] for each in await client.client_list()}
        assert "bull:cQ==:w:p_d_7_" in names, names
        return True

    async with running(worker):
        await eventually(named)
        await queue.add("x")
        await eventually(lambda: completed(queue))
    # What jobs say who ran them is the name as it was given.
    assert await client.hget("bull:q:1", "pb") == "pöd 7\n".encode()


async def test_a_database_that_does_not_exist_is_told_as_a_wrong_setting(redis_url: str) -> None:
    url = redis_url.removesuffix("/0") + "/9999"
    with pytest.raises(ConfigurationError, match="DB index"):
        async with asyncio.timeout(5):
            await Worker("q", print, redis=url).run()


async def test_a_look_for_stalled_jobs_that_redis_refuses_is_told(
    redis_url: str, async_client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = async_client
    await client.set("bull:q:stalled", "text")
    async with Lines(make_pool(redis_url)) as lines:
        looking = asyncio.create_task(
            recover(
                lines,
                Keys("q"),
                "",
                Footing(lines, lambda: math.inf),
                interval_ms=100,
                max_stalled=1,
                on_recovered=lambda id: None,
            )
        )
        await eventually(lambda: "looking for stalled jobs of queue q failed: Redis refused (WRONGTYPE)" in caplog.text)
        looking.cancel()
        await asyncio.wait([looking])
    assert {record.levelno for record in caplog.records if "stalled" in record.message} == {logging.ERROR}


async def test_no_repr_of_a_worker_shows_its_password(redis_url: str) -> None:
    worker = Worker("q", print, redis=redis_url.replace("redis://", "redis://:hunter2-secret@"))
    assert "hunter2" not in repr(vars(worker))
