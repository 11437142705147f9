"""Real workers as the operator reads them: who is busy, who obeys, who has gone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from corral import Job, JobSpec, Queue, Worker
from corral.beat_record import quiet_order
from corral.clock import now_ms
from corral.keys import Keys
from corral_operator.observed import Member, QueueReading, Staff
from corral_operator.presence import StaffMemory, staff_of
from corral_operator.readings import Reader
from redis_secret import ask, secret_of
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEYS = Keys("mails")


class Watch:
    """Looks at the queue `mails` as often as it is asked."""

    def __init__(self, url: str) -> None:
        self.reader = Reader(secret_of(url))
        self.memory: StaffMemory | None = None
        self.staff = Staff()

    async def look(self, *, holders: bool = False) -> Staff:
        asked = ask("mails", workers=not holders, holders=holders)
        (reading,) = (await self.reader.read([asked], now_ms())).values()
        assert isinstance(reading, QueueReading), reading
        self.staff, self.memory = staff_of([reading], self.memory, time.monotonic(), workload="mails")
        return self.staff

    async def member(self, pod: str) -> Member | None:
        return (await self.look()).members.get(pod)


@pytest.fixture
async def watch(redis7_url: str) -> AsyncIterator[Watch]:
    watch = Watch(redis7_url)
    yield watch
    await watch.reader.close()


@pytest.fixture
async def mails(redis7_url: str) -> AsyncIterator[Queue]:
    async with Queue("mails", redis=redis7_url) as queue:
        yield queue


async def test_a_pod_is_busy_obeys_an_order_for_quiet_finishes_takes_again_and_leaves(
    watch: Watch, mails: Queue, redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "mails-1")
    gate = asyncio.Event()

    async def hold(_: Job) -> None:
        await gate.wait()

    await mails.add_bulk([JobSpec("mail")] * 3)
    async with running(Worker("mails", hold, redis=redis7_url, concurrency=2)):

        async def is_busy() -> bool:
            member = await watch.member("mails-1")
            return member is not None and member.busy == 2

        await eventually(is_busy)
        assert (watch.staff.beats, watch.staff.complete, watch.staff.busy) == (True, True, 1)
        assert (await watch.look(holders=True)).busy == 1
        assert watch.staff.members["mails-1"].busy == 2
        (((queue, worker),),) = [row.workers for row in (await watch.look()).members.values()]
        assert watch.staff.redis_ms is not None
        until_ms = watch.staff.redis_ms + 60_000
        assert await watch.reader.send([("HSET", Keys(queue).orders, worker, quiet_order(until_ms))]) == [1]

        async def is_quiet() -> bool:
            member = await watch.member("mails-1")
            return member is not None and member.quiet

        await eventually(is_quiet)
        assert watch.staff.members["mails-1"].busy == 2
        assert watch.staff.members["mails-1"].ordered_until_ms == until_ms
        gate.set()

        async def is_safe() -> bool:
            member = await watch.member("mails-1")
            return member is not None and member.quiet and member.busy == 0

        await eventually(is_safe)
        assert watch.staff.members["mails-1"].idle_since_s is not None
        assert (await mails.get_job_counts()).waiting == 1
        assert await watch.reader.send([("HDEL", Keys(queue).orders, worker)]) == [1]

        async def all_done() -> bool:
            return (await mails.get_job_counts()).completed == 3

        await eventually(all_done)
    assert (await watch.look()).members == {}
