"""A URL with a password in a wrong place is refused, and shown in no error."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from corral import CorralError, FlowProducer, Queue, QueueEvents, RateLimit, Worker, sync
from corral.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "hunter2"
URL: Any = f"redis://:{PASSWORD}@h:6379"
CLIENT: Any = Redis.from_url(URL)
ANYWHERE = {"redis", "prefix", "name", "processor", "queue"}
"""Arguments of a worker that may be any text, or are tried by themselves."""
OPTIONS = sorted(set(inspect.signature(Worker).parameters) - ANYWHERE)


async def process(job: Any) -> None:
    """Does nothing."""


def hidden(refused: Callable[[], object]) -> None:
    with pytest.raises(CorralError) as caught:
        refused()
    assert PASSWORD not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("wrong", [URL, f"user:{PASSWORD}@h", [URL], {"url": URL}, CLIENT], ids=type)
@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_of_a_worker_shows_the_url_that_it_was_given(option: str, wrong: Any) -> None:
    hidden(lambda: Worker("q", process, **{option: wrong}))


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Worker("emails", URL),
        lambda: Worker("emails", CLIENT),
        lambda: Worker(URL, process),
        lambda: Worker([URL, URL], process),
        lambda: Worker([[URL]], process),
        lambda: Queue(URL),
        lambda: Queue([URL]),  # type: ignore[arg-type]
        lambda: Queue(CLIENT),
        lambda: Queue("q", dialect=URL),
        lambda: sync.Queue(URL),
        lambda: sync.Queue("q", dialect=URL),
        lambda: FlowProducer(dialect=URL),
        lambda: QueueEvents(URL),
        lambda: QueueEvents("q", last_event_id=URL),
        lambda: RateLimit(URL, 1),
        lambda: RateLimit(1, URL),
        lambda: RateLimit.per(1, URL),
    ],
)
def test_no_error_shows_the_url_that_stood_in_a_wrong_place(refused: Callable[[], object]) -> None:
    hidden(refused)


def test_what_is_hidden_comes_with_the_cure_and_all_else_is_shown() -> None:
    with pytest.raises(CorralError, match=r"got \(a URL, not shown: give it as redis=\)"):
        Worker("emails", URL)
    said = ["a:b", "me@home", 5, 1.5, True, None, timedelta(seconds=1)]
    assert [shown(value) for value in said] == [repr(value) for value in said]
    assert shown(CLIENT) == "a value of type Redis"
