"""Run Node scripts beside a test: one to its end, or a long-running child that speaks JSON lines.

Scripts live in tests/interop and find their modules there; so does source text given instead of a file.
Everything is async: a blocking wait would stop the Corral worker that runs in the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

INTEROP = Path(__file__).resolve().parents[1] / "interop"

Event = dict[str, Any]

# One event may carry a job of several hundred KB.
_LINE_LIMIT = 16 * 1024 * 1024


class NodeError(AssertionError):
    """A Node script failed, ended early or kept silent; the text ends with its stderr."""


def node_missing() -> str | None:
    """Why Node scripts cannot run here, or None when they can."""
    if shutil.which("node") is None:
        return "node is not on PATH"
    wanted = json.loads((INTEROP / "package.json").read_text("utf-8"))["dependencies"]
    if not all((INTEROP / "node_modules" / name).is_dir() for name in wanted):
        return "tests/interop/node_modules is missing or incomplete: run `make test`, or `npm ci` in tests/interop"
    return None


@dataclass(frozen=True)
class NodeResult:
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[Any]:
        """Every line of stdout, read as JSON."""
        return [json.loads(line) for line in self.stdout.splitlines() if line]


def _command(script: str | Path, args: Sequence[str]) -> list[str]:
    """A name that ends in .mjs is a file of tests/interop (or a path); anything else is source text."""
    node = shutil.which("node")
    if node is None:
        raise NodeError("node is not on PATH")
    if isinstance(script, Path) or script.endswith(".mjs"):
        return [node, str(INTEROP / script), *args]
    return [node, "--input-type=module", "-e", script, "--", *args]


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "NODE_NO_WARNINGS": "1", **(env or {})}


async def run_node(
    script: str | Path,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    timeout: float = 30.0,
    *,
    stdin: str = "",
) -> NodeResult:
    """Run a script to its end. `NodeError` when it fails or takes longer than `timeout`."""
    process = await asyncio.create_subprocess_exec(
        *_command(script, args),
        cwd=INTEROP,
        env=_environment(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise NodeError(f"node did not end within {timeout:g} s\n{err.decode()}{out.decode()}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NodeError(f"node ended with {process.returncode}\n{err.decode()}{out.decode()}")
    return NodeResult(out.decode(), err.decode())


class NodeProcess:
    """A Node child that prints one JSON object with an `event` a line; also an async context manager.

    Each event is handed out once by `expect`; `events` keeps all of them, in order.
    """

    def __init__(self, script: str | Path, env: Mapping[str, str] | None = None, args: Sequence[str] = ()) -> None:
        self._command = _command(script, args)
        self._env = _environment(env)
        self.events: list[Event] = []
        self._unread: list[Event] = []
        self._news = asyncio.Condition()
        self._stderr: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=INTEROP,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        self._readers = [asyncio.create_task(self._read_events()), asyncio.create_task(self._read_errors())]
        return self

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stderr(self) -> str:
        return "".join(self._stderr)

    def seen(self, event: str) -> list[Event]:
        """All events of one name so far, handed out or not."""
        return [each for each in self.events if each["event"] == event]

    async def expect(self, event: str, within: float = 15.0, *, where: Callable[[Event], bool] | None = None) -> Event:
        """The next event of this name (for which `where` holds); others stay for later calls."""
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for index, each in enumerate(self._unread):
                        if each["event"] == event and (where is None or where(each)):
                            return self._unread.pop(index)
                    if self._readers[0].done():
                        raise NodeError(f"node ended before it printed {event!r}{self._story()}")
                    await self._news.wait()
        except TimeoutError:
            raise NodeError(f"no {event!r} within {within:g} s{self._story()}") from None

    async def send(self, message: object) -> None:
        """Write one JSON line to the child's stdin."""
        stdin = self._child.stdin
        assert stdin is not None
        stdin.write(json.dumps(message).encode() + b"\n")
        await stdin.drain()

    async def stop(self, within: float = 10.0) -> int:
        """SIGTERM, and the exit code; SIGKILL when it takes longer than `within`."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within):
                return await self._ended()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        return await self._ended()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _child(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise NodeError("not started")
        return self._process

    async def _ended(self) -> int:
        code = await self._child.wait()
        # Both pipes are read to their end, or the transports would outlive the loop.
        await asyncio.gather(*self._readers)
        if self._child.stdin is not None:
            self._child.stdin.close()
        return code

    async def _read_events(self) -> None:
        stdout = self._child.stdout
        assert stdout is not None
        async for raw in stdout:
            try:
                parsed = json.loads(raw)
            except json.JSONDecodeError:
                parsed = None
            if not isinstance(parsed, dict) or "event" not in parsed:
                parsed = {"event": "print", "text": raw.decode(errors="replace").rstrip()}
            self.events.append(parsed)
            async with self._news:
                self._unread.append(parsed)
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def _read_errors(self) -> None:
        stderr = self._child.stderr
        assert stderr is not None
        async for raw in stderr:
            self._stderr.append(raw.decode(errors="replace"))

    def _story(self) -> str:
        return f"\nevents so far: {self.events[-20:]}\nstderr: {self.stderr[-4000:]}"
