"""`corral demo`: the whole of it as a user runs it, and its rooms one by one."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import redis
from rich.console import Console

from corral import Counts, Job, JobOptions, State
from corral.errors import CorralError
from corral_operator import demo_run, embedded
from corral_operator.demo_fleet import Fleet
from corral_operator.demo_load import first_burst, is_doomed, nodes_share, second_burst
from corral_operator.demo_node import NodeMissing, add_from_node
from corral_operator.demo_tally import Ending, Tally, percentile
from corral_operator.demo_view import LiveView, PlainView, open_view
from corral_operator.demo_watch import Pace, Snapshot, WorkerRow
from corral_operator.embedded import EmbeddedServer
from node import node_missing
from waiting import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = len(first_burst()) + len(second_burst()) + len(nodes_share())

# A shell's background job ignores Ctrl-C and hands that down to us: begin as from a terminal.
START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "corral", "demo"])
"""


class Demo:
    """One `corral demo` whose output is read line by line. `temp` is where it may put its folder."""

    def __init__(self, temp: Path, **env: str) -> None:
        self.temp = temp
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", START],
            env={**os.environ, "TMPDIR": str(temp), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, word: str) -> str:
        """The next line with this word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if word in line:
                return line
        pytest.fail(f"the demo ended without a line with {word!r}:\n{self.text}")

    def ended(self) -> int:
        """Read the rest; gives the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(10)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def port(self) -> int:
        found = re.search(r"redis://127\.0\.0\.1:(\d+)", self.text)
        assert found is not None
        return int(found[1])

    def summed(self, what: str) -> int:
        """A number of the summary."""
        found = re.search(rf"^{what} +([\d,]+)", self.text, re.MULTILINE)
        assert found is not None, f"no {what} in\n{self.text}"
        return int(found[1].replace(",", ""))

    def assert_nothing_left(self) -> None:
        pids = {int(pid) for pid in re.findall(r"pid (\d+)", self.text)}
        assert len(pids) >= 2
        assert [pid for pid in pids if _is_alive(pid)] == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), 1)
        assert list(self.temp.iterdir()) == []


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    return folder


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Demos that end with the test, whatever becomes of it."""
    running: list[Demo] = []
    yield running
    for demo in running:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(10)
        assert demo.process.stdout is not None
        demo.process.stdout.close()


# --- the whole of it ---


@pytest.mark.timeout(90)
def test_the_demo_counts_every_job_and_leaves_nothing_behind(temp: Path, demos: list[Demo]) -> None:
    # Settings of the user's own must not reach the demo's workers.
    demo = Demo(temp, REDIS_URL="redis://nobody.invalid:1", CORRAL_PREFIX="mine", CORRAL_QUEUES="other")
    demos.append(demo)
    assert demo.ended() == 0, demo.text
    assert demo.summed("jobs") == JOBS == demo.summed("completed") + demo.summed("failed")
    assert demo.summed("failed") == sum(is_doomed(job.name) for job in first_burst())
    # Every second flaky job fails once, the others twice.
    assert demo.summed("retries") == 75
    assert demo.summed("lost") == 0
    held = re.search(r"SIGKILL\) while it held (\d+) jobs", demo.text)
    assert held is not None
    assert demo.summed("recovered") >= int(held[1]) >= 3
    assert 0 <= demo.summed("wait p50") <= demo.summed("wait p95")
    assert all(line.isprintable() for line in demo.lines), "plain lines hold no control characters"
    if node_missing() is None:
        assert "100 of them added by Node's BullMQ 6" in demo.text
    demo.assert_nothing_left()


@pytest.mark.timeout(90)
def test_a_job_that_vanishes_is_told_and_makes_the_exit_code_1(temp: Path, demos: list[Demo]) -> None:
    demo = Demo(temp, PATH=str(temp))
    demos.append(demo)
    demo.read_until("jobs at once")
    with redis.Redis(port=demo.port) as client:
        assert client.delete("bull:demo:later-39") == 1
    assert demo.ended() == 1, demo.text
    assert demo.summed("lost") == 1
    assert demo.summed("jobs") == JOBS == demo.summed("completed") + demo.summed("failed") + 1
    assert "later-39 is gone: no list holds it" in demo.lines
    assert "Node's BullMQ: not found, all jobs added from Python (node is not on PATH)" in demo.text
    demo.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_it_cleanly(number: signal.Signals, temp: Path, demos: list[Demo]) -> None:
    demo = Demo(temp)
    demos.append(demo)
    demo.read_until("killed worker-")
    demo.process.send_signal(number)
    assert demo.ended() == 130, demo.text
    assert "Traceback" not in demo.text
    demo.assert_nothing_left()


def test_jobs_that_are_unfinished_when_time_is_up_count_as_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_run, "ACTS_S", 1.5)
    assert demo_run.perform() == 1
    out = capsys.readouterr().out
    assert "not over after 1.5 s" in out
    assert "later-39 is still delayed" in out or re.search(r"^and \d+ more$", out, re.MULTILINE)


# --- its rooms ---


def test_a_job_is_lost_unless_it_completed_or_failed_as_planned() -> None:
    tally = Tally.of(
        [
            Ending("fine", State.COMPLETED, attempts_made=3, recovered=1, wait_ms=7),
            Ending("doomed", State.FAILED, doomed=True, attempts_made=1, wait_ms=9),
            Ending("unlucky", State.FAILED, attempts_made=2, reason="no"),
            Ending("stuck", State.ACTIVE),
            Ending("gone", State.UNKNOWN),
        ]
    )
    assert (tally.jobs, tally.completed, tally.failed, tally.retries, tally.recovered) == (5, 1, 1, 3, 1)
    assert (tally.wait_p50, tally.wait_p95) == (7, 9)
    assert tally.lost == (
        "unlucky failed, which was not planned: no",
        "stuck is still active",
        "gone is gone: no list holds it",
    )


def test_the_wait_counts_from_when_a_job_was_due_and_only_for_a_single_start() -> None:
    job = Job("1", "mail", {}, JobOptions(delay_ms=500), "demo", 1000, attempts_started=1, processed_on=1620)
    assert Ending.of("1", State.COMPLETED, job, doomed=False).wait_ms == 120
    job.attempts_started = 2
    assert Ending.of("1", State.COMPLETED, job, doomed=False).wait_ms is None


def test_a_job_without_a_hash_is_lost_even_if_a_list_names_it() -> None:
    assert Ending.of("1", State.WAITING, None, doomed=False).lost == "1 is gone: no list holds it"


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 0.5) is None
    assert percentile([4], 0.95) == 4
    assert percentile(list(range(1, 101)), 0.5) == 50
    assert percentile(list(range(1, 101)), 0.95) == 95


SNAPSHOT = Snapshot(
    Counts(waiting=5, prioritized=4, delayed=3, active=2, waiting_children=0, completed=90, failed=1),
    41.6,
    (WorkerRow("worker-1", 71, "killed", 1), WorkerRow("worker-2", 72, "working", 2)),
)
FIGURES = "waiting 5, prioritized 4, delayed 3, active 2, completed 90, failed 1; 42 jobs/s; workers 1"


def test_plain_lines_come_with_every_act_and_otherwise_once_a_second() -> None:
    out, now = io.StringIO(), [50.0]
    with PlainView(out, clock=lambda: now[0]) as view:
        view.show(SNAPSHOT)
        now[0] = 50.5
        view.show(SNAPSHOT)
        view.tell("killed worker-1")
        now[0] = 62.0
        view.show(SNAPSHOT)
    view.sum_up([("jobs", "96", "a remark"), ("lost", "12", "")], [f"job {n}" for n in range(12)])
    assert out.getvalue().splitlines() == [
        f"  0.0 s  {FIGURES}",
        "  0.5 s  killed worker-1",
        f" 12.0 s  {FIGURES}",
        "",
        "jobs                96  a remark",
        "lost                12",
        *(f"job {n}" for n in range(10)),
        "and 2 more",
    ]


def test_a_terminal_shows_the_queue_and_every_worker() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=100, color_system=None))
    with view:
        view.tell("killed [worker-1]")
        view.show(SNAPSHOT)
    view.sum_up([("jobs", "96", "")], ["later-1 is still delayed"])
    text = out.getvalue()
    for words in (
        "killed [worker-1]",
        "prioritized       4",
        "42 jobs/s",
        "worker-1  pid 71  killed   holds 1 job",
        "holds 2 jobs",
        "later-1 is still delayed",
    ):
        assert words in text


def test_only_a_terminal_that_can_move_its_cursor_gets_the_live_view(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_view(io.StringIO()), PlainView)
    assert isinstance(open_view(Terminal()), LiveView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_view(Terminal()), PlainView)


def test_the_rate_is_that_of_the_last_two_seconds() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    rates = []
    for now[0], ended in [(0.0, 0), (1.0, 100), (2.0, 200), (3.0, 200), (4.0, 200), (5.0, 200)]:
        rates.append(pace.at(ended))
    assert rates == [0.0, 100.0, 100.0, 50.0, 0.0, 0.0]


def test_the_embedded_server_is_gone_after_its_block_even_when_that_fails() -> None:
    def block() -> None:
        with server, redis.Redis(port=server.port) as client:
            assert client.ping()
            assert server.folder.is_dir()
            raise ZeroDivisionError

    server = EmbeddedServer()
    with pytest.raises(ZeroDivisionError):
        block()
    assert not server.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_a_server_that_does_not_start_says_why_and_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho no memory; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "find_program", lambda: str(broken))
    server = EmbeddedServer()
    with pytest.raises(CorralError, match=r"did not start on port .*: no memory"):
        server.__enter__()
    assert not server.folder.exists()


def test_a_worker_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Fleet("no_such_module:worker", "redis://127.0.0.1:1", tmp_path) as fleet:
        worker = fleet.start()
        eventually_sync(lambda: worker.process.poll() is not None)
        with pytest.raises(CorralError, match=r"worker-1 ended by itself with exit code 2: .*no_such_module"):
            fleet.check()


async def test_node_that_does_not_find_bullmq_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("corral_operator.demo_node._folders", lambda: [tmp_path])
    monkeypatch.delenv("NODE_PATH", raising=False)
    reason = "node is not on PATH" if node_missing() == "node is not on PATH" else f"no bullmq in {tmp_path}"
    with pytest.raises(NodeMissing, match=re.escape(reason)):
        await add_from_node([], "demo", "redis://127.0.0.1:1")
