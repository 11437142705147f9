"""A URL made of parts is one, and says the same to redis-py as the parts did."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from corral.url import build_sentinel_url, build_url, read_watched, wrong_with_host, wrong_with_port, wrong_with_url

written = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)


@settings(deadline=None)
@given(username=written, password=written, tls=st.booleans())
def test_whatever_a_user_and_a_password_hold_redis_gets_them_as_they_are(
    username: str, password: str, tls: bool
) -> None:
    url = build_url("redis.shop.svc", "6380", username, password, tls=tls)
    assert wrong_with_url(url) is None
    found = parse_url(url)
    assert (found.get("username", ""), found.get("password", "")) == (username, password)
    assert (found["host"], found["port"]) == ("redis.shop.svc", 6380)
    assert url.startswith("rediss://") == tls


@pytest.mark.parametrize(
    ("host", "written_as"),
    [
        ("h", "h"),
        ("10.0.0.7", "10.0.0.7"),
        ("redis_1.shop.", "redis_1.shop."),
        ("fd00::7", "[fd00::7]"),
        ("::1", "[::1]"),
    ],
)
def test_an_ipv6_host_stands_in_brackets(host: str, written_as: str) -> None:
    assert wrong_with_host(host) is None
    url = build_url(host, "1", "", "", tls=False)
    assert url == f"redis://{written_as}:1"
    assert wrong_with_url(url) is None
    assert parse_url(url)["host"] == host


@pytest.mark.parametrize(
    "host", ["", "h:6379", "redis://h", "me@h", "[::1]", "h h", "h/1", "h#", "fe80::1%eth0", "hö", "h\n"]
)
def test_what_is_more_than_a_host_is_none(host: str) -> None:
    wrong = wrong_with_host(host)
    assert wrong is not None
    assert "no scheme, no port, no user" in wrong
    assert host not in wrong or len(host) < 2


@pytest.mark.parametrize("port", ["1", "6379", "65535"])
def test_a_port_is_a_number(port: str) -> None:
    assert wrong_with_port(port) is None


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "+1", "redis", "6379 ", "6379.0", "\u0661", "9" * 5000])
def test_what_is_no_port_is_told(port: str) -> None:
    assert wrong_with_port(port) == "must be a number from 1 to 65535"


@settings(deadline=None)
@given(username=written, password=written, master=written.filter(bool), tls=st.booleans())
def test_a_url_of_sentinels_says_all_that_its_parts_said(username: str, password: str, master: str, tls: bool) -> None:
    url = build_sentinel_url("a:1,fd00::7,b", master, username, password, tls=tls)
    assert wrong_with_url(url) is None
    watched = read_watched(url)
    assert watched is not None
    assert (watched.nodes, watched.master) == ((("a", 1), ("fd00::7", 26379), ("b", 26379)), master)
    found = parse_url(watched.url)
    assert (found.get("username", ""), found.get("password", "")) == (username, password)
    assert watched.url.startswith("rediss://") == tls


def test_other_urls_name_no_sentinels() -> None:
    assert read_watched("redis://h:1/2") is None
    assert read_watched("unix:///run/redis.sock") is None
