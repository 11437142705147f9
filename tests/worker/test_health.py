"""The probes: each path over real HTTP, and what they say in each condition of the worker."""

import asyncio
import http.client
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from corral import health
from corral.errors import ConfigurationError
from corral.health import HealthServer, Vitals, turn


class Clock:
    """Monotonic seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


Serve = Callable[..., int]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals(clock=clock)


@pytest.fixture
def serve(vitals: Vitals) -> Iterator[Serve]:
    """Starts a server for `vitals` on a free port, and gives the port."""
    servers: list[HealthServer] = []

    def start(render: Callable[[], tuple[bytes, str]] = lambda: (b"n 1\n", "text/x-numbers"), **more: str) -> int:
        server = HealthServer(vitals, render, more.get("host", "127.0.0.1"), port=0)
        server.start()
        servers.append(server)
        return server.port

    yield start
    for server in servers:
        server.stop()


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str, str]:
    """Status, content type and body of one request."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def status(port: int, path: str) -> int:
    return ask(port, path)[0]


def test_before_start_up_the_worker_is_alive_and_neither_started_nor_ready(serve: Serve) -> None:
    port = serve()
    assert ask(port, "/startupz") == (503, "text/plain; charset=utf-8", "starting\n")
    assert ask(port, "/livez") == (200, "text/plain; charset=utf-8", "alive\n")
    assert ask(port, "/readyz") == (503, "text/plain; charset=utf-8", "starting\n")


def test_after_start_up_every_probe_is_ok(vitals: Vitals, serve: Serve) -> None:
    port = serve()
    vitals.started()
    assert ask(port, "/startupz")[::2] == (200, "started\n")
    assert ask(port, "/livez")[::2] == (200, "alive\n")
    assert ask(port, "/readyz")[::2] == (200, "ready\n")


def test_readiness_names_its_reason_and_comes_back_without_one(vitals: Vitals, serve: Serve) -> None:
    port = serve()
    vitals.started()
    vitals.ready("redis: connection\r\nrefused")
    assert ask(port, "/readyz")[::2] == (503, "redis: connection refused\n")
    assert status(port, "/livez") == 200, "a restart does not mend Redis"
    vitals.ready(None)
    assert status(port, "/readyz") == 200


def test_a_slow_redis_makes_the_worker_unready_not_dead(vitals: Vitals) -> None:
    vitals.started()
    vitals.latency(1.0)
    assert vitals.readyz() == (True, "ready")
    vitals.latency(1.5)
    assert vitals.readyz() == (False, "redis: PING took 1.500 s (allowed: 1 s)")
    assert vitals.livez()[0]


def test_a_stalled_event_loop_turns_livez_to_503_until_it_turns_again(
    vitals: Vitals, clock: Clock, serve: Serve
) -> None:
    port = serve()
    vitals.turned()
    clock.now += 119
    assert status(port, "/livez") == 200
    clock.now += 11
    assert ask(port, "/livez")[::2] == (503, "the event loop has not turned for 130 s (allowed: 120 s)\n")
    vitals.turned()
    assert status(port, "/livez") == 200


def test_a_loop_that_never_turned_is_measured_from_construction(clock: Clock) -> None:
    vitals = Vitals(livez_stall=10, clock=clock)
    clock.now += 9
    assert vitals.livez()[0]
    clock.now += 1
    assert not vitals.livez()[0]


def test_turn_reports_each_turn_of_the_loop() -> None:
    async def story() -> None:
        turns = 0
        three = asyncio.Event()

        class Counting(Vitals):
            def turned(self) -> None:
                nonlocal turns
                turns += 1
                if turns == 3:
                    three.set()

        task = asyncio.create_task(turn(Counting(), every=0))
        async with asyncio.timeout(10):
            await three.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_metrics_come_as_rendered_whatever_the_query(serve: Serve) -> None:
    assert ask(serve(), "/metrics?name[]=n") == (200, "text/x-numbers", "n 1\n")


def test_metrics_that_cannot_be_rendered_are_a_500_and_the_server_lives_on(serve: Serve) -> None:
    def broken() -> tuple[bytes, str]:
        raise RuntimeError("boom")

    port = serve(broken)
    assert status(port, "/metrics") == 500
    assert status(port, "/livez") == 200


def test_the_root_lists_the_paths_and_other_paths_are_404(serve: Serve) -> None:
    port = serve()
    assert ask(port, "/")[::2] == (200, "/startupz\n/livez\n/readyz\n/metrics\n")
    assert status(port, "/nothing") == 404


def test_head_gives_the_status_and_no_body(serve: Serve) -> None:
    port = serve()
    assert ask(port, "/livez", "HEAD")[::2] == (200, "")
    assert ask(port, "/readyz", "HEAD")[::2] == (503, "")


def test_a_port_in_use_is_a_clear_error(vitals: Vitals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HealthServer(vitals, lambda: (b"", ""), "127.0.0.1", port)
        with pytest.raises(ConfigurationError, match=rf"port {port}: Address already in use.*CORRAL_PORT"):
            server.start()
        server.stop()


def test_two_servers_cannot_share_a_port(vitals: Vitals, serve: Serve) -> None:
    with pytest.raises(ConfigurationError):
        HealthServer(vitals, lambda: (b"", ""), "127.0.0.1", serve()).start()


def test_a_port_that_does_not_exist_is_a_clear_error(vitals: Vitals) -> None:
    with pytest.raises(ConfigurationError, match=r"port 70000.*CORRAL_PORT"):
        HealthServer(vitals, lambda: (b"", ""), "127.0.0.1", 70000).start()


def test_stop_frees_the_port_for_the_next_start(vitals: Vitals) -> None:
    server = HealthServer(vitals, lambda: (b"", ""), "127.0.0.1", 0)
    server.start()
    port = server.port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/livez")
    server.start()
    assert server.port == port
    assert status(port, "/livez") == 200
    server.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_a_host_of_two_colons_answers_both_families(serve: Serve) -> None:
    port = serve(host="::")
    assert ask(port, "/livez", host="::1")[0] == 200
    assert ask(port, "/livez", host="127.0.0.1")[0] == 200


def test_a_silent_client_blocks_nobody(serve: Serve) -> None:
    port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
        silent.sendall(b"GET /livez HT")
        assert status(port, "/livez") == 200


def test_a_client_that_never_ends_its_request_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_TIMEOUT", 0.1)
    with socket.create_connection(("127.0.0.1", serve()), timeout=4) as slow:
        slow.sendall(b"GET /livez HT")
        assert b"200" not in slow.recv(1000), "closed, or told of a bad request; not left waiting"


def test_requests_and_vanished_clients_leave_stderr_clean(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as rude:
        rude.sendall(b"\x00\xff nonsense\r\n\r\n")
        rude.recv(1000)
    assert status(port, "/nothing") == 404
    sys.stderr.flush()
    assert capfd.readouterr().err == ""
