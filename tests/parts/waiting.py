"""Wait for a condition instead of sleeping: poll until it holds, fail with the last value seen."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_EVERY = 0.02


async def eventually(check: Callable[[], Awaitable[T] | T], within: float = 10.0) -> T:
    """Call `check`, a plain or an async function, until its value is true; give that value back.

    An `AssertionError` of `check` counts as "not yet" and is what the failure shows.
    """
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            found = check()
            value = cast("T", await found if inspect.isawaitable(found) else found)
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise _too_late(check, within, last)
        await asyncio.sleep(_EVERY)


def eventually_sync(check: Callable[[], T], within: float = 10.0) -> T:
    """The same for tests without an event loop."""
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            value = check()
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise _too_late(check, within, last)
        time.sleep(_EVERY)


def _too_late(check: object, within: float, last: object) -> AssertionError:
    name = getattr(check, "__qualname__", repr(check))
    error = AssertionError(f"not true within {within:g} s: {name}; last value: {last!r}")
    if isinstance(last, AssertionError):
        error.__cause__ = last
    return error
