"""The probes: is the worker started, alive, ready? Answered by a thread of their own.

The event loop writes what it knows to `Vitals`; the thread of `HealthServer` reads it. So a probe gets its answer
while the loop is blocked, which is when it matters.

    /startupz   start-up is complete
    /livez      the event loop still turns. Never depends on Redis: a restart does not mend Redis
    /readyz     started, no reason against it, and Redis answers fast enough. Never "busy"
    /metrics    the numbers, as Prometheus reads them
"""

import asyncio
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from corral.errors import ConfigurationError

logger = logging.getLogger("corral.health")

REQUEST_TIMEOUT = 5.0
"""Seconds that one request may take, from connecting to the last byte of the answer."""

POLL = 0.1
"""Seconds between two looks for clients that are too slow; also the longest that `stop()` waits for the thread."""

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""


class Vitals:
    """What is known of the worker's health: written by the event loop, read by the health thread.

    `livez_stall`: seconds without a turn of the event loop until it counts as stuck. `clock`: monotonic seconds.
    `latency_bound`: seconds that a PING may take before the worker counts as not ready.
    """

    # Every fact is one attribute, replaced whole: a reader sees the old or the new one, and no lock is needed.

    def __init__(
        self,
        livez_stall: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        latency_bound: float = 1.0,
    ) -> None:
        self._livez_stall = livez_stall
        self._latency_bound = latency_bound
        self._clock = clock
        self._turned_at = clock()
        self._started = False
        self._unready: str | None = None
        self._latency = 0.0

    def turned(self) -> None:
        """The event loop turned just now."""
        self._turned_at = self._clock()

    def started(self) -> None:
        """Start-up is complete."""
        self._started = True

    def ready(self, reason: str | None) -> None:
        """None: nothing stands against being ready; else what does, such as "redis: connection refused"."""
        self._unready = reason

    def latency(self, seconds: float) -> None:
        """The last PING to Redis took so long."""
        self._latency = seconds

    def startupz(self) -> tuple[bool, str]:
        """Whether start-up is complete, and a line of text."""
        return self._started, "started" if self._started else "starting"

    def livez(self) -> tuple[bool, str]:
        """Whether the event loop turned within `livez_stall` seconds (at first: since construction), and a line."""
        silent = self._clock() - self._turned_at
        if silent < self._livez_stall:
            return True, "alive"
        return False, f"the event loop has not turned for {silent:.0f} s (allowed: {self._livez_stall:g} s)"

    def readyz(self) -> tuple[bool, str]:
        """Whether the worker can do its work, and a line that says why not."""
        if not self._started:
            return False, "starting"
        if (reason := self._unready) is not None:
            return False, reason
        if (latency := self._latency) > self._latency_bound:
            return False, f"redis: PING took {latency:.3f} s (allowed: {self._latency_bound:g} s)"
        return True, "ready"


async def turn(vitals: Vitals, every: float = 1.0) -> None:
    """Tell `vitals`, every so many seconds, that the event loop turns. Runs until cancelled."""
    while True:
        vitals.turned()
        await asyncio.sleep(every)


class HealthServer:
    """Serves GET and HEAD of the probes and `/metrics` from a daemon thread.

    `render` gives the body and the content type of `/metrics`. `port` 0 takes a free port. A `host` with a colon is
    IPv6; "::" takes IPv4 too.
    """

    def __init__(
        self,
        vitals: Vitals,
        render: Callable[[], tuple[bytes, str]],
        host: str = "0.0.0.0",  # noqa: S104 - the kubelet asks from outside of the pod
        port: int = 8080,
    ) -> None:
        self._probes = {"/startupz": vitals.startupz, "/livez": vitals.livez, "/readyz": vitals.readyz}
        self._render = render
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use; before `start()`, the one asked for."""
        return self._server.server_port if self._server else self._port

    def start(self) -> None:
        """Bind, and answer from now on. Raises ConfigurationError when host and port cannot be bound."""
        try:
            self._server = _Server(self._host, self._port, self._answer)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot serve the health probes on {self._host} port {self._port}: "
                f"{getattr(error, 'strerror', None) or error}. "
                "Set CORRAL_PORT to another port, or to 0 for any free one"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL}, name="corral-health", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port, within a second. Does nothing when not started."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            self._port = server.server_port
            server.shutdown()
            thread.join()
            server.server_close()

    def _answer(self, path: str) -> Answer:
        if probe := self._probes.get(path):
            ok, text = probe()
            return 200 if ok else 503, "text/plain; charset=utf-8", " ".join(text.split()).encode() + b"\n"
        if path == "/metrics":
            body, content_type = self._render()
            return 200, content_type, body
        if path == "/":
            return 200, "text/plain; charset=utf-8", "\n".join((*self._probes, "/metrics", "")).encode()
        return 404, "text/plain; charset=utf-8", b"not found; / lists the paths\n"


class _Server(ThreadingHTTPServer):
    """One thread per request, each cut off after REQUEST_TIMEOUT."""

    allow_reuse_port = False  # else a second worker on the port would silently take half of the probes
    request_queue_size = 32

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self._deadlines: dict[Any, float] = {}
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: that one asks the DNS for the host's name, and may hang there.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._deadlines[request] = time.monotonic() + REQUEST_TIMEOUT
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called every POLL seconds. A socket's own timeout is no bound: a client may send a byte now and then."""
        now = time.monotonic()
        for request, deadline in self._deadlines.copy().items():
            if deadline < now:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a client of the health port went away: %r", sys.exception())


class _Request(BaseHTTPRequestHandler):
    """One request: HTTP/1.0, so the connection closes after the answer."""

    server: _Server
    timeout = REQUEST_TIMEOUT

    def do_GET(self) -> None:
        try:
            status, content_type, body = self.server.answer(self.path.partition("?")[0])
        except Exception:
            logger.exception("cannot answer %s", self.path)
            status, content_type, body = 500, "text/plain; charset=utf-8", b"internal error; the log has it\n"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def version_string(self) -> str:
        return "corral"

    def log_message(self, *_: Any) -> None:
        """No access log: probes come every few seconds."""
