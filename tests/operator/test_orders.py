"""Orders to workers: what stands after the replies of Redis."""

from __future__ import annotations

from corral.errors import RedisRefused, RedisUnavailable
from corral_operator.orders import Order, Post, refusal, written

POSTS = [Post("emails", "one"), Post("sms", "one"), Post("mails", "one")]
PODS = dict.fromkeys(POSTS, "emails-0")


def test_an_order_that_was_refused_or_whose_node_did_not_answer_does_not_count_as_written() -> None:
    away, refused = RedisUnavailable("no answer of 127.0.0.1:7001"), RedisRefused("no", "NOPERM")
    found = written(POSTS, [1, b"1000", away, away, refused, refused], {}, PODS, 5.0)
    assert found == {POSTS[0]: Order("emails-0", 5.0, 1000)}
    before = {POSTS[1]: Order("emails-0", 1.0, 7)}
    assert written(POSTS[1:2], [away, b"1000"], before, PODS, 5.0) == before


def test_a_node_that_did_not_answer_has_not_given_leave() -> None:
    away = RedisUnavailable("no answer of 127.0.0.1:7001")
    assert refusal([0, away]) is away
    assert refusal([0, 1]) is None
