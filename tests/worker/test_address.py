"""The address in parts, and TLS: what the environment says, against real servers where it matters."""

from __future__ import annotations

import subprocess
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from corral import ConfigurationError, Queue
from corral.address import Address, Tls, address_of, make_pool, read_address
from corral.connection import Line
from corral.errors import RedisUnavailable
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import RedisServer

SECRET = "s3cret#p4ss"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_HOST": "h"}, "redis://h:6379"),
        ({"REDIS_HOST": " h\n", "REDIS_PORT": "6380\n"}, "redis://h:6380"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "a#b/c@d\n"}, "redis://:a%23b%2Fc%40d@h:6379"),
        ({"REDIS_HOST": "h", "REDIS_USERNAME": "me:", "REDIS_PASSWORD": "x"}, "redis://me%3A:x@h:6379"),
        ({"REDIS_HOST": "fd00::7", "REDIS_USERNAME": "me"}, "redis://me@[fd00::7]:6379"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "\udcff"}, "redis://:%FF@h:6379"),
        ({"REDIS_URL": "redis://u", "REDIS_HOST": "h", "REDIS_PORT": "x", "REDIS_SENTINELS": "s"}, "redis://u"),
        ({"REDIS_URL": " ", "REDIS_HOST": "h"}, "redis://h:6379"),
    ],
)
def test_the_address_may_come_in_parts_and_a_url_goes_first(environ: dict[str, str], url: str) -> None:
    assert read_address(environ) == Address(url, Tls())


def test_what_kubernetes_writes_for_a_service_named_redis_is_no_port() -> None:
    assert read_address({"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.96.0.7:6379"}).url == "redis://h:6379"


@pytest.mark.parametrize(
    ("word", "kind"), [("REDIS_TLS_CA", "ca_file"), ("REDIS_TLS_CERT", "cert_file"), ("REDIS_TLS_KEY", "key_file")]
)
def test_any_tls_file_makes_the_parts_use_tls(word: str, kind: str) -> None:
    found = read_address({"REDIS_HOST": "h", word: " /tls/file "})
    assert found == Address("rediss://h:6379", Tls(**{kind: "/tls/file"}))
    assert read_address({"REDIS_URL": "redis://h", word: "/tls/file"}).url == "redis://h"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"REDIS_HOST": f"redis://:{SECRET}@h"}, "REDIS_HOST must be a host name or an IP address and nothing else"),
        ({"REDIS_HOST": "h", "REDIS_PORT": SECRET}, "REDIS_PORT must be a number from 1 to 65535"),
        (
            {"REDIS_SENTINELS": "s:1"},
            "REDIS_SENTINELS needs REDIS_MASTER: the sentinels, and the name of their primary",
        ),
        ({"REDIS_MASTER": "m", "REDIS_HOST": "h"}, "REDIS_MASTER needs REDIS_SENTINELS"),
        ({"REDIS_MASTER": "m", "REDIS_SENTINELS": f"s:{SECRET}"}, "REDIS_SENTINELS must be hosts with their ports"),
        ({"REDIS_PORT": "1", "REDIS_PASSWORD": SECRET}, r"REDIS_URL is not set; .*\(or REDIS_HOST, with REDIS_PORT"),
    ],
)
def test_an_address_that_cannot_be_is_told_by_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_address(environ)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_an_address_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(read_address({"REDIS_HOST": "h", "REDIS_PASSWORD": SECRET}))


