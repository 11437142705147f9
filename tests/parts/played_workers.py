"""Workers of a queue, played: they beat often, and obey orders when a test lets them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from corral.beat_record import Beat, BeatState, quiet_until
from corral.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import redis.asyncio

_EVERY_S = 0.05


class PlayedWorker:
    """One of a pod. `busy`: jobs in its hands; `obeys`: an order makes it quiet; `mute`: it beats no more."""

    def __init__(self, client: redis.asyncio.Redis, pod: str, queue: str = "emails", *, busy: int = 0) -> None:
        self._client: Any = client
        self.id, self.pod, self.busy = f"worker-{pod}", pod, busy
        self.keys = Keys(queue)
        self.obeys, self.mute = True, False
        self.ordered: list[int | None] = []
        """What was found with each beat: until when it is to be quiet, or None."""
        self._turn = asyncio.Lock()  # no beat comes after its end

    @property
    def quiet(self) -> bool:
        return self.obeys and bool(self.ordered) and self.ordered[-1] is not None

    async def beat(self) -> None:
        """Say how it is, and hear of orders, in one step as the real one does."""
        beat = Beat(
            worker=self.id,
            state=BeatState.QUIET if self.quiet else BeatState.TAKING,
            busy=self.busy,
            pod=self.pod,
            namespace="default",
        )
        async with self._turn, self._client.pipeline(transaction=True) as pipe:
            seconds, micros = await self._client.time()
            pipe.zadd(self.keys.beats, {self.id: int(seconds) * 1000 + int(micros) // 1000})
            pipe.hset(self.keys.workers, self.id, beat.to_wire())
            pipe.hget(self.keys.orders, self.id)
            *_, order = await pipe.execute()
        self.ordered.append(quiet_until(order))

    async def end(self) -> None:
        """As after SIGTERM: its records are gone."""
        self.mute = True
        async with self._turn:
            await self._client.zrem(self.keys.beats, self.id)
            await self._client.hdel(self.keys.workers, self.id)


class PlayedWorkers(dict[str, PlayedWorker]):
    """By the name of the pod."""

    def __init__(self, client: redis.asyncio.Redis, pods: Iterable[str], queue: str = "emails") -> None:
        super().__init__({pod: PlayedWorker(client, pod, queue) for pod in pods})
        self.over = False

    async def play(self) -> None:
        """Until it is over; never cancelled, for that breaks the client of the test."""
        while not self.over:
            for worker in list(self.values()):
                if not worker.mute:
                    await worker.beat()
            await asyncio.sleep(_EVERY_S)


@asynccontextmanager
async def played_workers(client: redis.asyncio.Redis, *pods: str) -> AsyncIterator[PlayedWorkers]:
    """For the length of the block; each has beaten once when it begins."""
    workers = PlayedWorkers(client, pods)
    for worker in workers.values():
        await worker.beat()
    playing = asyncio.create_task(workers.play())
    try:
        yield workers
    finally:
        workers.over = True
        await playing
