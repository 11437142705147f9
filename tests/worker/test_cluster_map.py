"""Where keys live in a Redis Cluster, as its own answers tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from corral.cluster_map import ClusterMap, key_of, slot_of, tag_of

HOME = ("10.0.0.1", 7000)


@given(st.binary(max_size=20) | st.text("{}ab:", max_size=9).map(str.encode))
def test_a_key_is_in_the_slot_that_redis_says(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{bull}:q:wait", b"bull"),
        (b"bull:{q}:wait", b"q"),
        (b"{a}{b}", b"a"),
        (b"{{a}}", b"{a"),
        (b"bull:q", None),
        (b"{}{a}", None),
        (b"{a", None),
        (b"}a{", None),
    ],
)
def test_a_hash_tag_stands_between_the_first_braces(key: bytes, tag: bytes | None) -> None:
    assert tag_of(key) == tag


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("LLEN", "k"), b"k"),
        (("HGET", b"k\xff", "f"), b"k\xff"),
        (("EVALSHA", "sha", 1, "k", "argument"), b"k"),
        (("XREAD", "COUNT", 1, "BLOCK", 0, "STREAMS", "k", "0-0"), b"k"),
        (("XINFO", "STREAM", "k"), b"k"),
        (("SCAN", b"0", "MATCH", "{b}:q:*", "COUNT", 10), b"{b}:q:*"),
        (("SCAN", b"0", "COUNT", 10), None),
        (("BZPOPMIN", "k", 5), b"k"),
        (("PING",), None),
        (("SCRIPT", "LOAD", "return 1"), None),
        (("CLIENT", "LIST"), None),
    ],
)
def test_the_first_key_of_a_command_is_found(command: tuple[object, ...], key: bytes | None) -> None:
    assert key_of(command) == key


def test_who_was_named_is_asked_until_it_is_lost() -> None:
    cluster = ClusterMap(HOME)
    assert cluster.place_of(5) is None
    assert cluster.learn(5, ("10.0.0.2", 7000)) == ("10.0.0.2", 7000)
    assert cluster.place_of(5) == ("10.0.0.2", 7000)
    cluster.lost(("10.0.0.2", 7000))
    assert cluster.place_of(5) is None


def test_the_address_that_was_given_is_no_second_node() -> None:
    cluster = ClusterMap(HOME)
    assert cluster.learn(5, HOME) is None


def test_another_node_is_asked_when_the_first_is_away_and_the_first_again_in_the_end() -> None:
    cluster = ClusterMap(HOME)
    cluster.learn_nodes([[0, 9, [b"10.0.0.1", 7000, b"id"], [b"10.0.0.2", 7000, b"id"]], [10, 20, [b"", 7001, b"id"]]])
    cluster.lost(None)
    assert cluster.entry == ("10.0.0.2", 7000)
    cluster.lost(("10.0.0.2", 7000))
    assert cluster.entry is None
