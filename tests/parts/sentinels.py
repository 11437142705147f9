"""Redis behind Sentinel: a primary, a replica and three sentinels that watch them, with real failovers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from servers import RedisServer, find_binary, free_port
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

MASTER = "mymaster"


class Sentinel:
    """One sentinel; also a context manager."""

    def __init__(self, watched: int, extra: Sequence[str] = (), *, quorum: int = 2) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="corral-sentinel-"))
        self._conf = self._folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            f"logfile {self._folder / 'log'}",
            f"sentinel monitor {MASTER} 127.0.0.1 {watched} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 3000",
            *extra,
        ]
        self._conf.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(find_binary("redis")), str(self._conf), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def client(self, password: str | None = None) -> redis.Redis:
        """A blocking client for checks; the caller closes it."""
        return redis.Redis(port=self.port, password=password, protocol=2, socket_timeout=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Watched:
    """Two servers and their sentinels; also a context manager. `login` is what the sentinels want, if anything."""

    def __init__(
        self, *, password: str | None = None, sentinel_conf: Sequence[str] = (), login: str | None = None
    ) -> None:
        extra = ["--repl-diskless-sync-delay", "0", *(("--masterauth", password) if password else ())]
        self.servers = [RedisServer("redis", password=password, appendonly=True, extra=extra) for _ in range(2)]
        self._password, self._login = password, login
        primary = self.servers[0].port
        conf = [*sentinel_conf, *((f"sentinel auth-pass {MASTER} {password}",) if password else ())]
        self.sentinels = [Sentinel(primary, conf) for _ in range(3)]
        self._parts = ExitStack()

    @property
    def places(self) -> str:
        """REDIS_SENTINELS."""
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        return f"redis+sentinel://{login}{self.places}/{MASTER}"

    @property
    def primary(self) -> RedisServer:
        """The server that the sentinels name, in the eyes of the first of them that runs."""
        for sentinel in self.sentinels:
            try:
                with sentinel.client(self._login) as client:
                    _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                    return next(server for server in self.servers if server.port == int(port))
            except redis.ConnectionError:
                continue
        raise AssertionError("no sentinel answers")

    @property
    def replica(self) -> RedisServer:
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def fail_over(self) -> RedisServer:
        """Kill the primary as a crash would, and wait until the sentinels have another one. Gives the dead one."""
        dead = self.primary
        dead.kill()
        eventually_sync(lambda: self.primary is not dead and _is_primary(self.primary), 20)
        return dead

    def __enter__(self) -> Self:
        for server in self.servers:
            self._parts.enter_context(server)
        with self.servers[1].client() as client:
            client.replicaof("127.0.0.1", self.servers[0].port)
        eventually_sync(self._synced, 15)
        for sentinel in self.sentinels:
            self._parts.enter_context(sentinel)
        eventually_sync(self._ready, 20)
        for sentinel in self.sentinels:
            with sentinel.client(self._login) as client:
                # How soon a sentinel sees that a server's role is wrong, and sets it right.
                client.execute_command("SENTINEL", "DEBUG", "info-period", "200")
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _synced(self) -> bool:
        with self.servers[1].client() as client:
            return bool(client.info("replication")["master_link_status"] == "up")

    def _ready(self) -> bool:
        """Each sentinel knows the replica and the other sentinels."""
        for sentinel in self.sentinels:
            try:
                with sentinel.client(self._login) as client:
                    flat = client.execute_command("SENTINEL", "MASTER", MASTER)
            except redis.ConnectionError:
                return False
            facts = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
            texts = {_text(name): _text(value) for name, value in facts.items()}
            if (texts["num-slaves"], texts["num-other-sentinels"]) != ("1", "2"):
                return False
        return True


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_primary(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.role()[0] == b"master")