async def test_a_queue_finds_redis_by_parts(
    new_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server("redis", password=SECRET)
    monkeypatch.delenv("REDIS_URL", raising=False)
    for word, value in {"HOST": "127.0.0.1", "PORT": str(server.port), "PASSWORD": f"{SECRET}\n"}.items():
        monkeypatch.setenv(f"REDIS_{word}", value)
    async with Queue("mail") as queue:
        await queue.add("send", 5)
        assert (await queue.get_job_counts()).waiting == 1


class Certificates:
    """An authority of our own, with a certificate for the server and one for a client, made by openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("req", "-x509", "-subj", "/CN=our authority", *self._new("ca"), "-out", self.path("ca.crt"))
        for name in ("server", "client"):
            names = folder / f"{name}.ext"
            names.write_text("subjectAltName=IP:127.0.0.1")
            self._run("req", "-subj", f"/CN={name}", *self._new(name), "-out", self.path(f"{name}.csr"))
            authority = ("-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial")
            signed = ("-in", self.path(f"{name}.csr"), "-out", self.path(f"{name}.crt"), "-extfile", str(names))
            self._run("x509", "-req", *authority, *signed)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _new(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        return (*curve, "-nodes", "-keyout", self.path(f"{name}.key"))

    def _run(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_port(new_server: Callable[..., RedisServer], certificates: Certificates) -> int:
    """Of a server that wants a certificate of its clients."""
    port = free_port()
    files = {"ca-cert-file": "ca.crt", "cert-file": "server.crt", "key-file": "server.key"}
    options = [word for option, file in files.items() for word in (f"--tls-{option}", certificates.path(file))]
    new_server("redis", extra=("--tls-port", str(port), *options))
    return port


async def ping(**options: Any) -> Any:
    line = Line(make_pool(options.pop("redis", None), **options))
    try:
        return await line.call("PING")
    finally:
        await line.close()


@pytest.mark.parametrize("by_url", [True, False])
async def test_the_files_of_the_environment_open_a_tls_connection(
    tls_port: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, by_url: bool
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    words = {"REDIS_TLS_CA": "ca.crt", "REDIS_TLS_CERT": "client.crt", "REDIS_TLS_KEY": "client.key"}
    for word, file in words.items():
        monkeypatch.setenv(word, certificates.path(file))
    if by_url:
        monkeypatch.setenv("REDIS_URL", f"rediss://127.0.0.1:{tls_port}")
    else:
        monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
        monkeypatch.setenv("REDIS_PORT", str(tls_port))
    assert await ping() == b"PONG"
    async with Queue("mail") as queue:
        await queue.add("send", 5)
        assert (await queue.get_job_counts()).waiting == 1


async def test_without_the_authority_or_the_certificate_there_is_no_connection(
    tls_port: int, certificates: Certificates
) -> None:
    url = f"rediss://127.0.0.1:{tls_port}"
    ca, cert, key = (certificates.path(file) for file in ("ca.crt", "client.crt", "client.key"))
    assert await ping(redis=url, tls=Tls(ca, cert, key)) == b"PONG"
    with pytest.raises(RedisUnavailable, match=r"self.signed certificate in certificate chain"):
        await ping(redis=url, tls=Tls(None, cert, key))
    with pytest.raises(RedisUnavailable):
        await ping(redis=url, tls=Tls(ca))
    with pytest.raises(RedisUnavailable):
        await ping(redis=url)


async def test_files_and_options_of_a_url_go_together_and_the_url_wins(
    tls_port: int, certificates: Certificates
) -> None:
    tls = Tls(certificates.path("server.key"), certificates.path("client.crt"), certificates.path("client.key"))
    url = f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={certificates.path('ca.crt')}"
    assert await ping(redis=url, tls=tls) == b"PONG"


async def test_plain_connections_have_no_use_for_the_files(redis_url: str) -> None:
    assert await ping(redis=redis_url, tls=Tls("/nowhere/ca.crt")) == b"PONG"
    async with redis.asyncio.from_url(redis_url) as client:
        assert await ping(redis=client, tls=Tls("/nowhere/ca.crt")) == b"PONG"


def test_the_files_of_the_environment_go_with_its_own_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_TLS_CA", "/nowhere/ca.crt")
    assert address_of(make_pool("rediss://elsewhere")) == "elsewhere:6379"


@pytest.mark.parametrize("word", ["REDIS_TLS_CA", "REDIS_TLS_CERT", "REDIS_TLS_KEY"])
def test_a_file_that_is_not_there_is_told_by_variable_and_path(
    word: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"rediss://:{SECRET.replace('#', '%23')}@h")
    monkeypatch.setenv("REDIS_TLS_CERT", certificates.path("client.crt"))
    monkeypatch.setenv(word, "/nowhere/file.pem")
    with pytest.raises(ConfigurationError, match=rf"{word}: .*/nowhere/file\.pem .*No such file") as caught:
        make_pool(None)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("ca", "cert", "key"),
    [
        ("server.key", None, None),
        (None, "client.crt", "server.key"),
        (None, "client.crt", None),
        (None, "client.ext", "client.key"),
    ],
)
def test_files_that_are_no_certificates_are_told_before_redis_is_asked(
    certificates: Certificates, ca: str | None, cert: str | None, key: str | None
) -> None:
    given = [certificates.path(file) if file else None for file in (ca, cert, key)]
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        make_pool("rediss://h", tls=Tls(*given))
    assert all(path in str(caught.value) for path in given if path)


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ConfigurationError, match="REDIS_TLS_KEY needs REDIS_TLS_CERT"):
        make_pool("rediss://h", tls=Tls(key_file="/nowhere/tls.key"))
