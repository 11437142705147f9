"""Lists, the watch and answers to writes, in any order: the newest version of each object is what is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral_operator.deployment import Key
from corral_operator.table import Pool, Rows, read_pool


def _pool(version: int, name: str = "emails", uid: str = "u1") -> Pool:
    return Pool(Key("shop", name), uid, version, 1, {}, {})


def _known(rows: Rows[Pool]) -> dict[str, int]:
    return {key.name: row.version for key in rows if (row := rows.get(key)) is not None}


def test_a_pool_is_read_from_the_servers_object() -> None:
    metadata: dict[str, Any] = {"namespace": "shop", "name": "emails", "uid": "u1", "resourceVersion": "7"}
    read = read_pool({"metadata": metadata})
    assert read == Pool(Key("shop", "emails"), "u1", 7, 0, {}, {}, deleting=False)
    more = {"generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    read = read_pool({"metadata": {**metadata, **more}, "spec": {"a": 1}, "status": {"b": 2}})
    assert (read.generation, read.deleting, read.spec, read.status) == (2, True, {"a": 1}, {"b": 2})


def test_old_news_are_no_news() -> None:
    rows: Rows[Pool] = Rows()
    assert rows.put(_pool(5))
    assert not rows.put(_pool(5))
    assert not rows.put(_pool(4))
    assert rows.put(_pool(6))
    assert (_known(rows), len(rows)) == ({"emails": 6}, 1)


def test_the_servers_word_goes_before_what_a_write_was_taken_to_have_made_of_a_version() -> None:
    rows: Rows[Pool] = Rows()
    guess, told = replace(_pool(5), generation=3), replace(_pool(5), generation=2)
    assert rows.put(guess)
    assert rows.put(told)
    assert not rows.put(told)
    rows.put(guess)
    rows.resync([told], 5)
    assert rows.get(told.key) == told


def test_what_was_deleted_is_not_brought_back_by_what_was_said_of_it_before() -> None:
    rows: Rows[Pool] = Rows()
    rows.put(_pool(5))
    assert rows.drop(Key("shop", "emails"), "u1", 9)
    assert not rows.put(_pool(7))
    rows.resync([_pool(6)], 8)
    assert _known(rows) == {}


def test_another_of_the_same_name_is_another() -> None:
    rows: Rows[Pool] = Rows()
    rows.put(_pool(5))
    assert rows.put(_pool(12, uid="u2"))
    # Late news of the first.
    assert not rows.drop(Key("shop", "emails"), "u1", 9)
    assert not rows.put(_pool(8))
    assert _known(rows) == {"emails": 12}


def test_a_list_finds_what_vanished_unseen_and_leaves_what_is_newer() -> None:
    rows: Rows[Pool] = Rows()
    for row in (_pool(3, "old", "a"), _pool(4, "kept", "b"), _pool(20, "new", "c")):
        rows.put(row)
    assert rows.resync([_pool(9, "kept", "b"), _pool(10, "found", "d")], 15) == (Key("shop", "old"),)
    assert _known(rows) == {"kept": 9, "new": 20, "found": 10}


def test_a_list_may_tell_of_another_object_under_a_known_name() -> None:
    rows: Rows[Pool] = Rows()
    rows.put(_pool(3, uid="a"))
    assert rows.resync([_pool(9, uid="b")], 10) == ()
    assert rows.get(Key("shop", "emails")) == _pool(9, uid="b")


def test_the_deleted_are_not_remembered_for_ever() -> None:
    rows: Rows[Pool] = Rows()
    for number in range(100):
        rows.put(_pool(number, uid=f"u{number}"))
        rows.drop(Key("shop", "emails"), f"u{number}", number)
    rows.resync([], 1000)
    assert rows._gone == {}


# One object's life: made at 1, changed a few times, deleted. Three tellers, each late in its own way.
@given(order=st.permutations(range(6)), ends=st.booleans())
@pytest.mark.parametrize("last", [3, 5])
def test_in_whatever_order_news_come_the_end_is_the_same(order: list[int], ends: bool, last: int) -> None:
    rows: Rows[Pool] = Rows()
    for step in order:
        if step < last:
            rows.put(_pool(step + 1))
        elif ends:
            rows.drop(Key("shop", "emails"), "u1", 7)
    assert _known(rows) == ({} if ends else {"emails": last})
