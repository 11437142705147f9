"""The names of a queue's keys, against the table in the docstring."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from corral import ConfigurationError, InvalidQueueName, keys
from corral.keys import Keys


def _table() -> set[str]:
    """The suffixes that the docstring names for P."""
    assert keys.__doc__ is not None
    rows = re.findall(r"^    P ([\w:<>, -]+?) {2,}", keys.__doc__ + "\n", re.MULTILINE)
    return {name.strip() for row in rows for name in row.split(",")}


def _properties() -> dict[str, str]:
    made = Keys("mail", "app")
    names = [name for name, value in vars(Keys).items() if isinstance(value, property) and name != "base"]
    return {name: getattr(made, name) for name in names}


def test_every_property_is_a_key_of_the_table() -> None:
    table = _table()
    assert {"id", "meta", "wait", "marker", "failed"} <= table
    assert {value.removeprefix("app:mail:") for value in _properties().values()} <= table


def test_a_property_is_called_as_its_key() -> None:
    properties = _properties()
    assert len(properties) >= 10
    ours = {"beats", "workers", "orders"}
    for name, key in properties.items():
        assert key == "app:mail:" + ("corral:" if name in ours else "") + name.replace("_", "-")


def test_a_jobs_keys_begin_with_its_queue() -> None:
    made = Keys("mail")
    assert made.base == "bull:mail:"
    assert made.job("7") == "bull:mail:7"
    assert made.logs("7") == "bull:mail:7:logs"


@pytest.mark.parametrize("worker", [None, ""])
def test_a_nameless_worker_is_counted_by_its_queue_in_base64(worker: str | None) -> None:
    assert Keys("mail").client_name(worker) == "bull:bWFpbA=="


def test_a_named_worker_adds_its_name() -> None:
    assert Keys("mäil", "app").client_name("pod-1") == f"app:{base64.b64encode('mäil'.encode()).decode()}:w:pod-1"


@pytest.mark.parametrize("worker", ["pöd 1", "a\nb", "\x00", "tab\there"])
def test_signs_that_redis_takes_in_no_name_of_a_client_are_replaced(worker: str) -> None:
    name = Keys("mail", "my äpp").client_name(worker)
    assert re.fullmatch(r"my__pp:bWFpbA==:w:[!-~]+", name)
    assert len(name) == len(f"my__pp:bWFpbA==:w:{worker}")


@pytest.mark.parametrize("queue", [5, None, b"mail"])
def test_a_name_that_is_no_text_is_refused(queue: Any) -> None:
    with pytest.raises(InvalidQueueName, match="a queue's name is a text, got"):
        Keys(queue)


@pytest.mark.parametrize(
    ("queue", "message"),
    [("", "a queue needs a name"), ("a:b", "'a:b' holds a colon"), (":", "holds a colon")],
)
def test_a_name_that_would_break_the_keys_is_refused(queue: str, message: str) -> None:
    with pytest.raises(InvalidQueueName, match=message):
        Keys(queue)


def test_an_empty_prefix_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="key prefix is empty"):
        Keys("mail", "")


@pytest.mark.parametrize("prefix", ["{app}", "a:b", "bull"])
def test_a_prefix_may_be_a_namespace_or_a_hash_tag(prefix: str) -> None:
    assert Keys("mail", prefix).wait == f"{prefix}:mail:wait"


def test_keys_of_one_queue_are_equal() -> None:
    one: Any = Keys("mail")
    assert one == Keys("mail", "bull")
    assert len({one, Keys("mail"), Keys("post")}) == 2
