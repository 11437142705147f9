"""The Secret of a pool: what it may say, what it is refused for, and that no value of it is ever shown."""

from __future__ import annotations

import re
import traceback
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral_operator.secret import RedisSecret, SecretProblem, read_secret, seen_from_elsewhere

WORD = "s3cret"
CA = "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----"
CERT = "-----BEGIN CERTIFICATE-----\nY2VydA==\n-----END CERTIFICATE-----"
KEY = f"-----BEGIN PRIVATE KEY-----\n{WORD}\n-----END PRIVATE KEY-----"
CAUSE = re.compile("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")


def encoded(texts: dict[str, str | bytes]) -> dict[str, str]:
    """As `data` holds it."""
    return {key: b64encode(text if isinstance(text, bytes) else text.encode()).decode() for key, text in texts.items()}


def read(texts: dict[str, str | bytes]) -> RedisSecret:
    return read_secret("redis", encoded(texts))


def refused(data: dict[str, str]) -> SecretProblem:
    """The problem, after a look whether it shows a value."""
    with pytest.raises(SecretProblem) as caught:
        read_secret("redis", data)
    problem = caught.value
    shown = "".join(traceback.format_exception(problem)) + repr(problem.__dict__)
    assert WORD not in shown
    assert b64encode(WORD.encode()).decode()[:6] not in shown
    assert CAUSE.fullmatch(problem.cause)
    assert str(problem) == problem.text
    assert "Secret redis" in problem.text
    return problem


@pytest.mark.parametrize(
    ("texts", "url", "parts"),
    [
        ({"url": f"redis://:{WORD}@h:1/2"}, f"redis://:{WORD}@h:1/2", ("url",)),
        ({"url": " redis://h\n"}, "redis://h", ("url",)),
        ({"url": "redis://u", "host": "h", "password": "x", "sentinels": "s", "master": "m"}, "redis://u", ("url",)),
        ({"url": "\n", "host": "h"}, "redis://h:6379", ("host",)),
        ({"host": "h"}, "redis://h:6379", ("host",)),
        ({"password": "p", "port": "6380", "host": "h"}, "redis://:p@h:6380", ("host", "port", "password")),
        (
            {"host": "h\n", "port": "1\n", "username": "me@x\n", "password": " a#b/c\n"},
            "redis://me%40x:a%23b%2Fc@h:1",
            ("host", "port", "username", "password"),
        ),
        ({"host": "fd00::7", "port": ""}, "redis://[fd00::7]:6379", ("host",)),
        ({"host": "h", "ca.crt": CA}, "rediss://h:6379", ("host",)),
        (
            {"sentinels": "a:1, b\n", "master": "mymaster", "password": "p", "host": "h", "port": "1"},
            "redis+sentinel://:p@a:1,b:26379/mymaster",
            ("sentinels", "master", "password"),
        ),
        ({"sentinels": "a", "master": "m", "ca.crt": CA}, "rediss+sentinel://a:26379/m", ("sentinels", "master")),
        ({"url": "redis+sentinel://a:1/m"}, "redis+sentinel://a:1/m", ("url",)),
        ({"url": "redis://h", "ca.crt": CA}, "redis://h", ("url",)),
    ],
)
def test_an_address_is_a_url_or_parts(texts: dict[str, str | bytes], url: str, parts: tuple[str, ...]) -> None:
    secret = read(texts)
    assert (secret.url, secret.parts) == (url, parts)


def test_tls_files_are_there_or_not() -> None:
    every = read({"url": "rediss://h", "ca.crt": f"{CA}\n", "tls.crt": CERT, "tls.key": KEY})
    assert (every.ca, every.cert, every.key) == (CA, CERT, KEY)
    assert every.tls_files == ("ca.crt", "tls.crt", "tls.key")
    none = read({"url": "rediss://h", "ca.crt": "\n"})
    assert (none.ca, none.cert, none.key, none.tls_files) == (None, None, None, ())
    assert read({"url": "rediss://h", "tls.crt": CERT, "tls.key": KEY}).tls_files == ("tls.crt", "tls.key")


def test_what_else_a_secret_holds_is_left_alone() -> None:
    assert read({"host": "h", "keystore.jks": b"\xff\x00"}) == read({"host": "h"})
    assert read_secret("redis", {**encoded({"host": "h"}), "odd": "%%%"}) == read({"host": "h"})


