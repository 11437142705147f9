"""The stage on which each transition is tried: an empty Redis, then an empty Valkey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from corral.address import make_pool
from corral.connection import Lines
from jobs import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio


@pytest.fixture
async def stage(redis_url: str, async_client: redis.asyncio.Redis) -> AsyncIterator[Stage]:
    async with Lines(make_pool(redis_url)) as caller:
        yield Stage(async_client, caller)
