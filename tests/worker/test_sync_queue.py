"""corral.sync: the same Queue and FlowProducer for code without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

import corral
import corral.flow
from corral import FlowJob, JobSpec, State, blocking_lines, sync, waiter
from corral.blocking_lines import BlockingLines, drive
from corral.clock import now_ms
from corral.errors import (
    ConfigurationError,
    JobFailed,
    JobNotFound,
    JobTimeout,
    PayloadNotJSON,
    RedisRefused,
    RedisUnavailable,
)
from corral.lifecycle import Complete, Fail, Step
from corral.retention import Keep
from corral.scripts import Settlement, Taking, settle_jobs
from servers import free_port
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import RedisServer

PAIRS = [(corral.Queue, sync.Queue), (corral.flow.FlowProducer, sync.FlowProducer)]


def public(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }


@pytest.fixture
def queue(redis_url: str) -> Iterator[sync.Queue]:
    with sync.Queue("q", redis=redis_url) as queue:
        yield queue


def end(queue: sync.Queue, step: Step) -> None:
    """Take a job and end it, as a worker does."""
    lines, keys = queue._twin._lines, queue.keys
    (taken,) = drive(settle_jobs(lines, keys, "", now_ms(), [], Taking(1, "t:1", 60_000, ""))).jobs
    ended = [Settlement(taken[0], "t:1", step)]
    assert drive(settle_jobs(lines, keys, "", now_ms(), ended, Taking(0, "", 60_000, ""))).codes == [0]


def done(value: str, keep: int | None = None) -> Complete:
    return Complete(value, Keep(keep))


@pytest.mark.parametrize(("loops", "waits"), PAIRS)
def test_every_public_method_is_there_with_the_same_parameters_and_answers(loops: type, waits: type) -> None:
    theirs, ours = public(loops), public(waits)
    assert theirs.keys() == ours.keys()
    for name, method in theirs.items():
        if isinstance(method, property):
            continue
        there, here = inspect.signature(method, eval_str=True), inspect.signature(ours[name], eval_str=True)
        assert list(there.parameters.values()) == list(here.parameters.values()), name
        assert there.return_annotation == here.return_annotation, name
        first = (inspect.getdoc(method) or "").split("\n")[0]
        assert (inspect.getdoc(ours[name]) or "").split("\n")[0] == first, name
        assert inspect.iscoroutinefunction(method), f"{name} would not wait"
        assert not inspect.iscoroutinefunction(ours[name]), name


@pytest.mark.parametrize(("loops", "waits"), PAIRS)
def test_it_is_made_with_the_same_arguments(loops: type, waits: type) -> None:
    there, here = inspect.signature(loops).parameters, inspect.signature(waits).parameters
    assert [(one.name, one.kind, one.default) for one in there.values()] == [
        (one.name, one.kind, one.default) for one in here.values()
    ]


def test_jobs_are_added_read_and_changed(queue: sync.Queue) -> None:
    job = queue.add("mail", {"to": "é"}, delay=3600, attempts=3)
    one, two = queue.add_bulk([JobSpec("a"), JobSpec("b")])
    assert (one.id, two.id) == ("2", "3")
    found = queue.get_job(job.id)
    assert found is not None
    assert (found.data, found.opts.attempts) == ({"to": "é"}, 3)
    assert found.get_state().result() == State.DELAYED
    found.promote()
    assert queue.get_job_state(job.id) == State.WAITING
    assert found.log("row").result() == 1
    assert found.get_logs().result() == ["row"]
    found.update_data([1])
    assert [each.data for each in queue.get_jobs(State.WAITING) if each.id == job.id] == [[1]]
    queue.pause()
    assert queue.is_paused()
    queue.resume()
    assert queue.get_job_counts().waiting == 3
    assert queue.get_job("none") is None


def test_errors_are_the_same_and_nothing_is_left_behind(queue: sync.Queue, redis_url: str) -> None:
    with pytest.raises(PayloadNotJSON):
        queue.add("n", float("nan"))
    job = queue.add("n")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(queue.keys.job(job.id))
    with pytest.raises(JobNotFound):
        job.update_data(1)
    with pytest.raises(ConfigurationError):
        sync.Queue("q", redis="http://x")
    gc.collect()  # a coroutine that was never run would be told here


def test_a_flow_is_added_and_read(redis_url: str) -> None:
    with sync.FlowProducer(redis=redis_url) as flows:
        node = flows.add(FlowJob("parent", "up", children=[FlowJob("child", "down")]))
        found = flows.get_flow(node.job.id, "up")
        assert found is not None
        assert [child.job.name for child in found.children] == ["child"]
        assert found.job.get_state().result() == State.WAITING_CHILDREN


def test_many_threads_share_a_few_connections(queue: sync.Queue, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = len(client.client_list())
        with ThreadPoolExecutor(32) as threads:
            jobs = list(threads.map(lambda number: queue.add("n", number), range(500)))
        assert sorted(int(job.id) for job in jobs) == list(range(1, 501))
        assert [job.data for job in jobs] == list(range(500))
        eventually_sync(lambda: len(client.client_list()) <= before + 8)


def test_a_call_broken_off_anywhere_by_a_signals_handler_harms_no_later_call(queue: sync.Queue) -> None:
    queue.add("n", 0)
    ours = (blocking_lines.__file__, contextlib.__file__, threading.__file__)
    interrupted: list[int] = []

    class Interrupt(BaseException):
        pass

    def at_line(number: int) -> Any:
        """A trace that interrupts the way to Redis and back at its so manieth line, as a signal's handler does."""
        left = number

        def trace(frame: Any, event: str, arg: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in ours or frame.f_code.co_name in {"drive", "call", "call_many"}:
                return None
            left -= event == "line"
            if left == 0:
                sys.settrace(None)
                interrupted.append(number)
                raise Interrupt
            return trace

        return trace

    def play() -> None:
        for number in range(1, 1000):
            sys.settrace(at_line(number))
            try:
                queue.get_job("1")
            except Interrupt:
                continue
            finally:
                sys.settrace(None)
            break
        found = [queue.get_job("1") for _ in range(10)]
        assert all(job is not None and job.data == 0 for job in found)
        interrupted.append(0)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    thread.join(30)
    assert interrupted[-1] == 0, f"stuck after {len(interrupted)} interruptions"
    assert len(interrupted) > 10


def test_a_forked_process_makes_connections_of_its_own(queue: sync.Queue, redis_url: str) -> None:
    queue.add("parent")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            for _ in range(20):
                queue.add("child")
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(20):
        queue.add("parent")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with redis.Redis.from_url(redis_url) as client:
        names = [client.hget(queue.keys.job(str(number)), "name") for number in range(1, 42)]
    assert (names.count(b"parent"), names.count(b"child")) == (21, 20)


async def test_in_the_thread_of_an_event_loop_it_just_waits(redis_url: str) -> None:
    with sync.Queue("q", redis=redis_url) as queue:
        job = queue.add("n", 5)
        assert job.get_state().result() == State.WAITING
        assert await job.get_state() == State.WAITING
    async with corral.Queue("q", redis=redis_url) as other:
        found = await other.get_job(job.id)
        assert found is not None
        assert found.data == 5


def test_a_blocking_client_lends_its_settings(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(password="secret")
    client = redis.Redis(host="127.0.0.1", port=server.port, password="secret", db=3, decode_responses=True)
    with client, sync.Queue("q", redis=client) as queue:
        assert queue.add("n").id == "1"
        assert client.exists("bull:q:1")


def test_a_redis_that_is_away_is_told_as_such_and_found_again(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(appendonly=True)
    with sync.Queue("q", redis=server.url) as queue:
        queue.add("n")
        server.stop()
        with pytest.raises(RedisUnavailable, match=f"127.0.0.1:{server.port} cannot be reached") as caught:
            queue.add("n")
        assert (caught.value.maybe_done, caught.value.code) == (False, "unreachable")
        server.start()
        assert queue.add("n").id == "2"
        server.kill()
        server.start()
        assert queue.add("n").id.isdigit(), "what the other side closed is not written to"


def test_refusals_are_told_with_their_cure(new_server: Callable[..., RedisServer]) -> None:
    server = new_server(password="right")
    with sync.Queue("q", redis=server.url.replace("right", "wrong")) as queue:
        with pytest.raises(RedisRefused, match="check REDIS_URL") as caught:
            queue.add("n")
        assert caught.value.code == "WRONGPASS"
        assert "wrong@" not in str(caught.value)


def test_a_call_that_breaks_off_may_have_been_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_lines, "CALL_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lines = BlockingLines(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        lines.pool.cluster.greeted = True
        made = lines._make

        def greeted() -> Any:
            connection = made()
            connection.on_connect_check_health = lambda check_health=True: connection._parser.on_connect(connection)
            return connection

        lines._make = greeted
        with pytest.raises(RedisUnavailable, match="did not answer in time") as caught:
            drive(lines.call("PING", timeout=0.2))
        assert (caught.value.maybe_done, caught.value.code) == (True, "timeout")
        peers = [listener.accept()[0]]

        def answer_half() -> None:
            peer, _ = listener.accept()
            peer.recv(100)
            peer.sendall(b"+PO")
            peer.close()

        thread = threading.Thread(target=answer_half)
        thread.start()
        with pytest.raises(RedisUnavailable, match="broke") as caught:
            drive(lines.call("PING"))
        assert (caught.value.maybe_done, caught.value.code) == (True, "broken")
        thread.join()
        for peer in peers:
            peer.close()
        drive(lines.close())


def test_each_command_of_many_has_its_own_answer(redis_url: str) -> None:
    lines = BlockingLines(redis_url)
    assert drive(lines.call_many([])) == []
    first, second, third = drive(lines.call_each([("SET", "k", 1), ("LPUSH", "k", 1), ("GET", "k")]))
    assert (first, third) == (b"OK", b"1")
    assert isinstance(second, RedisRefused)
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        drive(lines.call_many([("LPUSH", "k", 1), ("ECHO", "left over")]))
    assert drive(lines.call("ECHO", "next")) == b"next"
    drive(lines.close())


@pytest.fixture
def tls_url(new_server: Callable[..., RedisServer], tmp_path: Path) -> str:
    """A Redis that speaks TLS too, with a certificate that signs for itself."""
    key, cert, port = tmp_path / "r.key", tmp_path / "r.crt", free_port()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    files = ("--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert))
    new_server("redis", extra=("--tls-port", str(port), *files, "--tls-auth-clients", "no"))
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}"


def test_tls_is_spoken_and_a_connection_is_used_again(tls_url: str) -> None:
    lines = BlockingLines(tls_url)
    assert len({drive(lines.call("CLIENT", "ID")) for _ in range(20)}) == 1
    drive(lines.close())
    with sync.Queue("q", redis=tls_url) as queue:
        assert queue.add("n").get_state().result() == State.WAITING


def test_a_certificate_that_nobody_vouches_for_is_told_as_such(tls_url: str) -> None:
    with pytest.raises(RedisUnavailable, match=r"no TLS connection with Redis at .*; check the certif") as caught:
        drive(BlockingLines(tls_url.split("?", maxsplit=1)[0]).call("PING"))
    assert (caught.value.maybe_done, caught.value.code) == (False, "tls")


def test_closed_it_says_so_and_leaves_no_connection(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = len(client.client_list())
        queue = sync.Queue("q", redis=redis_url)
        queue.add("n")
        queue.close()
        with pytest.raises(RedisUnavailable, match="the connections are closed"):
            queue.add("n")
        eventually_sync(lambda: len(client.client_list()) == before)


def test_what_needs_an_event_loop_says_so() -> None:
    with pytest.raises(RuntimeError, match="needs an event loop"):
        drive(asyncio.sleep(0))


def test_waiting_for_the_end_of_a_job(queue: sync.Queue) -> None:
    jobs = [queue.add("n") for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        waits = [threads.submit(lambda job=job: job.wait_until_finished(timeout=15).result()) for job in jobs]
        end(queue, done('{"a":1}'))
        end(queue, Fail("boom", ("boom",), Keep(), True))
        assert waits[0].result() == {"a": 1}
        with pytest.raises(JobFailed, match="boom"):
            waits[1].result()
        queue.remove(jobs[2].id)
        with pytest.raises(JobNotFound):
            waits[2].result()
    assert jobs[0].wait_until_finished().result() == {"a": 1}


def test_waiting_for_a_job_that_retention_removes_as_it_completes(queue: sync.Queue, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client, ThreadPoolExecutor(1) as threads:
        job = queue.add("n")
        client.config_resetstat()
        wait = threads.submit(lambda: job.wait_until_finished(timeout=15).result())
        eventually_sync(lambda: "cmdstat_xread" in client.info("commandstats"))
        end(queue, done("5", keep=0))
        assert wait.result() == 5
    with pytest.raises(JobNotFound):
        job.wait_until_finished()


def test_waiting_ends_however_busy_the_events_are(
    queue: sync.Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter, "MOST", 1)  # so that it is always behind
    over = threading.Event()

    def flood() -> None:
        with redis.Redis.from_url(redis_url) as client:
            while not over.is_set():
                client.xadd(queue.keys.events, {"event": "waiting", "jobId": "another"})

    job = queue.add("n")
    with ThreadPoolExecutor(2) as threads:
        flooding = threads.submit(flood)
        wait = threads.submit(lambda: job.wait_until_finished(timeout=15).result())
        try:
            queue.remove(job.id)
            with pytest.raises(JobNotFound):
                wait.result()
        finally:
            over.set()
            flooding.result()


def test_who_is_far_behind_the_events_reads_on_without_a_pause(
    queue: sync.Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter, "MOST", 1)
    with redis.Redis.from_url(redis_url) as client, ThreadPoolExecutor(1) as threads:
        job = queue.add("n")
        client.config_resetstat()
        wait = threads.submit(lambda: job.wait_until_finished(timeout=20).result())
        eventually_sync(lambda: "cmdstat_xread" in client.info("commandstats"))
        with client.pipeline() as pipe:
            for _ in range(300):
                pipe.xadd(queue.keys.events, {"event": "waiting", "jobId": "another"})
            pipe.execute()
        end(queue, done("5", keep=0))
        assert wait.result() == 5


def test_waiting_has_an_end_in_time(queue: sync.Queue, new_server: Callable[..., RedisServer]) -> None:
    with pytest.raises(JobTimeout, match=r"has not finished within 0.1 s"):
        queue.add("n").wait_until_finished(timeout=0.1)
    server = new_server()
    with sync.Queue("q", redis=server.url) as other:
        job = other.add("n")
        server.kill()
        began = time.monotonic()
        with pytest.raises(RedisUnavailable):
            job.wait_until_finished(timeout=0.3)
        assert time.monotonic() - began >= 0.2
