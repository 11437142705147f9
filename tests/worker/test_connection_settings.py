"""Where a connection goes and as whom: URLs, clients of redis-py, passwords, and that no message shows one."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from corral import ConfigurationError, Queue
from corral.address import address_of, make_pool, read_address
from corral.connection import Line, Lines
from corral.errors import RedisRefused, RedisUnavailable
from corral.server_check import check_server
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import RedisServer

SECRET = "s3cret-p4ss"


async def _ask(redis: Any, *command: Any) -> Any:
    line = Line(make_pool(redis))
    try:
        return await line.call(*command)
    finally:
        await line.close()


def test_the_address_comes_from_the_environment() -> None:
    assert read_address({"REDIS_URL": " redis://there:1 "}).url == "redis://there:1"


@pytest.mark.parametrize("environ", [{}, {"REDIS_URL": ""}, {"REDIS_URL": "  "}])
def test_no_address_is_told_with_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set; set it, like REDIS_URL=redis://"):
        read_address(environ)


def test_a_queue_without_an_address_takes_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://from-env:7")
    assert address_of(make_pool(None)) == "from-env:7"
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
        Queue("mail")


SCHEMES = "it must begin with redis://, rediss:// (TLS), unix:// or redis+sentinel://"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:6379", f"not a Redis URL: it has no scheme; {SCHEMES}"),
        (f"{SECRET}:6379", f"not a Redis URL: it has no scheme; {SCHEMES}"),
        (f"me:{SECRET}@h:6379", f"it has no scheme; {SCHEMES}"),
        ("http://h", f"it begins with 'http'; {SCHEMES}"),
        ("", f"it has no scheme; {SCHEMES}"),
        (f"postgres://me:{SECRET}@h", "it begins with 'postgres'"),
        (5, "it is a int; give a text, or a client of redis.asyncio"),
        (b"redis://h", "it is a bytes; give a text"),
        (f"redis://:{SECRET}@h:port", "it cannot be taken apart"),
        (f"redis://:{SECRET}@h:99999", "it cannot be taken apart"),
        (f"redis://:{SECRET}[@h", "it cannot be taken apart"),
        (f"redis://:s3cret/{SECRET}@h:1", "a sign like # or / in a password is written %23 or %2F"),
        (f"redis://:s3cret#{SECRET}@h:1", "a sign like # or / in a password is written %23 or %2F"),
        (f"redis://:{SECRET}@h/1#{SECRET}", "it holds a #, which ends a URL; in a password it is written %23"),
        (f"redis://:{SECRET}@h/mail", "what follows the port must be the number of a database"),
        (f"redis://:{SECRET}@h/1/2", "what follows the port must be the number of a database"),
        (f"redis://:{SECRET}@h/1?db=x{SECRET}", "the options of the Redis URL are not understood (ValueError)"),
        (f"redis://:{SECRET}@h?{SECRET}=5", "the options of the Redis URL are not understood (TypeError)"),
        (f"redis://:{SECRET}@h?max_connections={SECRET}", "the options of the Redis URL are not understood"),
        (f"rediss://:{SECRET}@h?ssl_cert_reqs={SECRET}", "the options of the Redis URL are not understood"),
    ],
)
def test_what_is_no_redis_url_is_refused_with_why_and_without_showing_it(url: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_pool(url)
    assert message in str(caught.value)
    # Nor in what a traceback shows: no error of redis-py or urllib, which quote the URL, is chained.
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url", ["redis://h/0", "redis://h/", "redis://h:1", "rediss://h/15", "unix:///run/r.sock?db=2"]
)
def test_a_redis_url_is_taken(url: str) -> None:
    assert make_pool(url)


def test_a_password_with_signs_of_a_url_is_taken_in_its_written_way() -> None:
    pool = make_pool("redis://:a%23b%2Fc@h")
    assert pool.connection_kwargs["password"] == "a#b/c"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", "h:6379"),
        ("redis://h:1/2", "h:1"),
        (f"redis://me:{SECRET}@h:1", "h:1"),
        (f"rediss://me:{SECRET}@h:1", "h:1"),
        (f"unix://me:{SECRET}@/run/redis.sock", "/run/redis.sock"),
    ],
)
def test_an_address_shows_no_credentials(url: str, address: str) -> None:
    assert address_of(make_pool(url)) == address


@pytest.fixture
def locked(new_server: Callable[..., RedisServer]) -> RedisServer:
    return new_server("redis", password=SECRET)


async def test_the_right_password_opens(locked: RedisServer) -> None:
    assert await _ask(locked.url, "PING") == b"PONG"


@pytest.mark.parametrize("login", [":wrong-w0rd@", "me:wrong-w0rd@"])
async def test_a_wrong_password_is_told_and_not_shown(locked: RedisServer, login: str) -> None:
    with pytest.raises(
        RedisRefused, match=r"\(WRONGPASS\): the user name or password is wrong; check REDIS_URL"
    ) as caught:
        await _ask(f"redis://{login}127.0.0.1:{locked.port}", "PING")
    assert caught.value.code == "WRONGPASS"
    assert not caught.value.maybe_done
    assert "wrong-w0rd" not in str(caught.value)


async def test_a_missing_password_is_told_with_where_to_put_it(locked: RedisServer) -> None:
    with pytest.raises(RedisRefused, match=r"\(NOAUTH\): a password is needed; put it into REDIS_URL") as caught:
        await _ask(f"redis://127.0.0.1:{locked.port}", "PING")
    assert caught.value.code == "NOAUTH"


@pytest.mark.parametrize("login", ["", ":wrong-w0rd@"])
async def test_a_worker_ends_on_wrong_credentials_as_on_a_wrong_setting(locked: RedisServer, login: str) -> None:
    async with Lines(make_pool(f"redis://{login}127.0.0.1:{locked.port}")) as lines:
        with pytest.raises(ConfigurationError, match="REDIS_URL"):
            await check_server(lines)


async def test_an_acl_user_without_permission_is_told(locked: RedisServer) -> None:
    await _ask(locked.url, "ACL", "SETUSER", "reader", "on", f">{SECRET}", "+ping", "~*")
    with pytest.raises(RedisRefused, match=r"\(NOPERM\): the ACL user lacks a permission") as caught:
        await _ask(f"redis://reader:{SECRET}@127.0.0.1:{locked.port}", "SET", "k", 1)
    assert caught.value.code == "NOPERM"


async def test_no_error_and_no_log_line_shows_a_password(locked: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    away = f"redis://:{SECRET}@127.0.0.1:{free_port()}"
    with pytest.raises(RedisUnavailable) as unreachable:
        await _ask(away, "PING")
    locked.stop()
    with pytest.raises(RedisUnavailable) as gone:
        await _ask(locked.url, "PING")
    assert SECRET not in f"{unreachable.value!r} {gone.value!r} {caplog.text}"


async def test_a_client_of_redis_py_lends_its_settings(locked: RedisServer) -> None:
    async with redis.asyncio.Redis(host="127.0.0.1", port=locked.port, password=SECRET, db=3) as client:
        async with Lines(make_pool(client)) as lines:
            await lines.call("SET", "k", "in db 3")
        assert await client.get("k") == b"in db 3"


async def test_a_client_that_decodes_does_not_make_us_decode(redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url, decode_responses=True) as client:
        assert await _ask(client, "ECHO", "x") == b"x"
        async with Queue("mail", redis=client) as queue:
            added = await queue.add("send", {"é": 1})
            found = await queue.get_job(added.id)
            assert found is not None
            assert found.data == {"é": 1}


@pytest.mark.parametrize(
    "query", ["decode_responses=true", "protocol=3", "socket_timeout=0.05", "health_check_interval=1"]
)
async def test_settings_in_the_url_do_not_change_how_we_speak(redis_url: str, query: str) -> None:
    url = f"{redis_url}?{query}"
    assert await _ask(url, "ECHO", "x") == b"x"
    # Longer than that socket timeout: a worker waits for its marker like this.
    assert await _ask(url, "BLPOP", "nothing", 0.2) is None
    async with Queue("mail", redis=url) as queue:
        added = await queue.add("send", 5)
        assert (await queue.get_job_counts()).waiting == 1
        found = await queue.get_job(added.id)
        assert found is not None
        assert found.data == 5


async def test_a_unix_socket_is_reached(new_server: Callable[..., RedisServer], tmp_path: Any) -> None:
    path = tmp_path / "r.sock"
    new_server("redis", extra=("--unixsocket", str(path)))
    assert await _ask(f"unix://{path}", "PING") == b"PONG"
    with pytest.raises(RedisUnavailable, match=r"nothing\.sock cannot be reached"):
        await _ask(f"unix://{tmp_path}/nothing.sock", "PING")


async def test_a_connection_carries_its_name(redis_url: str) -> None:
    line = Line(make_pool(redis_url, "bull:bWFpbA=="))
    assert await line.call("CLIENT", "GETNAME") == b"bull:bWFpbA=="
    await line.close()
