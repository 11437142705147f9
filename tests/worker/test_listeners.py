"""Who listens to a worker, and that none of them can harm it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, get_args

import pytest

from corral import ConfigurationError
from corral.listeners import EventName, Listeners
from waiting import eventually


def test_listeners_are_told_in_the_order_in_which_they_were_added() -> None:
    listeners, heard = Listeners(), []
    listeners.add("completed", lambda job, value: heard.append(("first", job, value)))
    listeners.add("completed", lambda job, value: heard.append(("second", job, value)))
    listeners.tell("completed", "job", 5)
    assert heard == [("first", "job", 5), ("second", "job", 5)]


async def test_an_async_listener_is_told() -> None:
    listeners, heard = Listeners(), []

    async def hear(job_id: str) -> None:
        await asyncio.sleep(0)
        heard.append(job_id)

    listeners.add("stalled", hear)
    listeners.tell("stalled", "7")
    assert heard == []
    await listeners.close(within=5)
    assert heard == ["7"]


def test_nobody_listening_is_fine() -> None:
    listeners = Listeners()
    assert not listeners.wants("drained")
    listeners.tell("drained")
    listeners.add("drained", lambda: None)
    assert listeners.wants("drained")
    assert not listeners.wants("failed")


@pytest.mark.parametrize("event", ["done", "", "Completed"])
def test_an_unknown_event_is_refused_with_those_there_are(event: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"no event '{event}'; it has ready, active, completed, failed, .*drained"
    ):
        Listeners().add(event, print)


@pytest.mark.parametrize("event", get_args(EventName))
def test_every_event_of_the_list_can_be_listened_to(event: Any) -> None:
    listeners, heard = Listeners(), []
    listeners.add(event, lambda *args: heard.append(args))
    listeners.tell(event, "x")
    assert heard == [("x",)]


def test_a_listener_that_raises_is_logged_and_the_next_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    listeners, heard = Listeners(), []

    def breaks(reason: str) -> None:
        raise ValueError(reason)

    listeners.add("failed", breaks)
    listeners.add("failed", heard.append)
    listeners.tell("failed", "boom")
    assert heard == ["boom"]
    assert [record.message for record in caplog.records] == ["a listener of 'failed' raised"]
    assert "ValueError: boom" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_a_listener_that_raises_beyond_exception_harms_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    listeners, heard = Listeners(), []

    def breaks(reason: str) -> None:
        raise error

    listeners.add("failed", breaks)
    listeners.add("failed", heard.append)
    listeners.tell("failed", "boom")
    assert heard == ["boom"]
    assert [record.message for record in caplog.records] == ["a listener of 'failed' raised"]


def test_a_listener_with_the_wrong_arguments_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    listeners = Listeners()
    listeners.add("failed", lambda: None)
    listeners.tell("failed", "job", "boom")
    assert "a listener of 'failed' raised" in caplog.text


async def test_an_async_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    listeners = Listeners()

    async def breaks() -> None:
        raise ValueError("late")

    listeners.add("drained", breaks)
    listeners.tell("drained")
    await eventually(lambda: "ValueError: late" in caplog.text)
    assert caplog.records[0].levelno == logging.ERROR
    await listeners.close(within=5)


async def test_a_listener_that_takes_too_long_is_ended_at_the_close() -> None:
    listeners, ended = Listeners(), []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    listeners.add("drained", hangs)
    listeners.tell("drained")
    await asyncio.sleep(0)
    await listeners.close(within=0.01)
    await eventually(lambda: ended)


async def test_closing_without_listeners_returns_at_once() -> None:
    async with asyncio.timeout(1):
        await Listeners().close(within=60)
