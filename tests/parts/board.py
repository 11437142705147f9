"""A Bull Board over queues, asked through the HTTP API that its pages use."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from node import NodeProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_TIMEOUT = 15.0

Body = Any
"""The JSON of an answer; None where the board sends no body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: Body

    @property
    def error(self) -> str | None:
        """The key of the sentence that the page would show; None when all went well."""
        return self.body["error"]["key"] if self.status >= 400 else None


class Board:
    """A board on `queues`, with the BullMQ and the Redis of `env`; an async context manager."""

    def __init__(self, env: Mapping[str, str], *queues: str) -> None:
        self._process = NodeProcess("board.mjs", env, queues)
        self._base = ""

    async def ask(self, method: str, *path: str, body: Body = None, **query: object) -> Answer:
        """One request; `path` in parts, as they are called: `ask("PUT", "queues", "q", "pause")`."""
        url = f"{self._base}/api/{'/'.join(quote(part, safe='') for part in path)}"
        if query:
            url += f"?{urlencode(query)}"
        return await asyncio.to_thread(_request, method, url, body)

    async def look(self, *path: str, **query: object) -> Body:
        """What the board shows there; an AssertionError when it shows an error."""
        answer = await self.ask("GET", *path, **query)
        assert answer.status == 200, answer
        return answer.body

    async def press(self, method: str, *path: str, body: Body = None) -> Body:
        """Press a button: `press("PUT", "q", "pause")` of a queue, `press("PUT", "pause")` of all.

        An AssertionError when the board says no.
        """
        answer = await self.ask(method, "queues", *path, body=body)
        assert answer.status in (200, 204), answer
        return answer.body

    async def page(self, queue: str, status: str = "latest", page: int = 1, per_page: int = 10) -> dict[str, Any]:
        """A queue as its page shows it: numbers, settings and `jobs`, one page of those in a state (latest = any)."""
        shown = await self.look("queues", activeQueue=queue, status=status, page=page, jobsPerPage=per_page)
        (found,) = [each for each in shown["queues"] if each["name"] == queue]
        return dict(found)

    async def ids(self, queue: str, status: str = "latest", page: int = 1, per_page: int = 10) -> list[str]:
        """The ids of a page, in its order."""
        return [job["id"] for job in (await self.page(queue, status, page, per_page))["jobs"]]

    async def blocked(self) -> int:
        """How many clients of Redis wait for something: the idle workers."""
        return int((await self.look("redis", "stats"))["clients"]["blocked"])

    async def job(self, queue: str, job_id: str) -> dict[str, Any]:
        """A job as its page shows it, with its `status`."""
        shown = await self.look("queues", queue, job_id)
        return {**shown["job"], "status": shown["status"]}

    async def __aenter__(self) -> Self:
        await self._process.start()
        ready = await self._process.expect("ready")
        self._base = f"http://127.0.0.1:{ready['port']}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._process.stop()
        assert not self._process.seen("error"), self._process.events
        assert not self._process.stderr, self._process.stderr


def _request(method: str, url: str, body: Body) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return Answer(answer.status, _json(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _json(error.read()))


def _json(text: bytes) -> Body:
    return json.loads(text) if text else None
