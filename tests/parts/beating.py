"""What workers say of themselves in Redis, and orders to them: the operator's side of the handshake, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corral.beat_record import Beat, quiet_order
from corral.keys import Keys

if TYPE_CHECKING:
    import redis.asyncio


class Staff:
    """The workers of a queue, as Redis knows them."""

    def __init__(self, client: redis.asyncio.Redis, queue: str = "q") -> None:
        # Any: redis-py's types mix its blocking and its async answers.
        self._client: Any = client
        self.keys = Keys(queue)

    async def beats(self) -> list[Beat]:
        """All records, by the ids of the workers."""
        found = await self._client.hgetall(self.keys.workers)
        records = [Beat.from_wire(worker.decode(), record) for worker, record in sorted(found.items())]
        assert None not in records, found
        return [record for record in records if record is not None]

    async def beat(self) -> Beat:
        """The record of the only worker; an AssertionError while there is none, or more."""
        records = await self.beats()
        assert len(records) == 1, records
        return records[0]

    async def at_ms(self, worker: str) -> float | None:
        """When a worker was heard of last, in ms of Redis' time."""
        score: float | None = await self._client.zscore(self.keys.beats, worker)
        return score

    async def redis_ms(self) -> int:
        """Redis' time."""
        seconds, micros = await self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def order(self, worker: str, seconds: float = 60.0) -> None:
        """Order a worker quiet for so long."""
        until = await self.redis_ms() + round(seconds * 1000)
        await self._client.hset(self.keys.orders, worker, quiet_order(until))

    async def take_back(self, worker: str) -> None:
        """The order stands no more."""
        await self._client.hdel(self.keys.orders, worker)

    async def ordered(self) -> list[bytes]:
        """Whoever an order lies there for."""
        orders: list[bytes] = await self._client.hkeys(self.keys.orders)
        return orders