@pytest.mark.parametrize(
    ("data", "cause", "message"),
    [
        ({}, "SecretIncomplete", "neither url nor host, only: nothing; put the address into `url`"),
        (
            encoded({"password": WORD, "port": "1", "uri": WORD, "url": " \n"}),
            "SecretIncomplete",
            "neither url nor host, only: password, port, uri, url (empty); put the address into `url`",
        ),
        (
            encoded({"sentinels": WORD, "password": WORD}),
            "SecretIncomplete",
            "holds sentinels without master; Sentinel needs both: where the sentinels are, and the name of the primary",
        ),
        (encoded({"host": "h", "master": WORD}), "SecretIncomplete", "holds master without sentinels"),
        (
            encoded({"sentinels": f"s:{WORD}", "master": "m"}),
            "SecretInvalid",
            "sentinels must be hosts with their ports",
        ),
        ({"url": f"redis://{WORD}"}, "SecretInvalid", "url is not base64"),
        ({"host": f"{WORD}é"}, "SecretInvalid", "host is not base64"),
        (encoded({"host": "h", "password": WORD.encode() + b"\xff"}), "SecretInvalid", "password is not UTF-8"),
        (encoded({"url": f"{WORD}:6379"}), "SecretInvalid", "url is no Redis URL: it has no scheme"),
        (encoded({"url": f"postgres://me:{WORD}@h"}), "SecretInvalid", "it begins with 'postgres'"),
        (encoded({"url": f"redis://:{WORD}#x@h"}), "SecretInvalid", "url is no Redis URL: it"),
        (encoded({"url": f"redis://:{WORD}/x@h:1"}), "SecretInvalid", "url is no Redis URL: it cannot be taken apart"),
        (encoded({"url": f"redis://h/{WORD}"}), "SecretInvalid", "the number of a database"),
        (encoded({"host": f"{WORD}:6379"}), "SecretInvalid", "host must be a host name or an IP address and nothing"),
        (encoded({"host": "h", "port": WORD}), "SecretInvalid", "port must be a number from 1 to 65535"),
        (encoded({"host": "h", "port": "0"}), "SecretInvalid", "port must be a number from 1 to 65535"),
        (encoded({"host": "h", "tls.crt": CERT}), "SecretInvalid", "holds tls.crt without tls.key"),
        (encoded({"url": "rediss://h", "tls.key": KEY}), "SecretInvalid", "holds tls.key without tls.crt"),
        (encoded({"host": "h", "ca.crt": WORD}), "SecretInvalid", "ca.crt is not PEM"),
    ],
)
def test_a_secret_is_refused_with_cause_and_cure(data: dict[str, str], cause: str, message: str) -> None:
    problem = refused(data)
    assert problem.cause == cause
    assert message in problem.text


def test_a_repr_shows_no_value() -> None:
    texts: dict[str, str | bytes] = {"host": "h", "username": f"user-{WORD}", "password": WORD, "port": "1"}
    shown = repr(read({**texts, "ca.crt": CA, "tls.crt": CERT, "tls.key": KEY}))
    assert WORD not in shown
    assert "BEGIN" not in shown
    assert "redis" not in shown.replace("RedisSecret", "")


@pytest.mark.parametrize(
    ("texts", "url"),
    [
        ({"url": "redis://:p%40ss@redis:6379/3"}, "redis://:p%40ss@redis.shop.svc:6379/3"),
        ({"url": "rediss://ada:pass@redis"}, "rediss://ada:pass@redis.shop.svc"),
        ({"host": "redis", "password": "p@ss"}, "redis://:p%40ss@redis.shop.svc:6379"),
        *(
            ({"url": url}, url)
            for url in (
                "redis://redis.example:6379/0",
                "redis://redis.data.svc",
                "redis://:pass@127.0.0.1:6379",
                "redis://[fd00::1]:6379",
                "redis://localhost:6379",
                "unix:///run/redis.sock",
            )
        ),
    ],
)
def test_a_bare_host_name_means_a_service_of_the_secrets_namespace(texts: dict[str, str | bytes], url: str) -> None:
    secret = read(texts)
    seen = seen_from_elsewhere(secret, "shop")
    assert seen.url == url
    assert (seen.digest, seen.parts) == (secret.digest, secret.parts), "the pods would be rolled"


@pytest.mark.parametrize(
    ("texts", "url", "known_as"),
    [
        ({"url": "rediss://redis:1"}, "rediss://redis.shop.svc:1", {"redis.shop.svc": "redis"}),
        ({"url": "rediss://redis.shop.svc:1"}, "rediss://redis.shop.svc:1", {}),
        (
            {"sentinels": "a,b.example:7,10.0.0.1", "master": "m", "password": "p"},
            "redis+sentinel://:p@a.shop.svc:26379,b.example:7,10.0.0.1:26379/m",
            {"a.shop.svc": "a"},
        ),
        ({"sentinels": "[fd00::1]:7,localhost", "master": "m"}, "redis+sentinel://[fd00::1]:7,localhost:26379/m", {}),
    ],
)
def test_a_certificate_is_that_of_the_name_which_the_pods_know(
    texts: dict[str, str | bytes], url: str, known_as: dict[str, str]
) -> None:
    seen = seen_from_elsewhere(read(texts), "shop")
    assert (seen.url, seen.known_as) == (url, known_as)


def test_the_digest_follows_what_is_used_and_nothing_else() -> None:
    parts: dict[str, str | bytes] = {"host": "h", "port": "1", "username": "u", "password": "p", "ca.crt": CA}
    whole = {**parts, "tls.crt": CERT, "tls.key": KEY}
    first = read(whole).digest
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert read(dict(reversed(whole.items()))).digest == first
    assert read({**whole, "other": "x"}).digest == first
    changed = {read({**whole, key: f"{text!s}\n"}).digest for key, text in whole.items()}
    assert len(changed | {first}) == len(whole) + 1
    by_url: dict[str, str | bytes] = {"url": "redis://h", "host": "h"}
    assert read(by_url).digest == read({**by_url, "host": "other"}).digest
    one = read({"host": "h", "username": "apasswordb"}).digest
    assert one != read({"host": "h", "username": "a", "password": "b"}).digest


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["url", "host", "port", "username", "password", "sentinels", "master", "ca.crt", "tls.crt"]),
        st.binary(max_size=12).map(lambda content: b64encode(content).decode()) | st.text(max_size=8),
    )
)
def test_whatever_a_secret_holds_it_is_read_or_told(data: dict[str, str]) -> None:
    parts: tuple[str, ...]
    cause, parts = "None", ("none",)
    try:
        parts = read_secret("redis", data).parts
    except SecretProblem as problem:
        cause = problem.cause
    assert CAUSE.fullmatch(cause)
    assert parts
