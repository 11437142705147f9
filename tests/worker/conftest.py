"""What most tests of the worker begin with. A file that needs another queue has a fixture of its own of that name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beating import Staff
from corral import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def queue(redis7_url: str) -> AsyncIterator[Queue]:
    """The queue `q` of Redis 7."""
    async with Queue("q", redis=redis7_url) as queue:
        yield queue


@pytest.fixture
def staff(redis7_client: redis.asyncio.Redis) -> Staff:
    """Its workers, as they tell of themselves."""
    return Staff(redis7_client)
