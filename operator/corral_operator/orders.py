"""Orders to workers: which stand, which to write or take back, and who has obeyed. Pure.

Redis' own time is not asked for. With each order the newest beat of its worker is read right behind it: a beat after
that one was answered with the order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from corral.beat_record import ORDER_S, BeatState, quiet_order
from corral.errors import RedisUnavailable
from corral.keys import Keys
from corral_operator.observed import Member, QueueReading, WorkerReading

RENEW_S = ORDER_S / 4
"""Seconds after which an order is written anew."""

STANDS_S = ORDER_S * 2 / 3
"""For so long an order is relied on: the time that it was given may lag behind Redis' by what a beat takes to be read."""

NO_PERMISSION = "NOPERM"

Command = tuple[Any, ...]


class Post(NamedTuple):
    """A worker at one queue: where an order to it is written."""

    queue: str
    worker: str


@dataclass(frozen=True, slots=True)
class Order:
    """`pod` of the worker; `at_s`: when it was written last, monotonic; `after_ms`: its newest beat when it began."""

    pod: str
    at_s: float
    after_ms: int | None


Orders = Mapping[Post, Order]


def posts_of(member: Member) -> list[Post]:
    """All posts of a pod."""
    return [Post(*row) for row in member.workers]


def heard(readings: Iterable[QueueReading]) -> dict[Post, WorkerReading]:
    """What each worker said last."""
    return {Post(row.name, said.beat.worker): said for row in readings for said in row.workers or ()}


def to_write(chosen: Iterable[Member], said: Mapping[Post, WorkerReading], orders: Orders, now_s: float) -> list[Post]:
    """Posts that need an order, or their order anew."""
    return [
        post
        for member in chosen
        for post in posts_of(member)
        if not stands(orders.get(post), now_s, RENEW_S) or post not in said or said[post].quiet_until_ms is None
    ]


def to_take_back(
    spared: Iterable[Member], said: Mapping[Post, WorkerReading], orders: Orders, kept: Collection[str], now_s: float
) -> list[Post]:
    """Posts whose order is not wanted any more: of pods that stay, and of workers that are gone.

    `kept` are the pods that are wanted quiet. One that ends keeps its order until its worker has ended: it must not take
    a job between the end of the order and SIGTERM.
    """
    posts = {post: None for member in spared for post in posts_of(member)}
    standing = [post for post in posts if post in orders or (post in said and said[post].quiet_until_ms is not None)]
    ended = [
        post
        for post, order in orders.items()
        if post not in posts and order.pod not in kept and (post not in said or now_s - order.at_s >= ORDER_S)
    ]
    return [*standing, *ended]


def stands(order: Order | None, now_s: float, for_s: float = STANDS_S) -> bool:
    """It was written so lately."""
    return order is not None and now_s - order.at_s < for_s


def obeys(member: Member, said: Mapping[Post, WorkerReading], orders: Orders, now_s: float) -> bool:
    """Every worker of the pod holds nothing and takes nothing, and has said so since it was told."""
    posts = posts_of(member)
    return (
        bool(posts)
        and not member.silent
        and member.busy == 0
        and all(_obeys(post, said, orders, now_s) for post in posts)
    )


def _obeys(post: Post, said: Mapping[Post, WorkerReading], orders: Orders, now_s: float) -> bool:
    order, row = orders.get(post), said.get(post)
    if order is None or row is None or row.quiet_until_ms is None or not stands(order, now_s):
        return False
    after = order.after_ms is not None and row.beat_ms > order.after_ms
    return after and row.beat.state is not BeatState.TAKING and row.beat.busy == 0


# --- what is sent ---


def writes(posts: Sequence[Post], prefix: str, redis_ms: int) -> list[Command]:
    """The orders, and behind each a read of its worker's newest beat."""
    until = quiet_order(redis_ms + int(ORDER_S * 1000))
    keys = {post.queue: Keys(post.queue, prefix) for post in posts}
    return [
        command
        for post in posts
        for command in (
            ("HSET", keys[post.queue].orders, post.worker, until),
            ("ZSCORE", keys[post.queue].beats, post.worker),
        )
    ]


def removals(posts: Sequence[Post], prefix: str) -> list[Command]:
    """They are taken back."""
    return [("HDEL", Keys(post.queue, prefix).orders, post.worker) for post in posts]


def probes(queues: Iterable[str], prefix: str) -> list[Command]:
    """Whether orders may be written is asked by taking back one that nobody ever gave."""
    return removals([Post(queue, "nobody") for queue in queues], prefix)


def written(
    posts: Sequence[Post], replies: Sequence[Any], orders: Orders, pods: Mapping[Post, str], now_s: float
) -> dict[Post, Order]:
    """The orders as they stand after these replies to `writes`; one that was refused is left as it was, and so is one
    whose node of a Cluster did not answer: it counts for nothing, if it was written."""
    found = dict(orders)
    for post, reply, beat in zip(posts, replies[::2], replies[1::2], strict=True):
        if isinstance(reply, RedisUnavailable):
            continue
        before = orders.get(post)
        after = before.after_ms if before is not None and stands(before, now_s) else _score(beat)
        found[post] = Order(pods[post], now_s, after)
    return found


def refusal(replies: Iterable[Any]) -> RedisUnavailable | None:
    """The first of them; RedisUnavailable itself where a node of a Cluster did not answer."""
    return next((reply for reply in replies if isinstance(reply, RedisUnavailable)), None)


def _score(reply: Any) -> int | None:
    try:
        return int(float(reply))
    except (TypeError, ValueError):
        return None
